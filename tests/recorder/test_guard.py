"""Before each flush: is the file still there, and has the disk room?"""

import pytest

from captures.confessions import Confessions
from recorder.guard import GONE, guard
from recorder.intake import Intake
from recorder.testing import FakeTape, as_they_are, frames

MIB = 1 << 20


def filled() -> tuple[Intake, FakeTape]:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    intake.take(frames(2))
    intake.flush()
    intake.take(frames(3, seen=5))
    return intake, tape


@pytest.mark.parametrize("free", [None, 256 * MIB, 1 << 50])
def test_with_room_and_a_file_nothing_happens(free: int | None) -> None:
    intake, tape = filled()
    guard(intake, left=None, min_free=256 * MIB, free=free)
    assert (intake.trouble, tape.sealed) == ("", False)


def test_below_the_floor_what_is_there_is_sealed_and_the_rest_is_shed() -> None:
    intake, tape = filled()
    guard(intake, left=None, min_free=256 * MIB, free=255 * MIB)
    assert intake.trouble == "the disk has 255.0 MiB left, less than the 256.0 MiB of --min-free"
    assert (intake.kept, tape.sealed, tape.confessed[-1]) == (5, True, Confessions(seen=5))
    intake.take(frames(4, seen=9))
    assert not intake.flush()
    assert (intake.kept, intake.confessions().shed) == (5, 4)


def test_a_floor_of_zero_is_none() -> None:
    intake, _ = filled()
    guard(intake, left=None, min_free=0, free=0)
    assert intake.trouble == ""


def test_a_disk_that_is_full_at_the_floor_sheds_what_was_pending() -> None:
    intake, tape = filled()
    tape.error = OSError(28, "No space left on device")
    guard(intake, left=None, min_free=1, free=0)
    assert intake.trouble == "cannot write: No space left on device"
    assert (intake.kept, intake.confessions().shed) == (2, 3)


@pytest.mark.parametrize("left", [0, 1])
def test_a_file_that_is_gone_is_told_once_and_costs_what_it_held(left: int) -> None:
    intake, tape = filled()
    guard(intake, left=left, min_free=0, free=None)
    guard(intake, left=0, min_free=MIB, free=0)
    assert intake.trouble == GONE
    assert (intake.kept, intake.confessions().shed, tape.sealed) == (left, 5 - left, False)
