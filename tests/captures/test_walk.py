"""Broken files: what survives is what was committed and is whole, and everything else is reported."""

from itertools import pairwise

import msgpack
import numpy as np
import pytest

from captures.capture_file import CaptureFile, Stored
from captures.errors import CaptureError
from captures.exchange import Exchange
from captures.frame import LIMITS, PIECE_HEADER_SIZE, TRAILER_SIZE, Kind, pack_piece
from captures.reader import Capture, Listing
from captures.testing import EXAMPLE_SYNC, capture_bytes, capture_of, cut, example_exchanges, flip, swap_segments, zero

FLUSHES = [example_exchanges(1), example_exchanges(2), example_exchanges(1)]
ALL = [exchange for flush in FLUSHES for exchange in flush]
SMALL = capture_bytes(FLUSHES)
SEGMENTED = capture_bytes(FLUSHES, segment_bytes=300)
"""Four segments: the first and the last hold one exchange, and so do the two between them."""


def survivors(capture: Capture) -> list[Exchange]:
    """What can be read; on the way, what every file promises: columns and exchanges agree."""
    numbered = list(capture.numbered())
    columns, lost = capture.columns().columns, capture.lost()
    assert len(columns["arrival_ns"]) == len(capture) == len(lost)
    for ordinal, exchange in numbered:
        assert columns["arrival_ns"][ordinal] == exchange.arrival_ns
        assert columns["session"][ordinal] == exchange.session
    assert np.flatnonzero(~lost).tolist() == [ordinal for ordinal, _ in numbered]
    return [exchange for _, exchange in numbered]


def commits(data: bytes) -> list[int]:
    """Where each flush ends."""
    return [flush.pieces[-1].end for segment in capture_of(data).segments for flush in segment.flushes]


@pytest.mark.slow
@pytest.mark.parametrize("data", [SMALL, SEGMENTED], ids=["one segment", "segments"])
def test_a_file_cut_anywhere_has_exactly_what_was_committed(data: bytes) -> None:
    ends, header_end = commits(data), capture_of(data).segments[0].offset
    exchanges = [each for flush in ([ALL] if data is SEGMENTED else FLUSHES) for each in flush]
    per_end = [1] * 4 if data is SEGMENTED else [1, 2, 1]
    for size in range(0, len(data), 1 if data is SMALL else 7):
        if size < header_end:
            with pytest.raises(CaptureError):
                capture_of(cut(data, size))
            continue
        capture = capture_of(cut(data, size))
        whole = sum(count for end, count in zip(ends, per_end, strict=True) if end <= size)

        assert survivors(capture) == exchanges[:whole]
        assert (capture.damage, capture.sealed) == ((), False)
        assert capture.tail == size - max([end for end in ends if end <= size], default=header_end)


@pytest.mark.slow
@pytest.mark.parametrize("data", [SMALL, SEGMENTED], ids=["one segment", "segments"])
def test_a_byte_flipped_anywhere_is_reported_and_never_read_as_data(data: bytes) -> None:
    header_end = capture_of(data).segments[0].offset
    for offset in range(0, len(data), 1 if data is SMALL else 7):
        broken = flip(data, offset)
        if offset < header_end:
            with pytest.raises(CaptureError):
                capture_of(broken)
            continue
        capture = capture_of(broken)
        found = survivors(capture)

        assert all(exchange in ALL for exchange in found)
        assert capture.damage, f"flip at {offset} went unnoticed"
        known = [each.exchanges_lost for each in capture.damage]
        if None not in known:
            assert len(found) + sum(each or 0 for each in known) == len(ALL), f"flip at {offset}: {capture.damage}"


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 7, 100])
def test_a_range_of_zeros_is_reported_and_never_read_as_data(length: int) -> None:
    header_end = capture_of(SEGMENTED).segments[0].offset
    for start in range(header_end, len(SEGMENTED), 13):
        broken = zero(SEGMENTED, start, start + length)
        capture = capture_of(broken)
        found = survivors(capture)

        assert all(exchange in ALL for exchange in found)
        assert broken == SEGMENTED or capture.damage or (not capture.sealed and start > capture.segments[-1].end - 1)


def test_damage_costs_one_segment_and_says_how_many_exchanges() -> None:
    segments = capture_of(SEGMENTED).segments
    assert [segment.exchanges for segment in segments] == [1, 1, 1, 1]
    for i, segment in enumerate(segments):
        # The header of the first piece after the start: nothing of the segment can be trusted.
        capture = capture_of(flip(SEGMENTED, segment.flushes[0].pieces[0].offset))

        assert survivors(capture) == ALL[:i] + ALL[i + 1 :]
        assert [(each.segment, each.exchanges_lost) for each in capture.damage] == [(i, 1)]
        assert capture.sealed


def test_without_its_marker_or_start_a_segment_is_lost_and_the_next_is_found() -> None:
    segments = capture_of(SEGMENTED).segments
    for offset in (segments[1].offset, segments[1].offset + 20, segments[1].offset + 60):
        capture = capture_of(flip(SEGMENTED, offset))

        assert survivors(capture) == [ALL[0], *ALL[2:]]
        assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [
            (segments[1].offset, 1, 1)
        ]


def test_the_flushes_before_the_damage_survive() -> None:
    flushes = capture_of(SMALL).segments[0].flushes

    capture = capture_of(flip(SMALL, flushes[1].pieces[0].payload_offset))

    assert survivors(capture) == FLUSHES[0]
    assert [each.exchanges_lost for each in capture.damage] == [3]


def test_unsealed_damage_in_the_last_segment_does_not_pretend_to_know_its_cost() -> None:
    data = capture_bytes(FLUSHES, seal=False)
    flushes = capture_of(data).segments[0].flushes

    capture = capture_of(flip(data, flushes[1].pieces[0].offset))

    assert survivors(capture) == FLUSHES[0]
    assert [each.exchanges_lost for each in capture.damage] == [None]


def test_damaged_payloads_are_known_by_the_commits_behind_them() -> None:
    data = capture_bytes(FLUSHES, seal=False)
    flushes = capture_of(data).segments[0].flushes
    capture = capture_of(flip(data, flushes[1].pieces[0].payload_offset))
    assert not capture.damage

    assert survivors(capture) == FLUSHES[0]
    assert [(each.offset, each.exchanges_lost) for each in capture.damage] == [(flushes[1].pieces[0].offset, 3)]
    assert len(capture) == 4


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.8, 0.99])
def test_a_torn_flush_does_not_swallow_the_segment_behind_it(share: float) -> None:
    """A disk was full in the middle of a flush, nobody took it back, and writing went on."""
    data = capture_bytes([FLUSHES[0], example_exchanges(60)], seal=False)
    first = capture_of(data).segments[0].flushes[0].pieces[-1].end
    room = int((len(data) - first) * share)
    other = capture_bytes(FLUSHES[:2], seal=False, segment_bytes=1)
    last = capture_of(other).segments[-1]

    capture = capture_of(data[: first + room] + other[last.offset : last.end])

    assert survivors(capture) == [FLUSHES[0][0], FLUSHES[1][-1]]
    (damage,) = capture.damage
    assert first <= damage.offset < first + room


def test_without_the_index_the_next_marker_is_searched() -> None:
    data = capture_bytes(FLUSHES, segment_bytes=300, seal=False)
    second = capture_of(data).segments[1]

    capture = capture_of(flip(data, second.flushes[0].pieces[0].offset))

    assert survivors(capture) == [ALL[0], *ALL[2:]]
    assert [(each.segment, each.exchanges_lost) for each in capture.damage] == [(1, 1)]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 3), (1, 2)])
def test_swapped_segments_are_read_and_reported(first: int, second: int) -> None:
    capture = capture_of(swap_segments(SEGMENTED, first, second))

    assert sorted(survivors(capture), key=ALL.index) == sorted(ALL, key=ALL.index)
    assert {(each.reason, each.exchanges_lost) for each in capture.damage} == {("a segment out of order", 0)}


def test_a_missing_segment_is_reported() -> None:
    a, b = capture_of(SEGMENTED).segments[1:3]
    for data in (SEGMENTED, capture_bytes(FLUSHES, segment_bytes=300, seal=False)):
        capture = capture_of(data[: a.offset] + data[b.offset :])

        assert survivors(capture) == [ALL[0], *ALL[2:]]
        assert ("segments are missing", 1) in {(each.reason, each.exchanges_lost) for each in capture.damage}


def test_a_repeated_segment_is_read_once() -> None:
    segment = capture_of(SEGMENTED).segments[1]
    again = SEGMENTED[segment.offset : segment.end]

    capture = capture_of(SEGMENTED[: segment.end] + again + SEGMENTED[segment.end :])

    assert survivors(capture) == ALL
    assert "a segment again; read once" in [each.reason for each in capture.damage]


def test_a_flush_without_its_commit_in_the_middle_is_damage() -> None:
    first = capture_of(SEGMENTED).segments[0]
    commit = first.flushes[0].pieces[-1]
    assert commit.kind == Kind.COMMIT

    capture = capture_of(SEGMENTED[: commit.offset] + SEGMENTED[commit.end :])

    assert survivors(capture) == ALL[1:]
    assert ("a flush without its commit", 1) in [(each.reason, each.exchanges_lost) for each in capture.damage]


def test_a_removed_piece_is_damage() -> None:
    bodies = next(p for p in capture_of(SMALL).segments[0].flushes[0].pieces if p.kind == Kind.MESSAGES)

    capture = capture_of(SMALL[: bodies.offset] + SMALL[bodies.end :])

    assert survivors(capture) == []
    assert "a flush lacks pieces or has too many" in [each.reason for each in capture.damage]


def test_a_piece_that_claims_four_gigabytes_allocates_nothing() -> None:
    asked: list[int] = []

    def read_at(offset: int, size: int) -> bytes:
        asked.append(size)
        return broken[offset : offset + size]

    segment = capture_of(SMALL).segments[0]
    header = pack_piece(Kind.COLUMNS, b"", raw=0xFFFFFFFF)[:PIECE_HEADER_SIZE]
    at = segment.flushes[0].pieces[0].offset
    broken = SMALL[:at] + header + SMALL[at + PIECE_HEADER_SIZE :]

    capture = Capture("x", Listing([CaptureFile(Stored("x", len(broken), read_at))]))
    list(capture.exchanges())

    assert "limit" in capture.damage[0].reason
    assert max(asked) <= 2 << 20


@pytest.mark.parametrize("junk", [b"x", b"junk after the end", bytes(TRAILER_SIZE), SMALL])
def test_bytes_after_the_end_are_damage_and_lose_nothing(junk: bytes) -> None:
    capture = capture_of(SMALL + junk)

    assert survivors(capture)[: len(ALL)] == ALL
    assert capture.damage


def test_two_files_end_to_end_are_not_one() -> None:
    """The second file has another sync marker; here it has the same, and its segments are repeated."""
    capture = capture_of(SMALL + SMALL)

    assert survivors(capture) == ALL
    assert capture.damage


def test_damage_is_reported_in_the_order_of_the_file() -> None:
    segments = capture_of(SEGMENTED).segments
    data = SEGMENTED
    for segment in (segments[3], segments[0]):
        data = flip(data, segment.flushes[0].pieces[0].offset)

    capture = capture_of(data)
    assert len(survivors(capture)) == 2
    offsets = [each.offset for each in capture.damage]

    assert len(offsets) == 2
    assert all(a < b for a, b in pairwise(offsets))


def test_a_flush_that_is_there_twice_or_gone_ends_its_segment() -> None:
    """Its checksums are right, and what follows would be read as the difference to another row."""
    data = capture_bytes([example_exchanges(2)] * 3, seal=False)
    first, second, third = commits(data)
    for broken in (data[:second] + data[first:], data[:first] + data[second:]):
        capture = capture_of(broken)

        assert survivors(capture) == [*example_exchanges(2)] * (2 if len(broken) > len(data) else 1)
        assert [each.reason for each in capture.damage] == ["a commit claims other totals than its segment has"]
    assert third == len(data)


def test_markers_inside_of_one_another_are_not_searched_again_and_again() -> None:
    """Each marker stands in what claims to be a piece of the segment before it, and all of them end in one damage."""
    head, count = cut(SMALL, capture_of(SMALL).segments[0].offset), 300
    start = EXAMPLE_SYNC + pack_piece(Kind.START, msgpack.packb({"number": 0, "before": 0, "columns": []}))
    unit = len(start) + PIECE_HEADER_SIZE
    inside = [start + pack_piece(200, bytes(left * unit))[:PIECE_HEADER_SIZE] for left in reversed(range(count))]
    data = head + b"".join(inside) + bytes(4) + pack_piece(200, b"") * count + b"\xff" * 100
    read = 0

    def read_at(offset: int, size: int) -> bytes:
        nonlocal read
        read += min(size, len(data) - offset)
        return data[offset : offset + size]

    capture = Capture("nested", Listing([CaptureFile(Stored("nested", len(data), read_at))]))

    assert (len(capture), capture.tail) == (0, 0)
    assert capture.damage
    assert read < 60 * len(data)


def test_a_segment_of_more_pieces_than_the_limit_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    (segment,) = capture_of(SMALL).segments
    monkeypatch.setitem(LIMITS, "pieces", sum(len(flush.pieces) for flush in segment.flushes[:2]))

    walked = capture_of(cut(SMALL, segment.end))
    sealed = capture_of(SMALL)

    assert survivors(walked) == survivors(sealed) == ALL[:3]
    for capture in (walked, sealed):
        assert [each.reason for each in capture.damage] == ["a segment has more pieces than the limit"]
