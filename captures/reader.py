"""Reads a capture: columns without bodies, exchanges by ordinal, and what is damaged.

Pure: bytes come from ``read_at``. Ordinals count the exchanges whose columns can be read, in file order. Memory is bounded by a
segment (and by what the caller asks to have at once); one thread at a time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from captures.batches import concat, exchanges_of, take
from captures.columns import Batch
from captures.compression import decompress
from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.exchange import Exchange
from captures.frame import FORMAT_VERSION, MAGIC, MAGIC_SIZE, FrameError, Kind, Piece, PieceFlags
from captures.header import Header, unpack_header
from captures.index import Commit, Index
from captures.segment_decoding import decode_bodies, decode_chunks, decode_columns, decode_heads, decode_names
from captures.walk import CutError, Damage, ReadAt, Segment, read_payload, read_piece, walk

CACHED_SEGMENTS = 4
_WHEN_READ = frozenset({Kind.HEADS, Kind.CHUNKS, Kind.BODIES})  # what the walk does not check
_NO_TIMES = np.zeros(0, dtype=np.int64)
_NO_SIZES = np.zeros(0, dtype=np.uint32)


class Capture:
    """``digest``: hex identity of the committed content. ``damage`` grows when a body turns out to be damaged.
    ``tail``: bytes of an unfinished flush at the end, ``sealed`` False then.
    """

    def __init__(self, path: str, read_at: ReadAt, size: int, close: Callable[[], None] = lambda: None) -> None:
        """Raises CaptureError: not a capture, a newer format, header damaged."""
        self.path, self.size = path, size
        self._read_at, self._close = read_at, close
        self.header, header_piece, sync = _read_header(path, read_at, size)
        found = walk(read_at, size, header_piece, sync)
        self.segments: Sequence[Segment] = found.segments
        self.index: Index | None = found.index
        self.digest, self.tail = found.digest, found.tail
        self._damage = list(found.damage)
        commits = [flush.commit for segment in found.segments for flush in segment.flushes]
        self.commit = commits[-1] if commits else Commit(sampling_rate=float(self.header.sampling_rate))
        self._starts = np.cumsum([0] + [segment.exchanges for segment in found.segments])
        self._decoded: OrderedDict[tuple[int, bool], tuple[Batch, int]] = OrderedDict()

    @property
    def sealed(self) -> bool:
        return self.index is not None

    @property
    def confessions(self) -> Confessions:
        return self.commit.confessions

    @property
    def damage(self) -> Sequence[Damage]:
        return tuple(self._damage)

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
        self._close()

    def columns(self) -> Batch:
        """Columns and names of the whole file; heads, chunks and bodies are neither read nor decompressed."""
        try:
            return concat([self._columns(segment) for segment in self.segments])
        except FrameError as error:
            # Its checksums were right when the file was opened: whoever wrote it was wrong.
            raise CaptureError(
                f"{self.path}: its columns contradict each other ({error}); run `shadowtape verify` on it"
            ) from error

    def parts(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, Batch]]:
        """(first ordinal, columns and names) of each segment; ``within``: only segments with arrivals in [start, stop) ns."""
        for position, segment in enumerate(self.segments):
            commits = [flush.commit for flush in segment.flushes if flush.commit.exchanges]
            if within is None or any(c.max_arrival_ns >= within[0] and c.min_arrival_ns < within[1] for c in commits):
                yield int(self._starts[position]), self._columns(segment)

    def read(self, ordinals: NDArray[np.int64], *, bodies: bool = True) -> list[Exchange]:
        """The exchanges of these ordinals, in the order asked. Without ``bodies`` chunks keep their times and have no data.

        Raises IndexError, and CaptureError where an exchange's head or body is damaged (`lost` says which are).
        """
        wanted = np.asarray(ordinals, dtype=np.int64)
        if len(wanted) and not (int(wanted.min()) >= 0 and int(wanted.max()) < len(self)):
            raise IndexError(f"ordinals go from 0 to {len(self) - 1}")
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        found: dict[int, Exchange] = {}
        for position in np.unique(owner).tolist():
            rows = np.unique(wanted[owner == position]) - self._starts[position]
            batch, readable = self._decode(position, bodies=bodies)
            if int(rows[-1]) >= readable:
                number = self.segments[position].start.number
                reason = next(each.reason for each in self._damage[::-1] if each.segment == number)
                raise CaptureError(
                    f"{self.path}: exchange {int(self._starts[position] + rows[-1])} cannot be read: segment {number} "
                    f"is damaged ({reason}); run `shadowtape verify` on it"
                )
            picked = exchanges_of(take(batch, rows))
            found.update(zip((rows + self._starts[position]).tolist(), picked, strict=True))
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
        end = len(self) if stop is None else min(stop, len(self))
        for position in range(len(self.segments)):
            first, last = int(self._starts[position]), int(self._starts[position + 1])
            if last <= start or first >= end:
                continue
            batch, readable = self._decode(position, bodies=bodies)
            rows = np.arange(max(start - first, 0), min(end - first, readable), dtype=np.int64)
            for some in np.array_split(rows, max(len(rows) // 256, 1)):
                yield from zip((some + first).tolist(), exchanges_of(take(batch, some)), strict=True)

    def lost(self) -> NDArray[np.bool_]:
        """For each ordinal, whether its head or body is damaged. Reads every byte, decompresses none."""
        lost = np.zeros(len(self), dtype=np.bool_)
        for position, segment in enumerate(self.segments):
            flushes = self._sound_flushes(segment, bodies=True)
            readable = sum(flush.commit.exchanges for flush in segment.flushes[:flushes])
            lost[self._starts[position] + readable : self._starts[position + 1]] = True
        return lost

    def check(self, position: int) -> Batch:
        """Read, check and decode every byte of the segment at ``position`` of ``segments``; what is wrong is reported in
        ``damage``. Returns its columns and names (empty where they contradict themselves).
        """
        segment = self.segments[position]
        for piece in (piece for flush in segment.flushes for piece in flush.pieces if piece.kind not in _WHEN_READ):
            try:
                read_payload(self._read_at, piece)
            except FrameError as error:
                self.report(Damage(piece.offset, segment.start.number, str(error), 0))
        self._decode_readable(segment, bodies=True)
        try:
            return self._columns(segment)
        except FrameError:  # reported by the line before
            return concat([])

    def _columns(self, segment: Segment) -> Batch:
        """Raises FrameError."""
        counts = [flush.commit.exchanges for flush in segment.flushes]
        columns = decode_columns(segment.start.columns, self._stream(segment, Kind.COLUMNS, len(counts)), counts)
        names = decode_names(self._stream(segment, Kind.NAMES, len(counts)), columns)
        return Batch(columns, names, [], _NO_TIMES, _NO_SIZES, [])

    def _decode(self, position: int, *, bodies: bool) -> tuple[Batch, int]:
        """The segment and how many of its exchanges can be read; the batch holds only those."""
        key = (position, bodies)
        if key not in self._decoded:
            self._decoded[key] = self._decode_readable(self.segments[position], bodies=bodies)
            while len(self._decoded) > CACHED_SEGMENTS:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _decode_readable(self, segment: Segment, *, bodies: bool) -> tuple[Batch, int]:
        flushes = self._sound_flushes(segment, bodies=bodies)
        counts = [flush.commit.exchanges for flush in segment.flushes[:flushes]]
        n = sum(counts)
        try:
            whole = self._columns(segment)
            columns = {name: values[:n] for name, values in whole.columns.items()}
            heads = decode_heads(self._stream(segment, Kind.HEADS, flushes), n)
            times, sizes = decode_chunks(self._stream(segment, Kind.CHUNKS, flushes), columns, counts)
            data = decode_bodies(self._stream(segment, Kind.BODIES, flushes), columns) if bodies else []
        except FrameError as error:
            self.report(Damage(segment.offset, segment.start.number, str(error), segment.exchanges))
            return concat([]), 0
        return Batch(columns, whole.names, heads, times, sizes, data), n

    def _sound_flushes(self, segment: Segment, *, bodies: bool) -> int:
        """How many flushes from the front have sound heads, chunks and bodies."""
        kinds = _WHEN_READ if bodies else _WHEN_READ - {Kind.BODIES}
        for i, flush in enumerate(segment.flushes):
            for piece in flush.pieces:
                if piece.kind not in kinds:
                    continue
                try:
                    read_payload(self._read_at, piece)
                except FrameError as error:
                    rest = sum(each.commit.exchanges for each in segment.flushes[i:])
                    self.report(Damage(piece.offset, segment.start.number, str(error), rest))
                    return i
        return len(segment.flushes)

    def _stream(self, segment: Segment, kind: Kind, flushes: int) -> bytes:
        """The decompressed pieces of a kind over the first flushes of a segment. Raises FrameError."""
        pieces = [piece for flush in segment.flushes[:flushes] for piece in flush.pieces if piece.kind == kind]
        payloads = [read_payload(self._read_at, piece) for piece in pieces]
        if not all(piece.flags & PieceFlags.ZSTD for piece in pieces):
            return b"".join(payloads)
        return decompress(payloads, sum(piece.raw for piece in pieces))

    def report(self, damage: Damage) -> None:
        """Note damage, once."""
        if damage not in self._damage:
            self._damage.append(damage)


def _read_header(path: str, read_at: ReadAt, size: int) -> tuple[Header, Piece, bytes]:
    magic = read_at(0, MAGIC_SIZE)
    if not magic:
        raise CaptureError(f"{path}: empty; a capture starts with a header")
    if len(magic) < MAGIC_SIZE or not magic.startswith(MAGIC):
        raise CaptureError(f"{path}: not a capture; name a file that `shadowtape` wrote")
    if magic[-1] > FORMAT_VERSION:
        raise CaptureError(
            f"{path}: format version {magic[-1]}; this shadowtape reads up to {FORMAT_VERSION}: update it"
        )
    if magic[-1] == 0:
        raise CaptureError(f"{path}: header damaged (format version 0)")
    try:
        piece = read_piece(read_at, MAGIC_SIZE, size)
        header, sync = unpack_header(read_payload(read_at, piece) if piece.kind == Kind.HEADER else b"")
    except CutError:
        raise CaptureError(f"{path}: header damaged (the file ends inside it)") from None
    except FrameError as error:
        raise CaptureError(f"{path}: header damaged ({error})") from error
    return header, piece, sync
