"""From a plan and its targets to attempts: the event loop, the transports, signals and the process around the driver.

What a replay and a shadow run share. Synchronous: it owns its event loop, uvloop where there is one.
"""

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from resource import RUSAGE_SELF, getrusage

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Headers
from replayer.attempt import Attempts
from replayer.clock import Clock, MonotonicClock
from replayer.driver import Flight, OnRow, Settings, Stop, drive_closed, drive_open
from replayer.look_ahead import LookAhead
from replayer.materialise import Materialiser
from replayer.plan import Plan
from replayer.target import Target
from replayer.transport import Transport
from replayer.transport.aio import AiohttpTransport

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]  # a module or nothing: asked for with `is not None`

DRAIN_MARGIN_NS = 1_000_000_000  # answers are awaited this much longer than the rows' own timeout
SWITCH_S = 0.0005
"""How long the materialising thread may keep the interpreter from the loop. The default of 5 ms would be our lateness."""
PROGRESS_S = 1.0

type Progress = Callable[[int, Mapping[str, Attempts]], None]
"""(now_ns, attempts), once a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of sending. ``wall_ns``: unix ns of the epoch; ``cpu``: share of one core our process used while it sent."""

    attempts: Mapping[str, Attempts]
    stop: Stop
    wall_ns: int
    cpu: float
    headers_not_sent: Mapping[str, int]
    targets: Sequence[str]  # request-targets sent, by the number in ``target_of``
    target_of: NDArray[np.uint32]
    event_loop: str


def send(
    plan: Plan,
    targets: Sequence[Target],
    *,
    run_id: str,
    headers: Headers = (),
    timeout_ns: int,
    settings: Settings,
    order: NDArray[np.int64] | None = None,
    on_row: OnRow | None = None,
    on_open: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> Sent:
    """Send every row of the plan to every target: at its time (``order`` None), or with few in flight in the ``order`` given.

    ``on_open`` is called once every target has been reached, before the first row.
    An interrupt ends it cleanly: what is left stays UNSENT and ``stop.reason`` says so. Raises RefusedError where a target
    cannot be reached, CaptureError where a body turns out to be damaged.
    """
    main = _send(plan, targets, run_id, headers, timeout_ns, settings, order, on_row, on_open, progress)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop is not None else None) as runner:
        return runner.run(main)


async def _send(
    plan: Plan,
    targets: Sequence[Target],
    run_id: str,
    headers: Headers,
    timeout_ns: int,
    settings: Settings,
    order: NDArray[np.int64] | None,
    on_row: OnRow | None,
    on_open: Callable[[], object],
    progress: Progress | None,
) -> Sent:
    clock = MonotonicClock()
    stop = Stop(clock)
    # A copy: a closed loop writes the intended times as it goes.
    attempts = {
        target.role: Attempts.for_schedule(target.role, plan.schedule.at_ns.astype(np.int64, copy=True))
        for target in targets
    }
    materialiser = Materialiser(plan.view, plan.schedule, run_id, headers)
    rows = np.arange(len(plan.schedule)) if order is None else order
    with (
        ThreadPoolExecutor(1, "materialise") as executor,
        contextlib.closing(clock),
        _interruptible(stop),
        _undisturbed(),
    ):
        transports = await _opened(targets, timeout_ns, clock)
        on_open()
        wires = LookAhead(materialiser.wires, rows, plan.sizes[rows], executor)
        flight = Flight(transports, attempts, clock=clock, stop=stop, settings=settings, on_row=on_row)
        began_cpu, began_s = _cpu_s(), time.monotonic()
        ticking = asyncio.create_task(_tick(clock, attempts, progress)) if progress is not None else None
        try:
            if order is None:
                await drive_open(flight, wires, plan.schedule.at_ns)
            else:
                await drive_closed(flight, wires, rows, attempts)
        finally:
            if ticking is not None:
                ticking.cancel()
        spent_s = max(time.monotonic() - began_s, 1e-9)
        return Sent(
            attempts=attempts,
            stop=stop,
            wall_ns=time.time_ns() - clock.now_ns(),
            cpu=(_cpu_s() - began_cpu) / spent_s,
            headers_not_sent=dict(materialiser.not_sent),
            targets=materialiser.targets,
            target_of=materialiser.target_of,
            event_loop="asyncio" if uvloop is None else "uvloop",
        )


async def _opened(targets: Sequence[Target], timeout_ns: int, clock: Clock) -> dict[str, Transport]:
    """All of them, or none. Raises RefusedError."""
    transports: dict[str, Transport] = {}
    try:
        for target in targets:
            transports[target.role] = AiohttpTransport(target, timeout_ns=timeout_ns, now_ns=clock.now_ns)
            await transports[target.role].open()
    except BaseException:
        for transport in transports.values():
            await transport.close()
        raise
    return transports


@contextlib.contextmanager
def _interruptible(stop: Stop) -> Iterator[None]:
    """The first SIGINT or SIGTERM stops the run cleanly; a second one is Python's to handle."""
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []

    def interrupt() -> None:
        stop.set("interrupted")
        while handled:
            loop.remove_signal_handler(handled.pop())

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # Windows; not the main thread
            loop.add_signal_handler(number, interrupt)
            handled.append(number)
    try:
        yield
    finally:
        while handled:
            loop.remove_signal_handler(handled.pop())


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the interpreter from pausing the loop: what exists now is never collected, and threads hand over soon."""
    switch_s = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.unfreeze()


async def _tick(clock: Clock, attempts: Mapping[str, Attempts], progress: Progress) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        progress(clock.now_ns(), attempts)


def _cpu_s() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
