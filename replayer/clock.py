"""The only clock of a replay: monotonic nanoseconds from the run's epoch, and a sleep that is good to tens of microseconds.

asyncio rounds sleeps to about a millisecond and uvloop to whole ones, so the sleep is an absolute timerfd where the OS has
it (Linux); elsewhere asyncio's timer, and the lateness in the report shows what that costs.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """One sleeper at a time: the driver."""

    def start(self, lead_ns: int = 0) -> None:
        """Set the epoch: now becomes ``-lead_ns``."""
        ...

    def now_ns(self) -> int: ...

    async def sleep_until(self, at_ns: int) -> None:
        """Return at ``at_ns``, or earlier where `wake` was called since the last sleep began. Always yields to the event loop."""
        ...

    def wake(self) -> None:
        """End the sleep under way, or the next one if none is: a wake is never lost."""
        ...


class MonotonicClock:
    """Real time. `close` it on the loop it slept on."""

    def __init__(self) -> None:
        self._epoch_ns = time.monotonic_ns()
        self._woken = False
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: int | None = None

    def start(self, lead_ns: int = 0) -> None:
        self._epoch_ns = time.monotonic_ns() + lead_ns

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._epoch_ns

    async def sleep_until(self, at_ns: int) -> None:
        if self._woken or at_ns <= self.now_ns():
            self._woken = False
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        disarm = self._arm(loop, at_ns)
        try:
            await self._sleeper
        finally:
            disarm()
            self._sleeper = None
            self._woken = False

    def wake(self) -> None:
        self._woken = True
        self._rouse()

    def close(self) -> None:
        if self._timer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed and took its readers along
                asyncio.get_running_loop().remove_reader(self._timer)
            os.close(self._timer)
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, at_ns: int) -> Callable[[], None]:
        if not hasattr(os, "timerfd_create"):
            return loop.call_later((at_ns - self.now_ns()) / 1e9, self._rouse).cancel
        if self._timer is None:
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            loop.add_reader(self._timer, self._on_timer)
        timer = self._timer
        # 1 ns at the least: zero would disarm the timer.
        os.timerfd_settime_ns(timer, flags=os.TFD_TIMER_ABSTIME, initial=max(1, self._epoch_ns + at_ns))
        return lambda: None

    def _on_timer(self) -> None:
        assert self._timer is not None
        try:
            os.read(self._timer, 8)
        except BlockingIOError:  # re-armed between its expiry and this call
            return
        self._rouse()

    def _rouse(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
