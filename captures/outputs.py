"""Where a command's capture goes: a file, or an object that is uploaded once the capture is sealed. Whole, or not there at all."""

import errno
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from captures.errors import UsageError
from captures.frame import TRAILER_SIZE, unpack_trailer
from captures.header import Header
from captures.locations import is_remote, shown
from captures.remote import check_new, upload
from captures.store import SUFFIX, TapeFile, create_capture

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def check_output(where: str) -> None:
    """What would fail when a long command has done its work fails at once.

    Raises UsageError: wrong suffix, exists already, no such folder, a URL that cannot be written to; CaptureError: the store
    refuses or cannot be reached.
    """
    if not where.endswith(SUFFIX):
        raise UsageError(f"{shown(where)}: a capture's name ends in {SUFFIX}")
    if is_remote(where):
        check_new(where)
        return
    path = Path(where)
    if path.exists():
        raise UsageError(f"{path}: exists already; captures are never overwritten, choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")


@contextmanager
def create_output(
    where: str, header: Header, *, key: bytes | None = None, fsync: bool = False, small: bool = False
) -> Iterator[TapeFile]:
    """A capture to be written and sealed in the ``with`` block. What an error interrupts is removed: it can be made again.
    ``small``: as in `create_capture`.

    A URL's capture is written to a temporary file (in TMPDIR), uploaded when the block is left, and removed. Raises as
    `check_output`; ValueError: the block was left without `seal`.
    """
    check_output(where)
    with unwound_by_signals(), _writing(where):
        if not is_remote(where):
            with _whole(Path(where), header, key, fsync=fsync, small=small) as tape:
                yield tape
            return
        with tempfile.TemporaryDirectory(prefix="shadowtape-") as folder:
            local = Path(folder) / f"output{SUFFIX}"
            with _whole(local, header, key, fsync=False, small=small) as tape:
                yield tape
            upload(local, where)


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP leave the block as Ctrl-C does, so that what is half written is removed; the exit code is the shell's for
    them. Whoever has a handler, or ignores them, keeps it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _unwind)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _whole(path: Path, header: Header, key: bytes | None, *, fsync: bool, small: bool) -> Iterator[TapeFile]:
    with create_capture(path, header, key=key, fsync=fsync, small=small) as tape:
        try:
            yield tape
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    if not _is_sealed(path):
        path.unlink()
        raise ValueError("an output was left without being sealed")


def _is_sealed(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - TRAILER_SIZE, 0))
        return unpack_trailer(file.read()) is not None


@contextmanager
def _writing(where: str) -> Iterator[None]:
    """A full disk is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UsageError(f"{shown(where)}: cannot be written: {os.strerror(error.errno)}") from error
