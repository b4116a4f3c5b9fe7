"""Plan: what would be sent, when, and what was left out: a schedule with its numbers, before anything is opened. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Exchange, Flags
from captures.inspection import committed
from captures.reader import Capture
from replayer.rails import sendable
from transforms.plan import DAMAGED, schedule_of
from transforms.rewrite import value_touched
from transforms.schedule import Schedule
from transforms.transform import Transform, apply
from transforms.view import Allocate, View

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 §9.2.1
NOT_INFERENCE = "not_inference"
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``recorded``: the rows as they were recorded, ``schedule``: what the transforms made of them. ``dropped``: recorded exchanges
    that are not sent, by reason.
    """

    captures: tuple[Capture, ...]
    view: View
    recorded: Schedule
    schedule: Schedule
    dropped: dict[str, int]
    seed: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Body bytes of each row, as recorded."""
        return self.view.column("request_kept")[self.schedule.source].astype(np.int64)

    @property
    def recorded_status(self) -> NDArray[np.uint16]:
        """Of each row; 0 where none was recorded or the row asks something else than was recorded."""
        status = self.view.column("status")[self.schedule.source].astype(np.uint16)
        status[value_touched(self.schedule)] = 0
        return status

    def label(self, name: str) -> NDArray[np.object_]:
        """A name column ("route", "model", "method", "codec") of each row, as text."""
        cells = self.view.column(name)[self.schedule.source].astype(np.int64)
        labels: NDArray[np.object_] = np.array(self.view.names, dtype=np.object_)[cells]
        return labels


def plan_of(
    captures: Sequence[Capture],
    chain: Sequence[Transform],
    *,
    seed: int,
    allow_paths: Sequence[str] = (),
    check: bool = True,
    allocate: Allocate = np.empty,
) -> Plan:
    """What may be sent of the captures, through the transforms. ``check`` reads every body once, so that damage is found
    and counted now and not in the middle of a run. ``allocate``: where long columns lie.

    Raises UsageError (a transform does not fit the data), CaptureError.
    """
    view = View(captures, allocate=allocate)
    schedule, dropped = schedule_of(captures, allocate=allocate)

    def lines(ordinals: NDArray[np.int64]) -> list[str]:
        asked = (exchange.request for exchange in read_heads(view, ordinals))
        return [f"{request.method} {request.target.partition('?')[0]}" for request in asked]

    # What an unsealed file lost has no ordinal: no row could stand for it.
    gone = sum(committed(capture) - len(capture) for capture in captures)
    lost = np.concatenate([capture.lost() for capture in captures]) if check else np.zeros(len(view), dtype=np.bool_)
    allowed = sendable(view.column("flags").astype(np.uint32), allow_paths, lines)
    damaged = dropped.get(DAMAGED, 0) + gone + int(np.count_nonzero((allowed & lost)[schedule.source]))
    left_out = {NOT_INFERENCE: int(np.count_nonzero(~allowed[schedule.source])), DAMAGED: damaged}
    dropped |= {reason: count for reason, count in left_out.items() if count}
    recorded = _only(schedule, (allowed & ~lost)[schedule.source])
    return Plan(
        captures=tuple(captures),
        view=view,
        recorded=recorded,
        schedule=apply(recorded, view, chain, seed),
        dropped=dropped,
        seed=seed,
    )


def read_heads(view: View, ordinals: NDArray[np.int64]) -> list[Exchange]:
    found: list[Exchange] = []
    for start, capture in zip(view.starts[:-1].tolist(), view.captures, strict=True):
        mine = ordinals[(ordinals >= start) & (ordinals < start + len(capture))] - start
        found.extend(capture.read(mine, bodies=False))
    return found


def figures(plan: Plan) -> dict[str, object]:
    """What ``--dry-run --json`` prints (docs/reference.md)."""
    schedule = plan.schedule
    return {
        "rows": len(schedule),
        "duration_s": round(schedule.duration_ns / NS_PER_S, 6),
        "peak_rps": schedule.peak_rps,
        "bytes": int(plan.sizes.sum()),
        "unsafe": unsafe(plan),
        "dropped": plan.dropped,
        "seed": plan.seed,
        "load": load(plan),
    }


def unsafe(plan: Plan) -> list[dict[str, object]]:
    """What is sent although it may change something at the target: methods that are not safe, on paths that are not inference."""
    methods, routes = plan.label("method"), plan.label("route")
    flags = plan.view.column("flags")[plan.schedule.source].astype(np.uint32)
    risky = (flags & np.uint32(Flags.INFERENCE)) == 0
    risky &= ~np.isin(methods.astype(str), sorted(SAFE_METHODS))
    pairs, counts = np.unique(
        np.stack([methods[risky].astype(str), routes[risky].astype(str)]), axis=1, return_counts=True
    )
    return [
        {"method": str(method), "route": str(route), "rows": int(count)}
        for method, route, count in zip(pairs[0], pairs[1], counts, strict=True)
    ]


def load(plan: Plan) -> dict[str, float | None]:
    """The mean rate, as a multiple of what the capture holds and of the traffic it is a sample of; None where there is no
    duration to divide by.
    """
    before, after = _rate(plan.recorded), _rate(plan.schedule)
    factor = after / before if before and after else None
    shares = {capture.header.sampling_rate for capture in plan.captures}
    share = shares.pop() if len(shares) == 1 else None
    return {
        "recording": round(factor, 4) if factor else None,
        "production": round(factor * share, 4) if factor and share else None,
    }


def _rate(schedule: Schedule) -> float:
    return (len(schedule) - 1) * NS_PER_S / schedule.duration_ns if schedule.duration_ns else 0.0


def _only(schedule: Schedule, kept: NDArray[np.bool_]) -> Schedule:
    """The kept rows, the first at 0."""
    if kept.all():
        return schedule
    at_ns = schedule.at_ns[kept]
    return replace(
        schedule,
        at_ns=at_ns - at_ns[0] if len(at_ns) else at_ns,
        source=schedule.source[kept],
        variant=schedule.variant[kept],
        session=schedule.session[kept],
    )
