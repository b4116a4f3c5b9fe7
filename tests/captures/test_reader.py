"""Ordinals, bounded reading, and what is never read. Several files as one are in test_opening.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from captures.batches import exchanges_of
from captures.capture_file import CaptureFile, Stored
from captures.columns import COLUMNS
from captures.errors import CaptureError
from captures.exchange import Chunk, Exchange
from captures.frame import MAGIC, Kind
from captures.pieces import AHEAD_BYTES
from captures.reader import CACHED_SEGMENTS, Capture, Listing
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

    return Capture("watched.tape", Listing([CaptureFile(Stored("watched.tape", len(data), read_at))])), reads


def long_exchanges(count: int) -> list[Exchange]:
    """With bodies of 20 kB that do not compress: what is read along with a piece header is little of one."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(count):
        plain = example_exchange(arrival_ns=i * 1_000_000, session=i + 1)
        body = rng.bytes(20_000)
        request = replace(plain.request, chunks=(Chunk(plain.request.chunks[0].at_ns, body),), size=len(body))
        found.append(replace(plain, request=request))
    return found


LONG = long_exchanges(120)


def share_read(capture: Capture, reads: list[tuple[int, int]], kind: Kind) -> float:
    """The share of these payloads that was read, in bytes."""
    wanted, seen = (np.zeros(capture.size, dtype=np.bool_) for _ in range(2))
    for offset, size in reads:
        seen[offset : offset + size] = True
    for piece in (piece for each in capture.segments for flush in each.flushes for piece in flush.pieces):
        if piece.kind == kind:
            wanted[piece.payload_offset : piece.payload_offset + piece.stored] = True
    return float((wanted & seen).sum() / wanted.sum())


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


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 12), (3, 8), (5, 6), (11, 99), (7, 7), (12, None)])
def test_ranges_of_columns_parts_and_batches_agree(start: int, stop: int | None) -> None:
    capture = capture_of(DATA)
    wanted = EXCHANGES[start:stop]

    columns = capture.columns(start, stop).columns
    batches = list(capture.batches(start, stop))

    assert columns["connection"].tolist() == [each.connection for each in wanted]
    assert [each for _, batch in batches for each in exchanges_of(batch)] == wanted
    ordinals = [first + i for first, batch in batches for i in range(len(batch))]
    assert ordinals == list(range(12))[start:stop]
    assert all(batch.bodies == [] for _, batch in capture.batches(start, stop, bodies=False))


def test_parts_are_the_columns_of_each_segment() -> None:
    parts = list(capture_of(DATA).parts())

    assert [first for first, _ in parts] == [0, 2, 4, 6, 8, 10]
    assert [batch.columns["connection"].tolist() for _, batch in parts] == [[i + 1, i + 2] for i in range(0, 12, 2)]
    assert all((batch.heads, batch.bodies) == ([], []) for _, batch in parts)


@pytest.mark.parametrize("ordinal", [-1, 12])
def test_an_ordinal_outside_is_an_index_error(ordinal: int) -> None:
    with pytest.raises(IndexError, match="0 to 11"):
        capture_of(DATA).read(np.array([ordinal]))


def test_a_window_of_arrivals_touches_the_segments_that_may_have_some() -> None:
    exchanges = [example_exchange(arrival_ns=at, session=1) for at in (5, 1, 4, 2, 9, 8, 3, 7)]
    capture, reads = watched(capture_bytes([exchanges], segment_bytes=600))
    reads.clear()

    assert capture.window(8, 100).tolist() == [4, 5]
    assert len(capture.segments) == 4
    touched = {
        i for i, place in enumerate(capture.files[0].places) for at, _ in reads if place.offset <= at < place.end
    }
    assert touched == {2}

    assert capture.window(2, 5).tolist() == [2, 3, 6]
    assert capture.window(100, 200).tolist() == []


def test_without_bodies_times_and_sizes_stay() -> None:
    (found,) = capture_of(DATA).read(np.array([3]), bodies=False)

    assert found.response is not None
    assert [(chunk.at_ns, chunk.data) for chunk in found.response.chunks] == [(8_000_000, b"")]
    assert found.response.size == 91
    assert found.request.headers == EXCHANGES[3].request.headers


@pytest.mark.parametrize("sealed", [True, False])
def test_opening_and_planning_leap_over_messages(sealed: bool) -> None:
    capture, reads = watched(capture_bytes([LONG], segment_bytes=1 << 19, seal=sealed))

    batch = capture.columns()
    seen = list(reads)

    assert len(capture.segments) > 2
    assert batch.columns["session"].tolist() == [exchange.session for exchange in LONG]
    assert (batch.heads, len(batch.chunk_at_ns), batch.bodies) == ([], 0, [])
    assert share_read(capture, seen, Kind.MESSAGES) < 0.1


def test_opening_a_sealed_capture_reads_its_two_ends() -> None:
    capture, reads = watched(capture_bytes([LONG], segment_bytes=1 << 19))

    assert len(capture) == len(LONG)
    assert len(reads) <= 4
    assert sum(size for _, size in reads) <= 4 * AHEAD_BYTES[0]


def test_a_segment_of_many_small_flushes_is_read_in_blocks() -> None:
    exchanges = example_exchanges(500)
    capture, reads = watched(capture_bytes([exchanges[i : i + 5] for i in range(0, 500, 5)], seal=False))
    opening = len(reads)
    (segment,) = capture.segments
    pieces = sum(len(flush.pieces) for flush in segment.flushes)

    assert pieces >= 400
    assert opening < pieces / 20


def test_names_are_merged_over_segments() -> None:
    models = ["a", "b", "a", "c", "b", "a"]
    flushes = [[example_exchange(model=model)] for model in models]
    capture = capture_of(capture_bytes(flushes, segment_bytes=1))
    batch = capture.columns()

    assert len(capture.segments) == 6
    assert [batch.names[i] for i in batch.columns["model"].tolist()] == models
    assert len(set(batch.names)) == len(batch.names)


def test_labels_are_columns_and_where_there_is_none_it_is_empty() -> None:
    labelled = [
        example_exchange(labels=(("region", "eu"),)),
        example_exchange(),
        example_exchange(labels=(("region", "us"),)),
    ]
    capture = capture_of(capture_bytes([labelled], labels=("region", "tier")))

    batch = capture.columns()

    assert [batch.names[i] for i in batch.columns["label.region"].tolist()] == ["eu", "", "us"]
    assert [batch.names[i] for i in batch.columns["label.tier"].tolist()] == ["", "", ""]
    assert list(capture.exchanges()) == labelled


def test_a_call_decodes_each_segment_once_and_few_are_kept() -> None:
    capture, reads = watched(DATA)

    capture.read(np.array([0, 2, 1, 3, 0]))
    first = len(reads)
    capture.read(np.array([3, 1]))
    assert len(reads) == first

    list(capture.exchanges())
    assert len(capture._decoded) == CACHED_SEGMENTS


def test_damaged_bodies_are_left_out_reported_and_refused_by_ordinal() -> None:
    piece = next(p for p in capture_of(DATA).segments[1].flushes[0].pieces if p.kind == Kind.MESSAGES)
    capture = capture_of(flip(DATA, piece.payload_offset), "broken.tape")
    assert not capture.damage

    assert list(capture.exchanges()) == EXCHANGES[:2] + EXCHANGES[4:]
    assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [(piece.offset, 1, 2)]
    assert np.flatnonzero(capture.lost()).tolist() == [2, 3]
    assert capture.readable_columns().all()
    assert capture.read(np.array([1, 4])) == [EXCHANGES[1], EXCHANGES[4]]
    with pytest.raises(CaptureError, match=r"broken.tape: exchange 3 cannot be read: segment 1 .*verify"):
        capture.read(np.array([0, 3]))
    with pytest.raises(CaptureError, match="exchange 3"):
        capture.read(np.array([3]), bodies=False)
    assert len(capture.damage) == 1


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("kind", [Kind.COLUMNS, Kind.NAMES])
def test_damaged_columns_keep_their_ordinals_and_are_absent(kind: Kind, sealed: bool) -> None:
    data = capture_bytes([EXCHANGES], segment_bytes=600, seal=sealed)
    piece = next(p for p in capture_of(data).segments[1].flushes[0].pieces if p.kind == kind)
    capture = capture_of(flip(data, piece.payload_offset))

    assert len(capture) == 12
    columns = capture.columns().columns

    assert columns["connection"].tolist() == [1, 2, 0, 0, *range(5, 13)]
    assert columns["arrival_ns"].tolist() == [
        each.arrival_ns for each in EXCHANGES[:3] + EXCHANGES[2:3] + EXCHANGES[4:]
    ]
    assert {name: values[2].item() for name, values in columns.items() if name != "arrival_ns"} == {
        column.name: column.absent for column in COLUMNS if column.name != "arrival_ns"
    }
    assert np.flatnonzero(~capture.readable_columns()).tolist() == [2, 3]
    assert np.flatnonzero(capture.lost()).tolist() == [2, 3]
    assert [first for first, _ in capture.parts()] == [0, 4, 6, 8, 10]
    assert [ordinal for ordinal, _ in capture.numbered()] == [0, 1, *range(4, 12)]
    assert capture.window(0, 3_000_000).tolist() == [0, 1]
    assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [(piece.offset, 1, 2)]


def test_damaged_bodies_of_a_later_flush_leave_the_earlier_ones() -> None:
    data = capture_bytes([EXCHANGES[:3], EXCHANGES[3:]])
    piece = next(p for p in capture_of(data).segments[0].flushes[1].pieces if p.kind == Kind.MESSAGES)

    capture = capture_of(flip(data, piece.payload_offset))

    assert list(capture.exchanges()) == EXCHANGES[:3]
    assert len(capture.columns()) == 12


def test_a_disk_that_cannot_read_a_place_costs_what_stands_there() -> None:
    bad = capture_of(DATA).segments[2]

    def read_at(offset: int, size: int) -> bytes:
        if offset < bad.end and offset + size > bad.offset:
            raise OSError(5, "Input/output error")
        return DATA[offset : offset + size]

    capture = Capture("x", Listing([CaptureFile(Stored("x", len(DATA), read_at))]))

    assert list(capture.exchanges()) == EXCHANGES[:4] + EXCHANGES[6:]
    assert [(each.segment, each.exchanges_lost) for each in capture.damage] == [(2, 2)]
    assert "Input/output error" in capture.damage[0].reason


def test_an_empty_capture_is_a_capture() -> None:
    for seal in (True, False):
        capture = capture_of(capture_bytes([], seal=seal))

        assert (len(capture), list(capture.exchanges()), len(capture.columns())) == (0, [], 0)
        assert (capture.sealed, capture.damage, capture.tail, capture.first_ns) == (seal, (), 0, 0)
        assert capture.window(0, 1).tolist() == []


def newer(data: bytes) -> bytes:
    return data[:7] + b"\x63" + data[8:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"PK\x03\x04 a zip, not a tape", "not a capture"),
        (lambda data: data[:5], "not a capture"),
        (lambda data: data.replace(b"\r\n", b"\n", 1), "not a capture"),
        (newer, "format version 99; this shadowtape reads up to 2: update it"),
        (lambda data: data[:7] + b"\0" + data[8:], "version 0"),
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
    stored = Stored("x", len(DATA), lambda offset, size: DATA[offset : offset + size], lambda: closed.append(True))
    with Capture("x", Listing([CaptureFile(stored)])):
        pass

    assert closed == [True]


def test_a_file_without_a_commit_confesses_the_rate_it_was_made_with() -> None:
    capture = capture_of(capture_bytes([], seal=False, sampling_rate=0.25))

    assert capture.confessions.sampling_rate == 0.25
