"""The standard streams of a recorder's processes: that they are there, and that nobody who does not read them stops us."""

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

_AT_ONCE = select.PIPE_BUF  # a pipe that takes anything takes this much


class NeverWaits(io.TextIOBase):
    """Text for a descriptor. What it does not take at once is dropped: a pipe whose reader hangs must not stop who writes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # nobody reads any more
            for start in range(0, len(data), _AT_ONCE):
                if not any(event & select.POLLOUT for _, event in self._poll.poll(0)):
                    break
                os.write(self._descriptor, data[start : start + _AT_ONCE])
        return len(text)


@contextlib.contextmanager
def standing() -> Iterator[None]:
    """Where a standard stream is closed, what is opened next would take its place, and get what is printed. And stderr, ours and
    that of processes forked meanwhile, is one that never waits.
    """
    _open()
    before = sys.stderr
    sys.stderr = NeverWaits(2)
    try:
        yield
    finally:
        sys.stderr = before


def _open() -> None:
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def crash_line(error: BaseException) -> str:
    """What may be said of an error of ours. Not its message: it might quote traffic."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
    return f"shadowtape: a process of the recorder crashed: {type(error).__name__}{where}\n"
