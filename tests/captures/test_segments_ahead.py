import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from captures.capture_file import CaptureFile, Stored
from captures.exchange import Chunk, Exchange
from captures.frame import PIECE_HEADER_SIZE, Kind
from captures.segments_ahead import fetch_columns
from captures.testing import capture_bytes, example_exchange, example_exchanges, flip


class Far:
    """A file that writes down what is asked for in advance."""

    def __init__(self, data: bytes) -> None:
        self.data, self.told = data, list[list[tuple[int, int]]]()

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        self.told.append(list(ranges))

    def read_at(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def knows(self, offset: int, size: int) -> bool:
        """Whether this range was asked for, in one piece."""
        return any(at <= offset and offset + size <= at + length for call in self.told for at, length in call)


def segmented(count: int = 5) -> tuple[Far, CaptureFile]:
    """An exchange with a body of 20 kB in each segment."""
    flushes = [[_large(seed)] for seed in range(count)]
    far = Far(capture_bytes(flushes, segment_bytes=1))
    return far, CaptureFile(Stored("far", len(far.data), far.read_at))


def _large(seed: int) -> Exchange:
    body = random.Random(seed).randbytes(20_000)
    request = example_exchange().request
    return example_exchange(request=replace(request, chunks=(Chunk(request.end_ns, body),), size=len(body)))


def test_every_piece_header_and_the_payloads_of_columns_are_asked_for() -> None:
    far, file = segmented()
    fetch_columns(list(file.places), far.read_at, far.prefetch, encrypted=False)
    pieces = [piece for i in range(5) for flush in file.segment(i).flushes for piece in flush.pieces]

    assert len(pieces) >= 5 * 5
    for piece in pieces:
        whole = piece.kind in (Kind.COLUMNS, Kind.NAMES, Kind.COMMIT)
        assert far.knows(piece.offset, piece.end - piece.offset if whole else PIECE_HEADER_SIZE)
        assert whole or piece.kind != Kind.BODIES or not far.knows(piece.offset, piece.end - piece.offset)


def test_the_number_of_rounds_does_not_grow_with_the_segments() -> None:
    rounds = []
    for count in (1, 20):
        far, file = segmented(count)
        fetch_columns(list(file.places), far.read_at, far.prefetch, encrypted=False)
        rounds.append(len(far.told))

    assert rounds[0] == rounds[1] <= 8


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_damage_ends_the_asking_and_nothing_else(at: int) -> None:
    far, file = segmented(2)
    places = list(file.places)
    far.data = flip(far.data, places[0].offset + at)
    fetch_columns(places, far.read_at, far.prefetch, encrypted=False)

    assert len(far.told) <= 13


def test_of_many_small_flushes_only_the_first_are_followed() -> None:
    far = Far(capture_bytes([example_exchanges(2)] * 50))
    file = CaptureFile(Stored("far", len(far.data), far.read_at))
    far.told.clear()
    fetch_columns(list(file.places), far.read_at, far.prefetch, encrypted=False)

    assert len(far.told) == 13


def test_nothing_is_asked_for_where_there_are_no_segments() -> None:
    far = Far(b"")
    fetch_columns([], far.read_at, far.prefetch, encrypted=False)

    assert far.told == [[]]
