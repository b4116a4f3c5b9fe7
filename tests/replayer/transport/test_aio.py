"""A real socket and a server that misbehaves: every row gets its last event, and it says what happened."""

import asyncio
import gzip
import socket
from collections.abc import Callable, Mapping, Sequence

import aiohttp
import pytest
import uvloop

from captures.errors import RefusedError
from captures.exchange import FailureKind
from replayer.clock import MonotonicClock
from replayer.target import parse_target
from replayer.testing import OK, Misbehaving, Step, misbehaving
from replayer.transport import Event, Wire
from replayer.transport.aio import AiohttpTransport, failure_of

SECOND = 1_000_000_000
GZIPPED = gzip.compress(b'{"outputs":1}', mtime=0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class Told:
    """What a transport told about one row."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, int, int, object]] = []

    @property
    def last(self) -> tuple[Event, int]:
        return self.events[-1][0], self.events[-1][2]

    @property
    def status(self) -> int:
        return next((value for event, _, value, _ in self.events if event is Event.HEAD), 0)

    @property
    def body(self) -> bytes:
        return b"".join(data for event, _, _, data in self.events if event is Event.CHUNK and isinstance(data, bytes))


def exchange(
    url: str,
    wires: Sequence[Wire],
    *,
    timeout_ns: int = 5 * SECOND,
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    one_by_one: bool = False,
    close_after_s: float | None = None,
) -> list[Told]:
    told = [Told() for _ in wires]

    async def main() -> None:
        clock = MonotonicClock()
        transport = AiohttpTransport(parse_target(url), timeout_ns=timeout_ns, now_ns=clock.now_ns)
        await transport.open()
        finished = asyncio.Semaphore(0)

        def on_event(row: int, event: Event, at_ns: int, value: int, payload: object) -> None:
            told[row].events.append((event, at_ns, value, payload))
            if event in (Event.DONE, Event.FAILED):
                finished.release()

        for row, wire in enumerate(wires):
            transport.submit(row, wire, on_event)
            if one_by_one:
                await finished.acquire()
        if close_after_s is not None:
            await asyncio.sleep(close_after_s)
            await transport.close()
        if not one_by_one:
            for _ in wires:
                await finished.acquire()
        await transport.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    for one in told:
        assert [event for event, *_ in one.events].count(Event.DONE) + [event for event, *_ in one.events].count(
            Event.FAILED
        ) == 1
        assert one.events[-1][0] in (Event.DONE, Event.FAILED)
        times = [at_ns for _, at_ns, _, _ in one.events]
        assert times == sorted(times)
    return told


def post(target: str = "/ok", body: bytes = b'{"inputs":[]}', **headers: str) -> Wire:
    return Wire("POST", target, tuple(headers.items()), body)


CASES: Mapping[str, tuple[Sequence[Step], tuple[Event, int], int, bytes]] = {
    # name: (script, last event and its value, status, body)
    "plain": ((OK,), (Event.DONE, 13), 200, b'{"outputs":1}'),
    "byte by byte": ((*(bytes([byte]) for byte in OK),), (Event.DONE, 13), 200, b'{"outputs":1}'),
    "chunked": (
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0.01, b"2\r\nde\r\n0\r\n\r\n"),
        (Event.DONE, 5),
        200,
        b"abcde",
    ),
    "gzip stays gzip": (
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED,),
        (Event.DONE, len(GZIPPED)),
        200,
        GZIPPED,
    ),
    "not gzip at all": (
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",),
        (Event.DONE, 3),
        200,
        b"abc",
    ),
    "100 and 103 first": (
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,),
        (Event.DONE, 13),
        200,
        b'{"outputs":1}',
    ),
    "until the connection closes": ((HEAD + b"\r\nabc", "close"), (Event.DONE, 3), 200, b"abc"),
    "no content": ((b"HTTP/1.1 204 No Content\r\n\r\n",), (Event.DONE, 0), 204, b""),
    "redirect is an answer": (
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",),
        (Event.DONE, 0),
        302,
        b"",
    ),
    "an error is an answer": (
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",),
        (Event.DONE, 4),
        503,
        b"busy",
    ),
    "large headers": (
        (HEAD + b"X-Large: " + b"x" * 40_000 + b"\r\nContent-Length: 1\r\n\r\n1",),
        (Event.DONE, 1),
        200,
        b"1",
    ),
    "headers without end": (
        (HEAD, *(b"X-Large: " + b"x" * 65_000 + b"\r\n",) * 4, b"X: " + b"x" * 300_000, "close"),
        (Event.FAILED, FailureKind.PROTOCOL),
        0,
        b"",
    ),
    "closed without a word": (("close",), (Event.FAILED, FailureKind.RESET), 0, b""),
    "reset": (("reset",), (Event.FAILED, FailureKind.RESET), 0, b""),
    "half a head": ((b"HTTP/1.1 200 OK\r\nContent-", "close"), (Event.FAILED, FailureKind.RESET), 0, b""),
    "half a body": (
        (HEAD + b"Content-Length: 10\r\n\r\nabc", 0.02, "close"),
        (Event.FAILED, FailureKind.RESET),
        200,
        b"abc",
    ),
    "half a chunked body": (
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0.02, "close"),
        (Event.FAILED, FailureKind.RESET),
        200,
        b"abc",
    ),
    "a reset within the body": (
        (HEAD + b"Content-Length: 10\r\n\r\nabc", 0.02, "reset"),
        (Event.FAILED, FailureKind.RESET),
        200,
        b"abc",
    ),
    "garbage": ((b"\x00\x01 this is no HTTP\r\n\r\n", "close"), (Event.FAILED, FailureKind.PROTOCOL), 0, b""),
    "garbage for a chunk": (
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0.02, b"zz\r\n", 0.02, "close"),
        (Event.FAILED, FailureKind.PROTOCOL),
        200,
        b"abc",
    ),
    "two lengths": (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12", "close"),
        (Event.FAILED, FailureKind.PROTOCOL),
        0,
        b"",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("loop", LOOPS)
def test_whatever_a_server_does_has_one_meaning(name: str, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    script, last, status, body = CASES[name]
    with misbehaving({"/it": script}) as server:
        (told,) = exchange(server.url, [post("/it")], loop=loop)

    assert (told.last, told.status, told.body) == (last, status, body)
    assert len(server.hits) == 1  # never sent twice


@pytest.mark.parametrize(
    "script",
    [(60.0,), (HEAD, 60.0), (HEAD + b"Content-Length: 10\r\n\r\nabc", 60.0)],
    ids=["silent", "half a head", "half a body"],
)
def test_a_server_too_slow_is_timed_out_at_the_time_asked_for(script: Sequence[Step]) -> None:
    with misbehaving({"/slow": script}) as server:
        (told,) = exchange(server.url, [post("/slow")], timeout_ns=SECOND // 10)

    assert told.last == (Event.FAILED, FailureKind.TIMEOUT)


def test_closing_ends_what_is_in_flight() -> None:
    with misbehaving({"/slow": (60.0,)}) as server:
        told = exchange(server.url, [post("/slow"), post("/slow")], close_after_s=0.05)

    assert {one.last for one in told} == {(Event.FAILED, FailureKind.TIMEOUT)}


def test_what_goes_out_is_what_was_given_and_what_http_needs() -> None:
    sent = (("content-type", "application/octet-stream"), ("X-Shadowtape-Run", "ab"))
    with misbehaving() as server:
        exchange(server.url + "/prefix", [Wire("POST", "/v2/../a%2Fb//c?x=%20&y", sent, b"\x00\xff")])

    (_, head, body), *none = server.hits
    lines = head.decode().split("\r\n")
    assert not none
    assert lines[0] == "POST /prefix/v2/../a%2Fb//c?x=%20&y HTTP/1.1"
    assert sorted(lines[1:-2]) == sorted(
        [
            f"Host: 127.0.0.1:{server.port}",
            "content-type: application/octet-stream",
            "X-Shadowtape-Run: ab",
            "Content-Length: 2",
        ]
    )
    assert body == b"\x00\xff"


def test_no_cookie_is_kept_and_no_proxy_of_the_environment_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    with misbehaving({"/c": (cookie,)}) as server:
        told = exchange(server.url, [post("/c"), post("/c")], one_by_one=True)

    assert [one.status for one in told] == [200, 200]
    assert all(b"cookie" not in head.lower() for _, head, _ in server.hits)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_idempotent_methods_are_not_sent_twice_either(method: str) -> None:
    with misbehaving({"/gone": ("close",)}) as server:
        first, second = exchange(
            server.url, [Wire("GET", "/ok", (), b""), Wire(method, "/gone", (), b"")], one_by_one=True
        )

    assert first.last == (Event.DONE, 13)
    assert second.last == (Event.FAILED, FailureKind.RESET)
    assert len(server.hits) == 2


def test_connections_are_kept_and_only_new_ones_cost_connecting() -> None:
    with misbehaving() as server:
        told = exchange(server.url, [post(), post(), post()], one_by_one=True)

    assert [any(event is Event.CONNECTED for event, *_ in one.events) for one in told] == [True, False, False]
    assert server.connections == 2  # the probe and one for all


def test_on_a_free_connection_the_request_is_gone_before_submit_returns() -> None:
    async def main(server: Misbehaving) -> None:
        clock = MonotonicClock()
        transport = AiohttpTransport(parse_target(server.url), timeout_ns=SECOND, now_ns=clock.now_ns)
        await transport.open()
        done: asyncio.Queue[Event] = asyncio.Queue()

        def on_event(row: int, event: Event, at_ns: int, value: int, payload: object) -> None:
            if event in (Event.DONE, Event.FAILED):
                done.put_nowait(event)

        transport.submit(0, post(), on_event)
        await done.get()
        written: list[int] = []
        monkey = aiohttp.http_writer.StreamWriter._writelines
        aiohttp.http_writer.StreamWriter._writelines = lambda self, chunks: (written.append(1), monkey(self, chunks))[1]  # type: ignore[method-assign, func-returns-value]  # to see when it writes
        try:
            transport.submit(1, post(), on_event)
            assert written
        finally:
            aiohttp.http_writer.StreamWriter._writelines = monkey  # type: ignore[method-assign]  # as it was
        await done.get()
        await transport.close()

    with misbehaving() as server:
        asyncio.run(main(server))


def test_nobody_there_is_said_before_anything_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RefusedError, match="cannot be reached"):
        exchange(f"http://127.0.0.1:{port}", [post()])


def test_tls_that_fails_is_not_reachable_either() -> None:
    with misbehaving() as server, pytest.raises(RefusedError, match="cannot be reached"):
        exchange(server.url.replace("http", "https"), [post()])


def test_a_listener_that_goes_away_is_a_connect_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        async def main() -> list[tuple[Event, int]]:
            clock = MonotonicClock()
            transport = AiohttpTransport(
                parse_target(f"http://127.0.0.1:{port}"), timeout_ns=SECOND, now_ns=clock.now_ns
            )
            await transport.open()
            listener.close()
            done: asyncio.Queue[tuple[Event, int]] = asyncio.Queue()
            transport.submit(0, post(), lambda row, event, at_ns, value, payload: done.put_nowait((event, value)))
            seen = [await done.get()]
            await transport.close()
            return seen

        assert asyncio.run(main()) == [(Event.FAILED, FailureKind.CONNECT)]


def test_what_the_table_does_not_know_is_our_own_fault() -> None:
    assert failure_of(ZeroDivisionError()) is FailureKind.INTERNAL
    assert failure_of(TimeoutError()) is FailureKind.TIMEOUT
    assert failure_of(ConnectionResetError()) is FailureKind.RESET
