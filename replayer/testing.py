"""Fakes for whoever builds on the replayer: a clock that jumps, a transport that plays a part, a server that misbehaves.

With `ManualClock` and `FakeTransport` a ten-minute replay takes milliseconds and gives the same numbers every time.
`misbehaving` is real sockets on loopback: each path of its table is answered by a script, byte for byte.
"""

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Literal

from captures.errors import RefusedError
from captures.exchange import FailureKind, Headers
from replayer.transport import Event, OnEvent, Wire


class ManualClock:
    """Time passes only while somebody sleeps: what is due on the way happens, in order, at its time (from the epoch)."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._woken = False
        self._order = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def start(self, lead_ns: int = 0) -> None:
        self._now_ns = -lead_ns

    def now_ns(self) -> int:
        return self._now_ns

    def call_at(self, at_ns: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(at_ns, self._now_ns), next(self._order), call))

    async def sleep_until(self, at_ns: int) -> None:
        await asyncio.sleep(0)
        while not self._woken and self._due and self._due[0][0] <= at_ns:
            self._now_ns, _, call = heapq.heappop(self._due)
            call()
        if not self._woken:
            if at_ns > 2**61:
                raise AssertionError("asleep for ever: nothing is left that could wake the sleeper")
            self._now_ns = max(self._now_ns, at_ns)
        self._woken = False

    def wake(self) -> None:
        self._woken = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a `FakeTransport` does with a row. ``failure`` other than NONE: that, after ``service_ns``, instead of an answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Headers = ()
    service_ns: int = 1_000_000
    failure: FailureKind = FailureKind.NONE


class FakeTransport:
    """A target made of a function: ``(row, wire) -> Answer``; None: never answers."""

    def __init__(
        self, clock: ManualClock, answer: Callable[[int, Wire], Answer | None], *, reachable: bool = True
    ) -> None:
        self.sent: list[tuple[int, int, Wire]] = []  # (now_ns, row, wire)
        self.closed = False
        self._clock = clock
        self._answer = answer
        self._reachable = reachable
        self._open: dict[int, OnEvent] = {}

    async def open(self) -> None:
        if not self._reachable:
            raise RefusedError("the fake cannot be reached")

    def submit(self, row: int, wire: Wire, on_event: OnEvent) -> None:
        self.sent.append((self._clock.now_ns(), row, wire))
        self._open[row] = on_event
        answer = self._answer(row, wire)
        if answer is not None:
            self._clock.call_at(self._clock.now_ns() + answer.service_ns, lambda: self._finish(row, answer))

    async def close(self) -> None:
        self.closed = True
        for row, on_event in list(self._open.items()):
            del self._open[row]
            on_event(row, Event.FAILED, self._clock.now_ns(), FailureKind.TIMEOUT, "closed")

    def _finish(self, row: int, answer: Answer) -> None:
        on_event, now_ns = self._open.pop(row, None), self._clock.now_ns()
        if on_event is None:  # closed meanwhile
            return
        if answer.failure is not FailureKind.NONE:
            on_event(row, Event.FAILED, now_ns, answer.failure, "as told")
            return
        on_event(row, Event.HEAD, now_ns, answer.status, answer.headers)
        if answer.body:
            on_event(row, Event.CHUNK, now_ns, 0, answer.body)
        on_event(row, Event.DONE, now_ns, len(answer.body), None)


class Inline(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)
        return future


type Step = bytes | float | Literal["close", "reset"]
"""Bytes to send, seconds to wait, or how to end the connection."""

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"outputs":1}'


@dataclass(slots=True)
class Misbehaving:
    """A running server. ``hits``: (monotonic_ns, request head, request body) in the order they came."""

    port: int = 0
    hits: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def misbehaving(scripts: Mapping[str, Sequence[Step]] | None = None) -> Iterator[Misbehaving]:
    """A loopback HTTP/1.1 server in a thread: a request for a path in ``scripts`` is answered by its steps, any other by `OK`.

    A script that does not end the connection leaves it open for the next request.
    """
    server, ready, loop = Misbehaving(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(server, scripts or {}, ready, stop),))
    thread.start()
    try:
        assert ready.wait(10), "the server did not start"
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(
    server: Misbehaving, scripts: Mapping[str, Sequence[Step]], ready: threading.Event, stop: asyncio.Event
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                at_ns = time.monotonic_ns()
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                server.hits.append((at_ns, head, await reader.readexactly(length)))
                if not await _play(scripts.get(head.split(b" ")[1].decode("latin-1"), (OK,)), writer):
                    break
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    server.port = listener.sockets[0].getsockname()[1]
    ready.set()
    await stop.wait()
    # asyncio leaks a connection that was accepted and not yet made when its listener closes: a few turns of the loop make it.
    await _turns()
    listener.close()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    listener.abort_clients()
    await _turns()


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _play(script: Sequence[Step], writer: asyncio.StreamWriter) -> bool:
    for step in script:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        else:
            if step == "reset":
                writer.transport.abort()
            return False
    return True
