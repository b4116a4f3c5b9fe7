"""What became of a row: one attempt per row, target and try; its outcome is a value, never an exception.

lateness = dispatched - intended (the generator's doing) · service time = done - dispatched (connecting included,
measured apart) · response time = done - intended, the headline. All in ns from the run's epoch.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captures.exchange import FailureKind, Headers


@dataclass(frozen=True, slots=True)
class Completed:
    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class Shed:
    reason: str


type Outcome = Completed | Failed | Shed


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts of one target as struct of arrays, one entry per row of the schedule, filled in place while the run goes.

    ``failure`` is a FailureKind: NONE with a ``done_ns`` is Completed; SHED and UNSENT were never dispatched
    (``dispatched_ns`` -1). Before its outcome is known a row is UNSENT. ``first_byte_ns`` and ``done_ns`` are -1 until seen;
    a failed row's ``done_ns`` is when the failure was seen, a shed row's when it was shed. ``connect_ns`` is the part of
    service time spent connecting. ``first_byte_ns`` is the head's, ``first_chunk_ns`` the first body bytes' (what a stream's
    reader waits for).
    """

    target: str
    intended_ns: NDArray[np.int64]
    dispatched_ns: NDArray[np.int64]
    connect_ns: NDArray[np.int64]
    first_byte_ns: NDArray[np.int64]
    first_chunk_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    status: NDArray[np.uint16]
    failure: NDArray[np.uint8]
    request_size: NDArray[np.int64]
    response_size: NDArray[np.int64]

    @classmethod
    def for_schedule(cls, target: str, intended_ns: NDArray[np.int64]) -> "Attempts":
        n = len(intended_ns)

        def absent() -> NDArray[np.int64]:
            return np.full(n, -1, dtype=np.int64)

        return cls(
            target=target,
            intended_ns=intended_ns,
            dispatched_ns=absent(),
            connect_ns=np.zeros(n, dtype=np.int64),
            first_byte_ns=absent(),
            first_chunk_ns=absent(),
            done_ns=absent(),
            status=np.zeros(n, dtype=np.uint16),
            failure=np.full(n, FailureKind.UNSENT, dtype=np.uint8),
            request_size=np.zeros(n, dtype=np.int64),
            response_size=np.zeros(n, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.intended_ns)

    def outcome(self, row: int) -> Outcome:
        kind = FailureKind(int(self.failure[row]))
        if kind is FailureKind.NONE:
            return Completed(int(self.status[row]))
        if kind in (FailureKind.SHED, FailureKind.UNSENT):
            return Shed("in-flight cap" if kind is FailureKind.SHED else "the run ended first")
        return Failed(kind)


@dataclass(slots=True)
class Reply:
    """What one target answered to one row, held in memory for as long as it takes to judge or keep it; raw.

    ``failure`` is NONE where the answer is complete. ``chunks`` are (at_ns, bytes) as they came; ``size`` is all that
    came, more than was kept where ``truncated``.
    """

    status: int = 0
    headers: Headers = ()
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    failure: FailureKind = FailureKind.UNSENT
    size: int = 0

    @property
    def truncated(self) -> bool:
        return self.size > sum(len(data) for _, data in self.chunks)

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.chunks)
