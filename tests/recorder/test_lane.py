"""The lane in a real relay, between raw sockets: what one side sends is what the other side gets, and the exchanges are right."""

import asyncio
import contextlib
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from captures.exchange import Exchange, FailureKind
from recorder.board import DELAYS, Count
from recorder.framer import Framer
from recorder.modes import Mode
from recorder.options import Address, Upstream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from recorder.relay_testing import Rig, rigged

GET = b"GET /a HTTP/1.1\r\nhOsT: h\r\nX-Odd:  \xff v \r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 Fine\r\nx-ODD:\xe9\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\n"
ASKED, ANSWERED = ("WAIT", b"\r\n\r\n"), ("WAIT", b"ok")
GONE, RESET = FailureKind.CLIENT_DISCONNECT, FailureKind.RESET

type Main = Callable[[], Awaitable[None]]


def run(main: Main) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def summary(exchange: Exchange) -> tuple[bytes, bytes | None, FailureKind]:
    failure = exchange.failure.kind if exchange.failure else FailureKind.NONE
    return exchange.request.body, exchange.response.body if exchange.response else None, failure


# What the client does, what the server does, what was recorded, what else was counted. Every byte that either side sends must
# reach the other one as it was.
CASES: dict[str, tuple[Sequence[Any], Sequence[Any], list[tuple[bytes, bytes | None, FailureKind]], dict[str, int]]] = {
    "kept alive": (
        [GET, ANSWERED, POST, ANSWERED],
        [ASKED, OK, ("WAIT", b"hello"), OK, "END"],
        [(b"", b"ok", FailureKind.NONE), (b"hello", b"ok", FailureKind.NONE)],
        {},
    ),
    "pipelined": (
        [GET + POST + GET, ANSWERED, ANSWERED, ANSWERED],
        [ASKED, ("WAIT", b"hello"), ASKED, OK + OK, OK, "END"],
        [(b"", b"ok", FailureKind.NONE), (b"hello", b"ok", FailureKind.NONE), (b"", b"ok", FailureKind.NONE)],
        {},
    ),
    "100-continue": (
        [
            POST[:-5].replace(b"Host", b"Expect: 100-continue\r\nHost"),
            ("WAIT", b"100 Continue\r\n\r\n"),
            POST[-5:],
            ANSWERED,
        ],
        [ASKED, b"HTTP/1.1 100 Continue\r\n\r\n", ("WAIT", b"hello"), OK, "END"],
        [(b"hello", b"ok", FailureKind.NONE)],
        {},
    ),
    "trailers and extensions": (
        [
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5;x=y\r\nhello\r\n",
            b"0\r\nX: y\r\n\r\n",
            ("WAIT", b"Z: z\r\n\r\n"),
        ],
        [("WAIT", b"X: y\r\n\r\n"), STREAM, b"2;a\r\nok\r\n0;b\r\nZ: z\r\n\r\n", "END"],
        [(b"hello", b"ok", FailureKind.NONE)],
        {},
    ),
    "a client that has asked all it wants": (
        [GET, "EOF", "END"],
        [ASKED, "END", OK],
        [(b"", b"ok", FailureKind.NONE)],
        {},
    ),
    "an answer that lasts until the close": (
        [GET, "END"],
        [ASKED, TO_THE_END + b"to the", b" end"],
        [(b"", b"to the end", FailureKind.NONE)],
        {},
    ),
    "an answer cut off by a reset": (
        [GET, ("WAIT", b"to the"), "END"],
        [ASKED, TO_THE_END + b"to the", ("THERE", b"to the"), "RESET"],
        [(b"", b"to the", RESET)],
        {},
    ),
    "a stream that breaks off": (
        [GET, "END"],
        [ASKED, STREAM + b"5\r\nhel"],
        [(b"", b"hel", RESET)],
        {},
    ),
    "a client that leaves in the middle of a stream": (
        [GET, ("WAIT", b"ok\r\n")],
        [ASKED, STREAM + b"2\r\nok\r\n", "END"],
        [(b"", b"ok", GONE)],
        {},
    ),
    "a client that resets in the middle of a stream": (
        [GET, ("WAIT", b"ok\r\n"), "RESET"],
        [ASKED, STREAM + b"2\r\nok\r\n", "END"],
        [(b"", b"ok", GONE)],
        {},
    ),
    "a server that closes without a word": ([GET, "END"], [ASKED], [(b"", None, RESET)], {}),
    "an early answer, and the rest of the request": (
        [POST[:-2], ANSWERED, POST[-2:], ANSWERED],
        [ASKED, OK, ("WAIT", b"hello"), OK, "END"],
        [(b"hello", b"ok", FailureKind.NONE)],
        {"unparsed": 1},  # the second answer, which nobody asked for
    ),
    "an early answer of a server that closes": (
        [POST[:-2], ANSWERED, "END"],
        [ASKED, OK],
        [(b"hel", b"ok", FailureKind.NONE)],
        {},
    ),
    "WebSocket": (
        [GET, ("WAIT", b"\r\n\r\n"), b"\x81\x82abcd", ("WAIT", b"frame")],
        [ASKED, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ("WAIT", b"abcd"), b"frame", "END"],
        [],
        {"unparsed": 1},
    ),
    "bare line feeds": (
        [b"GET / HTTP/1.1\nHost: h\n\n", ANSWERED],
        [("WAIT", b"\n\n"), OK, "END"],
        [],
        {"unparsed": 1},
    ),
    "two lengths": (
        [POST.replace(b"Host: h", b"Content-Length: 4"), ANSWERED, GET, ANSWERED],
        [("WAIT", b"hello"), OK, ASKED, OK, "END"],
        [],
        {"unparsed": 1},
    ),
    "a fold, a NUL and a space before a colon": (
        [b"GET / HTTP/1.1\r\nA : b\r\n c\0\r\n\r\n", ANSWERED],
        [ASKED, OK, "END"],
        [],
        {"unparsed": 1},
    ),
    "a length and chunks": (
        [POST.replace(b"Host: h", b"Transfer-Encoding: chunked"), ANSWERED],
        [("WAIT", b"hello"), OK, "END"],
        [],
        {"unparsed": 1},
    ),
    "no HTTP at all": ([b"SSH-2.0-x\r\n", ANSWERED], [("WAIT", b"\n"), b"ok", "END"], [], {"unparsed": 1}),
    "nothing": ([], [], [], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_pass_unchanged_and_exchanges_are_right(name: str, relayed: Any) -> None:
    client_does, server_does, expected, left_out = CASES[name]

    async def main() -> None:
        async with relayed(server_does) as here:
            client = await here.client(*client_does)
            seen = len(expected) + sum(left_out.values())
            counts = await here.counts(seen)
            assert [summary(exchange) for exchange in here.rig.out] == expected
            assert counts == left_out | ({"offered": len(expected)} if expected else {})
        sent = [b"".join(step for step in does if isinstance(step, bytes)) for does in (client_does, server_does)]
        if here.servers:
            assert here.servers[0].got == sent[0]
        assert client.got == sent[1][: len(client.got)]
        assert client.ended != "eof" or client.got == sent[1]

    run(main)


def test_a_reset_of_the_upstream_reaches_the_client_as_one(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, TO_THE_END + b"half", ASKED, "RESET"]) as here:
            client = await here.client(GET, ("WAIT", b"half"), GET, "END")
            assert client.ended == "reset", "the end of the connection would be the end of the answer"

    run(main)


def test_a_reset_of_the_client_reaches_the_upstream_as_one(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, "END"]) as here:
            await here.client(GET, "RESET")
            await here.counts(1)
        assert here.servers[0].ended == "reset"

    run(main)


def test_where_nobody_listens_the_client_is_told_and_may_come_again(relayed: Any) -> None:
    async def main() -> None:
        async with relayed() as here:
            for _ in range(2):
                client = await here.client(GET, "END")
                assert client.got.startswith(b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n")
            assert await here.counts(2) == {"offered": 2}
            assert [summary(exchange) for exchange in here.rig.out] == [(b"", None, FailureKind.CONNECT)] * 2

    run(main)


def test_a_client_that_is_still_sending_gets_its_502(relayed: Any) -> None:
    async def main() -> None:
        async with relayed() as here:
            client = await here.client(POST[:-2], ("WAIT", b"\r\n\r\n"), b"lo", "END")
            assert client.ended == "eof"
            await here.counts(1)
            assert [summary(exchange) for exchange in here.rig.out] == [(b"hel", None, FailureKind.CONNECT)]

    run(main)


def test_an_idle_connection_closed_by_the_upstream_is_closed(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, OK]) as here:
            client = await here.client(GET, ANSWERED, "END")
            assert (client.got, client.ended) == (OK, "eof")
            assert await here.counts(1) == {"offered": 1}

    run(main)


def test_a_connection_that_drains_ends_after_the_answer_it_owes(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, b"HTTP/1.1 100 Continue\r\n\r\n", ("WAIT", b"hello"), OK, "END"]) as here:

            def drain() -> None:
                here.rig.recorder.draining = True
                assert not here.rig.recorder.idle

            client = await here.client(POST[:-2], ("WAIT", b"Continue\r\n\r\n"), ("CALL", drain), POST[-2:], "END")
            assert client.got.endswith(OK)
            await here.rig.until(lambda: here.rig.recorder.idle)
            assert await here.counts(1) == {"offered": 1}

    run(main)


def test_a_recording_that_ends_leaves_the_connection_alone(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, STREAM + b"2\r\nok\r\n", ASKED, b"0\r\n\r\n", "END"]) as here:
            client = await here.client(
                *(GET, ANSWERED, ("CALL", here.rig.recorder.abandon), GET, ("WAIT", b"0\r\n\r\n"))
            )
            assert client.got == STREAM + b"2\r\nok\r\n0\r\n\r\n"
            assert await here.counts(1) == {"offered": 1}
            assert [summary(exchange) for exchange in here.rig.out] == [(b"", b"ok", FailureKind.INTERNAL)]

    run(main)


@pytest.mark.parametrize("method", ["from_client", "from_server", "client_closed", "server_closed"])
def test_a_bug_of_ours_is_counted_once_and_the_traffic_goes_on(
    method: str, relayed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Framer, method, fail)

    async def main() -> None:
        async with relayed([ASKED, OK, ASKED, OK, "END"]) as here:
            client = await here.client(GET, ANSWERED, GET, ANSWERED)
            assert client.got == OK + OK
            await here.rig.until(lambda: here.rig.recording.row[Count.HOOK_ERRORS] > 0)
            assert here.rig.counts["hook_errors"] == 1

    run(main)


def test_bytes_and_delays_are_measured(relayed: Any) -> None:
    async def main() -> None:
        async with relayed([ASKED, OK, ASKED, OK, "END"]) as here:
            await here.client(GET, ANSWERED, GET, ANSWERED)
            await here.counts(2)
            row = here.rig.recording.row
            assert (row[Count.RELAYED_IN_BYTES], row[Count.RELAYED_OUT_BYTES]) == (2 * len(GET), 2 * len(OK))
            assert row[Count.DELAY_SUM_NS] > 0
            assert sum(row[DELAYS:]) == 2, "once for each request"

    run(main)


def test_large_bodies_pass_both_ways_in_bounded_memory(relayed: Any) -> None:
    size = 4 << 20
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    async def main() -> None:
        async with relayed([("WAIT", b"<end>"), answer, bytes(size - 5), b"<end>", "END"]) as here:
            client = await here.client(head, bytes(size - 5), b"<end>", ("WAIT", b"<end>"))
            assert len(client.got) == len(answer) + size
            assert len(here.servers[0].got) == len(head) + size
            assert await here.counts(1) == {"offered": 1}
            (exchange,) = here.rig.out
            assert exchange.response is not None
            assert (exchange.request.size, exchange.response.size) == (size, size)

    run(main)


BLOCK = bytes(1 << 16)


def test_the_refusal_of_a_body_reaches_a_client_that_is_still_sending_it() -> None:
    """The upstream closes with bytes unread, so a reset is close behind its refusal. In threads: all of them are at it at once."""
    refusal = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    times = 12

    def refuse(listener: socket.socket) -> None:
        for _ in range(times):
            server, _ = listener.accept()
            with server:
                got = b""
                while b"\r\n\r\n" not in got:
                    got += server.recv(1 << 16)
                server.sendall(refusal)

    def upload(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (128 * len(BLOCK)))
                for _ in range(128):
                    client.sendall(BLOCK)
            with contextlib.suppress(ConnectionError):
                return client.recv(1 << 16)
            return b""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            upstream = Upstream("http", Address("127.0.0.1", listener.getsockname()[1]))
            async with rigged(Mode("reverse", upstream)) as rig:
                refusing = asyncio.create_task(asyncio.to_thread(refuse, listener))
                got = [await asyncio.to_thread(upload, rig.port) for _ in range(times)]
                await refusing
                assert got == [refusal] * times
                exchanges = await rig.exchanges(times)
                assert {exchange.response and exchange.response.status for exchange in exchanges} == {413}

    run(main)


def test_a_client_that_reads_when_it_has_sent_everything_is_not_held_up_by_what_it_does_not_read() -> None:
    """Not even when both ways have been stuck: the upstream reads on, and that must be enough."""
    blocks = 512
    answered, asked = [0], [0]
    read_on = asyncio.Event()

    async def pour(writer: asyncio.StreamWriter, poured: list[int]) -> None:
        for _ in range(blocks):
            writer.write(BLOCK)
            await writer.drain()
            poured[0] += 1

    async def stuck(poured: list[int]) -> None:
        before = -1
        while poured[0] != before:
            before = poured[0]
            for _ in range(500):
                await asyncio.sleep(0)
        assert 0 < before < blocks

    async def read(reader: asyncio.StreamReader) -> None:
        await read_on.wait()
        await reader.readexactly(blocks * len(BLOCK))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
        await asyncio.gather(pour(writer, answered), read(reader))
        writer.close()

    async def main() -> None:
        async with _between_sockets(serve) as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=len(BLOCK))
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
            await stuck(answered)
            asking = asyncio.create_task(pour(writer, asked))
            await stuck(asked)
            read_on.set()
            await asking
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(blocks * len(BLOCK))
            writer.close()
            await rig.exchanges(1)

    run(main)


def test_what_a_client_sends_while_the_upstream_is_connected_to_stays_with_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks, connect, may = 512, asyncio.open_connection, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(blocks * len(BLOCK))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async def later(*where: Any, **how: Any) -> Any:
        await may.wait()
        return await connect(*where, **how)

    async def main() -> None:
        async with _between_sockets(serve) as rig:
            reader, writer = await connect("127.0.0.1", rig.port)
            monkeypatch.setattr(asyncio, "open_connection", later)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
            for _ in range(blocks):
                writer.write(BLOCK)
            for _ in range(2000):
                await asyncio.sleep(0)
            assert writer.transport.get_write_buffer_size() > blocks * len(BLOCK) // 2
            may.set()
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
            await rig.exchanges(1)

    run(main)


@contextlib.asynccontextmanager
async def _between_sockets(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[Rig]:
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0, limit=len(BLOCK))
    port = upstream.sockets[0].getsockname()[1]
    async with upstream, rigged(Mode("reverse", Upstream("http", Address("127.0.0.1", port)))) as rig:
        yield rig
