import asyncio
import os
import time
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from replayer.clock import MonotonicClock
from replayer.driver import NEVER_NS
from replayer.testing import ManualClock

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


def run_on(loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("timerfd", [True, False])
def test_it_never_returns_before_its_time_unless_woken(
    loop: Callable[[], asyncio.AbstractEventLoop], timerfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not timerfd:
        monkeypatch.delattr(os, "timerfd_create")

    async def main() -> None:
        clock = MonotonicClock()
        clock.start(lead_ns=1_000_000)
        assert clock.now_ns() < 0
        for at_ns in (0, 200_000, 1_500_000):
            while clock.now_ns() < at_ns:  # asyncio's own timer may be a little early, so a sleeper looks again
                await clock.sleep_until(at_ns)
        clock.close()
        clock.close()

    run_on(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_wake_is_never_lost(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        clock = MonotonicClock()
        clock.wake()
        await clock.sleep_until(NEVER_NS)  # woken before it slept
        asyncio.get_running_loop().call_soon(clock.wake)
        await clock.sleep_until(NEVER_NS)  # woken while it slept
        await clock.sleep_until(clock.now_ns() + 100_000)  # and not woken by an old wake for ever
        clock.close()

    run_on(loop, main())


def test_a_clock_may_be_closed_when_its_loop_is_gone() -> None:
    clock = MonotonicClock()

    async def main() -> None:
        await clock.sleep_until(clock.now_ns() + 50_000)

    asyncio.run(main())
    clock.close()


def test_now_counts_from_the_epoch() -> None:
    clock = MonotonicClock()
    before = time.monotonic_ns()
    clock.start(lead_ns=5)

    assert -5 <= clock.now_ns() <= time.monotonic_ns() - before


def test_the_manual_clock_does_what_is_due_on_the_way_in_order() -> None:
    clock = ManualClock()
    seen: list[tuple[str, int]] = []
    clock.call_at(30, lambda: seen.append(("c", clock.now_ns())))
    clock.call_at(10, lambda: seen.append(("a", clock.now_ns())))
    clock.call_at(10, lambda: seen.append(("b", clock.now_ns())))

    asyncio.run(clock.sleep_until(20))

    assert seen == [("a", 10), ("b", 10)]
    assert clock.now_ns() == 20


def test_the_manual_clock_tells_who_sleeps_for_ever() -> None:
    with pytest.raises(AssertionError, match="for ever"):
        asyncio.run(ManualClock().sleep_until(NEVER_NS))
