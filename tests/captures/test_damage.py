"""What disks, copies and people do to captures: how much survives at least and at most, and what is reported.

The least is every exchange of every segment that was not touched; the most is what was written. Nothing else is ever
read, and what is missing is reported with its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.batches import batch_of
from captures.capture_file import CaptureFile
from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.exchange import Exchange
from captures.frame import CRC_SIZE, PIECE_HEADER_SIZE, TRAILER_SIZE, Kind, Piece, pack_piece
from captures.opening import open_capture
from captures.reader import Capture, Listing
from captures.testing import (
    EXAMPLE_SYNC,
    cut,
    example_exchanges,
    example_header,
    flip,
    stored_of,
    zero,
)
from captures.walk import Segment
from captures.writer import CaptureWriter

KEY = bytes(range(32))
PER_FLUSH, FLUSHES = 2, 8
WRITTEN = example_exchanges(PER_FLUSH * FLUSHES)


@dataclass(frozen=True)
class Made:
    """A sound capture: its bytes and how it is laid out."""

    data: bytes
    key: bytes | None
    segments: tuple[Segment, ...]
    starts: tuple[int, ...]
    sealed: bool

    def open(self, data: bytes) -> Capture:
        return Capture("x", Listing([CaptureFile(stored_of(data), self.key)]))

    def exchanges(self, segment: int) -> list[Exchange]:
        return WRITTEN[self.starts[segment] : self.starts[segment + 1]]

    def untouched(self, start: int, stop: int) -> list[Exchange]:
        """Of all segments that a range of bytes does not reach into."""
        apart = (i for i, each in enumerate(self.segments) if each.end <= start or each.offset >= stop)
        return [exchange for i in apart for exchange in self.exchanges(i)]


@cache
def made(sealed: bool, encrypted: bool) -> Made:
    """Four segments of two flushes."""
    data, key = bytearray(), KEY if encrypted else None
    writer = CaptureWriter(data.extend, example_header(), sync_marker=EXAMPLE_SYNC, key=key, segment_bytes=1000)
    for i in range(FLUSHES):
        writer.append(batch_of(WRITTEN[i * PER_FLUSH : (i + 1) * PER_FLUSH]))
        writer.flush(Confessions(seen=(i + 1) * PER_FLUSH))
    if sealed:
        writer.seal(Confessions(seen=len(WRITTEN)))
    file = CaptureFile(stored_of(bytes(data)), key)
    segments = tuple(file.segment(i) for i in range(len(file.places)))
    assert [len(segment.flushes) for segment in segments] == [2] * 4
    return Made(bytes(data), key, segments, tuple(file.starts.tolist()), sealed)


LAYOUTS = [
    pytest.param(sealed, encrypted, id=f"{'sealed' if sealed else 'unsealed'}-{'encrypted' if encrypted else 'clear'}")
    for sealed in (True, False)
    for encrypted in (True, False)
]
layouts = pytest.mark.parametrize(("sealed", "encrypted"), LAYOUTS)


def survivors(capture: Capture, *, least: list[Exchange], all_lost_known: bool = True) -> list[Exchange]:
    """Checks what holds whatever happened."""
    found = list(capture.exchanges())
    assert len(found) <= len(WRITTEN)
    assert [each for each in found if each not in WRITTEN] == []
    assert [each for each in least if each not in found] == []
    for damage in capture.damage:
        assert 0 <= damage.offset <= capture.size
        assert damage.reason
    lost = [damage.exchanges_lost for damage in capture.damage]
    if None not in lost and all_lost_known:
        assert len(found) + sum(each or 0 for each in lost) == len(WRITTEN), capture.damage
    return found


@layouts
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_flips_and_zeros(sealed: bool, encrypted: bool, data: st.DataObject) -> None:
    sound = made(sealed, encrypted)
    start = data.draw(st.integers(sound.segments[0].offset, len(sound.data) - 1), label="start")
    length = data.draw(st.sampled_from([1, 1, 2, 16, 300, 2000]), label="length")
    stop = min(start + length, len(sound.data))
    broken = (
        flip(sound.data, start, data.draw(st.integers(1, 255), label="mask"))
        if length == 1
        else zero(sound.data, start, stop)
    )
    capture = sound.open(broken)

    found = survivors(capture, least=sound.untouched(start, stop))

    if broken != sound.data and len(found) < len(WRITTEN):
        assert capture.damage or (not sealed and start >= sound.segments[-1].offset)
    for damage in capture.damage:
        # Never reported in front of the flush in which it happened.
        flush = max(
            (f.pieces[-1].end for s in sound.segments for f in s.flushes if f.pieces[-1].end <= start), default=0
        )
        assert damage.offset >= min(flush, start) or damage.exchanges_lost == 0


@layouts
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_cuts_cost_what_comes_behind_them_and_are_no_damage(sealed: bool, encrypted: bool, data: st.DataObject) -> None:
    sound = made(sealed, encrypted)
    size = data.draw(st.integers(sound.segments[0].offset, len(sound.data) - 1), label="size")
    flushes = [flush.pieces[-1].end for segment in sound.segments for flush in segment.flushes]
    capture = sound.open(cut(sound.data, size))

    found = survivors(capture, least=[], all_lost_known=False)

    assert found == WRITTEN[: PER_FLUSH * sum(end <= size for end in flushes)]
    assert (capture.damage, capture.sealed) == ((), False)


@layouts
@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 3), (1, 2)])
def test_swapped_segments_all_survive(sealed: bool, encrypted: bool, first: int, second: int) -> None:
    sound = made(sealed, encrypted)
    a, b = sound.segments[first], sound.segments[second]
    data = sound.data
    capture = sound.open(
        data[: a.offset] + data[b.offset : b.end] + data[a.end : b.offset] + data[a.offset : a.end] + data[b.end :]
    )

    assert len(survivors(capture, least=WRITTEN)) == len(WRITTEN)
    assert {(each.reason, each.exchanges_lost) for each in capture.damage} == {("a segment out of order", 0)}


@layouts
@pytest.mark.parametrize(("which", "behind"), [(0, 0), (1, 3), (3, 0), (2, 2)])
def test_a_repeated_segment_is_read_once(sealed: bool, encrypted: bool, which: int, behind: int) -> None:
    sound = made(sealed, encrypted)
    again, at = sound.segments[which], sound.segments[behind].end
    capture = sound.open(sound.data[:at] + sound.data[again.offset : again.end] + sound.data[at:])

    assert len(survivors(capture, least=WRITTEN)) == len(WRITTEN)
    reasons = {each.reason for each in capture.damage}
    assert reasons & {"a segment again; read once", "a segment out of order"}
    assert all(each.exchanges_lost == 0 for each in capture.damage)


@layouts
@pytest.mark.parametrize("which", [0, 2])
def test_a_missing_segment_costs_its_exchanges(sealed: bool, encrypted: bool, which: int) -> None:
    sound = made(sealed, encrypted)
    gone = sound.segments[which]
    capture = sound.open(sound.data[: gone.offset] + sound.data[gone.end :])

    found = survivors(capture, least=sound.untouched(gone.offset, gone.end))

    assert len(found) == len(WRITTEN) - len(sound.exchanges(which))
    assert (which, "segments are missing", len(sound.exchanges(which))) in [
        (each.segment, each.reason, each.exchanges_lost) for each in capture.damage
    ]


@layouts
def test_a_segment_overwritten_by_another_is_lost_and_its_model_stays(sealed: bool, encrypted: bool) -> None:
    sound = made(sealed, encrypted)
    model, victim = sound.segments[1], sound.segments[2]
    copy = sound.data[model.offset : model.end].ljust(victim.end - victim.offset, b"\0")[: victim.end - victim.offset]
    capture = sound.open(sound.data[: victim.offset] + copy + sound.data[victim.end :])

    found = survivors(capture, least=sound.untouched(victim.offset, victim.end), all_lost_known=False)

    assert len(found) == len(WRITTEN) - len(sound.exchanges(2))
    assert sum(each.exchanges_lost or 0 for each in capture.damage) == len(sound.exchanges(2))


@layouts
def test_damage_in_every_second_segment_leaves_the_others(sealed: bool, encrypted: bool) -> None:
    sound = made(sealed, encrypted)
    data = sound.data
    for segment in sound.segments[::2]:
        data = flip(data, segment.offset + 3)
    capture = sound.open(data)

    assert survivors(capture, least=sound.exchanges(1) + sound.exchanges(3)) == sound.exchanges(1) + sound.exchanges(3)
    assert [(each.offset, each.exchanges_lost) for each in capture.damage] == [
        (segment.offset, len(sound.exchanges(i))) for i, segment in enumerate(sound.segments) if i % 2 == 0
    ]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("back", [1, TRAILER_SIZE - 1, TRAILER_SIZE + 1, TRAILER_SIZE + 30])
def test_without_its_index_a_file_is_whole_and_unsealed(encrypted: bool, back: int) -> None:
    sound = made(True, encrypted)
    capture = sound.open(flip(sound.data, len(sound.data) - back))

    assert survivors(capture, least=WRITTEN) == WRITTEN
    assert not capture.sealed
    assert [(each.offset, each.segment, each.exchanges_lost) for each in capture.damage] == [
        (sound.segments[-1].end, -1, 0)
    ]


# Under repaired checksums


def repaired(data: bytes, piece: Piece, change: Callable[[bytes], bytes]) -> bytes:
    """Another payload of the same length, under a right checksum."""
    stored = data[piece.payload_offset : piece.payload_offset + piece.stored]
    packed = pack_piece(piece.kind, change(stored), raw=piece.raw, flags=piece.flags)
    assert len(packed) == PIECE_HEADER_SIZE + piece.stored + CRC_SIZE
    return data[: piece.offset] + packed + data[piece.end :]


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("kind", [Kind.COLUMNS, Kind.CHUNKS, Kind.MESSAGES, Kind.COMMIT])
@pytest.mark.parametrize("at", [0, 20, -1])
def test_tampering_with_an_encrypted_piece_is_damage(sealed: bool, kind: Kind, at: int) -> None:
    sound = made(sealed, True)
    flush = sound.segments[1].flushes[1]
    piece = next(each for each in flush.pieces if each.kind == kind)
    capture = sound.open(repaired(sound.data, piece, lambda stored: flip(stored, at % len(stored), 1)))

    found = survivors(capture, least=sound.untouched(piece.offset, piece.end))

    assert len(found) == len(WRITTEN) - PER_FLUSH
    (damage,) = capture.damage
    assert (damage.offset, damage.segment, damage.exchanges_lost) == (piece.offset, 1, PER_FLUSH)
    assert "does not decrypt" in damage.reason


def test_an_encrypted_piece_from_another_place_is_damage() -> None:
    sound = made(True, True)
    pieces = [
        next(each for each in segment.flushes[0].pieces if each.kind == Kind.CHUNKS) for segment in sound.segments[1:3]
    ]
    donor = sound.data[pieces[1].offset : pieces[1].end]
    assert len(donor) == pieces[0].end - pieces[0].offset
    capture = sound.open(sound.data[: pieces[0].offset] + donor + sound.data[pieces[0].end :])

    found = survivors(capture, least=sound.untouched(pieces[0].offset, pieces[0].end))

    assert len(found) == len(WRITTEN) - len(sound.exchanges(1))
    assert ["does not decrypt" in each.reason for each in capture.damage] == [True]


def test_a_piece_in_clear_in_an_encrypted_file_is_damage() -> None:
    sound, clear = made(False, True), made(False, False)
    a, b = sound.segments[3], clear.segments[3]
    capture = sound.open(sound.data[: a.offset] + clear.data[b.offset : b.end])

    assert survivors(capture, least=WRITTEN[: sound.starts[3]], all_lost_known=False) == WRITTEN[: sound.starts[3]]
    assert ["in clear" in each.reason for each in capture.damage] == [True]


def test_a_tampered_index_of_an_encrypted_file_is_not_believed() -> None:
    sound = made(True, True)
    at = sound.segments[-1].end
    piece = Piece(at, Kind.INDEX, 2, len(sound.data) - at - PIECE_HEADER_SIZE - CRC_SIZE - TRAILER_SIZE, 0)
    broken = flip(sound.data, piece.payload_offset + 20)
    capture = sound.open(broken)

    assert survivors(capture, least=WRITTEN) == WRITTEN
    assert not capture.sealed


# Several files


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("break_it", ["flip", "header", "gone", "cut", "empty"])
def test_damage_of_one_file_of_a_recording_stays_there(tmp_path: Path, encrypted: bool, break_it: str) -> None:
    key = KEY if encrypted else None
    paths = []
    for number in range(1, 4):
        data = bytearray()
        header = example_header(file_id=bytes((number,)) * 16, number=number)
        writer = CaptureWriter(data.extend, header, sync_marker=EXAMPLE_SYNC, key=key)
        writer.append(batch_of(WRITTEN[4 * number : 4 * number + 4]))
        writer.seal(Confessions(seen=4))
        paths.append(tmp_path / f"{number}.tape")
        paths[-1].write_bytes(data)
    victim = paths[1]
    with open_capture(victim, key=key) as capture:
        (segment,) = capture.segments
        bodies = next(each for each in segment.flushes[0].pieces if each.kind == Kind.MESSAGES)
    sound = victim.read_bytes()
    match break_it:
        case "flip":
            victim.write_bytes(flip(sound, bodies.payload_offset))
        case "header":
            victim.write_bytes(flip(sound, 60))
        case "gone":
            victim.unlink()
        case "cut":
            victim.write_bytes(cut(sound, bodies.offset))
        case _:
            victim.write_bytes(b"")

    with open_capture(tmp_path, key=key) as capture:
        assert list(capture.exchanges()) == WRITTEN[4:8] + WRITTEN[12:16]
        told = [(Path(each.file).name, each.exchanges_lost) for each in capture.damage]

    assert (
        told
        == {
            "flip": [("2.tape", 4)],
            "header": [("2.tape", None), ("3.tape", None)],
            "gone": [("3.tape", None)],
            "cut": [],
            "empty": [("2.tape", None), ("3.tape", None)],
        }[break_it]
    )


def test_a_header_that_is_damaged_refuses_a_file_on_its_own() -> None:
    sound = made(True, True)
    for offset in (*range(9), 30, 100):
        with pytest.raises(CaptureError):
            sound.open(flip(sound.data, offset))
