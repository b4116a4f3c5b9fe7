"""Ways to a relay other than in front of one server, and what is not HTTP any more: real clients through a real relay."""

import asyncio
import http.client
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from captures.exchange import Exchange, header
from recorder.board import Count
from recorder.modes import Mode, Tls
from recorder.options import Address, Upstream
from recorder.recording import Limits

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from mitmproxy import platform

    from recorder.relay_testing import Rig, rigged

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIB = 1 << 20
type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


@asynccontextmanager
async def serving(how: Serve = answer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await how(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def told(exchange: Exchange) -> tuple[str, str, str | None, bytes | None]:
    body = exchange.response.body if exchange.response else None
    return exchange.request.method, exchange.request.target, header(exchange.request.headers, "host"), body


def get(rig: Rig, url: str, *, tunnel: int = 0, context: ssl.SSLContext | None = None) -> bytes:
    """By http.client, as a program behind HTTP_PROXY does it."""
    if tunnel:
        client: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", rig.port, context=context, timeout=10
        )
        client.set_tunnel("localhost", tunnel)
    else:
        client = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=10)
    try:
        client.request("GET", url)
        return client.getresponse().read()
    finally:
        client.close()


def test_a_tunnel_through_a_regular_proxy_is_seen_into_with_an_authority_that_is_kept(
    authority: Any, tmp_path: Path
) -> None:
    tls = Tls(ca_folder=tmp_path / "ca", upstream_ca=authority.ca)

    async def main() -> None:
        async with serving(context=authority.server("localhost")) as port, rigged(Mode("regular"), tls) as rig:
            context = ssl.create_default_context(cafile=tmp_path / "ca" / "mitmproxy-ca-cert.pem")
            assert await asyncio.to_thread(get, rig, "/v1/models", tunnel=port, context=context) == b"ok"
            (exchange,) = await rig.exchanges()
            assert told(exchange) == ("GET", "/v1/models", f"localhost:{port}", b"ok")
            assert rig.counts == {"offered": 1}

    run(main)


@pytest.mark.parametrize("secure", [False, True])
def test_an_upstream_proxy_is_asked_for_everything(secure: bool, authority: Any, tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A proxy that answers for everybody, except that it lets a tunnel through."""
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if not heads[-1].startswith(b"CONNECT"):
            writer.write(OK)
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.start_tls(authority.server("localhost"))
        await answer(reader, writer)

    async def main() -> None:
        async with serving(proxy) as port:
            mode = Mode("upstream", Upstream("http", Address("127.0.0.1", port)))
            async with rigged(mode, Tls(ca_folder=tmp_path / "ca", upstream_ca=authority.ca)) as rig:
                context = ssl.create_default_context(cafile=tmp_path / "ca" / "mitmproxy-ca-cert.pem")
                how = {"tunnel": 7, "context": context} if secure else {}
                url = "/x" if secure else "http://model.example/x"
                assert await asyncio.to_thread(get, rig, url, **how) == b"ok"  # type: ignore[arg-type]  # as the signature says
                (exchange,) = await rig.exchanges()
                assert told(exchange) == ("GET", "/x", "localhost:7" if secure else "model.example", b"ok")
                expected = b"CONNECT localhost:7 " if secure else b"GET http://model.example/x "
                assert heads[0].startswith(expected)

    run(main)


def test_a_transparent_proxy_goes_where_the_connection_was_going(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving() as port, rigged(Mode("transparent")) as rig:
            # the kernel tells, where it has redirected the connection
            monkeypatch.setattr(platform, "original_addr", lambda _: ("127.0.0.1", port))
            assert await asyncio.to_thread(get, rig, "/x") == b"ok"
            (exchange,) = await rig.exchanges()
            assert told(exchange) == ("GET", "/x", f"127.0.0.1:{rig.port}", b"ok")

    run(main)


def test_what_is_not_http_in_a_tunnel_passes_as_bytes_and_is_counted_once() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)

    async def main() -> None:
        async with serving(echo) as port, rigged(Mode("regular")) as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            for blob in (b"\0\1\2\3", b"\4" * 5):
                writer.write(blob)
                assert await reader.readexactly(len(blob)) == blob
            writer.close()
            await rig.until(lambda: not rig.recording.row[Count.OPEN_CONNECTIONS])
            assert rig.counts == {"unparsed": 1}

    run(main)


@pytest.mark.parametrize("how", ["lane", "tls", "proxy"])
def test_a_websocket_passes_untouched_and_counts_as_one_unparsed(how: str, authority: Any) -> None:
    cert, key = authority.issue("localhost")

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            mode = Mode("regular") if how == "proxy" else Mode("reverse", Upstream("http", Address("127.0.0.1", port)))
            async with rigged(mode, Tls(cert=cert, key=key)) as rig:
                if how == "proxy":
                    url, extra = f"ws://127.0.0.1:{port}/", {"proxy": f"http://127.0.0.1:{rig.port}"}
                else:
                    scheme = "wss" if how == "tls" else "ws"
                    url, extra = f"{scheme}://localhost:{rig.port}/", {"proxy": None}  # type: ignore[dict-item]  # none at all
                if how == "tls":
                    extra["ssl"] = authority.client()
                async with connect(url, **extra) as socket:  # type: ignore[arg-type]  # as chosen above
                    for message in ("hello", b"\0\xff", "x" * 100_000):
                        await socket.send(message)
                        assert await socket.recv() == message
                    rig.recorder.abandon()  # the recording may end under it
                    await socket.send("still")
                    assert await socket.recv() == "still"
                assert rig.counts == {"unparsed": 1}
                assert rig.out == []

    run(main)


def test_nothing_is_kept_of_bytes_that_pass(authority: Any) -> None:
    """mitmproxy would remember every message of an upgraded connection as long as it lives."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(1 << 16):
            writer.write(data)

    async def main() -> None:
        async with serving(upgrade) as port, rigged(Mode("regular")) as rig:
            flows: list[Any] = []
            rig.recorder.tcp_start = flows.append  # type: ignore[method-assign, assignment]  # a look inside
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            head = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
            writer.write(head % port)
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(5):
                writer.write(b"z" * 1000)
                await reader.readexactly(1000)
            assert [flow.messages for flow in flows] == [[]]
            writer.close()

    run(main)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
ODD = {
    "HTTP/2 without TLS": PREFACE,
    "a byte": b"G",
    "a byte of TLS": b"\x17",
    "binary": b"\0\1\2",
    "text": b"hello?\r\n",
}


def reverse(port: int, scheme: str = "http") -> Mode:
    return Mode("reverse", Upstream(scheme, Address("localhost", port)))


@pytest.mark.parametrize("upstream", ["http", "https"])
@pytest.mark.parametrize("client", ["http", "https"])
@pytest.mark.parametrize("what", ODD)
def test_what_is_not_http1_passes_a_reverse_proxy_at_once_as_bytes(
    what: str, client: str, upstream: str, authority: Any
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)

    async def main() -> None:
        cert, key = authority.issue("localhost")
        tls = Tls(cert=cert, key=key, upstream_ca=authority.ca)
        context = authority.server("localhost") if upstream == "https" else None
        async with serving(echo, context) as port, rigged(reverse(port, upstream), tls) as rig:
            where = {"ssl": authority.client(), "server_hostname": "localhost"} if client == "https" else {}
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, **where)
            writer.write(ODD[what])
            assert await reader.readexactly(len(ODD[what])) == ODD[what]
            writer.close()
            await rig.until(lambda: not rig.recording.row[Count.OPEN_CONNECTIONS])
            assert rig.counts == {"unparsed": 1}

    run(main)


@pytest.mark.slow
def test_bodies_of_64_mib_pass_the_lane_both_ways_and_little_of_them_is_held() -> None:
    block, blocks = bytes(range(256)) * 4096, 64
    most_held, got = 0, [0, 0]

    async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(blocks):
            got[0] += await reader.readexactly(MIB) == block
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(blocks):
            writer.write(block)
            await writer.drain()

    async def main() -> None:
        nonlocal most_held
        async with serving(large) as port, rigged(reverse(port), limits=Limits(body=2 * MIB, memory=8 * MIB)) as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            for _ in range(blocks):
                writer.write(block)
                await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(blocks):
                got[1] += await reader.readexactly(MIB) == block
                most_held = max(most_held, rig.recording.row[Count.HELD_BYTES])
            writer.close()
            (exchange,) = await rig.exchanges()
            assert got == [64, 64]
            assert MIB < most_held <= 4 * MIB
            assert exchange.response is not None
            assert exchange.request.size == exchange.response.size == 64 * MIB
            assert len(exchange.request.body) <= 2 * MIB
            assert rig.counts == {"offered": 1}

    run(main)


@pytest.mark.slow
def test_500_idle_connections_stay_and_each_still_works() -> None:
    async def main() -> None:
        async with serving() as port, rigged(reverse(port)) as rig:
            request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
            opened = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(500)]
            for _ in range(2):
                for _, writer in opened:
                    writer.write(request)
                for reader, _ in opened:
                    assert await reader.readexactly(len(OK)) == OK
            assert rig.recording.row[Count.OPEN_CONNECTIONS] == 500
            for _, writer in opened:
                writer.close()
            await rig.until(lambda: not rig.recording.row[Count.OPEN_CONNECTIONS])
            assert rig.counts == {"offered": 1000}
            assert rig.recorder.idle
            assert not rig.recorder.lanes

    run(main)
