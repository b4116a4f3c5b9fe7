"""Attempts as exchanges: what a run did becomes a capture again. Pure.

Request bodies are by reference: the origin says which exchange of which input was sent. A response body is written
only where it was kept, and then passes the policy of its recording, as everything does that reaches a disk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.batches import batch_of
from captures.columns import LABEL_PREFIX, Batch, Head
from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.lineage import headers_of, labels_of
from replayer.attempt import Attempts, Reply
from replayer.plan import Plan

BATCH = 4096
INHERITED = np.uint32(Flags.INFERENCE | Flags.SYNTHETIC)
WITHOUT_BODIES = np.uint32(Flags.REQUEST_DROPPED | Flags.RESPONSE_DROPPED)

type Protect = Callable[[int, Sequence[Exchange]], list[Exchange]]
"""(input, raw exchanges of that input) -> what its policy lets through."""


def batches_of(
    attempts: Attempts,
    plan: Plan,
    targets: Sequence[str],
    target_of: NDArray[np.uint32],
    replies: Mapping[int, Reply] | None = None,
    protect: Protect | None = None,
) -> Iterator[Batch]:
    """Every row in order of completion, rows never sent last. ``replies``: kept answers by row, which ``protect`` must clean.

    ``targets`` and ``target_of``: the request-targets sent, and which of them each row had.
    """
    ends = np.where(attempts.done_ns >= 0, attempts.done_ns, np.iinfo(np.int64).max)
    order = np.argsort(ends, kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        kept = np.array([int(row) in (replies or {}) for row in rows], dtype=np.bool_)
        if not kept.all():
            yield _columns(attempts, plan, targets, target_of, rows[~kept])
        if kept.any() and replies is not None and protect is not None:
            yield batch_of(_protected(attempts, plan, targets, target_of, rows[kept], replies, protect))


def _columns(
    attempts: Attempts, plan: Plan, targets: Sequence[str], target_of: NDArray[np.uint32], rows: NDArray[np.int64]
) -> Batch:
    view, source, n = plan.view, plan.schedule.source[rows], len(rows)
    dispatched = attempts.dispatched_ns[rows] >= 0
    arrival = np.where(dispatched, attempts.dispatched_ns[rows], attempts.intended_ns[rows])
    completed = attempts.failure[rows] == FailureKind.NONE

    def since(at_ns: NDArray[np.int64], where: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(where & (at_ns[rows] >= 0), at_ns[rows] - arrival, -1)

    labels = [LABEL_PREFIX + name for name in labels_of(headers_of(plan.captures))]
    inherited = {name: view.column(name)[source] for name in ("method", "route", "codec", "model", *labels)}
    return Batch(
        columns=inherited
        | {
            "arrival_ns": arrival,
            "request_ns": np.where(dispatched, 0, -1),
            "first_byte_ns": since(attempts.first_byte_ns, dispatched),
            "last_byte_ns": since(attempts.done_ns, completed),
            "status": attempts.status[rows],
            "failure": attempts.failure[rows],
            "failure_ns": np.where(completed, -1, np.maximum(since(attempts.done_ns, ~completed), 0)),
            "flags": (view.column("flags")[source].astype(np.uint32) & INHERITED) | WITHOUT_BODIES,
            "session": plan.schedule.session[rows],
            "request_size": attempts.request_size[rows],
            "response_size": attempts.response_size[rows],
            "row": rows,
            "source": source,
            "variant": plan.schedule.variant[rows],
            "target": np.full(n, len(view.names), dtype=np.uint32),
            "attempt": np.ones(n, dtype=np.uint8),
            "intended_ns": attempts.intended_ns[rows],
        },
        names=(*view.names, attempts.target),
        heads=[Head(targets[number], "HTTP/1.1", (), "", (), "") for number in target_of[rows].tolist()],
        chunk_at_ns=np.zeros(0, dtype=np.int64),
        chunk_bytes=np.zeros(0, dtype=np.uint32),
        bodies=[b""] * (2 * n),
    )


def _protected(
    attempts: Attempts,
    plan: Plan,
    targets: Sequence[str],
    target_of: NDArray[np.uint32],
    rows: NDArray[np.int64],
    replies: Mapping[int, Reply],
    protect: Protect,
) -> list[Exchange]:
    owners = np.searchsorted(plan.view.starts, plan.schedule.source[rows], side="right") - 1
    clean: list[Exchange] = []
    for owner in np.unique(owners).tolist():
        mine = rows[owners == owner].tolist()
        raw = [_exchange(attempts, plan, targets[int(target_of[row])], row, replies[row]) for row in mine]
        clean.extend(protect(owner, raw))
    return clean


def _exchange(attempts: Attempts, plan: Plan, target: str, row: int, reply: Reply) -> Exchange:
    source = int(plan.schedule.source[row])

    def named(column: str) -> str:
        index = int(plan.view.column(column)[source])
        return plan.view.names[index]

    sent_ns, done_ns = int(attempts.dispatched_ns[row]), int(attempts.done_ns[row])
    kind = FailureKind(int(attempts.failure[row]))
    failed = kind is not FailureKind.NONE
    flags = Flags(int(plan.view.column("flags")[source])) & Flags.INFERENCE | Flags.REQUEST_DROPPED
    response = Response(
        status=reply.status,
        headers=reply.headers,
        chunks=tuple(Chunk(at_ns, data) for at_ns, data in reply.chunks),
        first_ns=int(attempts.first_byte_ns[row]),
        end_ns=-1 if failed else done_ns,
        size=reply.size,
    )
    return Exchange(
        arrival_ns=sent_ns,
        request=Request(
            method=named("method"),
            target=target,
            end_ns=sent_ns,
            size=int(attempts.request_size[row]),
        ),
        response=response if reply.status else None,
        failure=Failure(kind, done_ns) if failed else None,
        route=named("route"),
        codec=named("codec"),
        model=named("model"),
        session=int(plan.schedule.session[row]),
        flags=flags | Flags.RESPONSE_TRUNCATED if reply.truncated else flags,
        labels=tuple(
            (name, value) for name in labels_of(headers_of(plan.captures)) if (value := named(LABEL_PREFIX + name))
        ),
        origin=Origin(
            row=row,
            source=source,
            variant=int(plan.schedule.variant[row]),
            target=attempts.target,
            intended_ns=int(attempts.intended_ns[row]),
        ),
    )
