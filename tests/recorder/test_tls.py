"""TLS on both sides of a real relay: who is shown what, who is believed, and that nothing secret stays behind."""

import asyncio
import ssl
import stat
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from captures.errors import UsageError
from captures.exchange import FailureKind, header
from recorder.board import Count
from recorder.modes import Mode, Tls
from recorder.options import Address, Upstream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from mitmproxy.connection import ConnectionState

    from recorder.relay_testing import Rig, rigged
    from recorder.tls import Certificates, options_for

GET = b"GET /v1/models HTTP/1.1\r\nHost: model.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """An HTTP/1.1 server that keeps what it was told, and the names it was asked for in TLS."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    peers: list[Any] = field(default_factory=list)
    may_answer: asyncio.Event | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.peers.append(writer.get_extra_info("peercert"))
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                if self.may_answer is not None:
                    await self.may_answer.wait()
                writer.write(OK)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[Server]:
    here = Server()
    if context is not None:
        context.sni_callback = lambda _, name, __: here.names.append(name)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0, ssl=context)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        await server.wait_closed()


async def ask(rig: Rig, context: ssl.SSLContext | None = None, name: str = "localhost") -> bytes:
    """One request on one connection: everything until it closes, or the usual answer. An error where TLS fails."""
    where = {"ssl": context, "server_hostname": name} if context else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, **where)  # type: ignore[arg-type]  # both or none
    try:
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await (reader.readexactly(2) if head.startswith(b"HTTP/1.1 200") else reader.read())
    finally:
        writer.close()


def to(server: Server, scheme: str = "https", host: str = "localhost") -> Mode:
    return Mode("reverse", Upstream(scheme, Address(host, server.port)))


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def test_clients_are_shown_our_own_certificate_and_talk_through_the_lane(authority: Any) -> None:
    cert, key = authority.issue("localhost")

    async def main() -> None:
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls(cert=cert, key=key)) as rig:
            assert await ask(rig, authority.client("h2", "http/1.1")) == OK
            (exchange,) = await rig.exchanges()
            assert exchange.request.http_version == "HTTP/1.1"
            assert exchange.response is not None
            assert exchange.response.body == b"ok"
            assert server.heads == [GET], "byte for byte, its Host too"
            await rig.until(lambda: not rig.recorder.lanes)
            assert rig.counts == {"offered": 1}

    run(main)


def test_a_client_that_has_asked_all_it_wants_gets_its_answer_from_an_upstream_in_tls(authority: Any) -> None:
    async def main() -> None:
        async with serving(authority.server("localhost")) as server:
            server.may_answer = asyncio.Event()
            async with rigged(to(server), Tls(upstream_ca=authority.ca)) as rig:
                reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
                writer.write(GET)
                writer.write_eof()
                await rig.until(lambda: bool(server.heads))
                (lane,) = rig.recorder.lanes.values()
                await rig.until(lambda: not lane.context.client.state & ConnectionState.CAN_READ)
                server.may_answer.set()
                assert await reader.read() == OK
                writer.close()
                await rig.until(lambda: not rig.recorder.lanes)
                assert rig.counts == {"offered": 1}
                assert [exchange.failure for exchange in rig.out] == [None]

    run(main)


def test_plain_and_tls_clients_share_a_port(authority: Any) -> None:
    cert, key = authority.issue("localhost")

    async def main() -> None:
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls(cert=cert, key=key)) as rig:
            assert await ask(rig) == OK
            assert await ask(rig, authority.client()) == OK
            assert [exchange.connection for exchange in await rig.exchanges(2)] == [1, 2]

    run(main)


def test_the_certificate_may_stand_in_one_file_with_its_key_and_bring_its_chain(authority: Any, tmp_path: Path) -> None:
    cert, key = authority.issue("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes() + authority.ca.read_bytes())

    async def main() -> None:
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls(cert=both)) as rig:
            both.unlink()  # read once, before workers begin
            context = authority.client()
            _, writer = await asyncio.open_connection("127.0.0.1", rig.port, ssl=context, server_hostname="localhost")
            chain = writer.get_extra_info("ssl_object").get_unverified_chain()
            assert len(chain) == 2
            writer.close()
            await writer.wait_closed()
            assert await ask(rig, authority.client()) == OK

    run(main)


@pytest.mark.parametrize("how", ["trusted", "trusted by the environment", "untrusted", "another name", "insecure"])
def test_the_upstreams_certificate_is_checked_unless_told_otherwise(
    how: str, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusts = {"trusted", "another name"}
    tls = Tls(upstream_ca=authority.ca if how in trusts else None, insecure=how == "insecure")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if how == "trusted by the environment":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    context = authority.server("elsewhere.example" if how == "another name" else "localhost", "h2", "http/1.1")
    works = how not in ("untrusted", "another name")

    async def main() -> None:
        async with serving(context) as server, rigged(to(server), tls) as rig:
            answer = await ask(rig)
            (exchange,) = await rig.exchanges()
            assert rig.recording.row[Count.CONNECT_FAILURES] == (not works)
            if works:
                assert answer == OK
                assert server.heads == [GET]
                assert exchange.failure is None
            else:
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert server.heads == []
                assert exchange.failure is not None
                assert exchange.failure.kind is FailureKind.CONNECT

    run(main)


def test_the_name_a_client_asks_for_in_tls_is_passed_on_and_is_what_must_be_proven(authority: Any) -> None:
    cert, key = authority.issue("model.example")

    async def main() -> None:
        tls = Tls(cert=cert, key=key, upstream_ca=authority.ca)
        async with serving(authority.server("model.example")) as server, rigged(to(server), tls) as rig:
            assert await ask(rig, authority.client(), "model.example") == OK
            assert server.names == ["model.example"]
            (exchange,) = await rig.exchanges()
            assert header(exchange.request.headers, "host") == "model.example"

    run(main)


@pytest.mark.parametrize("files", ["one", "two"])
def test_the_upstream_is_shown_our_client_certificate(files: str, authority: Any) -> None:
    cert, key = authority.issue("relay.example")
    if files == "one":
        cert.write_bytes(cert.read_bytes() + key.read_bytes())
    context = authority.server("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    tls = Tls(upstream_ca=authority.ca, upstream_cert=cert, upstream_key=key if files == "two" else None)

    async def main() -> None:
        async with serving(context) as server, rigged(to(server), tls) as rig:
            assert await ask(rig) == OK
            assert dict(pair for (pair,) in server.peers[0]["subject"]) == {"commonName": "relay.example"}

    run(main)


@pytest.mark.parametrize("who", ["known", "stranger", "nobody"])
def test_clients_must_show_a_certificate_where_that_is_asked_for(who: str, authority: Any, stranger: Any) -> None:
    cert, key = authority.issue("localhost")
    context = authority.client()
    if who != "nobody":
        context.load_cert_chain(*(authority if who == "known" else stranger).issue("client.example"))

    async def main() -> None:
        tls = Tls(cert=cert, key=key, client_ca=authority.ca)
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), tls) as rig:
            if who == "known":
                assert await ask(rig, context) == OK
                assert await ask(rig, context) == OK, "the second connection may resume the first one's session"
            else:
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await ask(rig, context)
                assert server.heads == []
                assert rig.counts == {}

    run(main)


def test_an_authority_in_a_folder_is_kept_and_signs_for_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "ca"

    async def main() -> None:
        for _ in range(2):
            async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls(ca_folder=folder)) as rig:
                context = ssl.create_default_context(cafile=folder / "mitmproxy-ca-cert.pem")
                assert await ask(rig, context, "any.example") == OK

    run(main)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "mitmproxy-ca.pem").stat().st_mode) == 0o600


def test_without_a_certificate_or_a_folder_the_authority_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    left: list[Path] = []

    async def main() -> None:
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls()) as rig:
            assert await ask(rig, context) == OK
            left.extend(tmp_path.rglob("*"))  # noqa: ASYNC240 - an empty folder

    run(main)
    assert left == []


def test_where_the_upstream_is_down_a_tls_client_is_turned_away_as_the_upstream_would_have(authority: Any) -> None:
    cert, key = authority.issue("localhost")

    async def main() -> None:
        async with serving(None) as server:
            nowhere = to(server)
        async with rigged(nowhere, Tls(cert=cert, key=key)) as rig:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await ask(rig, authority.client())
            assert rig.recording.row[Count.CONNECT_FAILURES] == 1
            assert rig.counts == {}

    run(main)


def test_what_is_not_tls_after_all_is_turned_away(authority: Any) -> None:
    async def main() -> None:
        async with serving(None) as server, rigged(to(server, "http", "127.0.0.1"), Tls()) as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01x")
            await reader.read()
            writer.close()
            assert server.heads == []

    run(main)


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "no such certificate": ({"cert": "none.pem"}, "--tls-cert .*none.pem: no such file"),
    "no certificate": ({"cert": "empty.pem", "key": "localhost.key"}, "--tls-cert .*empty.pem: holds no certificate"),
    "a damaged certificate": ({"cert": "damaged.pem", "key": "localhost.key"}, "--tls-cert .*: holds no certificate"),
    "no key": ({"cert": "localhost.pem"}, "--tls-cert .*: holds no private key .*--tls-key"),
    "an unreadable key": ({"cert": "localhost.pem", "key": "empty.pem"}, "--tls-key .*: holds no private key"),
    "another key": ({"cert": "localhost.pem", "key": "other.key"}, "--tls-key .*: not the key of"),
    "a file as folder": ({"ca_folder": "empty.pem"}, "--tls-ca .*: file exists"),
    "a strange folder": ({"ca_folder": "strange"}, "--tls-ca .*strange: not what mitmproxy wrote there"),
    "no client authority": ({"client_ca": "empty.pem"}, "--tls-client-ca .*: holds no certificate"),
    "no upstream authority": ({"upstream_ca": "empty.pem"}, "--upstream-ca .*: holds no certificate"),
    "a missing upstream authority": ({"upstream_ca": "none.pem"}, "--upstream-ca .*: no such file"),
    "an identity without a key": ({"upstream_cert": "localhost.pem"}, "--upstream-cert .* is not a certificate with"),
    "an identity with another key": (
        {"upstream_cert": "localhost.pem", "upstream_key": "other.key"},
        "--upstream-cert .* and .*other.key are not a certificate with",
    ),
}


def prepare(tls: Tls) -> None:
    options_for(Mode("regular"), tls)
    Certificates(tls)


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_cannot_be_used_is_one_clear_line(what: str, authority: Any) -> None:
    chosen, message = BROKEN[what]
    authority.issue("localhost")
    authority.issue("other")
    (authority.folder / "empty.pem").write_bytes(b"")
    (authority.folder / "damaged.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (authority.folder / "strange").mkdir()
    (authority.folder / "strange" / "mitmproxy-ca.pem").write_bytes(b"not a key")
    tls = Tls(**{name: authority.folder / file for name, file in chosen.items()})
    with pytest.raises(UsageError, match=message) as refused:
        prepare(tls)
    assert "\n" not in str(refused.value)
    assert b"PRIVATE" not in str(refused.value).encode()


def test_insecure_says_so(authority: Any) -> None:
    assert "not checked" in Tls(insecure=True).warning
    assert not Tls(upstream_ca=authority.ca).warning
