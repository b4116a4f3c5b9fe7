"""Sealed files on their way to a bucket: a thread that uploads them one after the other and never holds up the recording.

A file is removed here once it is there. Where it cannot be uploaded it is tried again, later and later, after the others; the
operator hears of it once, and once more when nothing is left behind.
"""

import fcntl
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from captures.errors import ShadowtapeError

UPLOAD_WAIT_S = 60.0  # at the end of a recording, for what is not in the bucket yet
FIRST_S = 1.0
LONGEST_S = 60.0
_BUSY = "in use"


def delay_s(failures: int, share: float) -> float:
    """How long to wait after so many failures in a row; ``share`` in [0, 1) spreads it, so that many recorders do not come back
    together.
    """
    return float(min(LONGEST_S, FIRST_S * 2 ** min(max(failures - 1, 0), 16)) * (0.5 + share / 2))


class Uploader:
    """``upload(local, url)`` puts a file there or raises; ``url`` is the prefix, ``note`` gets lines for the operator. ``probe`` is
    called first and raises where nothing can be uploaded: the first file may be days away.
    """

    def __init__(
        self,
        upload: Callable[[Path, str], object],
        url: str,
        note: Callable[[str], object],
        *,
        probe: Callable[[], object] | None = None,
        delay: Callable[[int, float], float] = delay_s,
    ) -> None:
        self._upload, self._url, self._note, self._probe, self._delay = upload, url, note, probe, delay
        self._waiting: deque[Path] = deque()
        self._found: set[Path] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._until = 0.0
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def put(self, path: Path, *, found: bool = False) -> None:
        """A sealed file. Returns at once. ``found``: it is of another recorder, and others may have found it as well."""
        with self._changed:
            if found:
                self._found.add(path)
            self._waiting.append(path)
            self._changed.notify()

    def close(self, timeout_s: float) -> list[Path]:
        """Wait for what is on its way, ``timeout_s`` at most; what is left stays where it is and is returned."""
        with self._changed:
            self._closing, self._until = True, time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            return list(self._waiting)

    def _run(self) -> None:
        self._look()
        failures = 0
        stuck: set[Path] = set()
        while (path := self._next(failures)) is not None:
            error = self._try(path)
            with self._changed:
                if error is None:
                    self._waiting.popleft()
                else:
                    self._waiting.rotate(-1)  # one that never gets there must not keep the others
            if error is None:
                failures = 0
                if stuck == {path}:
                    self._note(f"uploading to {self._url} goes on")
                stuck.discard(path)
            else:
                failures += 1
                if error == _BUSY:
                    continue
                if not stuck:
                    self._note(f"{path.name}: cannot be uploaded: {error}; tried again later")
                stuck.add(path)

    def _look(self) -> None:
        try:
            if self._probe is not None:
                self._probe()
        except Exception as error:  # noqa: BLE001 - as in _try
            self._note(f"nothing can be uploaded now: {_why(error)}; files wait here, and it is tried again")

    def _next(self, failures: int) -> Path | None:
        """The first file that waits, when it is time for it. None: it is over."""
        with self._changed:
            delay = self._delay(failures, random.random())  # noqa: S311 - no secret
            if not failures:
                self._changed.wait_for(lambda: self._waiting or self._closing)
            elif not self._closing:
                self._changed.wait_for(lambda: self._closing, delay)  # at the end one more try at once
            else:
                self._changed.wait(max(0.0, min(delay, self._until - time.monotonic())))
            if self._closing and (not self._waiting or time.monotonic() >= self._until):
                return None
            return self._waiting[0]

    def _try(self, path: Path) -> str | None:
        """None: it is there, and no longer here."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.stat()  # somebody may have been done with it between opening and locking
            except BlockingIOError:  # another worker's spool found it here as well, and is at it
                return _BUSY
            except FileNotFoundError:
                if path not in self._found:
                    self._note(f"{path.name}: no longer in {path.parent}: uploaded by another worker, or removed")
                return None
            except OSError as error:
                return _why(error)
            try:
                self._upload(path, f"{self._url}/{path.name}")
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises, the file is kept and tried again
                return _why(error)
            with suppress(OSError):
                path.unlink()
            return None


def _why(error: Exception) -> str:
    """In our words or the system's: a client's message may quote what it was sent."""
    if isinstance(error, ShadowtapeError):
        return str(error)
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
