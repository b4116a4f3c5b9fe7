"""A run judges itself first: was the load that was asked for the load that was offered? Pure.

Three rules, in the order their reasons are told:

1. status mix. More than `MIX_SHARE` of the answers are of another class than was recorded (401, 404, 429 where 200 was
   recorded): the target did other work than the one recorded. A 5xx is the target failing, which is for objectives to judge.
2. lateness. A row is late where it was dispatched, or shed, later than `late_limit_ns` after its time; more late rows
   than a tenth of the tightest objective's tail, and the tail that is judged is the generator's.
3. rate. Rows dispatched and shed came at another rate than scheduled, by more than `RATE_SHARE`.

Rows a target could not take while the generator held (shed in time, failed, timed out) never make a run invalid.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.fold import offered_rps
from replayer.objective import Kind, Objective

MIX_SHARE = 0.01
"""A stray 404 among hundreds is an answer; one in a hundred is another application."""
RATE_SHARE = 0.02
LATE_SHARE = 0.01  # where no objective has a tail
LATE_LEAST_NS, LATE_MOST_NS = 1_000_000, 10_000_000
CPU_ADVICE = 0.85
"""Of one core: above it the event loop queues, and service times contain our own waiting."""
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """What a run says of itself. ``reasons`` why it is not valid; ``notes`` what a reader should know all the same; ``cpu``
    the share of one core our process used.
    """

    valid: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    late: int
    late_limit_ms: float
    late_share_allowed: float
    cpu: float | None

    def as_data(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__} | {
            "reasons": list(self.reasons),
            "notes": list(self.notes),
        }


def judge_run(
    attempts: Attempts,
    recorded_status: NDArray[np.uint16],
    objectives: Sequence[Objective] = (),
    *,
    expect_status: Collection[int] = (),
    cpu: float | None = None,
    paced: bool = True,
) -> Generator:
    """``recorded_status``: per row, 0 where none was recorded. ``expect_status``: answers that are no surprise. ``paced``: the run
    promised times (False for few in flight, which promises none).
    """
    limit_ns, allowed = late_limit_ns(objectives), late_share(objectives)
    late, came_to = _late(attempts, limit_ns)
    reasons = [*_status_mix(attempts, recorded_status, expect_status)]
    if paced:
        reasons += [*_lateness(late, came_to, limit_ns, allowed), *_rate(attempts)]
    notes = []
    if cpu is not None and cpu > CPU_ADVICE:
        notes.append(f"the generator used {cpu:.0%} of a core: service times may contain its own waiting")
    return Generator(
        valid=not reasons,
        reasons=tuple(reasons),
        notes=tuple(notes),
        late=late,
        late_limit_ms=limit_ns / NS_PER_MS,
        late_share_allowed=allowed,
        cpu=None if cpu is None else round(cpu, 4),
    )


def late_limit_ns(objectives: Sequence[Objective]) -> int:
    """10 % of the tightest limit on a time, between 1 and 10 ms."""
    limits = [int(one.value) for one in objectives if one.kind is Kind.TIME and one.metric != "lateness"]
    return min(max(min(limits, default=LATE_MOST_NS * 10) // 10, LATE_LEAST_NS), LATE_MOST_NS)


def late_share(objectives: Sequence[Objective]) -> float:
    """A tenth of the tail the tightest objective judges (p99: 1 %); for ``max``, none at all."""
    times = [one for one in objectives if one.kind is Kind.TIME and one.metric != "lateness"]
    tails = [one.tail if one.tail is not None else 0.0 for one in times if one.tail is not None or one.stat == "max"]
    return min(tails) / 10 if tails else LATE_SHARE


def _late(attempts: Attempts, limit_ns: int) -> tuple[int, int]:
    """Rows dispatched or shed later than the limit, and all rows dispatched or shed."""
    shed, dispatched = attempts.failure == FailureKind.SHED, attempts.dispatched_ns >= 0
    at_ns = np.where(shed, attempts.done_ns, attempts.dispatched_ns)
    came_to = shed | dispatched
    return int(np.count_nonzero(came_to & (at_ns - attempts.intended_ns > limit_ns))), int(np.count_nonzero(came_to))


def _lateness(late: int, came_to: int, limit_ns: int, allowed: float) -> list[str]:
    if not came_to or late / came_to <= allowed:
        return []
    limit = f"{limit_ns / NS_PER_MS:g} ms after their time ({late / came_to:.2%}, {allowed:.2%} allowed)"
    return [f"the generator was late: {late:,} of {came_to:,} rows went out more than {limit}"]


def _rate(attempts: Attempts) -> list[str]:
    came_to = (attempts.failure == FailureKind.SHED) | (attempts.dispatched_ns >= 0)
    intended = attempts.intended_ns[came_to]
    planned_ns = int(intended.max() - intended.min()) if len(intended) else 0
    offered = offered_rps(attempts)
    if not planned_ns or not offered:
        return []
    planned = (len(intended) - 1) * 1e9 / planned_ns
    # A delay within the lateness limit is what the rule above allows; over a short run it would look like a rate.
    drift_ns = abs((len(intended) - 1) * 1e9 / offered - planned_ns)
    if abs(offered / planned - 1) <= RATE_SHARE or drift_ns <= LATE_MOST_NS:
        return []
    return [f"the load was off the schedule: {offered:,.1f} rows/s offered, {planned:,.1f} asked for (2 % allowed)"]


def _status_mix(attempts: Attempts, recorded: NDArray[np.uint16], expected: Collection[int]) -> list[str]:
    completed = attempts.failure == FailureKind.NONE
    was, now = recorded // 100, attempts.status // 100
    judged = completed & (was >= 2) & (was <= 4)
    other = judged & (now != was) & (now < 5)
    for code in expected:
        other &= attempts.status != code
    count, n = int(np.count_nonzero(other)), int(np.count_nonzero(judged))
    if not n or count / n <= MIX_SHARE:
        return []
    pairs, counts = np.unique(np.stack([attempts.status[other], recorded[other]]), axis=1, return_counts=True)
    worst = int(np.argmax(counts))
    answered, had = int(pairs[0, worst]), int(pairs[1, worst])
    often = f"{answered} where {had} was recorded (--expect-status {answered} if that is right)"
    return [
        f"the target did other work than was recorded: {count:,} of {n:,} answers have another status, most often {often}"
    ]
