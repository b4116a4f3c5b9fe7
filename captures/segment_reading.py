"""From the pieces of one segment to a `Batch` of what can be read of it. Pure."""

from collections.abc import Collection, Mapping

import numpy as np

from captures.chunk_rows import unpack_chunks
from captures.columns import Batch
from captures.compression import decompress
from captures.frame import CIPHER_OVERHEAD, LIMITS, FrameError, Kind, Piece, PieceFlags
from captures.pieces import PieceReader
from captures.segment_decoding import (
    decode_bodies,
    decode_chunks,
    decode_columns,
    decode_heads,
    decode_messages,
    decode_names,
    since_zero,
)
from captures.walk import Damage, Flush, Place, Segment

COLUMN_KINDS = frozenset({Kind.COLUMNS, Kind.NAMES})
HEAD_KINDS = COLUMN_KINDS | {Kind.HEADS, Kind.CHUNKS, Kind.MESSAGES}
ALL_KINDS = HEAD_KINDS | {Kind.BODIES}

type Payloads = Mapping[Kind, list[bytes]]

_NO_TIMES = np.zeros(0, dtype=np.int64)
_NO_SIZES = np.zeros(0, dtype=np.uint32)


def read_payloads(
    reader: PieceReader, segment: Segment, place: Place, kinds: Collection[Kind], *, keep: bool = True
) -> tuple[Payloads, list[int], Damage | None]:
    """The payloads of some kinds over the flushes in front of the first that is damaged in one of them, and the exchanges of each
    of these flushes. ``keep``: whether the payloads are wanted, or only checked.
    """
    payloads: dict[Kind, list[bytes]] = {kind: [] for kind in kinds}
    counts: list[int] = []
    for flush in segment.flushes:
        mine: list[tuple[Kind, bytes]] = []
        for at, piece in enumerate(flush.pieces):
            if piece.kind not in kinds:
                continue
            try:
                mine.append((Kind(piece.kind), reader.payload(piece, place.number, flush.first + at)))
            except FrameError as error:
                return payloads, counts, Damage(piece.offset, place.number, str(error), place.exchanges - sum(counts))
        counts.append(flush.commit.exchanges)
        for kind, payload in mine if keep else ():
            payloads[kind].append(payload)
    return payloads, counts, None


def check_limits(segment: Segment, kinds: Collection[Kind]) -> None:
    """Before anything is read: does a kind claim more over the whole segment than the limit? Raises FrameError."""
    for kind in kinds:
        pieces = [piece for flush in segment.flushes for piece in flush.pieces if piece.kind == kind]
        # What is stored may be a little more than what it holds; it is read as a whole, too.
        claimed = max(
            sum(piece.raw for piece in pieces), sum(piece.stored * 7 // 8 - CIPHER_OVERHEAD for piece in pieces)
        )
        if claimed > LIMITS["segment"]:
            raise FrameError(f"a segment claims more bytes than the limit ({claimed})")


def decode_segment(segment: Segment, payloads: Payloads, counts: list[int]) -> Batch:
    """What was read of a segment: columns and names, heads and chunks if they are among the payloads, bodies if they are.

    Raises FrameError.
    """
    flushes, n = segment.flushes[: len(counts)], sum(counts)
    columns, head_kept = decode_columns(segment.start, _joined(flushes, payloads, Kind.COLUMNS), counts)
    names = decode_names(_joined(flushes, payloads, Kind.NAMES), columns)
    if Kind.CHUNKS not in payloads:
        return Batch(columns, names, [], _NO_TIMES, _NO_SIZES, [])
    if head_kept is not None:
        since, sizes = unpack_chunks(_joined(flushes, payloads, Kind.CHUNKS), columns, counts)
        messages = _joined(flushes, payloads, Kind.MESSAGES)
        plain, found = decode_messages(messages, columns, head_kept, bodies=Kind.BODIES in payloads)
        return Batch(columns, names, plain, since_zero(columns, since), sizes, found)
    heads = decode_heads(_joined(flushes, payloads, Kind.HEADS), n)
    times, sizes = decode_chunks(_joined(flushes, payloads, Kind.CHUNKS), columns, counts)
    bodies = decode_bodies(_joined(flushes, payloads, Kind.BODIES), columns) if Kind.BODIES in payloads else []
    return Batch(columns, names, heads, times, sizes, bodies)


def _joined(flushes: tuple[Flush, ...], payloads: Payloads, kind: Kind) -> bytes:
    """The decompressed pieces of a kind. Raises FrameError."""
    pieces: list[Piece] = [piece for flush in flushes for piece in flush.pieces if piece.kind == kind]
    compressed = {bool(piece.flags & PieceFlags.ZSTD) for piece in pieces}
    if len(compressed) == 2:
        raise FrameError("some pieces of a kind are compressed, and some are not")
    if compressed == {True}:
        return decompress(payloads[kind], sum(piece.raw for piece in pieces))
    return b"".join(payloads[kind])
