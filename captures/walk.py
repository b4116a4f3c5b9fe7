"""Finds segments, flushes and damage in a capture, from front to back, without reading a body.

Pure: bytes come from ``read_at(offset, size)``, which gives fewer at the end of the file. Damage is a reported event: the walk
goes on at the next sync marker. What is cut off by the end of the file is no damage.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from captures.frame import (
    CRC_SIZE,
    LIMITS,
    PIECE_HEADER_SIZE,
    SYNC_SIZE,
    TRAILER_SIZE,
    FrameError,
    Kind,
    Piece,
    check_payload,
    unpack_piece_header,
    unpack_trailer,
)
from captures.index import DIGEST_SIZE, Commit, Index, Start, unpack_commit, unpack_index, unpack_start

type ReadAt = Callable[[int, int], bytes]

SEARCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """``segment``: number of the segment that suffered. ``exchanges_lost``: None where nothing tells. ``file``: its path, where
    the capture has several.
    """

    offset: int
    segment: int
    reason: str
    exchanges_lost: int | None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Flush:
    pieces: tuple[Piece, ...]  # the commit is the last
    commit: Commit


@dataclass(frozen=True, slots=True)
class Segment:
    """``offset``: of its sync marker. ``end``: of its last committed flush."""

    offset: int
    end: int
    start: Start
    flushes: tuple[Flush, ...]

    @property
    def exchanges(self) -> int:
        return sum(flush.commit.exchanges for flush in self.flushes)


@dataclass(frozen=True, slots=True)
class Walk:
    """``index``: None for an unsealed file. ``tail``: bytes after the last commit, cut off by the end of the file."""

    segments: tuple[Segment, ...]
    damage: tuple[Damage, ...]
    index: Index | None
    digest: str
    tail: int


class CutError(Exception):
    """The end of the file came first: the normal trace of a killed recorder. Never leaves ``captures``."""


def read_piece(read_at: ReadAt, offset: int, stop: int) -> Piece:
    """The piece at an offset; it must end before ``stop``. Raises FrameError, CutError."""
    header = read_at(offset, PIECE_HEADER_SIZE)
    if len(header) < PIECE_HEADER_SIZE or offset + PIECE_HEADER_SIZE > stop:
        raise CutError
    piece = unpack_piece_header(header, offset)
    if piece.end > stop:
        raise CutError
    return piece


def read_payload(read_at: ReadAt, piece: Piece) -> bytes:
    """Raises FrameError: the payload's checksum."""
    data = read_at(piece.payload_offset, piece.stored + CRC_SIZE)
    if len(data) < piece.stored + CRC_SIZE:
        raise FrameError("the file became shorter")
    payload = data[: piece.stored]
    check_payload(payload, data[piece.stored :], piece.kind)
    return payload


def walk(read_at: ReadAt, size: int, header: Piece, sync: bytes) -> Walk:
    """What a file of ``size`` bytes holds after its header piece. Raises nothing but what ``read_at`` raises."""
    claimed = unpack_trailer(read_at(max(size - TRAILER_SIZE, 0), TRAILER_SIZE))
    index = _read_index(read_at, claimed, size)
    walker = _Walker(read_at, size if claimed is None or index is None else claimed, sync, index, claimed)
    walker.run(header.end)
    last = max((each.offset for each in walker.damage), default=0)
    tail = 0 if index or last >= walker.good else size - walker.good
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for piece in [header, *(piece for segment in walker.segments for each in segment.flushes for piece in each.pieces)]:
        digest.update(read_at(piece.offset, PIECE_HEADER_SIZE) + read_at(piece.end - CRC_SIZE, CRC_SIZE))
    damage = _account(walker.segments, walker.damage, index)
    return Walk(tuple(walker.segments), tuple(damage), index, digest.hexdigest(), tail)


def _read_index(read_at: ReadAt, offset: int | None, size: int) -> Index | None:
    """The index a trailer points at. None where there is none; where it is damaged, the walk comes upon it and says so."""
    if offset is None:
        return None
    try:
        piece = read_piece(read_at, offset, size - TRAILER_SIZE)
        found = piece.kind == Kind.INDEX and piece.end == size - TRAILER_SIZE
        return unpack_index(read_payload(read_at, piece)) if found else None
    except (CutError, FrameError):
        return None


@dataclass(slots=True)
class _Open:
    """The segment being walked."""

    offset: int
    start: Start
    flushes: list[Flush] = field(default_factory=list)
    pending: list[Piece] = field(default_factory=list)
    exchanges: int = 0


class _Walker:
    """``at``: the offset of what is being read. ``good``: the end of the last commit."""

    def __init__(self, read_at: ReadAt, stop: int, sync: bytes, index: Index | None, claimed: int | None) -> None:
        self._read_at, self._stop, self._sync, self._index = read_at, stop, sync, index
        self._claimed = claimed  # where a trailer says the index is
        self._open: _Open | None = None
        self._number = -1  # of the last segment that started
        self._seen: set[int] = set()
        self.segments: list[Segment] = []
        self.damage: list[Damage] = []
        self.at = self.good = 0

    def run(self, at: int) -> None:
        self.at = self.good = at
        while self.at < self._stop:
            try:
                self._step()
            except CutError:
                if self._stop_is_end():
                    break
                self._resync("cut off by the index")
            except FrameError as error:
                self._resync(str(error))
        self._close()

    def _step(self) -> None:
        peek = self._read_at(self.at, min(SYNC_SIZE, self._stop - self.at))
        if peek == self._sync:
            self._close(before_marker=True)
            self._begin()
            return
        if self._sync.startswith(peek):
            raise CutError
        piece = read_piece(self._read_at, self.at, self._stop)
        if piece.kind == Kind.INDEX:
            if piece.end + TRAILER_SIZE > self._stop:
                raise CutError
            # It is not the one that was read from the end; segments only follow if files were joined.
            self._close(before_marker=True)
            self.damage.append(Damage(self.at, -1, "the index or the trailer is damaged, or bytes follow them", 0))
            self.at = self._next_marker(piece.end)
            return
        if self._open is None:
            raise FrameError("a piece outside of any segment")
        self._take(self._open, piece)

    def _begin(self) -> None:
        piece = read_piece(self._read_at, self.at + SYNC_SIZE, self._stop)
        if piece.kind != Kind.START:
            raise FrameError("a sync marker without the start of a segment")
        start = unpack_start(read_payload(self._read_at, piece))
        self._open, self._number = _Open(self.at, start), start.number
        self.at = piece.end

    def _take(self, segment: _Open, piece: Piece) -> None:
        if piece.kind in (Kind.HEADER, Kind.START):
            raise FrameError(f"a piece where none of its kind belongs ({Kind(piece.kind).name.lower()})")
        # Planning reads these, so that their damage is known from the beginning; the rest is checked when it is read.
        payload = read_payload(self._read_at, piece) if piece.kind in (Kind.COLUMNS, Kind.NAMES, Kind.COMMIT) else b""
        segment.pending.append(piece)
        if piece.kind == Kind.COMMIT:
            commit = unpack_commit(payload)
            if commit.pieces != len(segment.pending) - 1:
                raise FrameError("a flush lacks pieces or has too many")
            segment.exchanges += commit.exchanges
            if segment.exchanges > LIMITS["exchanges"]:
                raise FrameError("a segment claims more exchanges than the limit")
            segment.flushes.append(Flush(tuple(segment.pending), commit))
            segment.pending = []
            self.good = piece.end
        self.at = piece.end

    def _close(self, *, before_marker: bool = False) -> None:
        segment, self._open = self._open, None
        if segment is None:
            return
        number = segment.start.number
        if segment.pending and (before_marker or not self._stop_is_end()):
            self.damage.append(Damage(segment.pending[0].offset, number, "a flush without its commit", None))
        if not segment.flushes:
            return
        if number in self._seen:
            self.damage.append(Damage(segment.offset, number, "a segment again; read once", 0))
            return
        if self.segments and number < self.segments[-1].start.number:
            self.damage.append(Damage(segment.offset, number, "a segment out of order", 0))
        self._seen.add(number)
        end = segment.flushes[-1].pieces[-1].end
        self.segments.append(Segment(segment.offset, end, segment.start, tuple(segment.flushes)))

    def _resync(self, reason: str) -> None:
        """Only a sync marker is to be believed now: what stands here may be wrong about its length too."""
        number = self._open.start.number if self._open else self._number + 1
        if self.at == self._claimed and not (self._open and self._open.pending):
            self.damage.append(Damage(self.at, -1, f"the index is damaged: {reason}", 0))  # all segments came before it
        else:
            self.damage.append(Damage(self.at, number, reason, None))
        if self._open:
            self._open.pending = []
        self._close()
        self.at = self._next_marker(self.at + 1)

    def _next_marker(self, at: int) -> int:
        if self._index:
            offsets = [entry.offset for entry in self._index.segments if entry.offset >= at]
            if offsets and self._read_at(offsets[0], SYNC_SIZE) == self._sync:
                return offsets[0]
        while at < self._stop:
            found = self._read_at(at, min(SEARCH_BYTES + SYNC_SIZE - 1, self._stop - at)).find(self._sync)
            if found >= 0:
                return at + found
            at += SEARCH_BYTES
        return self._stop

    def _stop_is_end(self) -> bool:
        """Whether the walk ends where the file ends: then what is cut off there is no damage."""
        return self._index is None


def _account(segments: Sequence[Segment], found: Sequence[Damage], index: Index | None) -> list[Damage]:
    """Say how many exchanges each damage cost, where the next segment's ``before`` or the index tells."""
    damage = list(found)
    number, reached, end = -1, 0, -1
    stops = [(each.start.number, each.start.before, each.exchanges, each.offset, each.end) for each in segments]
    if index:
        last = segments[-1].end if segments else 0
        stops.append((len(index.segments), index.commit.total_exchanges, 0, last, last))
    for stop, before, exchanges, offset, stop_end in sorted(stops):
        gap = before - reached
        mine = [i for i, each in enumerate(damage) if number <= each.segment < stop and each.exchanges_lost is None]
        for rank, i in enumerate(mine):
            # What begins where a segment ends, with whole segments missing, is damage of the first of these.
            suffers = number + 1 if damage[i].offset == end and stop > number + 1 else damage[i].segment
            damage[i] = replace(damage[i], segment=suffers, exchanges_lost=max(gap, 0) if rank == 0 else 0)
        if gap < 0:
            damage.append(Damage(offset, stop, "a segment contradicts the ones before it", 0))
        elif not mine and (gap > 0 or stop > number + 1):
            damage.append(Damage(offset, number + 1, "segments are missing", gap))
        number, reached, end = stop, before + exchanges, stop_end
    return sorted(damage, key=lambda each: each.offset)
