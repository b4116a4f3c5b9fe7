"""Peers of a relay that play a script, and certificate authorities for the tests of TLS."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from recorder.board import Count
from recorder.options import Address, Upstream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from recorder.modes import Mode
    from recorder.relay_testing import Rig, rigged

# A step: bytes to send · ("WAIT", text): read until that has come · ("THERE", text): until the other peer has read that ·
# ("CALL", function) · "END": read until the other side has
# ended · "EOF": end our side and go on reading · "RESET": close with a reset.
type Step = bytes | tuple[str, Any] | str
type Script = Sequence[Step]
_BITE = 1 << 16


@dataclass
class Peer:
    """``ended``: how the other side ended, as far as the script has read: "eof", "reset" or not yet."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    others: "list[Peer]"  # the newest is the one across
    got: bytes = b""
    ended: str = ""
    seen: int = 0  # of ``got``, by the script

    async def act(self, script: Script) -> None:
        for step in script:
            match step:
                case bytes():
                    self.writer.write(step)
                    with contextlib.suppress(ConnectionError):
                        await self.writer.drain()
                case ("CALL", function):
                    function()
                case (what, text):
                    await (self._read_until(text) if what == "WAIT" else self._across(text))
                case "END":
                    while await self._more():
                        pass
                case "EOF":
                    self.writer.write_eof()
                case "RESET":
                    at_once = struct.pack("ii", 1, 0)
                    self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _read_until(self, text: bytes) -> None:
        while self.got.find(text, self.seen) < 0 and await self._more():
            pass
        assert text in self.got[self.seen :], f"{text!r} never came, but {self.got!r}"
        self.seen = self.got.index(text, self.seen) + len(text)

    async def _across(self, text: bytes) -> None:
        while not self.others or text not in self.others[-1].got:  # noqa: ASYNC110 - bytes have no events
            await asyncio.sleep(0)

    async def _more(self) -> bool:
        try:
            data = await self.reader.read(_BITE)
        except ConnectionError:
            self.ended = "reset"
            return False
        self.ended = self.ended if data else "eof"
        self.got += data
        return bool(data)


@dataclass
class Relayed:
    """A relay in front of an upstream that plays a script, the next one for every connection; without any it is not there."""

    rig: Rig
    servers: list[Peer]
    clients: list[Peer]

    async def client(self, *script: Step) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.rig.port), self.servers)
        self.clients.append(peer)
        await peer.act(script)
        return peer

    async def counts(self, seen: int) -> dict[str, int]:
        """How exchanges ended, once so many have."""
        await self.rig.until(lambda: self.rig.recording.row[Count.SEEN] >= seen)
        return self.rig.counts


@asynccontextmanager
async def _relayed(*scripts: Script) -> AsyncIterator[Relayed]:
    waiting, playing = list(scripts), list[asyncio.Task[None]]()
    servers, clients = list[Peer](), list[Peer]()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        servers.append(Peer(reader, writer, clients))
        playing.append(asyncio.ensure_future(servers[-1].act(waiting.pop(0))))

    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    if not scripts:
        upstream.close()
    try:
        async with asyncio.timeout(20), rigged(Mode("reverse", Upstream("http", Address("127.0.0.1", port)))) as rig:
            yield Relayed(rig, servers, clients)
            for each in playing:
                await each
    finally:
        upstream.close()
        await upstream.wait_closed()


@pytest.fixture
def relayed() -> Callable[..., contextlib.AbstractAsyncContextManager[Relayed]]:
    return _relayed


@dataclass(frozen=True, slots=True)
class Authority:
    """Makes certificates. ``ca``: the file with its own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files with a certificate for this host, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            host: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            host = x509.DNSName(name)
        made = _builder(self.certificate.subject, name, key)
        made = made.add_extension(x509.SubjectAlternativeName([host]), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        cert, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return cert, secret

    def server(self, name: str, *protocols: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def client(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def new_authority(folder: Path) -> Authority:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
    made = _builder(name, folder.name, key)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    may = dict.fromkeys((*uses, "encipher_only", "decipher_only"), False)
    made = made.add_extension(x509.KeyUsage(**may, key_cert_sign=True, crl_sign=True), critical=True)
    certificate = made.sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(folder, key, certificate)


def _builder(issuer: x509.Name, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    serial = x509.random_serial_number()
    return x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - day, now + day)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path / "pki")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority, which nobody trusts."""
    return new_authority(tmp_path / "stranger")
