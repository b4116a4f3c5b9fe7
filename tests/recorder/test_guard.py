"""Before each flush: is the file still there, and has the disk room?"""

import pytest

from captures.confessions import Confessions
from recorder.board import Count
from recorder.guard import GONE, RESERVE, guard, has_room
from recorder.intake import Intake
from recorder.testing import FakeTape, as_they_are, frames, new_row

MIB = 1 << 20


def filled() -> tuple[Intake, FakeTape, list[int]]:
    tape, row = FakeTape(), new_row()
    intake = Intake(row, as_they_are)
    intake.begin(tape)
    intake.take(frames(2))
    intake.flush()
    intake.take(frames(3))
    return intake, tape, row


@pytest.mark.parametrize("free", [None, 256 * MIB, 1 << 50])
def test_with_room_and_a_file_nothing_happens(free: int | None) -> None:
    intake, tape, _ = filled()
    guard(intake, gone=False, emptied=False, min_free=256 * MIB, free=free)
    assert (intake.trouble, tape.sealed) == ("", False)


def test_below_the_floor_what_is_there_is_sealed_and_the_rest_is_shed() -> None:
    intake, tape, row = filled()
    guard(intake, gone=False, emptied=False, min_free=256 * MIB, free=255 * MIB)
    assert intake.trouble == "the disk has 255.0 MiB left, less than the 256.0 MiB of --min-free"
    assert (row[Count.KEPT], tape.sealed, tape.commits[-1]) == (5, True, Confessions(seen=5))
    intake.take(frames(4))
    assert not intake.flush()
    assert (row[Count.KEPT], intake.confessions().shed) == (5, 4)


def test_a_floor_of_zero_is_none() -> None:
    intake, *_ = filled()
    guard(intake, gone=False, emptied=False, min_free=0, free=0)
    assert intake.trouble == ""


def test_a_disk_that_is_full_at_the_floor_sheds_what_was_pending() -> None:
    intake, tape, row = filled()
    tape.error = OSError(28, "No space left on device")
    guard(intake, gone=False, emptied=False, min_free=1, free=0)
    assert intake.trouble == "cannot write: No space left on device"
    assert (row[Count.KEPT], intake.confessions().shed) == (2, 3)


def test_a_file_that_is_gone_is_told_once_and_costs_what_it_held() -> None:
    intake, tape, row = filled()
    guard(intake, gone=True, emptied=False, min_free=0, free=None)
    guard(intake, gone=True, emptied=True, min_free=MIB, free=0)
    assert intake.trouble == GONE
    assert (row[Count.KEPT], intake.confessions().shed, tape.sealed) == (0, 5, False)


def test_another_file_is_begun_a_little_above_the_floor() -> None:
    assert has_room(None, 5)
    assert has_room(5 + RESERVE, 5)
    assert not has_room(4 + RESERVE, 5)
