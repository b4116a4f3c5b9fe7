"""One capture file: its header, where its segments are, their decoding, and what of it is damaged.

Pure: bytes come from a `Stored`. A sealed file is opened by its header and its index; an unsealed one is walked once, which makes
the index it lacks. A segment is looked at when it is touched. Ordinals count what the index (or the commits walked) says there is,
so an exchange that turns out to be damaged keeps its ordinal. One thread at a time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from captures.batches import concat
from captures.beginning import Beginning, cipher_of, read_beginning
from captures.columns import Batch
from captures.frame import LIMITS, TRAILER_SIZE, FrameError, Kind, Piece, unpack_trailer
from captures.header import Header
from captures.index import DIGEST_SIZE, Commit, Index, rows_of, unpack_index
from captures.pieces import CutError, PieceReader, ReadAt
from captures.segment_reading import ALL_KINDS, COLUMN_KINDS, HEAD_KINDS, check_limits, decode_segment, read_payloads
from captures.segments_ahead import fetch_columns
from captures.walk import NOT_THERE, Damage, Place, Segment, Walker, walk_segment

EMPTY = concat([])
WALKED_SEGMENTS = 4  # of which the pieces are remembered
HELD_BYTES = 32 << 20
SEARCHED_BYTES = 64 << 20  # for segments that are not where the index says
_MOST = LIMITS["exchanges"]
_ZERO = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as bytes. ``read_at(offset, size)`` gives fewer at the end, and may raise OSError or CaptureError. ``measure``: how
    many bytes it has by now; None: it does not grow. ``prefetch``: told (offset, size) ranges that will soon be read, where one
    request for all of them is faster than one for each; None: where it is not.
    """

    name: str
    size: int
    read_at: ReadAt
    close: Callable[[], None] = lambda: None
    measure: Callable[[], int] | None = None
    prefetch: Callable[[Iterable[tuple[int, int]]], None] | None = None


class CaptureFile:
    """``places``: where the segments are; ``starts``: the ordinal of the first exchange of each, and of the end. ``commit``: the
    last one. ``digest``: of the committed content, as the index says or as it was walked. ``tail``: bytes of an unfinished flush.
    """

    def __init__(self, stored: Stored, key: bytes | None = None) -> None:
        """Raises CaptureError: not a capture, a newer format, header damaged, no key or another."""
        self.name, self.key = stored.name, key
        self._stored, self._reader = stored, PieceReader(stored.read_at, stored.size)
        self._beginning: Beginning = read_beginning(stored.name, self._reader)
        self._reader.cipher = cipher_of(stored.name, self._beginning, key)
        self._walker: Walker | None = None
        self._found: dict[Damage, None] = {}
        self._walked: OrderedDict[int, Segment] = OrderedDict()
        self._moved: dict[int, Place] | None = None
        self._contradicting: set[tuple[int, int]] = set()  # (position, exchanges): that many do not decode together
        self._load()

    @property
    def header(self) -> Header:
        return self._beginning.header

    @property
    def version(self) -> int:
        """Of the format."""
        return self._beginning.version

    @property
    def size(self) -> int:
        return self._reader.size

    @property
    def encrypted(self) -> bool:
        return self._reader.cipher is not None

    @property
    def sealed(self) -> bool:
        return self.index is not None

    @property
    def damage(self) -> list[Damage]:
        """What was found so far, in the order of the file."""
        found = dict.fromkeys([*(self._walker.damage if self._walker else []), *self._found])
        return sorted(found, key=lambda each: each.offset)

    @property
    def reports(self) -> int:
        """How often `report` noted something new so far."""
        return len(self._found)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def close(self) -> None:
        self._stored.close()

    def refresh(self) -> bool:
        """Take in what was appended since; whether there was anything. Raises what ``measure`` and ``read_at`` raise."""
        size = self._stored.measure() if self._stored.measure and not self.sealed else 0
        if size <= self._reader.size:
            return False
        self._reader.size = size
        self._walked.clear()
        self._contradicting.clear()
        self._load()
        return True

    def report(self, damage: Damage) -> None:
        """Note damage, once."""
        self._found[damage] = None

    def segment(self, position: int) -> Segment:
        """The pieces of a segment, as far as they can be read; what is wrong is reported."""
        if position not in self._walked:
            place = self.places[position]
            segment, damage = walk_segment(self._reader, self._beginning.sync, place)
            if damage and damage.reason == NOT_THERE:
                moved = self._elsewhere(place)
                if moved:
                    self.report(Damage(moved.offset, place.number, "a segment out of order", 0))
                    segment, damage = walk_segment(self._reader, self._beginning.sync, moved)
            if damage:
                self.report(damage)
            self._walked[position] = segment
            while len(self._walked) > WALKED_SEGMENTS:
                self._walked.popitem(last=False)
        self._walked.move_to_end(position)
        return self._walked[position]

    def prefetch(self, positions: Iterable[int]) -> None:
        """The columns of these segments will be read."""
        if self._stored.prefetch:
            places = [self.places[position] for position in positions]
            fetch_columns(places, self._stored.read_at, self._stored.prefetch, encrypted=self.encrypted)

    def columns(self, position: int) -> Batch:
        """Columns and names of a segment, up to its first damage, which is reported."""
        return self._decode(position, COLUMN_KINDS)

    def decode(self, position: int, *, bodies: bool) -> Batch:
        """A segment up to its first damage, which is reported."""
        if bodies:  # everything in it is wanted
            place = self.places[position]
            self._reader.hold(place.offset, place.end - place.offset, HELD_BYTES)
        return self._decode(position, ALL_KINDS if bodies else HEAD_KINDS)

    def readable(self, position: int) -> int:
        """How many exchanges of a segment are whole, by their checksums. Decompresses nothing."""
        segment, place = self.segment(position), self.places[position]
        _, counts, damage = read_payloads(self._reader, segment, place, ALL_KINDS, keep=False)
        self._reader.forget()
        if damage:
            self.report(damage)
        return 0 if (position, sum(counts)) in self._contradicting else sum(counts)

    def check(self, position: int) -> Batch:
        """Read and decode every byte of a segment; what is wrong is reported. Gives its columns, as `columns` does."""
        for flush in self.segment(position).flushes:
            for piece in flush.pieces:
                if piece.kind not in Kind:
                    self._check_unknown(piece, self.places[position].number)
        self.decode(position, bodies=True)
        return self.columns(position)

    def content_digest(self) -> str:
        """The digest, made from what is there and not from what the index says."""
        if self._walker:
            return self._walker.digest
        digest = hashlib.blake2b(self._reader.seal(self._beginning.piece), digest_size=DIGEST_SIZE)
        for position in range(len(self.places)):
            for flush in self.segment(position).flushes:
                for piece in flush.pieces:
                    digest.update(self._reader.seal(piece))
        return digest.hexdigest()

    def _decode(self, position: int, kinds: Collection[Kind]) -> Batch:
        segment, place = self.segment(position), self.places[position]
        counts: list[int] = [segment.exchanges]
        try:
            check_limits(segment, kinds)
            payloads, counts, damage = read_payloads(self._reader, segment, place, kinds)
            if damage:
                self.report(damage)
            return decode_segment(segment, payloads, counts)
        except FrameError as error:
            # Its checksums are right: whoever wrote it was wrong.
            self.report(Damage(place.offset, place.number, str(error), place.exchanges))
            self._contradicting.add((position, sum(counts)))
            return EMPTY
        finally:
            self._reader.forget()

    def _load(self) -> None:
        """Find the segments: by the index, or by walking on."""
        self._reader.forget()
        claimed = self._trailer()
        self.index = None if claimed is None else self._read_index(claimed)
        if self.index is None:
            self._walk(claimed)
        else:
            self._believe(self.index)
        self._reader.forget()

    def _believe(self, index: Index) -> None:
        if self._walker:  # the file was read before it was sealed
            self._found |= dict.fromkeys(self._walker.damage)
            self._walker = None
        rows = rows_of(index)
        self.starts = np.concatenate((_ZERO, np.cumsum(rows[:, 2])))
        self.places: Sequence[Place] = _IndexedPlaces(rows, self.starts)
        self.arrivals = rows[:, 3:5]
        self.commit, self.digest, self.tail = index.commit, index.digest.hex(), 0

    def _walk(self, claimed: int | None) -> None:
        beginning = self._beginning
        if self._walker is None:
            self._walker = Walker(self._reader, beginning.sync, beginning.piece)
        walker = self._walker
        walker.run(claimed)
        places = self.places = list(walker.places)
        self.starts = np.cumsum([0, *(place.exchanges for place in places)])
        arrivals = [(place.min_arrival_ns, place.max_arrival_ns) for place in places]
        self.arrivals = np.array(arrivals, dtype=np.int64).reshape(-1, 2)
        self.commit = walker.last or Commit(sampling_rate=float(self.header.sampling_rate))
        self.digest, self.tail = walker.digest, walker.tail

    def _trailer(self) -> int | None:
        """Where the trailer says the index is."""
        try:
            return unpack_trailer(self._reader.far_bytes(max(self.size - TRAILER_SIZE, 0), TRAILER_SIZE))
        except FrameError:
            return None

    def _read_index(self, offset: int) -> Index | None:
        """The index a trailer points at. None where there is none that can be believed: the walk comes upon it and says so."""
        try:
            piece = self._reader.piece(offset, self.size - TRAILER_SIZE)
            if piece.kind != Kind.INDEX or piece.end != self.size - TRAILER_SIZE:
                return None
            index = unpack_index(self._reader.payload(piece))
        except (CutError, FrameError):
            return None
        return index if _describes(index, self._beginning.piece.end, offset) else None

    def _elsewhere(self, place: Place) -> Place | None:
        """Where the segment stands that the index says stands here: files were put together in another order."""
        if self._moved is None:
            assert self.index is not None
            beginning, stop = self._beginning, self.size - TRAILER_SIZE
            walker = Walker(self._reader, beginning.sync, beginning.piece, stop=stop, patience=SEARCHED_BYTES)
            walker.run()
            self._moved = {each.number: each for each in walker.places}
        found = self._moved.get(place.number)
        same = found and (found.end - found.offset, found.exchanges) == (place.end - place.offset, place.exchanges)
        return replace(place, offset=found.offset, end=found.end) if found and same else None

    def _check_unknown(self, piece: Piece, number: int) -> None:
        try:
            self._reader.stored(piece)
        except FrameError as error:
            self.report(Damage(piece.offset, number, str(error), 0))


class _IndexedPlaces(Sequence[Place]):
    """Made when asked for: an index may be long."""

    def __init__(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        self._rows, self._starts = rows, starts

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Place: ...
    @overload
    def __getitem__(self, at: slice) -> list[Place]: ...
    def __getitem__(self, at: int | slice) -> Place | list[Place]:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        number = range(len(self))[at]
        offset, length, exchanges, low, high = self._rows[number].tolist()
        return Place(number, int(self._starts[number]), offset, offset + length, exchanges, low, high)


def _describes(index: Index, start: int, stop: int) -> bool:
    """Whether the segments of an index fill the file from the header to the index, within the limits, and add up."""
    rows = rows_of(index)
    offsets, exchanges = rows[:, 0], rows[:, 2]
    if len(rows) and (int(offsets.max()) >= stop or int(rows[:, 1].max()) > stop or int(exchanges.max()) > _MOST):
        return False
    ends = np.concatenate((np.array([start]), offsets + rows[:, 1]))
    contiguous = np.array_equal(ends[:-1], offsets) and int(ends[-1]) == stop
    return contiguous and int(exchanges.sum()) == index.commit.total_exchanges
