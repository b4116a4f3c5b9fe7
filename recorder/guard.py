"""What is looked at before each flush: that the file is where it was made, and that the disk has room. Pure: it is told."""

from captures.wording import size_text
from recorder.intake import Intake

GONE = "the file is gone from its folder (removed or replaced)"
RESERVE = 8 << 20
"""Bytes above the floor that a disk must have for another file to be begun: at the very floor it would end at once."""


def guard(intake: Intake, *, gone: bool, emptied: bool, min_free: int, free: int | None) -> None:
    """Stops an intake that writes into nothing, or fills the last of a disk. ``gone``: the file is; ``emptied``: its folder is,
    too. ``free``: bytes; None: unknown.
    """
    if intake.trouble:
        return
    if gone:
        intake.lose(GONE, everything=emptied)
    elif free is not None and free < min_free:
        intake.stop(floor(free, min_free))


def has_room(free: int | None, min_free: int) -> bool:
    """Whether another file may be begun after trouble."""
    return free is None or free >= min_free + RESERVE


def floor(free: int, min_free: int) -> str:
    return f"the disk has {size_text(free)} left, less than the {size_text(min_free)} of --min-free"
