"""One file: what its index is believed, what is found out when a segment is touched, and what costs no memory."""

import re
import resource
from collections.abc import Callable
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from captures.capture_file import CaptureFile
from captures.compression import stream
from captures.exchange import Exchange
from captures.frame import TRAILER_SIZE, Kind, PieceFlags, pack_piece, pack_trailer
from captures.index import Commit, Entry, Index, pack_commit, pack_index, pack_start, start_of
from captures.reader import Capture, Listing
from captures.testing import (
    EXAMPLE_SYNC,
    capture_bytes,
    capture_of,
    example_exchanges,
    flip,
    stored_of,
    swap_segments,
)

EXCHANGES = example_exchanges(12)
DATA = capture_bytes([EXCHANGES], segment_bytes=600)
"""Six segments of two exchanges."""


def survivors(capture: Capture) -> list[Exchange]:
    """What can be read; on the way, what every file promises: columns, masks and exchanges agree."""
    numbered = list(capture.numbered())
    columns, lost, readable = capture.columns().columns, capture.lost(), capture.readable_columns()
    assert len(columns["arrival_ns"]) == len(capture) == len(lost) == len(readable)
    assert [columns["connection"][ordinal] for ordinal, _ in numbered] == [each.connection for _, each in numbered]
    assert np.flatnonzero(~lost).tolist() == [ordinal for ordinal, _ in numbered]
    assert readable[~lost].all()
    assert columns["flags"][~readable].sum() == 0
    return [exchange for _, exchange in numbered]


def index_of(data: bytes) -> tuple[int, Index]:
    """Where the index of a sealed file stands, and what it says."""
    file = CaptureFile(stored_of(data))
    assert file.index is not None
    return file.places[-1].end if len(file.places) else data.rindex(b"\x09"), file.index


def with_index(data: bytes, change: Callable[[Index], Index]) -> bytes:
    """Another index under right checksums."""
    at, index = index_of(data)
    return data[:at] + pack_piece(Kind.INDEX, pack_index(change(index))) + pack_trailer(at)


def with_entry(position: int, **changes: int) -> Callable[[Index], Index]:
    def change(index: Index) -> Index:
        entries = list(index.segments)
        entries[position] = replace(entries[position], **changes)
        total = sum(entry.exchanges for entry in entries)
        return replace(index, segments=tuple(entries), commit=replace(index.commit, total_exchanges=total))

    return change


@pytest.mark.parametrize(("position", "claimed"), [(0, 1), (0, 3), (3, 0), (5, 1)])
def test_an_index_that_claims_other_exchanges_costs_the_segment(position: int, claimed: int) -> None:
    capture = capture_of(with_index(DATA, with_entry(position, exchanges=claimed)))

    assert survivors(capture) == EXCHANGES[: 2 * position] + EXCHANGES[2 * position + 2 :]
    assert (capture.sealed, len(capture)) == (True, 10 + claimed)
    told = [(each.segment, each.reason, each.exchanges_lost) for each in capture.damage]
    assert told[0] == (position, "the index claims other exchanges than the segment has", claimed)
    assert told[1:] == [
        (each, "the index claims other exchanges before it than the segment", 0) for each in range(position + 1, 6)
    ]


def test_an_index_that_claims_other_arrivals_is_reported_and_costs_nothing() -> None:
    capture = capture_of(with_index(DATA, with_entry(2, max_arrival_ns=77)))

    assert survivors(capture) == EXCHANGES
    assert [(each.segment, each.exchanges_lost) for each in capture.damage] == [(2, 0)]


@pytest.mark.parametrize(
    "change",
    [
        lambda index: replace(index, segments=index.segments[:-1]),
        lambda index: replace(index, segments=index.segments[1:]),
        lambda index: replace(index, segments=index.segments[::-1]),
        lambda index: replace(index, segments=index.segments[:0]),
        lambda index: replace(index, segments=(*index.segments, index.segments[-1])),
        lambda index: replace(index, commit=replace(index.commit, total_exchanges=11)),
        with_entry(1, offset=1),
        with_entry(1, offset=1 << 60),
        with_entry(1, length=1 << 62),
        with_entry(5, exchanges=1 << 40),
    ],
)
def test_an_index_that_does_not_describe_the_file_is_damage_and_the_file_is_walked(
    change: Callable[[Index], Index],
) -> None:
    at, _ = index_of(DATA)
    capture = capture_of(with_index(DATA, change))

    assert survivors(capture) == EXCHANGES
    assert not capture.sealed
    assert [(each.offset, each.segment) for each in capture.damage] == [(at, -1)]


def test_a_lazily_found_damage_leaves_the_other_segments_alone() -> None:
    piece = capture_of(DATA).segments[4].flushes[0].pieces[0]
    capture = capture_of(flip(DATA, piece.offset))

    assert not capture.damage
    assert list(capture.exchanges(0, 8)) == EXCHANGES[:8]
    assert not capture.damage
    assert survivors(capture) == EXCHANGES[:8] + EXCHANGES[10:]
    assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [(piece.offset, 4, 2)]


def test_segments_that_changed_places_are_found() -> None:
    capture = capture_of(swap_segments(DATA, 1, 4))

    assert survivors(capture) == EXCHANGES
    assert {1, 4} <= {each.segment for each in capture.damage}  # those between them may have moved, too
    assert {(each.reason, each.exchanges_lost) for each in capture.damage} == {("a segment out of order", 0)}


def test_a_segment_in_place_of_another_is_not_read_as_that() -> None:
    a, b = capture_of(DATA).segments[2:4]
    room = b.end - b.offset

    capture = capture_of(DATA[: b.offset] + DATA[a.offset : a.end].ljust(room, b"\0")[:room] + DATA[b.end :])

    assert survivors(capture) == EXCHANGES[:6] + EXCHANGES[8:]
    assert [(each.segment, each.exchanges_lost) for each in capture.damage] == [(3, 2)]


def test_the_content_digest_is_the_indexs_in_a_sound_file_only() -> None:
    for data in (DATA, capture_bytes([EXCHANGES], seal=False), capture_bytes([])):
        file = CaptureFile(stored_of(data))
        assert file.content_digest() == file.digest

    lying = CaptureFile(stored_of(with_index(DATA, lambda index: replace(index, digest=bytes(16)))))
    assert lying.content_digest() != lying.digest == "00" * 16


def test_check_decodes_every_byte_and_also_what_it_does_not_know() -> None:
    piece = pack_piece(200, b"something of ours")
    start = pack_piece(Kind.START, pack_start(start_of(0, 0, ())))
    commit = pack_piece(Kind.COMMIT, pack_commit(Commit(pieces=1)))
    head = DATA[: capture_of(DATA).segments[0].offset]
    data = head + EXAMPLE_SYNC + start + piece + commit

    assert capture_of(data).check(0).columns["arrival_ns"].tolist() == []
    assert capture_of(data).damage == ()
    broken = capture_of(flip(data, len(head) + len(EXAMPLE_SYNC) + len(start) + 20))
    broken.check(0)
    assert [each.reason for each in broken.damage] == ["checksum of a payload does not match (kind 200)"]


# Under right checksums


def crafted(pieces: list[bytes], exchanges: int, *, columns: object = None, **commit: int) -> bytes:
    """A capture of one segment with these pieces; its start is the usual one unless ``columns`` says otherwise."""
    head = DATA[: capture_of(DATA).segments[0].offset]
    start = msgpack.packb({"number": 0, "before": 0, "columns": columns}) if columns else pack_start(start_of(0, 0, ()))
    record = Commit(exchanges=exchanges, pieces=len(pieces), total_exchanges=exchanges, **commit)
    end = pack_piece(Kind.COMMIT, pack_commit(record))
    return b"".join([head, EXAMPLE_SYNC, pack_piece(Kind.START, start), *pieces, end])


ONE = [["arrival_ns", "<i8"]]


@pytest.mark.parametrize(
    ("pieces", "exchanges", "reason"),
    [
        ([pack_piece(Kind.COLUMNS, bytes(8))], 2, "columns do not fit"),
        ([pack_piece(Kind.COLUMNS, bytes(8)), pack_piece(Kind.NAMES, b"\x01")], 1, "a string is not one"),
        ([pack_piece(Kind.COLUMNS, b"not zstd", raw=8)], 1, "does not decompress"),
        (
            [pack_piece(Kind.COLUMNS, bytes(4)), pack_piece(Kind.COLUMNS, b"1234", raw=4)],
            1,
            "some pieces .* are compressed",
        ),
    ],
)
def test_columns_that_contradict_themselves_cost_their_segment_everywhere(
    pieces: list[bytes], exchanges: int, reason: str
) -> None:
    sound = capture_of(capture_bytes([EXCHANGES], segment_bytes=1200, seal=False))
    first = sound.segments[0]
    data = crafted(pieces, exchanges, columns=ONE)
    start = start_of(1, exchanges, ())
    # A sound segment behind it.
    (flush,) = first.flushes
    body = capture_bytes([EXCHANGES], segment_bytes=1200, seal=False)[flush.pieces[0].offset : flush.pieces[-1].offset]
    commit = replace(flush.commit, total_exchanges=exchanges + first.exchanges)
    body += pack_piece(Kind.COMMIT, pack_commit(commit))
    data += EXAMPLE_SYNC + pack_piece(Kind.START, pack_start(start)) + body
    capture = capture_of(data)

    assert survivors(capture) == EXCHANGES[: first.exchanges]
    assert len(capture) == exchanges + first.exchanges
    (damage,) = capture.damage
    assert (damage.segment, damage.exchanges_lost) == (0, exchanges)
    assert re.search(reason, damage.reason)


def bomb(kind: Kind, claimed: int, real: int) -> bytes:
    """A compressed piece of ``real`` zeros that claims to be ``claimed`` bytes."""
    return pack_piece(kind, stream(kind, small=True).cut(bytes(real)), raw=claimed)


def growth_of(action: Callable[[], object]) -> int:
    """By how many bytes the most memory this process ever had grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    action()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10


@pytest.mark.parametrize("claimed", [8, 1 << 20])
def test_a_zstd_bomb_gives_no_more_than_it_claims(claimed: int) -> None:
    data = crafted([bomb(Kind.COLUMNS, claimed, 200 << 20)], 1, columns=ONE)
    capture = capture_of(data)

    assert growth_of(lambda: list(capture.exchanges())) < 64 << 20
    assert [each.exchanges_lost for each in capture.damage] == [1]


def test_pieces_that_claim_more_than_a_segment_may_hold_are_not_read() -> None:
    data = crafted([bomb(Kind.BODIES, 256 << 20, 1000)] * 3, 0)
    capture = capture_of(data)

    assert growth_of(lambda: capture.check(0)) < 16 << 20
    assert ["claims more bytes than the limit" in each.reason for each in capture.damage] == [True]


@pytest.mark.parametrize("count", [1 << 17, 1 << 62])
def test_a_commit_with_a_huge_count_is_damage(count: int) -> None:
    capture = capture_of(crafted([pack_piece(Kind.COLUMNS, bytes(8))], count, columns=ONE))

    assert len(capture) == 0
    assert [each.reason for each in capture.damage] == ["a segment claims more exchanges than the limit"]


def test_a_huge_index_costs_memory_by_its_size() -> None:
    at, index = index_of(DATA)
    entry = msgpack.packb([0, 0, 0, 0, 0])
    count = 400_000
    record = msgpack.packb({"commit": list(msgpack.unpackb(pack_commit(index.commit))), "digest": bytes(16)})
    payload = b"\x83" + record[1:] + msgpack.packb("segments") + b"\xdd" + count.to_bytes(4, "big") + entry * count
    data = DATA[:at] + pack_piece(Kind.INDEX, payload) + pack_trailer(at)

    opened: list[Capture] = []
    assert growth_of(lambda: opened.append(Capture("x", Listing([CaptureFile(stored_of(data))])))) < 128 << 20
    assert not opened[0].sealed
    assert survivors(opened[0]) == EXCHANGES


@pytest.mark.parametrize(
    "payload", [b"\x81\xa8segments\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x80", b"\xc1"]
)
def test_an_index_of_a_declared_huge_count_is_damage(payload: bytes) -> None:
    at, _ = index_of(DATA)
    capture = capture_of(DATA[:at] + pack_piece(Kind.INDEX, payload) + pack_trailer(at))

    assert survivors(capture) == EXCHANGES
    assert [(each.offset, each.exchanges_lost) for each in capture.damage] == [(at, 0)]
    assert capture.size == at + len(pack_piece(Kind.INDEX, payload)) + TRAILER_SIZE


def test_many_entries_are_places_when_asked_for() -> None:
    file = CaptureFile(stored_of(DATA))

    assert [place.number for place in file.places[1:3]] == [1, 2]
    assert (file.places[-1].number, file.places[-1].before) == (5, 10)
    with pytest.raises(IndexError):
        file.places[6]
    assert Entry(
        *(getattr(file.places[0], name) for name in ("offset", "end", "exchanges", "min_arrival_ns", "max_arrival_ns"))
    )


def test_a_flag_of_a_later_version_is_damage() -> None:
    piece = capture_of(DATA).segments[0].flushes[0].pieces[0]
    stored = DATA[piece.payload_offset : piece.payload_offset + piece.stored]
    later = pack_piece(piece.kind, stored, raw=piece.raw, flags=int(PieceFlags.ZSTD) | 64)

    capture = capture_of(DATA[: piece.offset] + later + DATA[piece.end :])

    assert survivors(capture) == EXCHANGES[2:]
    assert "unknown flags" in capture.damage[0].reason
