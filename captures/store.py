"""Capture files being written to disk: paths, locks, fsync. Whoever reads one uses `captures.opening`."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import UsageError
from captures.frame import SYNC_SIZE
from captures.header import Header
from captures.writer import SEGMENT_BYTES, CaptureWriter, always, is_little

SUFFIX = ".tape"


def create_capture(
    path: Path,
    header: Header,
    *,
    key: bytes | None = None,
    fsync: bool = False,
    small: bool = False,
    segment_bytes: int = SEGMENT_BYTES,
) -> "TapeFile":
    """A new capture under its final name, encrypted where a ``key`` is given. An advisory lock is held until it is closed.

    ``fsync``: what a flush committed survives a power loss. ``small``: bytes matter more than time, however much comes at once (a
    recorder need not ask: where little comes, they always do).

    Raises UsageError: wrong suffix, the path exists, no such folder; OSError: disk full.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"{path}: a capture's name ends in {SUFFIX}")
    try:
        fd = _new_file(path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS):
            raise UsageError(f"{path}: cannot be created: {os.strerror(error.errno)}") from None
        raise
    try:
        return TapeFile(path, fd, header, key=key, fsync=fsync, small=small, segment_bytes=segment_bytes)
    except FileExistsError:
        raise _exists(path) from None


class TapeFile:
    """A capture being written. Leaving its ``with`` without `seal` leaves an unsealed, readable file.

    ``append``, ``flush`` and ``seal`` raise OSError as it comes (disk full). What was committed before stays readable, what
    was appended since is gone (``committed`` says how far the file got), and writing may go on.
    """

    def __init__(
        self,
        path: Path,
        fd: int,
        header: Header,
        *,
        key: bytes | None,
        fsync: bool,
        small: bool,
        segment_bytes: int,
    ) -> None:
        self.path = path
        self._fd, self._fsync, self._end = fd, fsync, 0
        self._torn = False  # whether bytes of a write that failed may stand behind the end
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._writer = CaptureWriter(
                self._write,
                header,
                sync_marker=os.urandom(SYNC_SIZE),
                key=key,
                small=always if small else is_little,
                segment_bytes=segment_bytes,
            )
            if not os.fstat(fd).st_nlink:
                _name(fd, path)
            if fsync:
                _sync_folder(path.parent)
        except BaseException:
            # Without a header it is no capture: an empty file would only block the name. Without a name of its own, what has the
            # name is somebody else's.
            if os.fstat(fd).st_nlink:
                path.unlink(missing_ok=True)
            self.close()
            raise

    @property
    def header(self) -> Header:
        """As it stands in the file."""
        return self._writer.header

    @property
    def committed(self) -> int:
        """Exchanges in the file."""
        return self._writer.committed

    @property
    def confessed(self) -> Confessions:
        """What the file says it lacks, as of its last commit."""
        return self._writer.confessed

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
        """Flush and append the index; nothing can be written afterwards. Raises OSError: it may be tried again then."""
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
        self._mend()
        self._torn = True
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, memoryview(data)[written:], self._end + written)
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError:
            with suppress(OSError):  # the next write tries again
                self._mend()
            raise
        self._end += len(data)
        self._torn = False

    def _mend(self) -> None:
        """Take back what a write that failed left: a torn flush in the middle would read as damage. Raises OSError."""
        if self._torn:
            os.ftruncate(self._fd, self._end)
            self._torn = False


def _new_file(path: Path) -> int:
    """Without a name where the system has such files: it gets its name with the header inside, so that even a kill between the two
    leaves no empty file. Elsewhere it has its name at once. Raises OSError.
    """
    if path.exists():
        raise FileExistsError(path)
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _name(fd: int, path: Path) -> None:
    """Raises FileExistsError: somebody was faster; OSError."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Only with a folder does Python use linkat(2), and only linkat follows the link to a file without a name.
        os.link(f"/proc/self/fd/{fd}", path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path}: exists already; captures are never overwritten, choose another name")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
