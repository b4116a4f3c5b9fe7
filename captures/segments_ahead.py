"""Fetches the columns of many segments together, where they are far away. Pure.

Over a network a thousand segments must not be thousands of round trips, one after the other. Where a piece begins is known when the
one before it was looked at; so all segments are followed at the same time, a piece each at a time. Bodies are leapt over.
"""

from collections.abc import Callable, Iterable, Sequence

from captures.frame import PIECE_HEADER_SIZE, SYNC_SIZE, FrameError, Kind, Piece, unpack_piece_header
from captures.pieces import AHEAD_BYTES
from captures.walk import Place

LOOK_BYTES = AHEAD_BYTES[0]  # what a look at a piece header reads
PIECES = 12
"""Pieces followed in a segment. One with more has small flushes, which lie so close together that nothing can be leapt over."""

type Prefetch = Callable[[Iterable[tuple[int, int]]], object]
type ReadAt = Callable[[int, int], bytes]


def fetch_columns(places: Sequence[Place], read_at: ReadAt, prefetch: Prefetch, *, encrypted: bool) -> None:
    """What walking these segments and decoding their columns will read. Raises what ``read_at`` and ``prefetch`` raise."""
    ends = [(max(place.end - LOOK_BYTES, 0), LOOK_BYTES) for place in places]
    prefetch([*((place.offset, LOOK_BYTES) for place in places), *ends])
    at = [(place.offset + SYNC_SIZE, place.end) for place in places]
    for _ in range(PIECES):
        found = [(piece, end) for offset, end in at if (piece := _piece(offset, read_at, encrypted=encrypted))]
        at = [(piece.end, end) for piece, end in found if piece.end < end]
        payloads = [
            (piece.offset, piece.end - piece.offset) for piece, end in found if _is_plan(piece) and piece.end <= end
        ]
        if not at:
            return
        prefetch([*payloads, *((offset, LOOK_BYTES) for offset, _ in at)])


def _is_plan(piece: Piece) -> bool:
    return piece.kind in (Kind.COLUMNS, Kind.NAMES)


def _piece(offset: int, read_at: ReadAt, *, encrypted: bool) -> Piece | None:
    """None where there is none: whoever walks the segment will say what is wrong."""
    try:
        return unpack_piece_header(read_at(offset, PIECE_HEADER_SIZE), offset, encrypted=encrypted)
    except FrameError:
        return None
