"""The loop of a process that forks: descriptors, signals, children and timers, on one thread and without asyncio, which does not
survive a fork.
"""

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from typing import Protocol

type Call = Callable[[], object]


FOR_US = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Signals that may be sent to the whole group and are the business of the process that forks, not of its children."""


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Reactor:
    """One per process. `close` gives the signals back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._signals: dict[int, Call] = {}
        self._children: list[tuple[Callable[[], int | None], Callable[[int], object]]] = []
        self._before: dict[int, object] = {}
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._woken = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        self.watch(self._wake_in, self._on_signals)
        self.on_signal(signal.SIGCHLD, self._reap)

    def watch(self, source: int | _HasFileno, readable: Call) -> None:
        self._selector.register(source, selectors.EVENT_READ, readable)

    def unwatch(self, source: int | _HasFileno) -> None:
        """Before it is closed. Nothing happens where it is not watched."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(source)

    def on_signal(self, number: int, call: Call) -> None:
        """A signal that is ignored stays so, as whoever started us wanted it (nohup)."""
        before = signal.getsignal(number)
        if before != signal.SIG_IGN or number == signal.SIGCHLD:
            self._before[number] = before
            self._signals[number] = call
            signal.signal(number, _arrived)

    def child(self, poll: Callable[[], int | None], ended: Callable[[int], object]) -> None:
        """``poll`` returns the exit code of a child process (-N: signal N), or None as long as it runs."""
        self._children.append((poll, ended))

    def later(self, seconds: float, call: Call) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), call))

    def run(self, over: Callable[[], bool]) -> None:
        """Until it is over, looked at after everything that happened. What a call raises ends the loop."""
        while not over():
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(wait):
                # What came before it may have closed it: many processes can end at once.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what getsignal returned
        signal.set_wakeup_fd(self._woken)
        self.abandon()

    def abandon(self) -> None:
        """In a forked child: the loop is the parent's, only our copies of its descriptors go. Signals stay as they are."""
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _on_signals(self) -> None:
        came = bytearray()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._wake_in, 4096):
                came += data
        for number in came:
            if (call := self._signals.get(number)) is not None:
                call()

    def _reap(self) -> None:
        for entry in list(self._children):
            poll, ended = entry
            if (code := poll()) is not None:
                self._children.remove(entry)
                ended(code)


def _arrived(number: int, frame: object) -> None:
    """The wakeup pipe has the number; without a handler it would not."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A program that is started meanwhile does not get those signals, until it says itself what it does about them."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_US)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
