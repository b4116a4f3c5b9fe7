"""A worker process: forked by the supervisor, it runs a service in an event loop of its own and hands exchanges to its spool."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable

from captures.errors import ShadowtapeError
from recorder.board import Count
from recorder.channel import Channel, pair
from recorder.outlet import Outlet
from recorder.reactor import FOR_US
from recorder.recording import Recording
from recorder.service import Seat, Service
from recorder.standard import crash_line

FINISH_S = 10.0  # for exchanges in flight when the service or the recording is told to stop
FLUSH_S = 20.0  # for what is queued for the spool
EXIT_CRASH = 70
_POLL_S = 0.02
_BEAT_S = 1.0

type MakeService = Callable[[Seat, Recording], Service]
type MakeRecording = Callable[[Seat, Outlet], Recording]


class Closable(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class Abandons(Protocol):
    """A service that can hand over what is in the making as it is; of others it counts as shed."""

    def abandon(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What every worker of a recording does. ``new_loop``: mitmproxy needs the stock one. ``queue``: bytes that may wait for the
    spool.
    """

    make_service: MakeService
    make_recording: MakeRecording
    queue: int
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


class WorkerProcess:
    """The parent's side of a worker. ``ready``: it accepts; ``refused``: why it does not."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel
        self.ready = False
        self.refused = ""
        self.stopped = False

    def poll(self) -> int | None:
        """Its exit code (-N: signal N); None as long as it runs."""
        return reaped(self.pid)

    def outlet(self, descriptor: int) -> None:
        """The write end of a pipe to its spool, which is the worker's from here on."""
        self.channel.send({"do": "outlet"}, descriptor)

    def hear(self) -> list[Any]:
        heard = self.channel.hear()
        for told in heard:
            if told["kind"] == "ready":
                self.ready = True
            elif told["kind"] == "refused":
                self.refused = str(told["message"])
            elif told["kind"] == "stopped":
                self.stopped = True
        return heard


def reaped(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def start_worker(
    work: Work, seat_of: Callable[[socket.socket], Seat], abandon: Callable[[], Iterable[Closable]]
) -> WorkerProcess:
    """Fork. ``seat_of`` gets the worker's end of its control socket; ``abandon`` returns what the child must not hold."""
    ours, theirs = pair()
    pid = forked(lambda: serve(work, seat_of(theirs)), lambda: [ours, *abandon()])
    theirs.close()
    return WorkerProcess(pid, Channel(ours))


def forked(body: Callable[[], int], forbidden: Callable[[], Iterable[Closable]]) -> int:
    """The pid of a child process that runs ``body`` and exits with what it returns. ``forbidden``: what it must not hold."""
    # A signal in between would reach the child through the parent's handlers.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *FOR_US})
    pid = os.fork()
    if not pid:
        _in_child(body, forbidden, mask)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _in_child(
    body: Callable[[], int], forbidden: Callable[[], Iterable[Closable]], mask: Iterable[signal.Signals | int]
) -> NoReturn:
    """It never returns into its parent's stack."""
    code = EXIT_CRASH
    try:
        for number in FOR_US:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each in forbidden():
            each.close()
        code = body()
    except BaseException as error:  # noqa: BLE001 - the parent's handlers must not see it
        with contextlib.suppress(Exception):
            sys.stderr.write(crash_line(error))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve(work: Work, seat: Seat) -> int:
    """The whole life of a worker; its exit code."""
    with asyncio.Runner(loop_factory=work.new_loop) as runner:
        return runner.run(_serve(work, seat))


async def _serve(work: Work, seat: Seat) -> int:
    desk = _Desk(work, seat)
    try:
        await desk.service.start()
    except ShadowtapeError as error:
        desk.channel.send({"kind": "refused", "message": str(error)})
        return error.exit_code
    desk.open()
    await desk.over.wait()
    await desk.drain()
    return 0


def _spare() -> int:
    """A descriptor to give up when a pipe comes: clients may have taken all others. -1: there is none left."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class _Desk:
    def __init__(self, work: Work, seat: Seat) -> None:
        self.channel = Channel(seat.control)
        self.over = asyncio.Event()
        self._spare = _spare()
        self._row = seat.board.rows[seat.worker]
        self._outlet = Outlet(self._row, work.queue)
        self._recording = work.make_recording(seat, self._outlet)
        self._open_before = self._recording.open  # of a worker that died in this place
        self.service = work.make_service(seat, self._recording)
        self._ending: asyncio.Task[None] | None = None
        self._does = {
            "outlet": self._attach,
            "alone": self._outlet.no_more_pipes,
            "stop": self._stop,
            "drain": self.over.set,
        }

    def open(self) -> None:
        self._beat()
        self.channel.send({"kind": "ready"})
        asyncio.get_running_loop().add_reader(self.channel.fileno(), self._hear)

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._row[Count.RELAY_BEAT_S] = int(loop.time())
        loop.call_later(_BEAT_S, self._beat)

    async def drain(self) -> None:
        await self.service.drain(FINISH_S)
        await self.service.close()
        if self._ending is None:
            await self._goodbye()
        else:
            await self._ending
        self._row[Count.OPEN_CONNECTIONS] = 0

    def _hear(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
        for told in self.channel.hear():
            self._does[told["do"]]()
        self._spare = _spare()
        if self.channel.ended:  # the supervisor is gone
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
            self._outlet.no_more_pipes()
            self.over.set()

    def _attach(self) -> None:
        if self.channel.descriptors:
            self._outlet.attach(self.channel.descriptors.popleft())

    def _stop(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._stop_recording())

    async def _stop_recording(self) -> None:
        self._recording.stop()
        loop = asyncio.get_running_loop()
        until = loop.time() + FINISH_S
        while self._open() > 0 and loop.time() < until:  # noqa: ASYNC110 - the recording is pure, it has no events
            await asyncio.sleep(_POLL_S)
        await self._goodbye()
        self.channel.send({"kind": "stopped"})

    async def _goodbye(self) -> None:
        self._recording.stop()
        if self._open() > 0 and isinstance(self.service, Abandons):
            self.service.abandon()
        await self._outlet.goodbye(FLUSH_S, abandoned=max(0, self._open()))

    def _open(self) -> int:
        return self._recording.open - self._open_before
