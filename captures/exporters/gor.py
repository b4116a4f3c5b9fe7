"""GoReplay's .gor files, as its current version writes them: ``gor --input-file`` replays what is in them.

Each message is a record: ``1|2 id time latency``, the raw HTTP message, a line of three monkeys. The id is that of a pair, as
GoReplay makes it (16 hexadecimal digits of the connection, 8 of the message); ours hold numbers, no addresses.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from captures.exchange import Chunk, Exchange, Flags, Headers, Request, Response
from captures.header import Header
from captures.importers.gor_records import SEPARATOR
from captures.importers.http_message import content_length, is_chunked

_BODY_GONE = (
    Flags.REQUEST_DROPPED | Flags.RESPONSE_DROPPED | Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED
)  # as the format says: a body shorter than its Content-Length
_SPACE = re.compile(r"[\x00-\x20\x7f]|[^\x00-\xff]")
_IMPLIED = Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE | Flags.STREAM


@dataclass(frozen=True, slots=True)
class GorExporter:
    """``losses``: chunk_times, unfinished_requests, unfinished_responses, unknown_first_bytes, failures, sessions, labels, origins,
    flags (what the policy altered, whether it is synthetic), incomplete_bodies, lengths (a request's body had none in its head, and
    got one), odd_heads (with what would end a line, or has no place in it: left out or escaped).
    """

    @property
    def name(self) -> str:
        return "gor"

    @property
    def suffixes(self) -> tuple[str, ...]:
        return (".gor", ".gor.gz")

    def write(self, header: Header, exchanges: Iterable[Exchange], losses: dict[str, int]) -> Iterator[bytes]:
        for number, exchange in enumerate(exchanges):
            for what in _lost(exchange):
                losses[what] = losses.get(what, 0) + 1
            yield _records(exchange, header.wall_ns, number)


def _records(exchange: Exchange, wall_ns: int, number: int) -> bytes:
    name = b"%016x%08x" % (exchange.connection, (number + 1) & 0xFFFFFFFF)
    request, response = exchange.request, exchange.response
    at = exchange.arrival_ns
    end = at if request.end_ns == -1 else request.end_ns
    parts = [_meta(1, name, wall_ns + at, end - at), _request(request), SEPARATOR]
    if response is not None:
        end = response.end_ns if response.end_ns != -1 else max(response.first_ns, at)
        first = response.first_ns if response.first_ns != -1 else end
        parts += [_meta(2, name, wall_ns + first, max(end - first, 0)), _response(response), SEPARATOR]
    return b"".join(parts)


def _meta(kind: int, name: bytes, at_ns: int, latency_ns: int) -> bytes:
    return b"%d %s %d %d\n" % (kind, name, at_ns, latency_ns)


def _request(request: Request) -> bytes:
    line = f"{request.method} {_SPACE.sub(_escaped, request.target)} {request.http_version}"
    headers = request.headers
    if _lacks_length(request):  # without one, nobody takes what follows for a body
        headers = (*headers, ("Content-Length", str(len(request.body))))
    return _head(line, headers) + _body(headers, request.chunks)


def _response(response: Response) -> bytes:
    # The version of a response is not in a capture.
    line = f"HTTP/1.1 {response.status:03} {'' if _odd(response.reason) else response.reason}"
    return _head(line, response.headers) + _body(response.headers, response.chunks)


def _head(line: str, headers: Headers) -> bytes:
    rows = [line, *(f"{name}: {value}" for name, value in headers if not _odd(name + value))]
    return ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1", "replace")


def _body(headers: Headers, chunks: tuple[Chunk, ...]) -> bytes:
    """As on the wire."""
    if not is_chunked(headers):
        return b"".join(chunk.data for chunk in chunks)
    framed = [b"%x\r\n%s\r\n" % (len(chunk.data), chunk.data) for chunk in chunks if chunk.data]
    return b"".join([*framed, b"0\r\n\r\n"])


def _lost(exchange: Exchange) -> Iterator[str]:
    request, response = exchange.request, exchange.response
    texts = [name + value for name, value in request.headers + (response.headers if response else ())]
    sides = ((request.chunks, request.end_ns), (response.chunks, response.end_ns) if response else ((), -1))
    table = {
        "chunk_times": any(chunk.at_ns != end_ns for chunks, end_ns in sides for chunk in chunks),
        "unfinished_requests": request.end_ns == -1,
        "unfinished_responses": response is not None and response.end_ns == -1,
        "unknown_first_bytes": response is not None and response.first_ns == -1,
        "failures": exchange.failure is not None,
        "sessions": exchange.session != 0,
        "labels": bool(exchange.labels),
        "origins": exchange.origin is not None,
        "incomplete_bodies": bool(exchange.flags & _BODY_GONE),
        "flags": bool(exchange.flags & ~(_BODY_GONE | _IMPLIED)),
        "lengths": _lacks_length(request),
        "odd_heads": _SPACE.search(request.target) is not None
        or any(map(_odd, texts))
        or (response is not None and _odd(response.reason)),
    }
    yield from (what for what, lost in table.items() if lost)


def _lacks_length(request: Request) -> bool:
    return any(chunk.data for chunk in request.chunks) and not (
        is_chunked(request.headers) or content_length(request.headers) is not None
    )


def _escaped(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="surrogatepass")


def _odd(text: str) -> bool:
    return "\r" in text or "\n" in text or any(ord(character) > 255 for character in text)
