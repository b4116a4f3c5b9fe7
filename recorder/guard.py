"""What is looked at before each flush: that the file is where it was made, and that the disk has room. Pure: it is told."""

from captures.wording import size_text
from recorder.intake import Intake

GONE = "the file is gone from its folder (removed or replaced)"


def guard(intake: Intake, *, left: int | None, min_free: int, free: int | None) -> None:
    """Stops an intake that writes into nothing, or fills the last of a disk. ``left``: as in `RotatingTape.left`. ``free``: bytes;
    None: unknown.
    """
    if intake.trouble:
        return
    if left is not None:
        intake.fail(GONE, left=left)
    elif free is not None and free < min_free:
        intake.stop(floor(free, min_free))


def floor(free: int, min_free: int) -> str:
    return f"the disk has {size_text(free)} left, less than the {size_text(min_free)} of --min-free"
