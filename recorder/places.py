"""Where a recording's files are made: free names, folders, room on the disk, and the bucket they go to."""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from captures.errors import UsageError
from captures.frame import TRAILER_SIZE, unpack_trailer
from captures.rotating import RotatingTape, stored_in
from recorder.options import numbered
from recorder.uploading import Uploader

type Upload = Callable[[Path, str], object]
type Note = Callable[[str], object]


def begun(
    free: Callable[[], Callable[[int], Path]], begin: Callable[[Callable[[int], Path]], RotatingTape]
) -> RotatingTape:
    """``free`` finds a name that nobody has; where another recorder takes it meanwhile, it is asked again. Raises as ``begin``."""
    while True:
        path_of = free()
        try:
            return begin(path_of)
        except UsageError:
            if not path_of(1).exists():
                raise


def free_name(path: Path) -> Callable[[int], Path]:
    found = next(each for number in itertools.count(1) if not (each := numbered(path, number)).exists())
    return lambda _: found


def make_folder(folder: Path, *, parents: bool, fsync: bool) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=parents, exist_ok=True)
    if fsync:
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def free_bytes(path: Path) -> int | None:
    """Bytes that may be used on the disk of a path that need not exist yet. None: the system does not say."""
    existing = next((each for each in (path, *path.parents) if each.exists()), None)
    try:
        status = os.statvfs(existing or "/")
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def uploader_to(url: str, staging: Path, note: Note, upload: Upload | None) -> Uploader:
    """Takes sealed files to a bucket, and what an earlier recording left in ``staging`` at once. ``upload``: None: the real one."""
    put, probe = _real_bucket(url) if upload is None else (upload, None)
    uploader = Uploader(put, url, note, probe=probe)
    for path in _left_over(staging, note):
        uploader.put(path, found=True)
    return uploader


def _real_bucket(url: str) -> tuple[Upload, Callable[[], object]]:
    """What uploads to it, and what finds out whether that can work."""
    from captures.remote import check_bucket, upload  # noqa: PLC0415 - slow to import, and few recordings need it

    return upload, partial(check_bucket, url)


def _left_over(folder: Path, note: Note) -> Iterator[Path]:
    """What an earlier recording could not upload: sealed files that nobody writes. Others are named and left alone."""
    for stored in stored_in(folder):
        path = folder / stored.name
        if stored.held:
            continue
        try:
            with path.open("rb") as file:
                file.seek(max(0, stored.size - TRAILER_SIZE))
                sealed = unpack_trailer(file.read(TRAILER_SIZE)) is not None
        except FileNotFoundError:  # another recorder has uploaded it this moment
            continue
        if sealed:
            yield path
        else:
            note(f"{path}: left by an earlier recording, not sealed, so not uploaded; shadowtape recover reads it")
