"""Envoy's HTTP tap in JSON: buffered traces, and streamed segments stitched together by their trace id.

Objects follow one another with or without anything between, pretty-printed or a line each; one file per tap, or many traces in one.
A segment says neither when it came nor whether it is the last: a streamed trace is over when the files are, when its id begins
again, or when too many wait.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from captures.exchange import Exchange
from captures.importers.connection_numbers import ConnectionNumbers
from captures.importers.importer import LINE_LIMIT, PENDING_LIMIT, Dropped, ImportOptions, SourceFile
from captures.importers.json_stream import JsonStream, records
from captures.importers.tap_messages import Member, Side, exchange_of, headers_of, member, side_of

_START = re.compile(
    rb'\{[ \t\r\n]{0,64}"(?:http_?[bB]uffered_?[tT]race|http_?[sS]treamed_?[tT]race_?[sS]egment'
    rb'|socket_?[bB]uffered_?[tT]race|socket_?[sS]treamed_?[tT]race_?[sS]egments?)"'
)
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"

NOTES = (
    "envoy-tap: a request without headers_received_time arrives with the one before it in the files, the first at unix time 0",
    "envoy-tap: streamed taps never have times, buffered ones where record_headers_received_time is on",
    "envoy-tap: the time of the response's end is never recorded: last byte = first byte, and = arrival where that is missing too",
    "envoy-tap: bodies are cut at max_buffered_rx_bytes and max_buffered_tx_bytes, 1 KiB unless configured; trailers are left out",
)


@dataclass(frozen=True, slots=True)
class EnvoyTap:
    """Uses no option."""

    name: str = "envoy-tap"
    notes: tuple[str, ...] = NOTES

    def sniff(self, head: bytes) -> bool:
        """An object whose first member is one of a trace wrapper's."""
        return _START.match(head.removeprefix(_BOM).lstrip(_SPACE)) is not None

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        del options
        taps = _Taps()
        for file in files:
            stream = JsonStream(file.stream, _START)
            if (first := stream.peek()) and first != b"{":
                yield Dropped("not_json", f"{file.name}: only JSON taps are read, not protobuf (.pb) or text")
                continue
            for record in records(stream):
                if record.trouble:
                    yield record.dropped(file.name)
                else:
                    where = f"{file.name} at byte {record.offset}"
                    yield from taps.take(_load(record.data), where, len(record.data))
        yield from taps.rest()


@dataclass(slots=True)
class _Open:
    """A streamed trace of which more may come."""

    request: Side
    where: str
    response: Side | None = None
    held: int = 0


@dataclass(slots=True)
class _Taps:
    """``open``: streamed traces by their id, the oldest first. ``held``: bytes of their segments. ``last_ns``: the last arrival."""

    open: dict[str, _Open] = field(default_factory=dict)
    held: int = 0
    last_ns: int = 0
    connections: ConnectionNumbers = field(default_factory=ConnectionNumbers)

    def take(self, trace: object, where: str, size: int) -> Iterator[Exchange | Dropped]:
        if not isinstance(trace, dict):
            yield Dropped("damaged", where)
        elif isinstance(buffered := member(trace, "http_buffered_trace"), dict):
            request = side_of(buffered.get("request"))
            yield self._made(request, side_of(buffered.get("response")), where, self._connection(buffered))
        elif isinstance(segment := member(trace, "http_streamed_trace_segment"), dict):
            yield from self._stitched(segment, where, size)
        elif any(key.startswith("socket") for key in trace):
            yield Dropped("socket_trace", where)
        else:
            yield Dropped("damaged", where)

    def rest(self) -> Iterator[Exchange | Dropped]:
        while self.open:
            yield self._oldest()

    def _stitched(self, segment: Member, where: str, size: int) -> Iterator[Exchange | Dropped]:
        """A segment begins a trace, belongs to an open one, or is dropped."""
        trace_id = str(member(segment, "trace_id"))
        if (head := member(segment, "request_headers")) is not None:
            if trace_id in self.open:  # ids repeat: this is another trace
                yield self._closed(trace_id)
            self.open[trace_id] = _Open(Side(headers_of(head)), where)
        if (opened := self.open.get(trace_id)) is None:
            yield Dropped("segment_without_request", where)
            return
        opened.held += size
        self.held += size
        if (head := member(segment, "response_headers")) is not None:
            opened.response = Side(headers_of(head))
        if isinstance(body := member(segment, "request_body_chunk"), dict):
            opened.request.add(body)
        if isinstance(body := member(segment, "response_body_chunk"), dict):
            if opened.response is None:
                yield Dropped("segment_without_response", where)
            else:
                opened.response.add(body)
        if member(segment, "response_trailers") is not None:
            yield self._closed(trace_id)
        while self.open and (self.held > LINE_LIMIT or len(self.open) > PENDING_LIMIT):
            yield self._oldest()

    def _oldest(self) -> Exchange | Dropped:
        return self._closed(next(iter(self.open)))

    def _closed(self, trace_id: str) -> Exchange | Dropped:
        opened = self.open.pop(trace_id)
        self.held -= opened.held
        return self._made(opened.request, opened.response, opened.where, 0)

    def _made(self, request: Side | None, response: Side | None, where: str, connection: int) -> Exchange | Dropped:
        exchange = exchange_of(request, response, self.last_ns, connection) if request else None
        if exchange is None:
            return Dropped("response_without_request" if response else "damaged", where)
        self.last_ns = exchange.arrival_ns
        return exchange

    def _connection(self, trace: Member) -> int:
        """By the address of the client, where the tap records it (record_downstream_connection)."""
        found = member(trace, "downstream_connection")
        address = member(found, "remote_address") if isinstance(found, dict) else None
        return self.connections.of(str(address)) if address else 0


def _load(data: bytes) -> object:
    """None: not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))  # Envoy puts bytes that are no UTF-8 into as_string
    except (ValueError, RecursionError):
        return None
