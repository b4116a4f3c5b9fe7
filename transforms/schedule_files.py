"""A shell: a schedule as a folder of .npy files, so that workers share one plan memory-mapped and a run can keep it."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from captures.errors import UsageError
from transforms.schedule import DTYPES, Rewrite, Schedule

MAPPED_BYTES = 32 << 20


class Scratch:
    """Arrays for as long as a ``with`` block: long ones lie in files of a temporary folder, so that a plan of any length fits."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def array(self, length: int, dtype: str) -> NDArray[np.generic]:
        """Uninitialised. Raises OSError: no room on the disk for it."""
        if length * np.dtype(dtype).itemsize < MAPPED_BYTES:
            return np.empty(length, dtype=dtype)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="shadowtape-plan-")
        self._count += 1
        return np.memmap(Path(self._folder.name) / str(self._count), dtype=dtype, mode="w+", shape=(length,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()  # on Linux a mapped file may be removed: what still maps it keeps its pages


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
