"""Capture files on disk: paths, locks, fsync. The only file of ``captures`` that opens anything."""

import errno
import fcntl
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.frame import SYNC_SIZE
from captures.header import Header
from captures.reader import Capture
from captures.writer import SEGMENT_BYTES, CaptureWriter

SUFFIX = ".tape"


def create_capture(
    path: Path, header: Header, *, fsync: bool = False, segment_bytes: int = SEGMENT_BYTES
) -> "TapeFile":
    """A new capture under its final name. An advisory lock is held until it is closed.

    Raises UsageError: wrong suffix, the path exists, no such folder; OSError: disk full.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"{path}: a capture's name ends in {SUFFIX}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path}: exists already; captures are never overwritten, choose another name") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS):
            raise UsageError(f"{path}: cannot be created: {os.strerror(error.errno)}") from None
        raise
    return TapeFile(path, fd, header, fsync=fsync, segment_bytes=segment_bytes)


def open_capture(path: Path | str) -> Capture:
    """Raises CaptureError: missing, a folder, empty, not a capture, a newer format, header damaged, expired."""
    path = Path(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except OSError as error:
        raise CaptureError(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        size = _regular_size(fd, path)
        # A recorder may still be appending: this capture ends where the file ends now.
        capture = Capture(
            str(path), lambda offset, n: os.pread(fd, max(min(n, size - offset), 0), offset), size, lambda: os.close(fd)
        )
        _refuse_expired(capture.header, path)
    except BaseException:
        os.close(fd)
        raise
    return capture


def being_written(path: Path) -> bool:
    """Whether a recorder holds the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


class TapeFile:
    """A capture being written. Leaving its ``with`` without `seal` leaves an unsealed, readable file.

    ``append``, ``flush`` and ``seal`` raise OSError as it comes (disk full). What was committed before stays readable, what
    was appended since is gone (``committed`` says how far the file got), and writing may go on.
    """

    def __init__(self, path: Path, fd: int, header: Header, *, fsync: bool, segment_bytes: int) -> None:
        self.path = path
        self._fd, self._fsync, self._end = fd, fsync, 0
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._writer = CaptureWriter(
                self._write, header, sync_marker=os.urandom(SYNC_SIZE), segment_bytes=segment_bytes
            )
        except BaseException:
            # Without a header it is no capture: an empty file would only block the name.
            path.unlink(missing_ok=True)
            self.close()
            raise
        if fsync:
            _sync_folder(path.parent)

    @property
    def committed(self) -> int:
        """Exchanges in the file."""
        return self._writer.committed

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._end

    @property
    def digest(self) -> str:
        """What `Capture.digest` will say."""
        return self._writer.digest

    def append(self, batch: Batch) -> None:
        """Take exchanges for the next flush. Raises ValueError, OSError."""
        self._writer.append(batch)

    def flush(self, confessions: Confessions) -> None:
        """Commit what was appended: from here on a kill costs nothing of it. Raises OSError."""
        self._writer.flush(confessions)

    def seal(self, confessions: Confessions) -> None:
        """Flush and append the index. Raises OSError."""
        self._writer.seal(confessions)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        """All of it or nothing. Raises OSError."""
        if self._fd < 0:
            raise ValueError("the capture is closed")
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError:
            # A torn flush in the middle would read as damage.
            os.ftruncate(self._fd, self._end)
            os.lseek(self._fd, self._end, os.SEEK_SET)
            raise
        self._end += len(data)


def _regular_size(fd: int, path: Path) -> int:
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise CaptureError(f"{path}: a folder; folders of captures come later: name one file")
    if not stat.S_ISREG(status.st_mode):
        raise CaptureError(f"{path}: not a regular file; a capture is read in any order, so save it first")
    return status.st_size


def _refuse_expired(header: Header, path: Path) -> None:
    if header.expires_ns and time.time_ns() >= header.expires_ns:
        when = datetime.fromtimestamp(header.expires_ns / 1e9, UTC)
        raise CaptureError(f"{path}: expired on {when:%Y-%m-%d %H:%M} UTC; delete it")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
