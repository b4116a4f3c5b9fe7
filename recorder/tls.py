"""TLS of both sides and the mode of the proxy: what a user chose -> mitmproxy's options and addons.

Nothing secret is written: unless a folder was named for it, the certificate authority for clients lives in memory. It is made
(or read) once, before worker processes are forked, so that all of them show the same.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mitmproxy import certs
from mitmproxy.addonmanager import Loader
from mitmproxy.addons import tlsconfig
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy.layers import modes
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from captures.errors import UsageError
from recorder.modes import Mode, Tls

CA_NAME = "mitmproxy"  # of the files in a folder of --tls-ca, the names that mitmproxy gives them

_NO_PARAMETERS = certs.DHParams(b"")  # of Diffie-Hellman: every cipher of today is ECDHE

# What the wire must look like beyond a relay: as if it were not there.
RELAY_OPTIONS: Mapping[str, Any] = {
    "keep_host_header": True,
    "connection_strategy": "lazy",  # eager closes the client's connection without an answer when the upstream is down
    "validate_inbound_headers": False,  # what the upstream would have accepted is not ours to refuse
    "tcp_timeout": 24 * 3600,  # a slow model may think longer than the stock ten minutes
    "websocket": False,  # an upgraded connection is relayed as bytes, not parsed and kept
    "http2_ping_keepalive": 0,  # a gRPC server drops who pings more often than every five minutes
}


def options_for(mode: Mode, tls: Tls) -> dict[str, Any]:
    """As mitmproxy names them. Raises UsageError where a file that is named cannot be used."""
    return {
        **RELAY_OPTIONS,
        "mode": [mode.spec],
        "ssl_insecure": tls.insecure,
        "ssl_verify_upstream_trusted_ca": _upstream_ca(tls),
        "client_certs": _upstream_identity(tls),
    }


class Certificates:
    """What clients that speak TLS are shown, and must show. Made before workers are forked. Raises UsageError."""

    def __init__(self, tls: Tls) -> None:
        self._store, chain = _own(tls) if tls.cert else (_authority(tls.ca_folder), ())
        self._context = _context_for_clients(chain, tls.client_ca)

    def addon(self) -> "TlsAddon":
        return TlsAddon(self._store, self._context)


class TlsAddon:
    """The TLS addon of mitmproxy with certificates of ours; its own keeps an authority in a folder. It goes before `Recorder`."""

    def __init__(self, store: certs.CertStore, context: SSL.Context) -> None:
        self._config = tlsconfig.TlsConfig()
        self._config.certstore = store
        self._context = context
        self.tls_start_server = self._config.tls_start_server

    def load(self, loader: Loader) -> None:
        self._config.load(loader)

    def tls_start_client(self, data: TlsData) -> None:
        shown = self._config.get_cert(data.context)
        connection = SSL.Connection(self._context)
        connection.use_certificate(shown.cert.to_cryptography())
        connection.use_privatekey(shown.privatekey)
        below = data.context.layers
        to_a_proxy = len(below) == 2 and isinstance(below[0], modes.HttpProxy)
        connection.set_app_data(
            tlsconfig.AppData(
                client_alpn=b"http/1.1" if to_a_proxy else data.context.client.alpn,  # mitmproxy knows no other CONNECT
                server_alpn=data.context.server.alpn,
                http2=True,
            )
        )
        connection.set_accept_state()
        data.ssl_conn = connection


def _context_for_clients(chain: tuple[certs.Cert, ...], client_ca: Path | None) -> SSL.Context:
    context = net_tls.create_client_proxy_context.__wrapped__(  # not its cache: what follows is ours alone
        method=net_tls.Method.TLS_SERVER_METHOD,
        min_version=net_tls.DEFAULT_MIN_VERSION,
        max_version=net_tls.DEFAULT_MAX_VERSION,
        cipher_list=None,
        ecdh_curve=None,
        chain_file=None,
        alpn_select_callback=tlsconfig.alpn_select_callback,
        request_client_cert=False,
        extra_chain_certs=chain,
        dhparams=_NO_PARAMETERS,
    )
    if client_ca is not None:
        _load(context, client_ca, "--tls-client-ca")
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, None)
        context.set_session_id(b"shadowtape")  # OpenSSL resumes no session of a verified client without
    return context


def _authority(folder: Path | None) -> certs.CertStore:
    if folder is not None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return certs.CertStore.from_store(folder, CA_NAME, 2048)
        except (OSError, ValueError) as error:
            raise UsageError(f"--tls-ca {folder}: {_why(error)}") from None
    key, ca = certs.create_ca(organization=CA_NAME, cn=CA_NAME, key_size=2048)
    return _store(key, certs.Cert(ca))


def _own(tls: Tls) -> tuple[certs.CertStore, tuple[certs.Cert, ...]]:
    """A store that has one certificate for every name, and the rest of its chain."""
    assert tls.cert is not None
    raw = _read(tls.cert, "--tls-cert")
    name, secret = ("--tls-key", _read(tls.key, "--tls-key")) if tls.key else ("--tls-cert", raw)
    chain = _chain_of(raw, f"--tls-cert {tls.cert}")
    try:
        key = certs.load_pem_private_key(secret, None)
    except (ValueError, TypeError):
        hint = "" if tls.key else "; or name its key with --tls-key"
        raise UsageError(
            f"{name} {tls.key or tls.cert}: holds no private key (PEM, without a passphrase){hint}"
        ) from None
    if key.public_key() != chain[0].public_key():
        raise UsageError(f"{name} {tls.key or tls.cert}: not the key of the first certificate in {tls.cert}")
    store = _store(key, chain[0])
    store.add_cert(certs.CertStoreEntry(chain[0], key, None, [*chain]), "*")
    return store, chain[1:]


def _store(key: Any, cert: certs.Cert) -> certs.CertStore:
    return certs.CertStore(key, cert, None, b"", _NO_PARAMETERS)


def _chain_of(raw: bytes, what: str) -> tuple[certs.Cert, ...]:
    pieces = [b"-----BEGIN CERTIFICATE-----" + part for part in raw.split(b"-----BEGIN CERTIFICATE-----")[1:]]
    try:
        chain = tuple(certs.Cert.from_pem(piece) for piece in pieces)
    except ValueError:
        chain = ()
    if not chain:
        raise UsageError(f"{what}: holds no certificate that can be read (PEM)")
    return chain


def _upstream_ca(tls: Tls) -> str | None:
    if tls.upstream_ca is None:
        return os.environ.get("SSL_CERT_FILE")  # as curl and Python have it
    _load(SSL.Context(SSL.TLS_CLIENT_METHOD), tls.upstream_ca, "--upstream-ca")
    return str(tls.upstream_ca)


def _upstream_identity(tls: Tls) -> str | None:
    """One file with certificate and key, as mitmproxy wants it; where they are two, one in memory."""
    if tls.upstream_cert is None:
        return None
    path = tls.upstream_cert
    if tls.upstream_key is not None:
        joined = _read(path, "--upstream-cert") + b"\n" + _read(tls.upstream_key, "--upstream-key")
        if not hasattr(os, "memfd_create"):
            raise UsageError(
                "--upstream-key: put the key into the file of --upstream-cert; this system has no files in memory"
            )
        held = os.memfd_create("shadowtape-identity")  # open as long as the process: read for new connections
        os.write(held, joined)
        path = Path(f"/proc/self/fd/{held}")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    try:
        context.use_privatekey_file(str(path))
        context.use_certificate_chain_file(str(path))
        context.check_privatekey()
    except SSL.Error:
        what = f"--upstream-cert {tls.upstream_cert}"
        hint = f"and {tls.upstream_key} are" if tls.upstream_key else "is"
        raise UsageError(f"{what} {hint} not a certificate with its private key (PEM, without a passphrase)") from None
    return str(path)


def _load(context: SSL.Context, authority: Path, name: str) -> None:
    _read(authority, name)
    try:
        context.load_verify_locations(str(authority))
    except SSL.Error:
        raise UsageError(f"{name} {authority}: holds no certificate that can be read (PEM)") from None


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name} {path}: {_why(error)}") from None


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "not what mitmproxy wrote there"
