"""The hooks of mitmproxy's own HTTP layer, against real loopback sockets: a client that knows its proxy (HTTP_PROXY) gets there."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from captures.exchange import RUN_HEADER, Exchange, FailureKind, Flags, header
from recorder.board import Count

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from recorder.modes import Mode
    from recorder.relay_testing import Rig, rigged

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
type Scenario = Callable[["Proxied"], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: model.example\r\nContent-Length: 3\r\n\r\nabc"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass
class Proxied:
    """A relay that is a proxy, and the server that its clients ask for."""

    rig: Rig
    upstream: int

    def via(self, request: bytes) -> bytes:
        """Requests in the form that a proxy gets, which passes them on as a server does."""
        return request.replace(b" / HTTP", b" http://127.0.0.1:%d/ HTTP" % self.upstream).replace(
            b" /v2/", b" http://127.0.0.1:%d/v2/" % self.upstream
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.rig.port)

    async def ask(self, request: bytes) -> bytes:
        """One connection, one request; everything until the relay closes or the answer of a known length is there."""
        reader, writer = await self.connect()
        writer.write(self.via(request))
        answer = await read_message(reader, head_only=request.startswith(b"HEAD"))
        writer.close()
        return answer

    async def exchanges(self, n: int = 1) -> list[Exchange]:
        return await self.rig.exchanges(n)


async def read_message(reader: asyncio.StreamReader, *, head_only: bool = False) -> bytes:
    """One HTTP message with a length, or until the end. b"" where the connection closed first."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    lines = head.lower().split(b"\r\n")
    sizes = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    if head_only or b" 204 " in lines[0]:
        return head
    if any(b"chunked" in line for line in lines):
        return head + await reader.readuntil(b"0\r\n\r\n")
    if sizes:
        return head + await reader.readexactly(sizes[0])
    return head if lines[0].startswith((b"get", b"head", b"post")) else head + await reader.read()


def answering(*answers: bytes) -> Serve:
    """An upstream that reads a message and answers, in turn; the last answer repeats."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 0
        while await read_message(reader):
            writer.write(answers[min(turn, len(answers) - 1)])
            turn += 1

    return serve


@asynccontextmanager
async def proxied(serve: Serve | None) -> AsyncIterator[Proxied]:
    """A proxy, and a server; None: nobody listens there."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert serve is not None
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if serve is None:
        server.close()
    async with rigged(Mode("regular")) as rig:
        yield Proxied(rig, port)
    server.close()
    await server.wait_closed()


def run(serve: Serve | None, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), proxied(serve) as proxy:
            await scenario(proxy)

    asyncio.run(main())


def test_bytes_pass_unchanged_and_are_kept_with_their_times() -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while message := await read_message(reader):
            got.append(message)
            writer.write(b"HTTP/1.1 200 Fine\r\nx-ODD: \xe9\r\nContent-Length: 2\r\n\r\nok")

    async def scenario(proxy: Proxied) -> None:
        request = POST.replace(b"Host: ", b"X-Odd-CASE: \xff v\r\nX-Twice: 1\r\nX-Twice: 2\r\nhOsT: ")
        assert await proxy.ask(request) == b"HTTP/1.1 200 Fine\r\nx-ODD: \xe9\r\nContent-Length: 2\r\n\r\nok"
        assert got == [request]
        (exchange,) = await proxy.exchanges()
        assert exchange.request.headers[:4] == (
            ("X-Odd-CASE", "\xff v"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
            ("hOsT", "model.example"),
        )
        assert exchange.request.body == b"abc"
        response = exchange.response
        assert response is not None
        assert (response.status, response.reason, response.body) == (200, "Fine", b"ok")
        assert header(response.headers, "X-Odd") == "\xe9"
        assert 0 <= exchange.arrival_ns <= exchange.request.end_ns <= response.first_ns <= response.end_ns

    run(serve, scenario)


def test_many_requests_on_many_connections_are_all_there_once() -> None:
    async def client(proxy: Proxied, n: int) -> None:
        reader, writer = await proxy.connect()
        for _ in range(n):
            writer.write(proxy.via(POST))
            await read_message(reader)
        writer.close()

    async def scenario(proxy: Proxied) -> None:
        await asyncio.gather(*(client(proxy, 10) for _ in range(4)))
        exchanges = await proxy.exchanges(40)
        assert sorted({exchange.connection for exchange in exchanges}) == [1, 2, 3, 4]
        assert proxy.rig.counts == {"offered": 40}

    run(answering(OK), scenario)


def test_pipelined_requests_are_answered_and_kept_in_order() -> None:
    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(POST.replace(b"abc", b"one") + POST.replace(b"abc", b"two")))
        assert await read_message(reader) == OK
        assert await read_message(reader) == OK
        writer.close()
        assert [exchange.request.body for exchange in await proxy.exchanges(2)] == [b"one", b"two"]

    run(answering(OK), scenario)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
SHAPES = {
    "HEAD": (
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
        b"",
        Flags.REPLAYABLE,
    ),
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n", b"", Flags.REPLAYABLE),
    "no body": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", Flags.REPLAYABLE),
    "chunked": (GET, CHUNKED, b"abcde", Flags.REPLAYABLE | Flags.STREAM),
    "an error": (POST, b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx", b"x", Flags.REPLAYABLE),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_answers(shape: str) -> None:
    request, answer, body, flags = SHAPES[shape]

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        for _ in range(2):  # the second one fails where the first left the connection out of step
            writer.write(proxy.via(request))
            assert await read_message(reader, head_only=shape == "HEAD") == answer
        writer.close()
        for exchange in await proxy.exchanges(2):
            assert exchange.response is not None
            assert exchange.response.body == body
            assert exchange.failure is None
            assert exchange.flags == flags

    run(answering(answer), scenario)


def test_the_first_event_of_a_stream_arrives_before_the_last_is_sent() -> None:
    got_first = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
        )
        await got_first.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(GET))
        await reader.readuntil(b"data: 1\n\n")
        got_first.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        (exchange,) = await proxy.exchanges()
        assert exchange.response is not None
        assert [chunk.data for chunk in exchange.response.chunks] == [b"data: 1\n\n", b"data: 2\n\n"]
        assert exchange.response.chunks[0].at_ns < exchange.response.chunks[1].at_ns
        assert Flags.STREAM in exchange.flags

    run(serve, scenario)


def test_the_first_part_of_an_upload_arrives_before_the_last_is_sent() -> None:
    got_first = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(4)
        got_first.set()
        await reader.readexactly(4)
        writer.write(OK)

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nabcd"))
        await got_first.wait()
        writer.write(b"efgh")
        assert await read_message(reader) == OK
        writer.close()
        (exchange,) = await proxy.exchanges()
        assert [chunk.data for chunk in exchange.request.chunks] == [b"abcd", b"efgh"]

    run(serve, scenario)


TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"


def test_an_answer_before_the_end_of_the_upload_reaches_the_client_and_the_tape() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(TOO_LARGE)

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabcd"))
        assert await read_message(reader) == TOO_LARGE
        writer.close()
        (exchange,) = await proxy.exchanges()
        assert exchange.response is not None
        assert (exchange.response.status, exchange.response.body) == (413, b"big")
        assert exchange.request.end_ns == -1
        assert exchange.failure is None
        assert Flags.REPLAYABLE not in exchange.flags

    run(serve, scenario)


def test_an_early_answer_waits_for_the_upload_that_still_completes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readexactly(8)

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nabcd"))
        assert await read_message(reader) == OK
        assert not proxy.rig.out
        writer.write(b"efgh")
        (exchange,) = await proxy.exchanges()
        writer.close()
        assert exchange.request.body == b"abcdefgh"
        assert exchange.flags == Flags.REPLAYABLE

    run(serve, scenario)


def test_an_upstream_that_is_down_gives_502_and_a_failure_without_a_response() -> None:
    async def scenario(proxy: Proxied) -> None:
        for request in (POST, GET):
            assert (await proxy.ask(request)).startswith(b"HTTP/1.1 502 ")
        for exchange in await proxy.exchanges(2):
            assert exchange.response is None
            assert exchange.failure is not None
            assert (exchange.failure.kind, exchange.failure.detail) == (FailureKind.CONNECT, "")

    run(None, scenario)


def test_an_upstream_that_closes_before_answering_is_a_reset() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)

    async def scenario(proxy: Proxied) -> None:
        assert await proxy.ask(POST) == b""  # as it would be directly: clients know to repeat that
        (exchange,) = await proxy.exchanges()
        assert exchange.response is None
        assert exchange.failure is not None
        assert exchange.failure.kind is FailureKind.RESET
        assert exchange.flags == Flags.REPLAYABLE
        assert proxy.rig.recorder.idle

    run(serve, scenario)


def test_an_upstream_that_closes_a_used_connection_under_a_request_closes_the_client_s() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(OK)
        await read_message(reader)  # the idle timeout strikes while the next request is on its way

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(GET))
        assert await read_message(reader) == OK
        writer.write(proxy.via(GET))
        assert await reader.read() == b""
        writer.close()
        assert await proxy.ask(GET) == OK  # the repetition
        kinds = [exchange.failure and exchange.failure.kind for exchange in await proxy.exchanges(3)]
        assert kinds == [None, FailureKind.RESET, None]

    run(serve, scenario)


def test_an_upstream_that_resets_in_the_middle_of_a_body_keeps_the_part_that_came() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(POST))
        assert (await reader.read()).endswith(b"part")
        writer.close()
        (exchange,) = await proxy.exchanges()
        assert exchange.failure is not None
        assert exchange.failure.kind is FailureKind.RESET
        assert exchange.response is not None
        assert (exchange.response.body, exchange.response.end_ns) == (b"part", -1)

    run(serve, scenario)


def test_an_upstream_that_does_not_speak_http_is_a_protocol_failure_that_quotes_nothing() -> None:
    async def scenario(proxy: Proxied) -> None:
        assert (await proxy.ask(POST)).startswith(b"HTTP/1.1 502 ")
        (exchange,) = await proxy.exchanges()
        assert exchange.failure is not None
        assert (exchange.failure.kind, exchange.failure.detail) == (FailureKind.PROTOCOL, "")

    run(answering(b"220 secret ready\r\n\r\n"), scenario)


@pytest.mark.parametrize("part", ["upload", "waiting", "stream"])
def test_a_client_that_leaves(part: str) -> None:
    reached = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"abc")
        if part == "stream":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        else:
            reached.set()
        await reader.read()

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(POST.replace(b": 3", b": 9") if part == "upload" else POST))
        if part == "stream":
            await reader.readuntil(b"ab\r\n")
        else:
            await reached.wait()
        writer.transport.abort()
        (exchange,) = await proxy.exchanges()
        assert exchange.failure is not None
        assert exchange.failure.kind is FailureKind.CLIENT_DISCONNECT
        assert (exchange.response is not None) == (part == "stream")
        assert (Flags.REPLAYABLE in exchange.flags) == (part != "upload")

    run(serve, scenario)


def test_expect_100_continue_is_answered_and_the_upload_relayed() -> None:
    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        writer.write(proxy.via(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"abc")
        assert await read_message(reader) == OK
        writer.close()
        (exchange,) = await proxy.exchanges()
        assert exchange.request.body == b"abc"
        assert header(exchange.request.headers, "expect") == "100-continue"
        assert exchange.response is not None
        assert exchange.response.status == 200

    run(answering(OK), scenario)


def test_our_own_replays_are_relayed_left_out_and_counted() -> None:
    async def scenario(proxy: Proxied) -> None:
        own = POST.replace(b"Host:", RUN_HEADER.lower().encode() + b": 1\r\nHost:")
        assert await proxy.ask(own) == OK
        assert await proxy.ask(POST) == OK
        assert len(await proxy.exchanges()) == 1
        assert proxy.rig.counts == {"offered": 1, "own": 1}
        row = proxy.rig.recording.row
        assert (row[Count.RELAYED_IN_BYTES], row[Count.RELAYED_OUT_BYTES]) == (6, 4), "body bytes, recorded or not"

    run(answering(OK), scenario)


HOOKS = ("request_head", "request_chunk", "request_end", "response_head", "response_chunk", "response_end")


@pytest.mark.parametrize("broken", HOOKS)
def test_a_hook_that_fails_costs_one_exchange_and_the_traffic_goes_on(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug of ours")

    async def scenario(proxy: Proxied) -> None:
        monkeypatch.setattr(proxy.rig.recorder.assembler, broken, fail)
        assert await proxy.ask(POST) == OK
        await proxy.rig.until(lambda: proxy.rig.recording.row[Count.SEEN] == 1)
        assert proxy.rig.counts == {"hook_errors": 1}
        assert not proxy.rig.out

    run(answering(OK), scenario)


def test_a_hook_that_fails_when_all_is_over_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug of ours")

    async def scenario(proxy: Proxied) -> None:
        monkeypatch.setattr(proxy.rig.recorder.assembler, "gone", fail)
        assert await proxy.ask(POST) == OK
        await proxy.rig.until(lambda: not proxy.rig.recording.row[Count.OPEN_CONNECTIONS])
        assert proxy.rig.counts == {"offered": 1}

    run(answering(OK), scenario)


def test_a_websocket_is_relayed_and_counted_but_not_recorded() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(switch)
        await reader.readexactly(8)  # a masked text frame of two bytes
        writer.write(b"\x81\x02hi")
        await reader.read()

    async def scenario(proxy: Proxied) -> None:
        reader, writer = await proxy.connect()
        upgrade = GET.replace(
            b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        writer.write(proxy.via(upgrade))
        assert await reader.readuntil(b"\r\n\r\n") == switch
        writer.write(b"\x81\x82\x00\x00\x00\x00hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"
        writer.close()
        assert proxy.rig.counts == {"unparsed": 1}
        assert not proxy.rig.out

    run(serve, scenario)


def test_draining_stops_accepting_and_finishes_what_is_in_flight() -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        reached.set()
        await go.wait()
        writer.write(OK)

    async def scenario(proxy: Proxied) -> None:
        port = proxy.rig.port
        reader, writer = await proxy.connect()
        writer.write(proxy.via(POST))
        await reached.wait()
        draining = asyncio.create_task(proxy.rig.relay.drain(10))
        async with asyncio.timeout(10):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                except ConnectionError:
                    break
        assert not draining.done()
        go.set()
        answer = await reader.read()  # the relay closes: this client must not send another request here
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"ok")
        writer.close()
        await draining
        (exchange,) = await proxy.exchanges()
        assert exchange.response is not None
        assert header(exchange.response.headers, "connection") is None

    run(serve, scenario)
