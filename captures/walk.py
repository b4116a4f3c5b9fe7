"""Finds the segments, flushes and damage of a file without reading a body: one segment (`walk_segment`), or a whole file from front
to back (`Walker`), which is how a file without an index is read.

Damage is a reported event: a walker goes on at the next sync marker. What is cut off by the end of the file is no damage.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from captures.frame import LIMITS, SYNC_SIZE, TRAILER_SIZE, FrameError, Kind, Piece
from captures.index import DIGEST_SIZE, Commit, Start, unpack_commit, unpack_start
from captures.pieces import CutError, PieceReader

SEARCH_BYTES = 1 << 20
REREAD = 8  # times the file's length that damage may send a walker back, all together: markers may stand inside of one another
NOT_THERE = "the segment is not where the index says"


@dataclass(frozen=True, slots=True)
class Damage:
    """``segment``: number of the segment that suffered; -1: none. ``exchanges_lost``: None where nothing tells. ``file``: its path,
    where the capture has several.
    """

    offset: int
    segment: int
    reason: str
    exchanges_lost: int | None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Flush:
    """``first``: the ordinal of its first piece in the segment, of which the start is 0."""

    pieces: tuple[Piece, ...]  # the commit is the last
    commit: Commit
    first: int = 1


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
class Place:
    """Where a segment stands and what the index, or its commits, say of it. ``number`` and ``before``: as in its start."""

    number: int
    before: int
    offset: int
    end: int
    exchanges: int
    min_arrival_ns: int = 0
    max_arrival_ns: int = -1


@dataclass(slots=True)
class _Open:
    """The segment being walked. ``good``: the end of its last committed flush."""

    offset: int
    start: Start
    good: int
    ordinal: int = 1  # of the next piece
    pending: list[Piece] = field(default_factory=list)
    exchanges: int = 0
    low: int = 0
    high: int = -1

    def take(self, reader: PieceReader, piece: Piece) -> Flush | None:
        """The flush that this piece ends, if it does. Raises FrameError."""
        if piece.kind in (Kind.HEADER, Kind.START, Kind.INDEX):
            raise FrameError(f"a piece where none of its kind belongs ({Kind(piece.kind).name.lower()})")
        if self.ordinal > LIMITS["pieces"]:
            raise FrameError("a segment has more pieces than the limit")
        self.pending.append(piece)
        self.ordinal += 1
        if piece.kind != Kind.COMMIT:
            return None
        commit = unpack_commit(reader.payload(piece, self.start.number, self.ordinal - 1))
        if commit.pieces != len(self.pending) - 1:
            raise FrameError("a flush lacks pieces or has too many")
        if self.exchanges + commit.exchanges > LIMITS["exchanges"]:
            raise FrameError("a segment claims more exchanges than the limit")
        if self.start.before + self.exchanges + commit.exchanges != commit.total_exchanges:
            # A flush is there twice, or one is gone: what follows would be the difference to another row.
            raise FrameError("a commit claims other totals than its segment has")
        if commit.exchanges:
            self.low = min(self.low, commit.min_arrival_ns) if self.exchanges else commit.min_arrival_ns
            self.high = max(self.high, commit.max_arrival_ns) if self.exchanges else commit.max_arrival_ns
        self.exchanges += commit.exchanges
        flush = Flush(tuple(self.pending), commit, self.ordinal - len(self.pending))
        self.pending, self.good = [], piece.end
        return flush

    def place(self) -> Place:
        start = self.start
        return Place(start.number, start.before, self.offset, self.good, self.exchanges, self.low, self.high)


def walk_segment(reader: PieceReader, sync: bytes, place: Place) -> tuple[Segment, Damage | None]:
    """The segment at a place, up to its first damage: what comes after that cannot be read. Without flushes, where it is not there
    at all or is not what the place says.
    """
    found = _Found(place.offset, place.offset, Start(place.number, place.before))
    try:
        opened = _follow(reader, sync, place, found)
    except (CutError, FrameError) as error:
        kept = sum(flush.commit.exchanges for flush in found.flushes)
        if kept > place.exchanges:  # then not even the whole ones are what the place says
            found.flushes, found.good, kept = [], place.offset, 0
        reason = "a piece reaches beyond its segment" if isinstance(error, CutError) else str(error)
        return found.segment(place), Damage(found.at, place.number, reason, place.exchanges - kept)
    told = (opened.start.before, opened.low, opened.high)
    if told != (place.before, place.min_arrival_ns, place.max_arrival_ns):
        what = "arrivals" if told[0] == place.before else "exchanges before it"
        reason = f"the index claims other {what} than the segment"
        return found.segment(place), Damage(place.offset, place.number, reason, 0)
    return found.segment(place), None


@dataclass(slots=True)
class _Found:
    """What `walk_segment` has so far. ``at``: what is being read. ``good``: the end of the last flush."""

    at: int
    good: int
    start: Start
    flushes: list[Flush] = field(default_factory=list)

    def segment(self, place: Place) -> Segment:
        return Segment(place.offset, self.good, self.start, tuple(self.flushes))


def _follow(reader: PieceReader, sync: bytes, place: Place, found: _Found) -> _Open:
    """Raises FrameError, CutError."""
    reader.hold(place.offset, place.end - place.offset)
    if reader.bytes_at(place.offset, SYNC_SIZE) != sync:
        raise FrameError(NOT_THERE)
    opened = _begin(reader, place.offset, place.end)
    if opened.start.number != place.number:
        raise FrameError(NOT_THERE)
    found.start, found.at = opened.start, opened.good
    while found.at < place.end:
        piece = reader.piece(found.at, place.end)
        flush = opened.take(reader, piece)
        found.at = piece.end
        if flush:
            found.flushes.append(flush)
            found.good = piece.end
    if opened.pending:
        found.at = opened.pending[0].offset
        raise FrameError("a flush without its commit")
    if opened.exchanges != place.exchanges:
        found.flushes, found.at, found.good = [], place.offset, place.offset
        raise FrameError("the index claims other exchanges than the segment has")
    return opened


def _begin(reader: PieceReader, marker: int, stop: int) -> _Open:
    """The segment whose sync marker stands there. Raises FrameError, CutError."""
    piece = reader.piece(marker + SYNC_SIZE, stop)
    if piece.kind != Kind.START:
        raise FrameError("a sync marker without the start of a segment")
    return _Open(marker, unpack_start(reader.payload(piece)), piece.end)


class Walker:
    """Walks a file that has no index, from front to back; `run` again when the file has grown.

    ``places``: the segments. ``last``: the last commit. ``end``: of the last commit, of the header where there is none. ``digest``:
    hex, of what was committed.
    """

    def __init__(
        self,
        reader: PieceReader,
        sync: bytes,
        header: Piece,
        *,
        stop: int | None = None,
        patience: int | None = None,
    ) -> None:
        """``stop``: walk no further. ``patience``: bytes that may be searched for markers, all together. Raises FrameError."""
        self._reader, self._sync, self._until, self._patience = reader, sync, stop, patience
        self._claimed: int | None = None
        self._hash = hashlib.blake2b(reader.seal(header), digest_size=DIGEST_SIZE)
        self._open: _Open | None = None
        self._numbers: set[int] = set()  # of places
        self._repeats = False  # the open segment has been read before
        self._found: list[Damage] = []
        self._lost_track = False  # after damage: only a sync marker is to be believed
        self._at = header.end  # what is being read
        self._search_from = 0  # having lost track: markers before this are not to be believed
        self._reread = 0  # bytes
        self._accounted: list[Damage] | None = None
        self.places: list[Place] = []
        self.last: Commit | None = None
        self.end = header.end

    @property
    def damage(self) -> list[Damage]:
        if self._accounted is None:
            self._accounted = _account(self.places, self._found)
        return self._accounted

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def tail(self) -> int:
        """Bytes after the last commit that the end of the file cut off."""
        last = max((each.offset for each in self._found), default=0)
        return 0 if last >= self.end else self._stop - self.end

    @property
    def _stop(self) -> int:
        return self._reader.size if self._until is None else self._until

    def run(self, claimed: int | None = None) -> None:
        """On to the end of the file. ``claimed``: where a trailer says the index is."""
        self._claimed, self._accounted = claimed, None
        while self._at < self._stop:
            if self._lost_track and not self._back_on_track():
                return
            try:
                self._step()
            except CutError:
                if self._marker_from(self._settled + 1) is None:
                    break
                self._lose_track("a piece is cut off, and segments follow")
            except FrameError as error:
                self._lose_track(str(error))
        self._rewind()

    def _step(self) -> None:
        peek = self._reader.bytes_at(self._at, min(SYNC_SIZE, self._stop - self._at))
        if peek == self._sync:
            self._leave()
            self._open = _begin(self._reader, self._at, self._stop)
            self._repeats = self._open.start.number in self._numbers
            self._at = self._open.good
            return
        if self._sync.startswith(peek):
            raise CutError
        piece = self._reader.piece(self._at, self._stop)
        if piece.kind == Kind.INDEX:
            if piece.end + TRAILER_SIZE > self._stop:
                raise CutError
            # Nothing believes this index, or the file would not be walked; segments only follow if files were joined.
            self._leave()
            self._found.append(Damage(self._at, -1, "the index or the trailer is damaged, or bytes follow them", 0))
            self._lost_track, self._at, self._search_from = True, piece.end, piece.end
            return
        if self._open is None:
            raise FrameError("a piece outside of any segment")
        flush = self._open.take(self._reader, piece)
        self._at = piece.end
        if flush:
            self._note(self._open, flush)

    def _note(self, segment: _Open, flush: Flush) -> None:
        """A flush was committed."""
        number, first = segment.start.number, flush.first == 1
        self.end = segment.good
        if self._repeats:
            if first:
                self._found.append(Damage(segment.offset, number, "a segment again; read once", 0))
            return
        for piece in flush.pieces:
            self._hash.update(self._reader.seal(piece))
        self.last = flush.commit
        if not first:
            self.places[-1] = segment.place()
            return
        if self.places and number < self.places[-1].number:
            self._found.append(Damage(segment.offset, number, "a segment out of order", 0))
        self.places.append(segment.place())
        self._numbers.add(number)

    def _leave(self) -> None:
        """What comes now does not belong to the open segment."""
        segment, self._open = self._open, None
        if segment and segment.pending:
            reason = "a flush without its commit"
            self._found.append(Damage(segment.pending[0].offset, segment.start.number, reason, None))

    @property
    def _settled(self) -> int:
        """What lies before this is known: the last commit of the open segment, or its marker."""
        segment = self._open
        if segment is None:
            return self._at
        return segment.good if segment.ordinal > len(segment.pending) + 1 else segment.offset

    def _lose_track(self, reason: str) -> None:
        """Only a sync marker is to be believed now. It may stand inside of what claimed to be a piece of an unfinished flush."""
        segment, offset = self._open, self._at
        self._reread += self._at - self._settled
        far = self._reread > REREAD * self._stop
        if self._at == self._claimed and not (segment and segment.pending):
            self._found.append(
                Damage(self._at, -1, f"the index is damaged: {reason}", 0)
            )  # all segments came before it
        else:
            after = self.places[-1].number + 1 if self.places else 0
            for piece in segment.pending if segment and not far else ():
                try:
                    self._reader.stored(piece)
                except FrameError as error:
                    offset, reason = piece.offset, str(error)
                    break
            self._found.append(Damage(offset, segment.start.number if segment else after, reason, None))
        self._lost_track, self._at = True, (self._at if far else self._settled) + 1
        self._search_from, self._open = self._at, None

    def _back_on_track(self) -> bool:
        found = self._marker_from(self._at)
        self._lost_track = found is None
        # Half a marker may be there already.
        self._at = max(self._stop - SYNC_SIZE + 1, self._search_from) if found is None else found
        return found is not None

    def _marker_from(self, at: int) -> int | None:
        while at < self._stop and (self._patience is None or self._patience > 0):
            size = min(SEARCH_BYTES + SYNC_SIZE - 1, self._stop - at)
            if self._patience is not None:
                self._patience -= size
            with suppress(FrameError):  # what the disk cannot read is no marker
                found = self._reader.far_bytes(at, size).find(self._sync)
                if found >= 0:
                    return at + found
            at += SEARCH_BYTES
        return None

    def _rewind(self) -> None:
        """Drop what the end of the file cut off: when the file grows, it is read again."""
        segment = self._open
        if segment is None:
            return
        self._at = self._settled
        if self._at == segment.offset:
            self._open = None
            return
        segment.ordinal -= len(segment.pending)
        segment.pending = []


def _account(places: Sequence[Place], found: Sequence[Damage]) -> list[Damage]:
    """Say how many exchanges each damage cost, where the next segment's ``before`` tells."""
    damage = list(found)
    unknown = sorted((each.segment, i) for i, each in enumerate(damage) if each.exchanges_lost is None)
    number, reached, end, told = -1, 0, -1, 0
    for place in sorted(places, key=lambda each: each.number):
        gap, known = place.before - reached, bisect_left(unknown, (place.number, -1))
        mine, told = sorted(i for _, i in unknown[told:known]), known
        for rank, i in enumerate(mine):
            # What begins where a segment ends, with whole segments missing, is damage of the first of these.
            first_missing = damage[i].offset == end and place.number > number + 1
            suffers = number + 1 if first_missing else damage[i].segment
            damage[i] = replace(damage[i], segment=suffers, exchanges_lost=max(gap, 0) if rank == 0 else 0)
        if gap < 0:
            damage.append(Damage(place.offset, place.number, "a segment contradicts the ones before it", 0))
        elif not mine and (gap > 0 or place.number > number + 1):
            damage.append(Damage(place.offset, number + 1, "segments are missing", gap))
        number, reached, end = place.number, place.before + place.exchanges, place.end
    return sorted(damage, key=lambda each: each.offset)
