"""HTTP/2 over TLS, from real gRPC and from h2 by hand: relayed by mitmproxy's own layer, recorded from its hooks."""

import asyncio
import contextlib
import ssl
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no annotations
import grpc.aio  # type: ignore[import-untyped]  # as above
import h2.config
import h2.connection
import h2.events
import pytest

from captures.exchange import Exchange, FailureKind, Flags, header
from recorder.board import Count
from recorder.modes import Mode, Tls
from recorder.options import Address, Upstream
from recorder.recording import Limits

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from recorder.relay_testing import Rig, rigged

MIB = 1 << 20


class Speaker:
    """One side of an HTTP/2 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        self.waiting: deque[h2.events.Event] = deque()
        self.reading = True  # else bodies are not acknowledged
        self.owed = 0  # bytes of them
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def until(self, kind: type[h2.events.Event]) -> Any:
        """The next event of this kind; those before it are over."""
        while True:
            while self.waiting:
                if isinstance(event := self.waiting.popleft(), kind):
                    return event
            await self.hear()

    async def hear(self) -> None:
        data = await self.reader.read(1 << 16)
        if not data:
            raise ConnectionError("the connection is over")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and self.reading:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.DataReceived):
                self.owed += event.flow_controlled_length
            self.waiting.append(event)
        self.flush()

    async def send(self, stream: int, body: bytes) -> None:
        """As fast as flow control lets it."""
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if not room:
                await self.hear()
                continue
            self.h2.send_data(stream, body[:room])
            body = body[room:]
            self.flush()
            await self.writer.drain()


type Answer = Callable[[Speaker, int], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext, port: int = 0) -> AsyncIterator[int]:
    """A server that answers each request, one after the other, when its head has come. The port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speaker = Speaker(reader, writer, client=False)
        try:
            while True:
                await answer(speaker, (await speaker.until(h2.events.RequestReceived)).stream_id)
        except (OSError, h2.exceptions.ProtocolError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


@asynccontextmanager
async def talking(rig: Rig, context: ssl.SSLContext) -> AsyncIterator[Speaker]:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, ssl=context, server_hostname="localhost")
    try:
        yield Speaker(reader, writer, client=True)
    finally:
        writer.close()


def ask(speaker: Speaker, *, end: bool = True) -> int:
    stream: int = speaker.h2.get_next_available_stream_id()
    head = ((":method", "POST"), (":path", "/v1/x?y=1"), (":scheme", "https"), (":authority", "model.example"))
    speaker.h2.send_headers(stream, head, end_stream=end)
    speaker.flush()
    return stream


def head(speaker: Speaker, stream: int, kind: str = "application/json", status: str = "200") -> None:
    speaker.h2.send_headers(stream, ((":status", status), ("content-type", kind)))
    speaker.flush()


async def fine(speaker: Speaker, stream: int) -> None:
    head(speaker, stream)
    speaker.h2.send_data(stream, b"ok", end_stream=True)
    speaker.flush()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())


def between(authority: Any, port: int) -> tuple[Mode, Tls]:
    cert, key = authority.issue("localhost")
    return Mode("reverse", Upstream("https", Address("localhost", port))), Tls(
        cert=cert, key=key, upstream_ca=authority.ca
    )


async def unary(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("x-cost", "3"),))
    return b"re:" + request


async def shout(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.upper()


async def refuse(request: bytes, context: Any) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such model")


@asynccontextmanager
async def grpc_server(authority: Any) -> AsyncIterator[int]:
    cert, key = authority.issue("localhost")
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Shout": grpc.stream_stream_rpc_method_handler(shout),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Model", methods),))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port
    await server.stop(None)


@asynccontextmanager
async def grpc_channel(authority: Any, rig: Rig) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{rig.port}", credentials) as channel:
        yield channel


@pytest.mark.slow
def test_grpc_calls_of_every_shape_pass_with_their_trailers_and_are_recorded(authority: Any) -> None:
    async def main() -> None:
        async with grpc_server(authority) as port, rigged(*between(authority, port)) as rig:
            async with grpc_channel(authority, rig) as channel:
                call = channel.unary_unary("/t.Model/Unary")(b"hello")
                assert await call == b"re:hello"
                assert dict(await call.trailing_metadata()) == {"x-cost": "3"}
                both = channel.stream_stream("/t.Model/Shout")()
                for word in (b"a", b"b"):
                    await both.write(word)
                    assert await both.read() == word.upper(), "nothing is held back until the other side is done"
                await both.done_writing()
                assert await both.read() is grpc.aio.EOF
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary("/t.Model/Refuse")(b"x")
                assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert refused.value.details() == "no such model"
            exchanges = {exchange.request.target: exchange for exchange in await rig.exchanges(3)}
            assert rig.counts == {"offered": 3}
            check_grpc(exchanges)

    def check_grpc(exchanges: dict[str, Exchange]) -> None:
        one = exchanges["/t.Model/Unary"]
        assert one.request.http_version == "HTTP/2.0"
        assert header(one.request.headers, "host") is not None
        assert one.request.body == b"\0\0\0\0\5hello"
        assert one.response is not None
        assert one.response.body == b"\0\0\0\0\x08re:hello"
        assert one.flags == Flags.REPLAYABLE
        both = exchanges["/t.Model/Shout"]
        assert both.response is not None
        assert [chunk.data[5:] for chunk in both.request.chunks] == [b"a", b"b"]
        assert [chunk.data[5:] for chunk in both.response.chunks] == [b"A", b"B"]
        times = [chunk.at_ns for pair in zip(both.request.chunks, both.response.chunks, strict=True) for chunk in pair]
        assert times == sorted(times)
        failed = exchanges["/t.Model/Refuse"].response
        assert failed is not None
        assert header(failed.headers, "grpc-status") == "3", "an answer of trailers only is a head"
        assert header(one.response.headers, "grpc-status") == "0", "and else it joins the head"
        assert header(one.response.headers, "x-cost") is None

    run(main)


def test_the_first_event_of_a_stream_arrives_before_the_last_is_sent(authority: Any) -> None:
    got_first = asyncio.Event()

    async def answer(speaker: Speaker, stream: int) -> None:
        head(speaker, stream, "text/event-stream")
        speaker.h2.send_data(stream, b"data: 1\n\n")
        speaker.flush()
        await got_first.wait()
        speaker.h2.send_data(stream, b"data: 2\n\n", end_stream=True)
        speaker.flush()

    async def main() -> None:
        async with (
            serving(answer, authority.server("localhost", "h2")) as port,
            rigged(*between(authority, port)) as rig,
            talking(rig, authority.client("h2")) as client,
        ):
            ask(client)
            assert (await client.until(h2.events.DataReceived)).data == b"data: 1\n\n"
            got_first.set()
            await client.until(h2.events.StreamEnded)
            (exchange,) = await rig.exchanges()
            assert exchange.response is not None
            assert [chunk.data for chunk in exchange.response.chunks] == [b"data: 1\n\n", b"data: 2\n\n"]
            assert exchange.response.chunks[0].at_ns < exchange.response.chunks[1].at_ns
            assert (exchange.request.target, header(exchange.request.headers, "host")) == ("/v1/x?y=1", "model.example")
            assert Flags.STREAM in exchange.flags

    run(main)


@pytest.mark.parametrize("who", ["client resets", "client leaves", "server resets", "server leaves"])
def test_a_stream_that_breaks_is_recorded_as_far_as_it_came_and_by_whose_doing(who: str, authority: Any) -> None:
    async def answer(speaker: Speaker, stream: int) -> None:
        head(speaker, stream, "text/event-stream")
        speaker.h2.send_data(stream, b"part")
        speaker.flush()
        if who == "server resets":
            speaker.h2.reset_stream(stream, 2)
            speaker.flush()
        elif who == "server leaves":
            speaker.writer.close()
        await speaker.until(h2.events.ConnectionTerminated)

    async def main() -> None:
        async with (
            serving(answer, authority.server("localhost", "h2")) as port,
            rigged(*between(authority, port)) as rig,
            talking(rig, authority.client("h2")) as client,
        ):
            stream = ask(client)
            await client.until(h2.events.DataReceived)
            if who == "client resets":
                client.h2.reset_stream(stream, 8)
                client.flush()
            elif who == "client leaves":
                client.writer.close()
            else:
                await client.until(h2.events.StreamReset)
            (exchange,) = await rig.exchanges()
            assert exchange.failure is not None
            expected = FailureKind.CLIENT_DISCONNECT if who.startswith("client") else FailureKind.RESET
            assert (exchange.failure.kind, exchange.failure.detail) == (expected, "")
            assert exchange.response is not None
            assert (exchange.response.body, exchange.response.end_ns) == (b"part", -1)
            assert rig.counts == {"offered": 1}

    run(main)


def test_a_connection_outlives_an_upstream_that_restarts(authority: Any) -> None:
    context = authority.server("localhost", "h2")

    async def main() -> None:
        async with serving(fine, context) as port:
            mode, tls = between(authority, port)
        async with rigged(mode, tls) as rig:
            async with serving(fine, context, port):
                client = await asyncio.open_connection(
                    "127.0.0.1", rig.port, ssl=authority.client("h2"), server_hostname="localhost"
                )
                speaker = Speaker(*client, client=True)
                ask(speaker)
                await speaker.until(h2.events.StreamEnded)
            for _ in range(2):
                ask(speaker)
                response = await speaker.until(h2.events.ResponseReceived)
                assert dict(response.headers)[":status"] == "502"
            async with serving(fine, context, port):
                ask(speaker)
                response = await speaker.until(h2.events.ResponseReceived)
                assert dict(response.headers)[":status"] == "200"
                speaker.writer.close()
                kinds = [exchange.failure and exchange.failure.kind for exchange in await rig.exchanges(4)]
            assert kinds[0] is kinds[3] is None
            assert set(kinds[1:3]) <= {FailureKind.CONNECT, FailureKind.RESET}
            assert rig.recording.row[Count.CONNECT_FAILURES] >= 1

    run(main)


def going(last_stream: int) -> bytes:
    """GOAWAY without an error, as a frame; h2 itself would say nothing more after one."""
    return bytes.fromhex("000008 07 00 00000000") + last_stream.to_bytes(4) + bytes(4)


def test_an_upstream_that_is_leaving_finishes_its_streams_and_new_ones_go_elsewhere(authority: Any) -> None:
    """As a gRPC server does with connections of a certain age."""
    context = authority.server("localhost", "h2")
    connections: list[Speaker] = []

    async def leave(speaker: Speaker, stream: int) -> None:
        if speaker not in connections:
            connections.append(speaker)
        if stream > 1 or len(connections) > 1:
            await fine(speaker, stream)
            return
        head(speaker, stream)
        speaker.writer.write(going(2**31 - 1) + going(1))
        await speaker.until(
            h2.events.DataReceived
        )  # the rest of its request, sent when the other one has been answered
        speaker.h2.send_data(stream, b"late", end_stream=True)
        speaker.flush()

    async def main() -> None:
        async with serving(leave, context) as port:
            mode, tls = between(authority, port)
            async with rigged(mode, tls) as rig, talking(rig, authority.client("h2")) as speaker:
                first = ask(speaker, end=False)
                await speaker.until(h2.events.ResponseReceived)
                for _ in range(2):
                    ask(speaker)
                    assert (await speaker.until(h2.events.DataReceived)).data == b"ok"
                    await speaker.until(h2.events.StreamEnded)
                speaker.h2.send_data(first, b"rest", end_stream=True)
                speaker.flush()
                assert (await speaker.until(h2.events.DataReceived)).data == b"late"
                await speaker.until(h2.events.StreamEnded)
                exchanges = await rig.exchanges(3)
            assert len(connections) == 2
            assert [exchange.failure for exchange in exchanges] == [None] * 3
            assert rig.counts == {"offered": 3}

    run(main)


def test_streams_that_a_leaving_upstream_will_not_look_at_are_told_to_try_again(authority: Any) -> None:
    context = authority.server("localhost", "h2")

    async def refuse_all_but_the_first(speaker: Speaker, stream: int) -> None:
        if stream == 1:
            return
        speaker.writer.write(going(1))
        await fine(speaker, 1)

    async def main() -> None:
        async with serving(refuse_all_but_the_first, context) as port:
            mode, tls = between(authority, port)
            async with rigged(mode, tls) as rig, talking(rig, authority.client("h2")) as speaker:
                statuses = {}
                first, second = ask(speaker), ask(speaker)
                for _ in range(2):
                    event = await speaker.until(h2.events.ResponseReceived)
                    statuses[event.stream_id] = dict(event.headers)[":status"]
                assert statuses == {first: "200", second: "502"}
                kinds = {exchange.failure and exchange.failure.kind for exchange in await rig.exchanges(2)}
            assert kinds == {None, FailureKind.RESET}

    run(main)


@pytest.mark.parametrize("slow", ["client", "upstream"])
def test_who_sends_to_someone_that_does_not_read_is_held_back_and_goes_on_later(slow: str, authority: Any) -> None:
    sent = [0]
    held_back = asyncio.Event()

    async def pour(speaker: Speaker, stream: int) -> None:
        for _ in range(8 * 64):
            if not speaker.h2.local_flow_control_window(stream):
                held_back.set()
            await speaker.send(stream, bytes(MIB // 64))
            sent[0] += MIB // 64
        speaker.h2.end_stream(stream)
        speaker.flush()

    async def read_late(speaker: Speaker, stream: int) -> None:
        speaker.reading = False
        while not held_back.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await speaker.hear()
        assert sent[0] < 4 * MIB
        speaker.reading = True
        speaker.h2.acknowledge_received_data(speaker.owed, stream)
        speaker.flush()
        await speaker.until(h2.events.StreamEnded)

    async def answer(speaker: Speaker, stream: int) -> None:
        if stream == 1:
            await fine(speaker, stream)
            return
        if slow == "upstream":
            await read_late(speaker, stream)
            await fine(speaker, stream)
        else:
            head(speaker, stream)
            await pour(speaker, stream)

    async def main() -> None:
        async with serving(answer, authority.server("localhost", "h2")) as port:
            mode, tls = between(authority, port)
            async with rigged(mode, tls) as rig, talking(rig, authority.client("h2")) as client:
                ask(client)
                await client.until(h2.events.StreamEnded)
                stream = ask(client, end=slow == "client")
                await (read_late if slow == "client" else pour)(client, stream)
                exchanges = await rig.exchanges(2)
            assert exchanges[1].response is not None
            assert max(exchanges[1].request.size, exchanges[1].response.size) == 8 * MIB

    run(main)


def test_an_upstream_that_speaks_http1_only_gets_it_from_clients_that_would_rather_not(authority: Any) -> None:
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    async def main() -> None:
        context = authority.server("localhost", "http/1.1")
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        async with rigged(*between(authority, server.sockets[0].getsockname()[1])) as rig:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", rig.port, ssl=authority.client("h2", "http/1.1"), server_hostname="localhost"
            )
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            assert heads == [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"]
            assert rig.counts == {"offered": 1}
        server.close()
        server.close_clients()
        await server.wait_closed()

    run(main)


@pytest.mark.slow
def test_bodies_of_64_mib_pass_both_ways_and_a_prefix_is_kept(authority: Any) -> None:
    block, blocks = bytes(range(256)) * 4096, 64
    got = [0, 0]

    async def answer(speaker: Speaker, stream: int) -> None:
        while not isinstance(event := await speaker.until(h2.events.Event), h2.events.StreamEnded):
            got[0] += len(event.data) if isinstance(event, h2.events.DataReceived) else 0
        head(speaker, stream)
        for _ in range(blocks):
            await speaker.send(stream, block)
        speaker.h2.end_stream(stream)
        speaker.flush()

    async def main() -> None:
        limits = Limits(body=2 * MIB, memory=8 * MIB)
        async with (
            serving(answer, authority.server("localhost", "h2")) as port,
            rigged(*between(authority, port), limits=limits) as rig,
            talking(rig, authority.client("h2")) as client,
        ):
            stream = ask(client, end=False)
            for _ in range(blocks):
                await client.send(stream, block)
            client.h2.end_stream(stream)
            client.flush()
            while not isinstance(event := await client.until(h2.events.Event), h2.events.StreamEnded):
                got[1] += len(event.data) if isinstance(event, h2.events.DataReceived) else 0
            assert got == [64 * MIB, 64 * MIB]
            (exchange,) = await rig.exchanges()
            assert exchange.response is not None
            assert exchange.request.size == exchange.response.size == 64 * MIB
            assert MIB < len(exchange.request.body) <= 2 * MIB
            assert exchange.flags == Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED

    run(main)
