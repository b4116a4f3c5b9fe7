"""Running rewrites over rows, and what they mean for recorded responses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transforms.schedule import Rewrite, Rows, Schedule


def apply_rewrites(rewrites: Sequence[Rewrite], rows: Rows) -> Rows:
    """The rows with every rewrite applied, in order; rewrites compose as transforms do."""
    for rewrite in rewrites:
        rows = rewrite(rows)
    return rows


def value_touched(schedule: Schedule) -> NDArray[np.bool_]:
    """Which rows no longer ask what was recorded: their recorded responses say nothing about them."""
    return _touched(schedule, "value")


def identity_touched(schedule: Schedule) -> NDArray[np.bool_]:
    """Which rows differ from the recording only in what the right answer does not depend on."""
    return _touched(schedule, "identity")


def _touched(schedule: Schedule, kind: str) -> NDArray[np.bool_]:
    touched = np.zeros(len(schedule), dtype=np.bool_)
    for rewrite in schedule.rewrites:
        if rewrite.kind == kind:
            touched |= rewrite.touches(schedule)
    return touched
