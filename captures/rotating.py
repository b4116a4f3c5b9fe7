"""A recording's tape: one file, or a folder of files that follow one another. `captures.rotation` decides, this file does."""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from captures.beginning import read_beginning
from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.header import ID_SIZE, Header
from captures.pieces import PieceReader
from captures.rotation import (
    Rotation,
    Stored,
    confessions_since,
    confessions_with,
    file_name,
    free_start,
    is_due,
    number_of,
    oldest_kept,
    to_remove,
)
from captures.store import TapeFile, create_capture
from captures.wording import size_text


@dataclass(frozen=True, slots=True)
class Clock:
    """``now_ns`` is monotonic, ``wall_ns`` is unix time."""

    now_ns: Callable[[], int] = time.monotonic_ns
    wall_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """``rotation`` None: one file, and nothing is ever removed. ``expire_ns``: from a file's beginning; 0: never. ``key``: encrypt
    with it.
    """

    rotation: Rotation | None = None
    expire_ns: int = 0
    key: bytes | None = None
    fsync: bool = False


def _nothing(_: object) -> None:
    pass


class RotatingTape:
    """Takes what `captures.store.TapeFile` takes. Confessions are totals; each file confesses what was counted since the one before
    it, so that sums over the files are right. ``base``: totals that other files confess already; the first one leaves them out.

    ``path``: the file being written. ``files``: how many were begun. ``before``: exchanges in the files before it. ``removed``,
    ``removed_bytes``: what retention took. ``on_sealed`` gets the path of each sealed file, ``note`` a line for the operator.
    """

    def __init__(
        self,
        path_of: Callable[[int], Path],
        header: Header,
        keeping: Keeping,
        *,
        clock: Clock | None = None,
        on_sealed: Callable[[Path], object] = _nothing,
        note: Callable[[str], object] = _nothing,
        base: Confessions | None = None,
    ) -> None:
        """Begins the first file; ``path_of`` says where the file of a number goes. Raises UsageError, OSError."""
        self._path_of, self._header, self._keeping = path_of, header, keeping
        self._clock, self._on_sealed, self._note = clock or Clock(), on_sealed, note
        self._base = base or Confessions(sampling_rate=header.sampling_rate)
        self._oldest = 1
        self._oldest_of: dict[str, int] = {}
        self._sealed = False
        self.files = self.before = self.removed = self.removed_bytes = self._before_bytes = 0
        self._begin()

    @property
    def committed(self) -> int:
        """Exchanges in all files, those included that retention has removed since."""
        return self.before + self._tape.committed

    @property
    def confessed(self) -> Confessions:
        """The totals that the files tell, all of them together and those of ``base``."""
        return confessions_with(self._base, self._tape.confessed)

    @property
    def base(self) -> Confessions:
        """The same without the file being written."""
        return self._base

    @property
    def written(self) -> int:
        """Bytes of all files, those included that retention has removed since."""
        return self._before_bytes + self._tape.size

    @property
    def gone(self) -> bool:
        """The file being written is no longer where it was made."""
        return not self._sealed and _identity(self.path) != self._born

    def append(self, batch: Batch) -> None:
        """As `TapeFile.append`."""
        self._tape.append(batch)

    def flush(self, confessions: Confessions) -> None:
        """Commit what was appended; where the file is due, seal it and begin the next one. Raises OSError, UsageError: what
        could be committed is (`committed`), and nothing more can be written but a seal.
        """
        self._tape.flush(confessions_since(confessions, self._base))
        rotation = self._keeping.rotation
        if rotation and is_due(rotation, self._tape.size, self._clock.now_ns() - self._begun_ns):
            self.seal(confessions)
            self._begin()

    def seal(self, confessions: Confessions) -> None:
        """Flush and seal the file being written; once. Raises OSError."""
        if self._sealed:
            return
        self._tape.seal(confessions_since(confessions, self._base))
        self._sealed = True
        self._tape.close()
        self._on_sealed(self.path)

    def resume(self) -> None:
        """After an error: go on in the next file. Raises OSError, UsageError; it may be tried again then."""
        self.leave()
        self._begin()

    def leave(self) -> None:
        """After an error: seal the file as it is, if that is possible by now, and close it."""
        if not self._sealed and not self.gone:
            with suppress(OSError, ValueError):  # ValueError: it is closed already
                self.seal(self.confessed)
        self.close()

    def close(self) -> None:
        self._tape.close()

    def _begin(self) -> None:
        number, keeping, wall_ns = self.files + 1, self._keeping, self._clock.wall_ns()
        path = self._path_of(number)
        doomed = to_remove(list(stored_in(path.parent)), keeping.rotation, wall_ns) if keeping.rotation else []
        oldest = dict(oldest_kept(doomed))
        self._oldest = max(self._oldest, oldest.pop(self._header.recording_id, 1))
        for recording, lowest in oldest.items():
            self._oldest_of[recording.hex()] = max(lowest, self._oldest_of.get(recording.hex(), 1))
        header = replace(
            self._header,
            file_id=os.urandom(ID_SIZE),
            number=number,
            oldest=self._oldest,
            oldest_of=dict(self._oldest_of),
            expires_ns=wall_ns + keeping.expire_ns if keeping.expire_ns else 0,
        )
        tape = create_capture(path, header, key=keeping.key, fsync=keeping.fsync)
        if number > 1:
            self.before, self._base, self._before_bytes = self.committed, self.confessed, self.written
        self._tape: TapeFile = tape
        self.path, self.files, self._sealed = path, number, False
        self._born, self._begun_ns = _identity(path), self._clock.now_ns()
        self._remove(doomed, path.parent)

    def _remove(self, doomed: Sequence[Stored], folder: Path) -> None:
        """Last, so that a new file that cannot be begun costs no old one."""
        gone, stuck = [], ""
        for file in doomed:
            try:
                (folder / file.name).unlink()
                gone.append(file)
            except FileNotFoundError:
                pass  # another recorder of this folder was faster
            except OSError as error:
                stuck = f"{folder / file.name}: cannot be removed: {error.strerror}"
        self.removed += len(gone)
        self.removed_bytes += sum(file.size for file in gone)
        if gone:
            size = size_text(sum(file.size for file in gone))
            self._note(f"{folder}: {len(gone)} older {'file' if len(gone) == 1 else 'files'} removed ({size})")
        if stuck:
            self._note(stuck)


def start_of(folder: Path, wall_ns: int) -> Callable[[int], Path]:
    """``path_of`` for a recording into a folder: names nobody has there yet."""
    start_ns = free_start(wall_ns, [entry.name for entry in os.scandir(folder)])
    return lambda number: folder / file_name(start_ns, number)


def stored_in(folder: Path) -> Iterator[Stored]:
    """The files that recordings of ours wrote into a folder: by name, and by a header that says the same. Whatever else stands
    there is nobody's business.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if number_of(entry.name) is not None:
            with suppress(OSError, CaptureError):
                if (found := _stored(Path(entry.path))) is not None:
                    yield found


def _stored(path: Path) -> Stored | None:
    """Raises OSError, CaptureError."""
    # For writing, since only then does NFS grant the lock that is tried.
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        reader = PieceReader(lambda offset, size: os.pread(fd, size, offset), status.st_size)
        header = read_beginning(path.name, reader).header
        if header.kind != "recording" or header.number != number_of(path.name):
            return None
        return Stored(
            name=path.name,
            size=status.st_size,
            written_ns=status.st_mtime_ns,
            recording_id=header.recording_id,
            number=header.number,
            expires_ns=header.expires_ns,
            held=_is_held(fd),
        )
    finally:
        os.close(fd)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return status.st_dev, status.st_ino
