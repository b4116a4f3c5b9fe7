"""The mitmproxy side of the recorder: hooks that tee what passes. Also a script for the stock tools:

    mitmdump -s recorder/addon.py --mode reverse:http://127.0.0.1:8000 --set shadowtape_out=x.tape

Bodies are streamed both ways (`flow.request.stream`, `flow.response.stream`), so nothing is held back; a hook
that fails is counted and the traffic goes on.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitmproxy import ctx, exceptions, http
from mitmproxy.connection import Client
from mitmproxy.proxy import layer, layers, mode_specs

from captures.errors import ShadowtapeError
from captures.exchange import FailureKind, Headers
from recorder.named_files import state_folder
from recorder.options import Address, parse_share, parse_storage
from recorder.recording import Recording
from recorder.report import closing_line
from recorder.supervisor import Session, start_session

# What the wire must look like beyond a relay: as if it were not there.
RELAY_OPTIONS: dict[str, Any] = {
    "keep_host_header": True,
    "connection_strategy": "lazy",  # eager closes the client's connection without an answer when the upstream is down
    "validate_inbound_headers": False,  # what the upstream would have accepted is not ours to refuse
    "tcp_timeout": 24 * 3600,  # a slow model may think longer than the stock ten minutes
}
_LOG = logging.getLogger("shadowtape")
_PREFACE = b"PRI * HTTP/2.0"


def guarded[T](hook: Callable[["Recorder", T], None]) -> Callable[["Recorder", T], None]:
    """Nothing that goes wrong in our code reaches the traffic; the exchange it went wrong on is dropped and counted."""

    @functools.wraps(hook)
    def wrapper(self: "Recorder", data: T) -> None:
        try:
            hook(self, data)
        except Exception:  # noqa: BLE001 - the firewall between recording and traffic
            self.recording.hook_failed(getattr(data, "id", ""))

    return wrapper


class Recorder:
    """The hooks. ``zero_ns`` is the monotonic zero of the recording; ``live`` the flows in flight, recorded or not, each with
    the client it belongs to.
    """

    def __init__(self, recording: Recording, zero_ns: int) -> None:
        self.recording = recording
        self.live: dict[str, str] = {}
        self.draining = False
        self._zero_ns = zero_ns
        self._connections: dict[str, int] = {}
        self._connected = 0

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._zero_ns

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """HTTP/2 without TLS (in-cluster gRPC) is beyond mitmproxy: relay it as bytes rather than break it."""
        mode = nextlayer.context.client.proxy_mode
        plain = isinstance(mode, mode_specs.ReverseMode) and mode.scheme == "http"
        if plain and nextlayer.data_client().startswith(_PREFACE):
            nextlayer.layer = layers.TCPLayer(nextlayer.context, ignore=True)
            self.recording.not_http()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        flow.request.stream = True  # first and outside the guard: a failing recorder must not turn streaming off
        self.live[flow.id] = flow.client_conn.id
        self._request_head(flow)

    @guarded
    def _request_head(self, flow: http.HTTPFlow) -> None:
        data = flow.request.data
        recorded = self.recording.request_head(
            flow.id,
            self.now_ns(),
            self._ordinal(flow.client_conn.id),
            data.method.decode("latin-1"),
            data.path.decode("latin-1"),
            _headers(data.headers),
            data.http_version.decode("latin-1"),
        )
        if recorded:
            flow.request.stream = self._tee(flow.id, self.recording.request_chunk)

    @guarded
    def request(self, flow: http.HTTPFlow) -> None:
        self.recording.request_end(flow.id, self.now_ns())

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = True  # as in requestheaders
        self._response_head(flow)
        if self.draining and flow.response.status_code != 101 and not flow.response.is_http2:
            flow.response.headers["connection"] = "close"

    @guarded
    def _response_head(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        data = flow.response.data
        self.recording.response_head(
            flow.id, self.now_ns(), data.status_code, data.reason.decode("latin-1"), _headers(data.headers)
        )
        if self.recording.has(flow.id):
            flow.response.stream = self._tee(flow.id, self.recording.response_chunk)

    @guarded
    def response(self, flow: http.HTTPFlow) -> None:
        self.live.pop(flow.id, None)
        self.recording.response_end(flow.id, self.now_ns())

    def error(self, flow: http.HTTPFlow) -> None:
        self.live.pop(flow.id, None)
        kind = _failure_kind(flow)
        if kind is FailureKind.RESET and flow.response is None and flow.killable:
            # A closed connection, as the upstream gave it: clients repeat what a server dropped with an idle connection, a 502
            # they would report.
            flow.kill()
        self._failed(flow, kind)

    def _failed(self, flow: http.HTTPFlow, kind: FailureKind) -> None:
        try:
            self.recording.failed(flow.id, self.now_ns(), kind)
        except Exception:  # noqa: BLE001 - as in guarded
            self.recording.hook_failed(flow.id)

    @guarded
    def client_disconnected(self, client: Client) -> None:
        self.live = {flow: owner for flow, owner in self.live.items() if owner != client.id}
        ordinal = self._connections.pop(client.id, None)
        if ordinal is not None:
            self.recording.gone(ordinal, self.now_ns())

    def _ordinal(self, client: str) -> int:
        if (ordinal := self._connections.get(client)) is None:
            self._connected += 1
            ordinal = self._connections[client] = self._connected
        return ordinal

    def _tee(self, key: str, note: Callable[[str, int, bytes], None]) -> Callable[[bytes], bytes]:
        def stream(data: bytes) -> bytes:
            if data:  # the empty call at the end is the request or response hook's business
                try:
                    note(key, time.monotonic_ns() - self._zero_ns, data)
                except Exception:  # noqa: BLE001 - as in guarded
                    self.recording.hook_failed(key)
            return data

        return stream


def _headers(headers: http.Headers) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields)


def _failure_kind(flow: http.HTTPFlow) -> FailureKind:
    """By mitmproxy's prose, for want of anything better; it may quote traffic and is never kept."""
    message = flow.error.msg if flow.error else ""
    if not flow.client_conn.connected or message.startswith(("Client disconnected", "stream reset by client")):
        return FailureKind.CLIENT_DISCONNECT
    if flow.response is None and flow.server_conn.timestamp_tcp_setup is None:
        return FailureKind.CONNECT
    if message.startswith(("server closed connection", "HTTP/1 protocol error: peer closed connection")):
        return FailureKind.RESET
    return FailureKind.PROTOCOL


class Script:
    """The recorder as a script of stock mitmdump: options with ``--set``, everything else the same."""

    name = "shadowtape"

    def __init__(self) -> None:
        self.addons: list[Recorder] = []
        self._session: Session | None = None

    def load(self, loader: Any) -> None:
        loader.add_option("shadowtape_out", str, "", "Record into this capture (PATH.tape), or this folder.")
        loader.add_option("shadowtape_policy", str, "", "Policy file: what may be kept.")
        loader.add_option(
            "shadowtape_key", str, "", "Key file for tokens, made if missing; by default the key is forgotten."
        )
        loader.add_option("shadowtape_sample", str, "100%", "Share of the exchanges to keep, for example 25%.")

    def configure(self, updated: set[str]) -> None:
        """Here and not in ``running``: the spool must be ready before the port opens."""
        if self._session is not None or "shadowtape_out" not in updated or not ctx.options.shadowtape_out:
            return
        ctx.options.update(**RELAY_OPTIONS)
        try:
            self._session = start_session(
                parse_storage(ctx.options.shadowtape_out, name="shadowtape_out", state=state_folder()),
                policy=Path(ctx.options.shadowtape_policy) if ctx.options.shadowtape_policy else None,
                key=Path(ctx.options.shadowtape_key) if ctx.options.shadowtape_key else None,
                sampling_rate=parse_share(ctx.options.shadowtape_sample, "shadowtape_sample"),
                sources=_sources(),
                on_trouble=lambda line: _LOG.error("recording stopped: %s; traffic goes on", line),
                on_note=_LOG.info,
            )
        except ShadowtapeError as error:
            raise exceptions.OptionsError(str(error)) from None
        self.addons = [Recorder(self._session.recording, self._session.zero_ns)]
        _LOG.info("recording into %s", self._session.path)

    def done(self) -> None:
        if self._session is not None:
            _LOG.info("%s", closing_line(self._session.close()))


def _sources() -> list[Address]:
    modes = [mode_specs.ProxyMode.parse(mode) for mode in ctx.options.mode]
    upstreams = [Address(*mode.address) for mode in modes if isinstance(mode, mode_specs.ReverseMode)]
    return [*upstreams, *(Address(ctx.options.listen_host, ctx.options.listen_port or 8080) for _ in modes)]


addons = [Script()]
