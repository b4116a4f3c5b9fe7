"""What is to be sent, and when: integer columns that point into captures, no bodies.

Pure. Amplifying fifty times copies 24 bytes a row, never a body; every property of a plan is one numpy expression.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from captures.codecs.codec import Codec

# The columns of a schedule, in order, and how they are kept.
DTYPES = {"at_ns": "<i8", "source": "<i8", "variant": "<u4", "session": "<u8"}
_AT_ONCE = 1 << 20  # rows of a schedule, which may lie on disk, that are looked at at a time


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows of one route, about to become bytes: what a rewrite is given and returns.

    ``source``, ``variant``: the rows' columns. ``targets``: request-targets (path and query). ``headers``: one tuple per row.
    """

    codec: Codec | None  # None: Opaque
    source: NDArray[np.int64]
    variant: NDArray[np.uint32]
    targets: Sequence[str]
    headers: Sequence[tuple[tuple[str, str], ...]]
    bodies: Sequence[bytes]


class Rewrite(Protocol):
    """Changes the contents of rows when they are materialised. ``kind``: "identity" where the right answer is unchanged
    (host, ids), "value" where it may change; then recorded responses say nothing about the row any more.
    Its ``repr`` says everything that decides what it does: the schedule's digest covers it.
    """

    @property
    def kind(self) -> Literal["identity", "value"]: ...

    def touches(self, schedule: "Schedule") -> NDArray[np.bool_]:
        """Which rows of the schedule this rewrite changes."""
        ...

    def __call__(self, rows: Rows) -> Rows:
        """Pure, and independent of batching: randomness is a counter-based hash of (seed, step, source, variant)."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Row i sends exchange ``source[i]`` at ``at_ns[i]`` after the start.

    ``source`` is an ordinal over the ordered inputs laid end to end. ``variant`` 0 is the exchange as recorded; k > 0 its
    k-th derived copy. ``session`` is the recorded session mixed with the variant; 0: none.
    Invariants: at_ns is sorted and >= 0; the columns have equal length.
    """

    at_ns: NDArray[np.int64]
    source: NDArray[np.int64]
    variant: NDArray[np.uint32]
    session: NDArray[np.uint64]
    rewrites: tuple[Rewrite, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.at_ns)
        if not len(self.source) == len(self.variant) == len(self.session) == n:
            raise ValueError("the columns of a schedule have equal length")
        if n and (self.at_ns[0] < 0 or not _is_sorted(self.at_ns)):
            raise ValueError("at_ns is sorted and >= 0")

    def __len__(self) -> int:
        return len(self.at_ns)

    @property
    def peak_rps(self) -> int:
        """Rows in the busiest second, wherever it begins."""
        if not len(self):
            return 0
        most = 0
        for start in range(0, len(self), _AT_ONCE):
            at_ns = self.at_ns[start : start + _AT_ONCE]
            ends = np.searchsorted(self.at_ns, at_ns + 1_000_000_000, side="left")
            most = max(most, int((ends - np.arange(start, start + len(at_ns))).max()))
        return most

    @property
    def duration_ns(self) -> int:
        return int(self.at_ns[-1]) if len(self) else 0

    @property
    def digest(self) -> str:
        """Says whether two schedules are the same plan: hex blake2b over the columns and what the rewrites do."""
        state = hashlib.blake2b(len(self).to_bytes(8, "little"), digest_size=16)
        for column, dtype in zip((self.at_ns, self.source, self.variant, self.session), DTYPES.values(), strict=True):
            state.update(np.ascontiguousarray(column, dtype=dtype).data)
        for rewrite in self.rewrites:
            state.update(repr(rewrite).encode() + b"\n")
        return state.hexdigest()

    @classmethod
    def empty(cls) -> "Schedule":
        at_ns, source, variant, session = (np.empty(0, dtype=dtype) for dtype in DTYPES.values())
        return cls(at_ns, source, variant, session)


def _is_sorted(at_ns: NDArray[np.int64]) -> bool:
    # One row of overlap: the last of a run is compared with the first of the next.
    return not any(np.any(np.diff(at_ns[start : start + _AT_ONCE + 1]) < 0) for start in range(0, len(at_ns), _AT_ONCE))
