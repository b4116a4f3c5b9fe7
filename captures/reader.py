"""Reads a capture, one file or several as one: columns without bodies, exchanges by ordinal, and what is damaged.

Pure: files come opened. Ordinals count exchanges in file order, files in order of (start of the recording, number), lost ones
included. Memory is bounded by a segment (and by what the caller asks to have at once); one thread at a time.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import TracebackType
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from captures.batches import concat, exchanges_of, take
from captures.capture_file import CaptureFile
from captures.columns import LABEL_PREFIX, Batch
from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.exchange import Exchange
from captures.header import Header
from captures.parts import later, padded, stretch, with_labels
from captures.recordings import digest_over, gaps, in_order, summed
from captures.walk import Damage, Segment

CACHED_SEGMENTS = 4
FETCHED_TOGETHER = 32  # segments whose columns are asked for at once, from a store


@dataclass(frozen=True, slots=True)
class Listing:
    """Files found: those to read, the headers of those that have expired (by name), and those that could not be opened."""

    files: Sequence[CaptureFile]
    expired: Mapping[str, Header] = field(default_factory=dict)
    damage: Sequence[Damage] = ()


class Capture:
    """``path``: as it was asked for. ``files``: one or several, in order. ``expired``: files left out because they have expired."""

    def __init__(
        self,
        path: str,
        listing: Listing,
        more: Callable[[frozenset[str]], Listing] | None = None,
    ) -> None:
        """``more``: the files there are by now, but for those of these names; None: the capture is one file.

        Raises CaptureError: no file, files that do not belong together.
        """
        self.path = path
        self._more = more
        self._files: list[CaptureFile] = []
        self._expired: dict[str, Header] = {}
        self._unreadable: Sequence[Damage] = ()
        self._reported: dict[Damage, None] = {}
        self._grown = False  # files have grown, and that is not taken in
        self._decoded: OrderedDict[tuple[int, bool], Batch] = OrderedDict()
        self._take_in(listing)

    @property
    def files(self) -> Sequence[CaptureFile]:
        return self._files

    @property
    def header(self) -> Header:
        """Of the first file."""
        return self._files[0].header

    @property
    def headers(self) -> list[Header]:
        return [file.header for file in self._files]

    @property
    def expired(self) -> int:
        return len(self._expired)

    @property
    def sealed(self) -> bool:
        return all(file.sealed for file in self._files)

    @property
    def encrypted(self) -> bool:
        return any(file.encrypted for file in self._files)

    @property
    def tape_key(self) -> bytes | None:
        """What is derived from an encrypted capture is encrypted with the same key."""
        return next((file.key for file in self._files if file.encrypted), None)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self._files)

    @property
    def tail(self) -> int:
        """Bytes of unfinished flushes."""
        return sum(file.tail for file in self._files)

    @property
    def digest(self) -> str:
        """Hex identity of the committed content: as the indices say, or as it was walked."""
        return digest_over([file.digest for file in self._files])

    @property
    def confessions(self) -> Confessions:
        """Summed over the files."""
        return summed([file.commit.confessions for file in self._files])

    @property
    def damage(self) -> Sequence[Damage]:
        """What was found so far: opening looks at the frame, segments are looked at when they are touched."""
        several = self._more is not None
        found = [*self._unreadable, *gaps(self._files, self._expired.values())] if several else []
        for file in self._files:
            found += [replace(each, file=file.name) if several else each for each in file.damage]
        return tuple(dict.fromkeys([*found, *self._reported]))

    @property
    def segments(self) -> Sequence[Segment]:
        """Of all files. Each is walked when it is asked for."""
        return _Segments(self._files)

    @property
    def first_ns(self) -> int:
        """The least arrival, as the indices or the commits tell it; 0 without exchanges."""
        held = np.diff(self._starts) > 0
        return int(self._arrivals[held, 0].min()) if held.any() else 0

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._decoded.clear()
        for file in self._files:
            file.close()

    def refresh(self) -> bool:
        """Take in what was written since: more flushes, a seal, more files; whether there was anything.

        Ordinals that were given stay, unless a damaged file was sealed or a file turned up between others. Raises CaptureError.
        """
        known = frozenset({*(file.name for file in self._files), *self._expired})
        listing = self._more(known) if self._more else Listing(())
        # After the listing: where there is a next file, nothing more is written to this one.
        for file in self._files:
            self._grown |= file.refresh()
        changed = self._grown or bool(listing.files) or bool(listing.expired)
        if changed:
            self._take_in(listing)
        self._unreadable = listing.damage
        return changed

    def columns(self, start: int = 0, stop: int | None = None) -> Batch:
        """Columns and names of these ordinals, of all by default; heads, chunks and bodies are not read. A row whose columns are
        damaged is absent values, at its segment's least arrival: see `readable_columns`.
        """
        found = []
        spans = list(self._spans(start, stop))
        for i, (position, low, high) in enumerate(spans):
            if i % FETCHED_TOGETHER == 0:
                self._prefetch([each for each, _, _ in spans[i : i + FETCHED_TOGETHER]])
            file, local, by_ns = self._file_of(position)
            place = file.places[local]
            whole = padded(self._columns(position), place.exchanges, place.min_arrival_ns + by_ns)
            found.append(stretch(whole, low, high))
        return with_labels(concat(found), self._labels)

    def parts(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, Batch]]:
        """(first ordinal, columns and names) of each segment, with names of its own; what is damaged is left out. ``within``: only
        segments with arrivals in [start, stop) ns.
        """
        positions = self._positions(within)
        for i, position in enumerate(positions):
            if i % FETCHED_TOGETHER == 0:
                self._prefetch(positions[i : i + FETCHED_TOGETHER])
            batch = self._columns(position)
            if len(batch):
                yield int(self._starts[position]), batch

    def batches(self, start: int = 0, stop: int | None = None, *, bodies: bool = True) -> Iterator[tuple[int, Batch]]:
        """(first ordinal, exchanges) of each segment; what is damaged is left out. Without ``bodies`` these are empty."""
        for position, low, high in self._spans(start, stop):
            batch = self._decode(position, bodies=bodies)
            if low < len(batch):
                yield int(self._starts[position]) + low, stretch(batch, low, min(high, len(batch)))

    def window(self, start_ns: int, stop_ns: int) -> NDArray[np.int64]:
        """Ordinals of what arrived in [start, stop) ns, ascending. Looks only at segments that may have some."""
        found = [np.zeros(0, dtype=np.int64)]
        for first, batch in self.parts((start_ns, stop_ns)):
            arrival = batch.columns["arrival_ns"].astype(np.int64)
            found.append(first + np.flatnonzero((arrival >= start_ns) & (arrival < stop_ns)))
        return np.concatenate(found)

    def read(self, ordinals: NDArray[np.int64], *, bodies: bool = True) -> list[Exchange]:
        """The exchanges of these ordinals, in the order asked. Without ``bodies`` chunks keep their times and have no data.

        Raises IndexError, and CaptureError where an exchange is damaged (`lost` says which are).
        """
        wanted = np.asarray(ordinals, dtype=np.int64)
        if len(wanted) and not (int(wanted.min()) >= 0 and int(wanted.max()) < len(self)):
            raise IndexError(f"ordinals go from 0 to {len(self) - 1}")
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        found: dict[int, Exchange] = {}
        for position in np.unique(owner).tolist():
            rows = np.unique(wanted[owner == position]) - self._starts[position]
            batch = self._decode(position, bodies=bodies)
            if int(rows[-1]) >= len(batch):
                raise self._unreadable_exchange(position, int(rows[-1]))
            found.update(zip((rows + self._starts[position]).tolist(), exchanges_of(take(batch, rows)), strict=True))
        return [found[ordinal] for ordinal in wanted.tolist()]

    def exchanges(self, start: int = 0, stop: int | None = None, *, bodies: bool = True) -> Iterator[Exchange]:
        """Exchanges in file order. What is damaged is left out and reported in ``damage``: where ordinals
        matter, use `numbered`.
        """
        return (exchange for _, exchange in self.numbered(start, stop, bodies=bodies))

    def numbered(
        self, start: int = 0, stop: int | None = None, *, bodies: bool = True
    ) -> Iterator[tuple[int, Exchange]]:
        """(ordinal, exchange) in file order; what is damaged is left out and reported in ``damage``."""
        for first, batch in self.batches(start, stop, bodies=bodies):
            for low in range(0, len(batch), 256):
                yield from enumerate(exchanges_of(stretch(batch, low, min(low + 256, len(batch)))), first + low)

    def lost(self) -> NDArray[np.bool_]:
        """For each ordinal, whether any of it is damaged. Reads every byte, decompresses none."""
        return self._behind(lambda file, local: file.readable(local))

    def readable_columns(self) -> NDArray[np.bool_]:
        """For each ordinal, whether its columns can be read."""
        return ~self._behind(lambda file, local: len(file.columns(local)))

    def check(self, position: int) -> Batch:
        """Read, check and decode every byte of the segment at ``position`` of ``segments``; what is wrong is reported in
        ``damage``. Returns its columns and names, without what is damaged of them.
        """
        file, local, _ = self._file_of(position)
        return file.check(local)

    def report(self, damage: Damage) -> None:
        """Note damage, once."""
        self._reported[damage] = None

    def _take_in(self, listing: Listing) -> None:
        """Raises CaptureError."""
        self._files = in_order([*self._files, *listing.files])
        self._expired.update(listing.expired)
        self._unreadable = listing.damage
        self._decoded.clear()
        self._grown = False
        self._labels = sorted({LABEL_PREFIX + name for file in self._files for name in file.header.labels})
        counts = [file.starts[-1] for file in self._files]
        ends = np.cumsum([0, *counts])
        self._starts = np.concatenate(
            [*(file.starts[:-1] + end for file, end in zip(self._files, ends, strict=False)), ends[-1:]]
        )
        self._first_position = np.cumsum([0, *(len(file.places) for file in self._files)]).tolist()
        zero_ns = self.header.wall_ns
        self._arrivals = np.concatenate([file.arrivals + (file.header.wall_ns - zero_ns) for file in self._files])

    def _file_of(self, position: int) -> tuple[CaptureFile, int, int]:
        """The file of a segment, the segment's place there, and what the file's times are moved by."""
        at = bisect_right(self._first_position, position) - 1
        file = self._files[at]
        return file, position - self._first_position[at], file.header.wall_ns - self.header.wall_ns

    def _spans(self, start: int, stop: int | None) -> Iterator[tuple[int, int, int]]:
        """(position, first row, end row) of the segments that hold these ordinals."""
        end = len(self) if stop is None else min(stop, len(self))
        for position in range(
            max(int(np.searchsorted(self._starts, start, side="right")) - 1, 0), len(self._starts) - 1
        ):
            first, last = int(self._starts[position]), int(self._starts[position + 1])
            if first >= end:
                return
            low, high = max(start - first, 0), min(end, last) - first
            if low < high:
                yield position, low, high

    def _positions(self, within: tuple[int, int] | None) -> list[int]:
        held = np.diff(self._starts) > 0
        if within:
            held &= (self._arrivals[:, 0] < within[1]) & (self._arrivals[:, 1] >= within[0])
        return [int(position) for position in np.flatnonzero(held)]

    def _prefetch(self, positions: Sequence[int]) -> None:
        for file, run in groupby(map(self._file_of, positions), key=lambda each: each[0]):
            file.prefetch([local for _, local, _ in run])

    def _columns(self, position: int) -> Batch:
        file, local, by_ns = self._file_of(position)
        return with_labels(later(file.columns(local), by_ns), self._labels)

    def _decode(self, position: int, *, bodies: bool) -> Batch:
        """What can be read of a segment."""
        key = (position, bodies)
        if key not in self._decoded:
            file, local, by_ns = self._file_of(position)
            self._decoded[key] = with_labels(later(file.decode(local, bodies=bodies), by_ns), self._labels)
            while len(self._decoded) > CACHED_SEGMENTS:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _behind(self, readable: Callable[[CaptureFile, int], int]) -> NDArray[np.bool_]:
        """For each ordinal, whether it stands behind the readable part of its segment."""
        behind = np.zeros(len(self), dtype=np.bool_)
        for position in range(len(self._starts) - 1):
            file, local, _ = self._file_of(position)
            behind[self._starts[position] + readable(file, local) : self._starts[position + 1]] = True
        return behind

    def _unreadable_exchange(self, position: int, row: int) -> CaptureError:
        file, local, _ = self._file_of(position)
        number = file.places[local].number
        damage = next((each for each in file.damage[::-1] if each.segment == number and each.exchanges_lost != 0), None)
        why = f"damaged at byte {damage.offset} ({damage.reason})" if damage else "damaged"
        return CaptureError(
            f"{file.name}: exchange {int(self._starts[position]) + row} cannot be read: segment {number} is {why}; "
            "run `shadowtape verify` on it"
        )


class _Segments(Sequence[Segment]):
    """Walked one by one, when they are asked for."""

    def __init__(self, files: Sequence[CaptureFile]) -> None:
        self._places = [(file, local) for file in files for local in range(len(file.places))]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> Segment: ...
    @overload
    def __getitem__(self, at: slice) -> list[Segment]: ...
    def __getitem__(self, at: int | slice) -> Segment | list[Segment]:
        if isinstance(at, slice):
            return [file.segment(local) for file, local in self._places[at]]
        file, local = self._places[at]
        return file.segment(local)
