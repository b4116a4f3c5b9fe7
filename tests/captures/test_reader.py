"""Ordinals, bounded reading, and what is never read."""

from collections.abc import Callable

import numpy as np
import pytest

from captures.errors import CaptureError
from captures.frame import MAGIC, Kind
from captures.reader import CACHED_SEGMENTS, Capture
from captures.testing import capture_bytes, capture_of, cut, example_exchange, example_exchanges, flip

EXCHANGES = example_exchanges(12)
DATA = capture_bytes([EXCHANGES], segment_bytes=600)
"""Six segments of two exchanges."""


def watched(data: bytes) -> tuple[Capture, list[tuple[int, int]]]:
    """A capture, and every read it makes."""
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, size: int) -> bytes:
        reads.append((offset, size))
        return data[offset : offset + size]

    return Capture("watched.tape", read_at, len(data)), reads


def test_exchanges_are_read_in_the_order_asked_with_repeats() -> None:
    capture = capture_of(DATA)
    ordinals = np.array([11, 0, 5, 5, 2])

    assert capture.read(ordinals) == [EXCHANGES[i] for i in ordinals]
    assert capture.read(np.zeros(0, dtype=np.int64)) == []


def test_a_range_of_exchanges() -> None:
    capture = capture_of(DATA)

    assert list(capture.exchanges(3, 8)) == EXCHANGES[3:8]
    assert list(capture.exchanges(10, 99)) == EXCHANGES[10:]
    assert list(capture.numbered(11)) == [(11, EXCHANGES[11])]
    assert list(capture.exchanges(5, 5)) == []


@pytest.mark.parametrize("ordinal", [-1, 12])
def test_an_ordinal_outside_is_an_index_error(ordinal: int) -> None:
    with pytest.raises(IndexError, match="0 to 11"):
        capture_of(DATA).read(np.array([ordinal]))


def test_without_bodies_times_stay_and_no_body_is_read() -> None:
    capture, reads = watched(DATA)
    reads.clear()

    (found,) = capture.read(np.array([3]), bodies=False)

    assert found.response is not None
    assert [(chunk.at_ns, chunk.data) for chunk in found.response.chunks] == [(8_000_000, b"")]
    assert found.response.size == 91
    assert found.request.headers == EXCHANGES[3].request.headers
    assert not touched(capture, reads, {Kind.BODIES})


def touched(capture: Capture, reads: list[tuple[int, int]], kinds: set[Kind]) -> bool:
    """Whether any read overlaps a payload of these kinds."""
    pieces = [piece for each in capture.segments for flush in each.flushes for piece in flush.pieces]
    spans = [(piece.payload_offset, piece.payload_offset + piece.stored) for piece in pieces if piece.kind in kinds]
    return any(offset < stop and start < offset + size for start, stop in spans for offset, size in reads)


@pytest.mark.parametrize("sealed", [True, False])
def test_opening_and_planning_never_read_heads_chunks_or_bodies(sealed: bool) -> None:
    """Payloads long enough that a read of a neighbour does not look like one of them."""
    exchanges = [example_exchange(arrival_ns=i, session=i * 7919 % 2**61) for i in range(300)]
    capture, reads = watched(capture_bytes([exchanges[:100], exchanges[100:]], segment_bytes=20_000, seal=sealed))

    batch = capture.columns()

    assert len(capture.segments) > 2
    assert batch.columns["session"].tolist() == [exchange.session for exchange in exchanges]
    assert (batch.heads, len(batch.chunk_at_ns), batch.bodies) == ([], 0, [])
    peek = 16  # the first bytes of a payload may come with the look at its piece's header
    assert not touched(capture, [(offset, size) for offset, size in reads if size > peek], BULK)


BULK = {Kind.HEADS, Kind.CHUNKS, Kind.BODIES}


def test_names_are_merged_over_segments() -> None:
    models = ["a", "b", "a", "c", "b", "a"]
    flushes = [[example_exchange(model=model)] for model in models]
    capture = capture_of(capture_bytes(flushes, segment_bytes=1))
    batch = capture.columns()

    assert len(capture.segments) == 6
    assert [batch.names[i] for i in batch.columns["model"].tolist()] == models
    assert len(set(batch.names)) == len(batch.names)


def test_a_call_decodes_each_segment_once_and_few_are_kept() -> None:
    capture, reads = watched(DATA)
    reads.clear()

    capture.read(np.array([0, 2, 1, 3, 0]))
    first = len(reads)
    capture.read(np.array([3, 1]))
    assert len(reads) == first

    list(capture.exchanges())
    assert len(capture._decoded) == CACHED_SEGMENTS


def test_damaged_bodies_are_left_out_reported_and_refused_by_ordinal() -> None:
    piece = next(p for p in capture_of(DATA).segments[1].flushes[0].pieces if p.kind == Kind.BODIES)
    capture = capture_of(flip(DATA, piece.payload_offset), "broken.tape")
    assert not capture.damage

    assert list(capture.exchanges()) == EXCHANGES[:2] + EXCHANGES[4:]
    assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [(piece.offset, 1, 2)]
    assert np.flatnonzero(capture.lost()).tolist() == [2, 3]
    assert capture.read(np.array([1, 4])) == [EXCHANGES[1], EXCHANGES[4]]
    with pytest.raises(CaptureError, match=r"broken.tape: exchange 3 cannot be read: segment 1 .*verify"):
        capture.read(np.array([0, 3]))
    assert len(capture.read(np.array([3]), bodies=False)) == 1
    assert len(capture.damage) == 1


def test_damaged_bodies_of_a_later_flush_leave_the_earlier_ones() -> None:
    data = capture_bytes([EXCHANGES[:3], EXCHANGES[3:]])
    piece = next(p for p in capture_of(data).segments[0].flushes[1].pieces if p.kind == Kind.HEADS)

    capture = capture_of(flip(data, piece.payload_offset))

    assert list(capture.exchanges()) == EXCHANGES[:3]
    assert len(capture.columns()) == 12


def test_an_empty_capture_is_a_capture() -> None:
    for seal in (True, False):
        capture = capture_of(capture_bytes([], seal=seal))

        assert (len(capture), list(capture.exchanges()), len(capture.columns())) == (0, [], 0)
        assert (capture.sealed, capture.damage, capture.tail) == (seal, (), 0)


def newer(data: bytes) -> bytes:
    return data[:7] + b"\x02" + data[8:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"PK\x03\x04 a zip, not a tape", "not a capture"),
        (lambda data: data[:5], "not a capture"),
        (lambda data: data.replace(b"\r\n", b"\n", 1), "not a capture"),
        (newer, "format version 2; this shadowtape reads up to 1: update it"),
        (lambda data: flip(data, 7, 1), "version 0"),
        (lambda data: cut(data, 20), r"header damaged \(the file ends inside it\)"),
        (lambda data: flip(data, 40), "header damaged"),
        (lambda data: flip(data, 8), "header damaged"),
    ],
)
def test_what_cannot_be_read_says_why(change: Callable[[bytes], bytes], message: str) -> None:
    assert DATA.startswith(MAGIC)
    with pytest.raises(CaptureError, match=f"x.tape: .*{message}"):
        capture_of(change(DATA), "x.tape")


def test_a_capture_closes_what_it_was_given() -> None:
    closed: list[bool] = []
    with Capture("x", lambda offset, size: DATA[offset : offset + size], len(DATA), lambda: closed.append(True)):
        pass

    assert closed == [True]


def test_a_file_without_a_commit_confesses_the_rate_it_was_made_with() -> None:
    capture = capture_of(capture_bytes([], seal=False, sampling_rate=0.25))

    assert capture.confessions.sampling_rate == 0.25
