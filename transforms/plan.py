"""From captures to a schedule: which exchanges can be sent again, and when each of them came.

In bounded memory: columns stream past a segment at a time, and the schedule's own columns lie where ``allocate`` puts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Flags
from captures.header import Header
from transforms.schedule import DTYPES, Schedule
from transforms.view import Allocate, Input

# Why an exchange cannot be sent again: the first flag that is set names the reason.
REASONS: tuple[tuple[Flags, str], ...] = (
    (Flags.REQUEST_TRUNCATED, "request_truncated"),
    (Flags.REQUEST_DROPPED, "request_dropped"),
)
OTHER_REASON = "request_incomplete"
DAMAGED = "damaged"
SORTED_ROWS = 1 << 21
"""Rows that are sorted in memory at a time."""
TIME_BINS = 1 << 16


def schedule_of(
    captures: Sequence[Input],
    *,
    only_replayable: bool = True,
    lost: Sequence[NDArray[np.bool_]] = (),
    within: tuple[int, int] | None = None,
    allocate: Allocate = np.empty,
) -> tuple[Schedule, dict[str, int]]:
    """Every exchange that can be sent again, by arrival (stable), the first at 0; and how many were left out, by reason.

    ``source`` counts the exchanges of all captures laid end to end, in the order given. Files of one recording (rotation)
    keep their distance in time; different recordings are laid over each other, each one's own zero at the common zero.
    ``within``: only arrivals in [start, stop) ns from that zero; segments outside are not read.
    Reads columns only, never a body; whoever can afford to (`Capture.lost` reads all) passes ``lost``, one mask per capture, and
    what is damaged is left out too.
    """
    asked = _Asked(tuple(captures), only_replayable, tuple(lost), within)
    groups = _groups(asked)
    ends = np.cumsum(groups.counts)
    filled = ends - groups.counts  # where the next row of each group goes
    columns = {name: allocate(int(ends[-1]), DTYPES[name]) for name in ("at_ns", "source", "session")}
    dropped_: dict[str, int] = {}
    unreadable = 0 if within else sum(map(len, captures))  # whose columns are damaged: nobody knows when they came
    for part in asked.parts():
        unreadable -= 0 if within else len(part.flags)
        for reason, count in dropped(part.flags[~part.sendable], part.damaged[~part.sendable]).items():
            dropped_[reason] = dropped_.get(reason, 0) + count
        at_ns = part.at_ns[part.sendable]
        group = groups.of(at_ns)
        # Rows of a group lie together, in the order they came, so that sorting each group is sorting all.
        order = np.argsort(group, kind="stable")
        found, firsts, counts = np.unique(group[order], return_index=True, return_counts=True)
        place = np.arange(len(group)) + np.repeat(filled[found] - firsts, counts)
        columns["at_ns"][place] = at_ns[order]
        columns["source"][place] = part.source[part.sendable][order]
        columns["session"][place] = part.session[part.sendable][order]
        filled[found] += counts
    _sort(columns, ends)
    variant = allocate(int(ends[-1]), DTYPES["variant"])
    variant[:] = 0
    if unreadable:
        dropped_[DAMAGED] = dropped_.get(DAMAGED, 0) + unreadable
    return Schedule(variant=variant.view(np.uint32), **columns), dropped_  # type: ignore[arg-type]  # allocated as DTYPES say


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of exchanges, as far as planning cares."""

    at_ns: NDArray[np.int64]
    source: NDArray[np.int64]
    session: NDArray[np.uint64]
    flags: NDArray[np.uint32]
    damaged: NDArray[np.bool_]
    sendable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Asked:
    captures: tuple[Input, ...]
    only_replayable: bool
    lost: tuple[NDArray[np.bool_], ...]
    within: tuple[int, int] | None

    def parts(self) -> Iterator[_Part]:
        start = 0
        zeros = zeros_ns([capture.header for capture in self.captures])
        for position, (capture, zero_ns) in enumerate(zip(self.captures, zeros, strict=True)):
            within = None if self.within is None else (self.within[0] - zero_ns, self.within[1] - zero_ns)
            for first, batch in capture.parts(within):
                yield self._part(start, position, first, batch.columns, zero_ns)
            start += len(capture)

    def _part(
        self, start: int, position: int, first: int, columns: Mapping[str, NDArray[np.generic]], zero_ns: int
    ) -> _Part:
        at_ns = columns["arrival_ns"].astype(np.int64) + zero_ns
        rows = np.arange(len(at_ns))
        if self.within is not None:
            rows = rows[(at_ns >= self.within[0]) & (at_ns < self.within[1])]
        flags = columns["flags"].astype(np.uint32)[rows]
        lost = self.lost[position][first + rows] if self.lost else np.zeros(len(rows), dtype=np.bool_)
        sendable = ~lost
        if self.only_replayable:
            sendable &= (flags & np.uint32(Flags.REPLAYABLE)) != 0
        session = columns["session"].astype(np.uint64)[rows]
        return _Part(at_ns[rows], start + first + rows, session, flags, lost, sendable)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Ranges of time, each of rows few enough to be sorted in memory (more only where that many arrive in one bin of time)."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    low_ns: int = 0
    bin_ns: int = 1
    group_of_bin: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def of(self, at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        bins = np.minimum((at_ns - self.low_ns) // self.bin_ns, len(self.group_of_bin) - 1)
        return self.group_of_bin[bins]


def _groups(asked: _Asked) -> _Groups:
    """Counts first: where there are few rows they are one group."""
    count, low, high = 0, 0, 0
    for part in asked.parts():
        if n := int(np.count_nonzero(part.sendable)):
            at_ns = part.at_ns[part.sendable]
            least, most = int(at_ns.min()), int(at_ns.max())
            low, high = (min(low, least), max(high, most)) if count else (least, most)
            count += n
    if count <= SORTED_ROWS:
        return _Groups(counts=np.array([count], dtype=np.int64))
    bin_ns = (high - low) // TIME_BINS + 1
    per_bin = np.zeros((high - low) // bin_ns + 1, dtype=np.int64)
    for part in asked.parts():
        per_bin += np.bincount((part.at_ns[part.sendable] - low) // bin_ns, minlength=len(per_bin))
    group_of_bin = np.maximum(np.cumsum(per_bin) - 1, 0) // SORTED_ROWS
    counts = np.bincount(group_of_bin, weights=per_bin).astype(np.int64)
    return _Groups(counts, low, bin_ns, group_of_bin)


def _sort(columns: dict[str, NDArray[np.generic]], ends: NDArray[np.int64]) -> None:
    """Each group by arrival, stable; and the first arrival of all at 0."""
    at_ns = columns["at_ns"].view(np.int64)
    zero, begin = 0, 0
    for end in ends.tolist():
        rows = slice(begin, end)
        order = np.argsort(at_ns[rows], kind="stable")
        for values in columns.values():
            values[rows] = values[rows][order]
        if end > begin:
            zero = zero if begin else int(at_ns[begin])
            at_ns[rows] -= zero
        begin = end


def zeros_ns(headers: Sequence[Header]) -> list[int]:
    """Where each file's zero lies on the common clock: rotated files of one recording are told apart by their anchors."""
    first: dict[bytes, int] = {}
    for header in headers:
        first[header.recording_id] = min(first.get(header.recording_id, header.wall_ns), header.wall_ns)
    return [header.wall_ns - first[header.recording_id] for header in headers]


def dropped(flags: NDArray[np.uint32], damaged: NDArray[np.bool_]) -> dict[str, int]:
    """How many of these were left out, by reason: each under the first that holds."""
    reasons = [((flags & np.uint32(flag)) != 0, reason) for flag, reason in REASONS]
    counts: dict[str, int] = {}
    left = np.ones(len(flags), dtype=np.bool_)
    for holds, reason in [(damaged, DAMAGED), *reasons, (left.copy(), OTHER_REASON)]:
        if count := int(np.count_nonzero(holds & left)):
            counts[reason] = count
        left &= ~holds
    return counts
