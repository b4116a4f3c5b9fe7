"""The mitmproxy side of the recorder: hooks that tee what passes. Also a script for the stock tools:

    mitmdump -s recorder/addon.py --mode reverse:http://127.0.0.1:8000 --set shadowtape_out=x.tape

Bodies are streamed both ways (`flow.request.stream`, `flow.response.stream`), so nothing is held back; a hook
that fails is counted and the traffic goes on.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import functools
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import ctx, exceptions, http, tcp
from mitmproxy.connection import Client, Connection
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer, layers, mode_specs, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import ClientHelloData, TlsData

from captures.errors import ShadowtapeError
from captures.exchange import FailureKind, Headers
from recorder.admission import head_of, response_head_of
from recorder.assembler import Assembler
from recorder.board import Count
from recorder.lane import Lane
from recorder.multiplexed import MultiplexedLayer
from recorder.named_files import state_folder
from recorder.options import Address, parse_share, parse_storage
from recorder.recording import Recording
from recorder.report import closing_line
from recorder.spool_process import LocalSession, local_session
from recorder.tls import RELAY_OPTIONS

_LOG = logging.getLogger("shadowtape")
_OURS = ("http", "https", "tls")  # schemes of a reverse proxy; tls: see `recorder.tls.Mode`
_STREAM_RESET = "stream reset by client"


def guarded(hook: Callable[["Recorder", http.HTTPFlow], None]) -> Callable[["Recorder", http.HTTPFlow], None]:
    """Nothing that goes wrong in our code reaches the traffic; the exchange it went wrong on is dropped and counted."""

    @functools.wraps(hook)
    def wrapper(self: "Recorder", flow: http.HTTPFlow) -> None:
        try:
            hook(self, flow)
        except Exception:  # noqa: BLE001 - the firewall between recording and traffic
            self.assembler.leave(flow.id, Count.HOOK_ERRORS)

    return wrapper


class Recorder:
    """The hooks. ``zero_ns`` is the monotonic zero of the recording; ``seat_connection`` numbers connections apart from those of
    other workers (`recorder.service.Seat.connection`).

    It goes before mitmproxy's NextLayer, which decides only what is left, and behind its TlsConfig, whose decisions it changes.

    For whoever drains: set ``draining``, wait for `idle`. For whoever ends the recording: `Recording.stop`, later `abandon`.
    Upstreams that cannot be connected to are counted here.
    """

    def __init__(
        self, recording: Recording, zero_ns: int, seat_connection: Callable[[int], int] = lambda ordinal: ordinal
    ) -> None:
        self.recording = recording
        self.assembler = Assembler(recording)
        self.live: dict[str, str] = {}  # flows of mitmproxy's own HTTP layer, recorded or not, and the client of each
        self.lanes: dict[str, Lane] = {}  # by client
        self._multiplexed: dict[str, layers.HttpLayer] = {}  # HTTP/2, by client
        self.draining = False
        self._refusals: dict[str, str] = {}  # why there was no connection to the upstream, the last time, by client
        self._zero_ns = zero_ns
        self._seat_connection = seat_connection
        self._connections: dict[str, int] = {}
        self._connected = 0

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._zero_ns

    def abandon(self) -> None:
        """The recording ends now: what is in the making is cut off. Nothing new may begin (`Recording.stop`)."""
        self.recording.stop()
        self.assembler.abandon(self.now_ns())
        for lane in self.lanes.values():
            lane.abandon()

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight. The last bytes may still be in a transport's buffer."""
        return not self.live and not any(lane.busy for lane in self.lanes.values())

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """A reverse proxy's clients go into the lane at their first byte, unless it begins TLS: the lane relays whatever comes, and
        records what is HTTP/1.1. HTTP/2 agreed on over TLS, and every other mode, are for mitmproxy's own layers.
        """
        context = nextlayer.context
        mode = context.client.proxy_mode
        if nextlayer.layer is not None:
            return
        if context.client.alpn == b"h2":
            nextlayer.layer = self._multiplexed[context.client.id] = MultiplexedLayer(context, HTTPMode.transparent)
        elif isinstance(mode, mode_specs.ReverseMode) and mode.scheme in _OURS:
            stack = tunnel.LayerStack()
            if not context.server.tls and mode.scheme != "http":
                stack /= layers.ServerTLSLayer(context)
            if not context.client.tls and _begins_tls(nextlayer.data_client()):
                stack /= layers.ClientTLSLayer(context)  # asks again, for what is inside
            else:
                stack /= self._lane(context)
            nextlayer.layer = stack[0]

    def _lane(self, context: Context) -> Lane:
        number = self._number(context.client.id)
        lane = Lane(context, self.recording, self.now_ns, number, lambda: self.draining)
        self.lanes[context.client.id] = lane
        return lane

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """The upstream is asked first, so that both sides speak what both would have agreed on."""
        client, server = data.context.client, data.context.server
        data.establish_server_tls_first = server.tls
        if isinstance(client.proxy_mode, mode_specs.ReverseMode) and not server.tls:
            client.alpn = b"http/1.1"  # what a plaintext upstream speaks; HTTP/2 needs TLS on both sides

    def tls_start_client(self, data: TlsData) -> None:
        """No upstream, no handshake: the client's connection ends as its own to the upstream would have."""
        server = data.context.server
        if server.tls and server.address and not server.connected:
            data.ssl_conn = None

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        self._refused(data.client, data.server)

    def tls_failed_server(self, data: TlsData) -> None:
        self._refused(data.context.client, data.conn)

    def _refused(self, client: Client, server: Connection) -> None:
        self.recording.row[Count.CONNECT_FAILURES] += 1
        self._refusals[client.id] = server.error or ""
        server.error = None  # with it, mitmproxy never tries again on this connection of a client

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Not HTTP, in a mode where mitmproxy decides what is. After an upgrade the exchange that led there was counted."""
        if flow.client_conn.id not in self._connections:
            self.recording.unparsed()

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        flow.messages.clear()  # mitmproxy would keep them as long as the connection lives

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        # First and outside the guard: a failing recorder must not turn streaming off.
        flow.request.stream = self._tee(flow.id, Count.RELAYED_IN_BYTES, self.assembler.request_chunk)
        self.live[flow.id] = flow.client_conn.id
        try:
            self._request_head(flow)
        except Exception:  # noqa: BLE001 - the firewall between recording and traffic
            if not self.assembler.leave(flow.id, Count.HOOK_ERRORS):
                self.recording.hook_failed()

    def _request_head(self, flow: http.HTTPFlow) -> None:
        head = _request_head_of(flow.request)
        self.assembler.request_head(flow.id, self.now_ns(), self._number(flow.client_conn.id), head)

    @guarded
    def request(self, flow: http.HTTPFlow) -> None:
        self.assembler.request_end(flow.id, self.now_ns())

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = self._tee(flow.id, Count.RELAYED_OUT_BYTES, self.assembler.response_chunk)
        self._response_head(flow)
        if self.draining and flow.response.status_code != 101 and not flow.request.is_http2:
            flow.response.headers["connection"] = "close"

    @guarded
    def _response_head(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        if flow.id not in self.assembler:
            return
        data = flow.response.data
        head = response_head_of(
            data.status_code, data.reason.decode("latin-1"), _headers(data.headers), data.http_version.decode("latin-1")
        )
        self.assembler.response_head(flow.id, self.now_ns(), data.status_code, head)

    @guarded
    def response(self, flow: http.HTTPFlow) -> None:
        self.live.pop(flow.id, None)
        assert flow.response is not None
        if flow.response.data.trailers and (lines := _told_at_the_end(flow.response.data.trailers)):
            self.assembler.response_trailers(flow.id, lines)
        self.assembler.response_end(flow.id, self.now_ns())

    def error(self, flow: http.HTTPFlow) -> None:
        self.live.pop(flow.id, None)
        client = flow.client_conn.id
        kind = _failure_kind(flow, self._multiplexed.get(client), self._refusals.get(client))
        if kind is FailureKind.RESET and flow.response is None and flow.killable and not flow.request.is_http2:
            # A closed connection, as the upstream gave it: clients repeat what a server dropped with an idle connection, a 502
            # they would report. On a connection of many streams it is the 502 that says: try again.
            flow.kill()
        self._failed(flow, kind)

    def _failed(self, flow: http.HTTPFlow, kind: FailureKind) -> None:
        try:
            self.assembler.failed(flow.id, self.now_ns(), kind)
        except Exception:  # noqa: BLE001 - as in guarded
            self.assembler.leave(flow.id, Count.HOOK_ERRORS)

    def client_disconnected(self, client: Client) -> None:
        if (lane := self.lanes.pop(client.id, None)) is not None:
            lane.gone()
        self._multiplexed.pop(client.id, None)
        self._refusals.pop(client.id, None)
        if self.live:
            self.live = {flow: owner for flow, owner in self.live.items() if owner != client.id}
        number = self._connections.pop(client.id, None)
        if number is None:
            return
        try:
            self.assembler.gone(number, self.now_ns())
        except Exception:  # noqa: BLE001 - as in guarded
            self.assembler.leave_all(number, Count.HOOK_ERRORS)

    def _number(self, client: str) -> int:
        if (number := self._connections.get(client)) is None:
            self._connected += 1
            number = self._connections[client] = self._seat_connection(self._connected)
        return number

    def _tee(self, key: str, count: Count, note: Callable[[str, int, bytes], None]) -> Callable[[bytes], bytes]:
        """``count`` is of body bytes here: heads are mitmproxy's to write."""

        def stream(data: bytes) -> bytes:
            self.recording.row[count] += len(data)
            if data:  # the empty call at the end is the request or response hook's business
                try:
                    note(key, time.monotonic_ns() - self._zero_ns, data)
                except Exception:  # noqa: BLE001 - as in guarded
                    self.assembler.leave(key, Count.HOOK_ERRORS)
            return data

        return stream


def _request_head_of(request: http.Request) -> bytes:
    """HTTP/2 has its host in a pseudo header, which a head of HTTP/1.1 has no other place for."""
    data = request.data
    headers = _headers(data.headers)
    if data.authority and "host" not in data.headers:
        headers = (("host", data.authority.decode("latin-1")), *headers)
    return head_of(
        data.method.decode("latin-1"), data.path.decode("latin-1"), headers, data.http_version.decode("latin-1")
    )


def _headers(headers: http.Headers) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields)


def _told_at_the_end(trailers: http.Headers) -> bytes:
    """Whether a gRPC call failed stands in its trailers, behind a status of 200. An answer without a body has it in its head, where
    whoever reads a capture will look. Other trailers are not recorded.
    """
    return b"".join(b"%s: %s\r\n" % each for each in trailers.fields if _GRPC_STATUS.fullmatch(b"%s: %s" % each))


_GRPC_STATUS = re.compile(rb"grpc-status: [0-9]{1,3}")

_RESET = (
    "server closed connection",
    "HTTP/1 protocol error: peer closed connection",
    "peer closed connection",
    "HTTP/2 connection closed",
    _STREAM_RESET,
)


def _failure_kind(flow: http.HTTPFlow, multiplexed: layers.HttpLayer | None, refusal: str | None) -> FailureKind:
    """By mitmproxy's prose, for want of anything better; it may quote traffic and is never kept."""
    message = flow.error.msg if flow.error else ""
    if not flow.client_conn.connected or message.startswith("Client disconnected"):
        return FailureKind.CLIENT_DISCONNECT
    if message.startswith(_STREAM_RESET) and _client_failed(flow, multiplexed):
        return FailureKind.CLIENT_DISCONNECT
    if flow.response is None and (flow.server_conn.timestamp_tcp_setup is None or message == refusal):
        return FailureKind.CONNECT
    return FailureKind.RESET if message.startswith(_RESET) else FailureKind.PROTOCOL


def _client_failed(flow: http.HTTPFlow, multiplexed: layers.HttpLayer | None) -> bool:
    """Whose side of the stream is broken; mitmproxy says "by client" of both."""
    streams = multiplexed.streams.values() if multiplexed else ()
    return any(each.client_state == each.state_errored for each in streams if getattr(each, "flow", None) is flow)


def _begins_tls(data: bytes) -> bool:
    """Fewer bytes than it takes to know are hardly ever sent alone; no HTTP begins like that."""
    return starts_like_tls_record(data) if len(data) > 2 else data[:1] == b"\x16"


@dataclass(frozen=True, slots=True)
class First:
    """Asked before mitmproxy's NextLayer, which builds its layers at once and leaves nothing to change."""

    next_layer: Callable[[layer.NextLayer], None]


class Script:
    """The recorder as a script of stock mitmdump: options with ``--set``, everything else the same."""

    name = "shadowtape"

    def __init__(self) -> None:
        self.addons: list[Recorder] = []
        self._session: LocalSession | None = None

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
            self._session = local_session(
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
        recorder = Recorder(self._session.recording, self._session.zero_ns)
        self.addons = [recorder]
        ctx.master.addons.chain.insert(0, First(recorder.next_layer))
        _LOG.info("recording into %s", self._session.path)

    async def done(self) -> None:
        if self._session is not None:
            for recorder in self.addons:
                recorder.abandon()
            _LOG.info("%s", closing_line(await self._session.close()))


def _sources() -> list[Address]:
    modes = [mode_specs.ProxyMode.parse(mode) for mode in ctx.options.mode]
    upstreams = [Address(*mode.address) for mode in modes if isinstance(mode, mode_specs.ReverseMode)]
    return [*upstreams, *(Address(ctx.options.listen_host, ctx.options.listen_port or 8080) for _ in modes)]


addons = [Script()]
