"""What survives of a damaged capture: order kept, everything accounted for."""

from dataclasses import replace
from pathlib import Path

import pytest

from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.exchange import Exchange
from captures.frame import Kind
from captures.opening import open_capture
from captures.reader import Capture
from captures.recovery import recovered_confessions, recovered_header, report, survey, survivors
from captures.store import create_capture
from captures.testing import capture_bytes, capture_of, cut, example_exchanges, flip, swap_segments, write_example, zero
from captures.verification import check, verdict

EXCHANGES = example_exchanges(12)
DATA = capture_bytes([EXCHANGES[i : i + 3] for i in range(0, 12, 3)], segment_bytes=700, notes={"why": "test"})
"""Four segments of three exchanges."""


def recovered(capture: Capture, out: Path) -> Confessions:
    """A sound file with what survives; its confessions."""
    found = survey(capture)
    header = recovered_header(capture, found, file_id=b"a new file's id ", producer="test")
    with create_capture(out, header) as tape:
        for batch in survivors(capture):
            tape.append(batch)
        tape.seal(recovered_confessions(capture, found))
    with open_capture(out) as made:
        assert verdict([made], sum(check(made)))["sound"]
        assert len(made) == found.whole
        return made.confessions


def read(path: Path) -> list[Exchange]:
    with open_capture(path) as capture:
        return list(capture.exchanges())


def piece_of(kind: Kind, segment: int) -> int:
    flush = capture_of(DATA).segments[segment].flushes[0]
    return next(piece.payload_offset for piece in flush.pieces if piece.kind == kind)


def test_a_sound_capture_loses_nothing(tmp_path: Path) -> None:
    capture = capture_of(DATA)

    confessions = recovered(capture, tmp_path / "a.tape")

    assert read(tmp_path / "a.tape") == EXCHANGES
    assert (confessions.seen, confessions.shed) == (12, 0)


def test_lost_bodies_are_counted_apart(tmp_path: Path) -> None:
    capture = capture_of(flip(DATA, piece_of(Kind.MESSAGES, 1)))

    found = report(survey(capture))
    confessions = recovered(capture, tmp_path / "a.tape")

    assert (found["read"], found["written"], found["lost"], found["bodiless"]) == (12, 9, 3, 3)
    assert read(tmp_path / "a.tape") == EXCHANGES[:3] + EXCHANGES[6:]
    assert (confessions.seen, confessions.shed) == (12, 3)


def test_lost_columns_are_lost_altogether(tmp_path: Path) -> None:
    capture = capture_of(flip(DATA, piece_of(Kind.COLUMNS, 2)))

    found = report(survey(capture))

    assert (found["read"], found["lost"], found["bodiless"]) == (12, 3, 0)
    assert [(each["segment"], each["exchanges_lost"]) for each in found["damage"]] == [(2, 3)]
    recovered(capture, tmp_path / "a.tape")
    assert read(tmp_path / "a.tape") == EXCHANGES[:6] + EXCHANGES[9:]


def test_an_unsealed_tail_was_never_committed(tmp_path: Path) -> None:
    unsealed = capture_bytes([EXCHANGES[:3], EXCHANGES[3:6]], seal=False)
    capture = capture_of(cut(unsealed, len(unsealed) - 5))

    found = report(survey(capture))

    assert (found["read"], found["written"], found["sealed"]) == (3, 3, False)
    assert found["tail_bytes"] > 0
    recovered(capture, tmp_path / "a.tape")
    assert read(tmp_path / "a.tape") == EXCHANGES[:3]


def test_without_an_index_the_commits_tell_what_there_was() -> None:
    """The index is gone, a segment in the middle too."""
    middle = capture_of(DATA).segments[1]
    data = zero(cut(DATA, len(DATA) - 5), middle.offset, middle.end)

    found = report(survey(capture_of(data)))

    assert (found["read"], found["written"], found["lost"]) == (12, 9, 3)


def test_swapped_segments_stay_in_a_sound_order(tmp_path: Path) -> None:
    capture = capture_of(swap_segments(DATA, 0, 2))

    recovered(capture, tmp_path / "a.tape")

    assert sorted(each.arrival_ns for each in read(tmp_path / "a.tape")) == [each.arrival_ns for each in EXCHANGES]


@pytest.mark.slow
def test_whatever_is_flipped_what_is_left_is_sound_and_adds_up(tmp_path: Path) -> None:
    known = {each.arrival_ns: each for each in EXCHANGES}
    for offset in range(capture_of(DATA).segments[0].offset, len(DATA), 101):
        capture, out = capture_of(flip(DATA, offset)), tmp_path / f"{offset}.tape"

        confessions = recovered(capture, out)

        survived = read(out)
        assert all(known[each.arrival_ns] == each for each in survived)
        assert len(survived) >= 9
        assert confessions.seen == len(survived) + confessions.shed == 12, offset


def test_where_nothing_can_be_read_there_is_nothing_to_recover() -> None:
    first, last = capture_of(DATA).segments[0], capture_of(DATA).segments[-1]

    with pytest.raises(CaptureError, match="none of its 12 exchanges"):
        survey(capture_of(zero(DATA, first.offset, last.end)))


def test_an_empty_capture_recovers_to_an_empty_one(tmp_path: Path) -> None:
    recovered(capture_of(capture_bytes([])), tmp_path / "a.tape")

    assert read(tmp_path / "a.tape") == []


def test_the_header_is_kept_and_says_where_it_came_from() -> None:
    capture = capture_of(flip(DATA, piece_of(Kind.MESSAGES, 1)), "monday.tape")
    found = survey(capture)

    header = recovered_header(capture, found, file_id=b"a new file's id ", producer="test")

    old = capture.header
    kept = replace(header, file_id=old.file_id, producer=old.producer, inputs=old.inputs, notes=old.notes)
    assert kept == old
    assert header.inputs == ({"path": "monday.tape", "digest": capture.digest, "file_id": old.file_id.hex()},)
    assert header.notes["why"] == "test"
    noted = header.notes["recovered"]
    assert isinstance(noted, dict)
    assert (noted["read"], noted["lost"], noted["damage"][0]["segment"]) == (12, 3, 1)


def test_a_folder_becomes_one_file(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        write_example(path, EXCHANGES[number * 3 : number * 3 + 3], number=number, file_id=bytes([number]) * 16)
    with open_capture(tmp_path) as capture:
        found = survey(capture)
        header = recovered_header(capture, found, file_id=b"a new file's id ", producer="test")
        batches = list(survivors(capture))

    assert (header.number, header.oldest, len(header.inputs)) == (1, 1, 2)
    assert sum(map(len, batches)) == found.whole == 6


def test_several_recordings_are_not_made_one(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"{number}.tape"
        write_example(path, EXCHANGES[:1], recording_id=bytes([number]) * 16, file_id=bytes([number]) * 16)
    with open_capture(tmp_path) as capture, pytest.raises(UsageError, match="several recordings"):
        recovered_header(capture, survey(capture), file_id=b"a new file's id ", producer="test")
