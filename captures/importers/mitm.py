"""mitmproxy's flow files, of every version: its own reader migrates the old ones. One HTTP flow is one exchange.

The records are cut out here (`flow_frames`), so that a broken one costs itself and no length is believed; mitmproxy reads each.
It is imported when the first file is read: that costs a second.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from captures.exchange import (
    NO_FLAGS,
    Exchange,
    Failure,
    FailureKind,
    Flags,
    Headers,
    Request,
    Response,
)
from captures.importers.connection_numbers import KNOWN, ConnectionNumbers
from captures.importers.decoded import chunk_of, is_stream, with_host
from captures.importers.failure_words import failure_kind
from captures.importers.flow_frames import START, frames
from captures.importers.http_message import content_length
from captures.importers.importer import Dropped, ImportOptions, SourceFile

NOTES = (
    "mitm: times are wall-clock floats, good to about 0.25 us; chunks of a body have one time, its end",
    "mitm: trailers are left out; a body that was streamed and not stored counts as dropped",
    "mitm: TCP, UDP, DNS and WebSocket flows are dropped",
)
_LAST_S = 2**63 / 1e9 - 1
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LARGEST_STATUS = 999
_OTHER_VERSION = "cannot read files with flow format version"

type Decode = Callable[[bytes], Any]
"""A record -> a flow of mitmproxy. Raises whatever mitmproxy makes of a hostile file."""


@dataclass(frozen=True, slots=True)
class Mitm:
    """Uses no option."""

    name: str = "mitm"
    notes: tuple[str, ...] = NOTES

    def sniff(self, head: bytes) -> bool:
        """A length, and behind it a dict whose first key is one of a flow's."""
        return START.match(head) is not None

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        del options
        decode = _decoder()
        connections = ConnectionNumbers()
        for file in files:
            for frame in frames(file.stream):
                if frame.trouble:
                    yield frame.dropped(file.name)
                else:
                    yield _read(frame.data, f"{file.name} at byte {frame.offset}", decode, connections)


def _read(data: bytes, where: str, decode: Decode, connections: ConnectionNumbers) -> Exchange | Dropped:
    try:
        flow = decode(data)
        if flow.type != "http":
            return Dropped(str(flow.type), where)
        if flow.websocket is not None or (flow.response and flow.response.status_code == 101):
            return Dropped("websocket", where)
        return _exchange(flow, connections)
    except Exception as error:  # noqa: BLE001 - mitmproxy's reader, migrations and classes raise anything for hostile content
        if _OTHER_VERSION in str(error):
            return Dropped("unsupported_version", f"{where}: older or newer than this mitmproxy can read")
        return Dropped("damaged", f"{where}: not a flow that mitmproxy can read")


def _decoder() -> Decode:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated names
        from mitmproxy.io import FlowReader, compat  # noqa: PLC0415 - see the module's docstring

    # What the migrations remember of old files, for as long as the process lives.
    remembered: tuple[dict[Any, Any], ...] = (
        compat.client_connections,
        compat.server_connections,
        compat._websocket_handshakes,  # noqa: SLF001 - holds whole flows
    )

    def decode(data: bytes) -> Any:
        for memory in remembered:
            if len(memory) > KNOWN:
                memory.clear()
        return next(iter(FlowReader(io.BytesIO(data)).stream()))

    return decode


def _exchange(flow: Any, connections: ConnectionNumbers) -> Exchange:
    sent, got = flow.request.data, flow.response.data if flow.response else None
    arrival_ns = _ns(sent.timestamp_start)
    end_ns = _since(arrival_ns, sent.timestamp_end)
    headers = _headers(sent.headers)
    request = Request(
        method=_text(sent.method),
        target=_text(sent.path or sent.authority),
        headers=with_host(headers, _host(sent)),
        chunks=chunk_of(max(end_ns, arrival_ns), sent.content or b""),
        end_ns=end_ns,
        size=_size(sent.content, headers),
        http_version=_text(sent.http_version),
    )
    flags = Flags.REQUEST_DROPPED if _dropped(sent.content, headers) else NO_FLAGS
    response = None
    if got is not None:
        response, more = _response(got, arrival_ns)
        flags |= more
    return Exchange(
        arrival_ns=arrival_ns,
        request=request,
        response=response,
        failure=_failure(flow, arrival_ns, end_ns, response),
        connection=connections.of(flow.client_conn.id),
        flags=flags,
    )


def _response(got: Any, arrival_ns: int) -> tuple[Response, Flags]:
    if not 0 < got.status_code <= _LARGEST_STATUS:
        raise ValueError("not a status")
    first_ns = _since(arrival_ns, got.timestamp_start)
    end_ns = _since(arrival_ns, got.timestamp_end)
    headers = _headers(got.headers)
    flags = Flags.STREAM if is_stream(headers) else NO_FLAGS
    if _dropped(got.content, headers):
        flags |= Flags.RESPONSE_DROPPED
    response = Response(
        status=got.status_code,
        headers=headers,
        chunks=chunk_of(max(end_ns, first_ns, arrival_ns), got.content or b""),
        first_ns=first_ns,
        end_ns=end_ns,
        size=_size(got.content, headers),
        reason=_text(got.reason),
    )
    return response, flags


def _failure(flow: Any, arrival_ns: int, end_ns: int, response: Response | None) -> Failure | None:
    """Told in prose, which may quote traffic: only its kind is kept."""
    if flow.error is None:
        if response is not None and response.end_ns >= 0:
            return None
        last_ns = max(arrival_ns, end_ns, response.first_ns if response else -1)
        return Failure(FailureKind.INTERNAL, last_ns, "the flow was still open when it was saved")
    kind = failure_kind(flow.error.msg)
    connected = response is not None or flow.server_conn.timestamp_tcp_setup is not None
    if not connected and kind not in (FailureKind.CLIENT_DISCONNECT, FailureKind.TIMEOUT):
        kind = FailureKind.CONNECT
    return Failure(kind, max(_since(arrival_ns, flow.error.timestamp), arrival_ns))


def _host(sent: Any) -> str:
    """HTTP/2 has ``:authority`` in place of Host."""
    if sent.authority:
        return _text(sent.authority)
    scheme = _text(sent.scheme)
    return str(sent.host) if sent.port == _DEFAULT_PORTS.get(scheme) else f"{sent.host}:{sent.port}"


def _dropped(content: bytes | None, headers: Headers) -> bool:
    """None: there was a body, and it was streamed without being stored; unless its length says there was none."""
    return content is None and content_length(headers) != 0


def _size(content: bytes | None, headers: Headers) -> int:
    return content_length(headers) or 0 if content is None else len(content)


def _headers(headers: Any) -> Headers:
    return tuple((_text(name), _text(value)) for name, value in headers.fields)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _since(arrival_ns: int, seconds: float | None) -> int:
    """-1 where there is no such time; clocks that were set back do not put it before the arrival."""
    return -1 if seconds is None else max(_ns(seconds), arrival_ns)


def _ns(seconds: float) -> int:
    if not math.isfinite(seconds) or not 0 <= seconds < _LAST_S:
        raise ValueError("not a time")
    above, below = seconds.as_integer_ratio()
    return above * 10**9 // below
