"""Opens captures for reading: files, folders of rotated files, globs and URLs. Whoever writes one uses `captures.store`."""

import errno
import fcntl
import glob
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from captures.beginning import read_beginning
from captures.capture_file import CaptureFile, Stored
from captures.errors import CaptureError
from captures.header import Header
from captures.locations import is_remote, shown
from captures.pieces import PieceReader
from captures.reader import Capture, Listing
from captures.store import SUFFIX
from captures.tape_key import tape_key
from captures.walk import Damage

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # no wait for a pipe's writer
OPEN_FILES = 128  # at a time: a folder may hold more files than a process may open


def open_capture(where: str | Path, *, key: bytes | None = None) -> Capture:
    """One file, a folder of rotated files, a glob, or a URL. ``key``: of encrypted files; None: the one in the environment.

    Raises CaptureError: missing, nothing there, not a capture, a newer format, header damaged, expired, no key or another,
    files that do not belong together; UsageError: what the environment holds is no key, a URL that cannot be.
    """
    opener = _Opener(str(where), key)
    try:
        listing = opener.listing(frozenset())
        return Capture(shown(str(where)), listing, opener.listing if opener.several else None)
    except BaseException:
        opener.close()
        raise


def being_written(where: str | Path) -> bool:
    """Whether a recorder holds the file, or one of the folder's or glob's. Nobody knows of a URL."""
    return not is_remote(str(where)) and any(_is_held(path) for path in _paths(str(where)))


class _Opener:
    """``several``: whether files may join: a folder or a glob, and not one file."""

    def __init__(self, where: str, key: bytes | None) -> None:
        self._where, self._key = where, key
        self._handles = _Handles()
        self._remote = _remote(where) if is_remote(where) else None
        path = Path(where)
        local_several = path.is_dir() or (glob.has_magic(where) and not path.exists())
        self.several = local_several if self._remote is None else len(self._remote) > 1

    def listing(self, known: frozenset[str]) -> Listing:
        """What is there, but for the files of these names. Raises CaptureError, UsageError."""
        files: list[CaptureFile] = []
        expired: dict[str, Header] = {}
        damage: list[Damage] = []
        vanished = False
        for name, opened in self._found(known):
            try:
                stored = opened()
                header = _header_of(stored)
            except CaptureError as error:
                if not self.several:
                    raise
                # One file that never came to be does not take the others with it. Retention may be faster than we are.
                if self._remote is None and not Path(name).exists():
                    vanished = True
                else:
                    damage.append(Damage(0, -1, str(error).removeprefix(f"{name}: "), None, name))
                continue
            if header.expires_ns and time.time_ns() >= header.expires_ns:
                stored.close()
                expired[stored.name] = header
                continue
            if header.encryption and self._key is None:
                self._key = tape_key()
            files.append(CaptureFile(stored, self._key))
        if vanished:  # that it was meant to go says a file that has come since
            more = self.listing(known | {*(file.name for file in files), *expired})
            return Listing([*files, *more.files], {**expired, **more.expired}, more.damage)
        if not files and not known:
            raise self._nothing(expired, damage)
        return Listing(files, expired, damage)

    def close(self) -> None:
        self._handles.close()
        for stored in self._remote or ():
            stored.close()

    def _found(self, known: frozenset[str]) -> Iterator[tuple[str, Callable[[], Stored]]]:
        """(name, how it is opened: raises CaptureError)"""
        if self._remote is not None:
            yield from ((stored.name, partial(_same, stored)) for stored in self._remote if stored.name not in known)
            return
        for path in _paths(self._where) if self.several else [Path(self._where)]:
            if str(path) not in known and not (self.several and _has_no_header_yet(path)):
                yield str(path), partial(self._handles.stored, path)

    def _nothing(self, expired: dict[str, Header], damage: list[Damage]) -> CaptureError:
        where = shown(self._where)
        if damage:
            return CaptureError(f"{damage[0].file}: {damage[0].reason}")
        if expired:
            when = datetime.fromtimestamp(max(each.expires_ns for each in expired.values()) / 1e9, UTC)
            which = "expired" if len(expired) == 1 else f"all {len(expired)} files have expired, the last"
            return CaptureError(f"{where}: {which} on {when:%Y-%m-%d %H:%M} UTC; delete it")
        if Path(self._where).is_dir():
            return CaptureError(f"{where}: no file in this folder ends in {SUFFIX}")
        return CaptureError(
            f"{where}: no such file" if not glob.has_magic(self._where) else f"{where}: no file matches"
        )


class _Handles:
    """The open files of a capture: the least recently read are closed when there are too many, and opened again."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._which: dict[Path, tuple[int, int]] = {}  # device and inode

    def stored(self, path: Path) -> Stored:
        """Raises CaptureError."""
        try:
            status = os.fstat(self._fd(path))
        except FileNotFoundError:
            raise CaptureError(f"{path}: no such file") from None
        except OSError as error:
            raise CaptureError(f"{path}: cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            self._close(path)
            raise CaptureError(f"{path}: not a regular file; a capture is read in any order, so save it first")
        # A recorder may still be appending: until it is measured again, the file ends where it ends now.
        return Stored(
            str(path),
            status.st_size,
            partial(self._read_at, path),
            partial(self._close, path),
            partial(self._size, path),
        )

    def close(self) -> None:
        for path in list(self._open):
            self._close(path)

    def _size(self, path: Path) -> int:
        """0: it is gone, and so grows no more."""
        try:
            return os.fstat(self._fd(path)).st_size
        except OSError:
            return 0

    def _read_at(self, path: Path, offset: int, size: int) -> bytes:
        """Raises OSError."""
        found = []
        fd = self._fd(path)
        while size > 0 and (data := os.pread(fd, size, offset)):
            found.append(data)
            offset, size = offset + len(data), size - len(data)
        return found[0] if len(found) == 1 else b"".join(found)

    def _fd(self, path: Path) -> int:
        """Raises OSError."""
        fd = self._open.get(path)
        if fd is None:
            fd = os.open(path, _READ)
            status = os.fstat(fd)
            which = status.st_dev, status.st_ino
            if self._which.setdefault(path, which) != which:
                os.close(fd)
                raise OSError(errno.ESTALE, "another file has its name now")
            self._open[path] = fd
            while len(self._open) > OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(path)
        return fd

    def _close(self, path: Path) -> None:
        self._which.pop(path, None)
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)


def _paths(where: str) -> list[Path]:
    """The file, those of the folder, or those the glob matches; by name."""
    path = Path(where)
    if path.is_dir():
        try:
            return sorted(each for each in path.iterdir() if each.suffix == SUFFIX and each.is_file())
        except OSError as error:
            raise CaptureError(f"{path}: cannot be listed: {error.strerror}") from None
    if path.exists() or not glob.has_magic(where):
        return [path]
    matches = glob.iglob(where)  # noqa: PTH207 - `Path.glob` takes no absolute pattern
    return sorted(path for path in map(Path, matches) if path.is_file())


def _header_of(stored: Stored) -> Header:
    """Raises CaptureError; then the file is closed."""
    try:
        return read_beginning(stored.name, PieceReader(stored.read_at, stored.size)).header
    except CaptureError:
        stored.close()
        raise


def _has_no_header_yet(path: Path) -> bool:
    """A file that was begun this moment."""
    try:
        return not path.stat().st_size and _is_held(path)
    except OSError:
        return False


def _is_held(path: Path) -> bool:
    """Not, where it cannot be opened."""
    try:
        fd = os.open(path, _READ)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _same(stored: Stored) -> Stored:
    return stored


def _remote(where: str) -> list[Stored]:
    from captures.remote import remote_files  # noqa: PLC0415 - what lies on this machine is read without it

    return remote_files(where)
