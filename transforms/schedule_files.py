"""A shell: a schedule as a folder of .npy files, so that workers share one plan memory-mapped and a run can keep it."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captures.errors import UsageError
from transforms.schedule import DTYPES, Rewrite, Schedule


def save(schedule: Schedule, folder: Path) -> None:
    """Write a new folder; it appears whole or not at all. Raises UsageError where it exists."""
    if folder.exists():
        raise UsageError(f"{folder}: already there; a schedule is never overwritten")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        for name, dtype in DTYPES.items():
            np.save(partial / f"{name}.npy", getattr(schedule, name).astype(dtype, copy=False))
        about = {"digest": schedule.digest, "rewrites": [repr(rewrite) for rewrite in schedule.rewrites]}
        (partial / "schedule.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def load(folder: Path, rewrites: Sequence[Rewrite] = ()) -> Schedule:
    """The schedule, memory-mapped. Rewrites are code, so they come from the chain that made them, and must
    be the ones the folder was saved with. Raises UsageError.
    """
    try:
        about = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in DTYPES}
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: not a saved schedule ({error})") from error
    if about["rewrites"] != [repr(rewrite) for rewrite in rewrites]:
        wanted = ", ".join(about["rewrites"]) or "none"
        raise UsageError(f"{folder}: saved with other rewrites than the chain given makes; it needs: {wanted}")
    return Schedule(**columns, rewrites=tuple(rewrites))
