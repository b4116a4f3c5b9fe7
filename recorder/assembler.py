"""Chunks of both directions -> `Exchange`, sans-IO: events come in as calls with their time, exchanges come out.

The rules, whatever source feeds them (mitmproxy hooks today):

1. An exchange comes out exactly once: when request and response have both ended, or when it failed.
2. A response may end before its request has (an early 413). The exchange then waits for the rest of the request,
   or for the client to go away; the response is complete either way and there is no failure.
3. A failure after a partial response keeps the part that came; its ``end_ns`` stays -1.
4. Events of an exchange that is out, dropped or never began are ignored: sources repeat themselves when connections die.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Headers, Request, Response, header

BODY_LIMIT = (
    32 << 20
)  # bytes of one body; more is counted, not kept: a body is held in memory until its exchange is over
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")


@dataclass(slots=True)
class _Body:
    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0  # on the wire
    held: int = 0
    end_ns: int = -1
    truncated: bool = False

    def take(self, at_ns: int, data: bytes, limit: int) -> int:
        """Returns the bytes that were kept. Once a body is over the limit nothing more is, so what is kept is a prefix."""
        self.size += len(data)
        if self.truncated or self.held + len(data) > limit:
            self.truncated = True
            return 0
        self.chunks.append(Chunk(at_ns, data))
        self.held += len(data)
        return len(data)


@dataclass(slots=True)
class _Open:
    arrival_ns: int
    connection: int
    method: str
    target: str
    headers: Headers
    http_version: str
    request: _Body = field(default_factory=_Body)
    response: _Body = field(default_factory=_Body)
    status: int = 0  # 0: no response yet
    reason: str = ""
    response_headers: Headers = ()
    first_ns: int = -1


class Assembler:
    """Exchanges in the making, by the key their source gave them. ``held`` is the body bytes they keep in memory."""

    def __init__(self, body_limit: int = BODY_LIMIT) -> None:
        self.body_limit = body_limit
        self.held = 0
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def request_head(
        self, key: str, at_ns: int, connection: int, method: str, target: str, headers: Headers, http_version: str
    ) -> None:
        self.drop(key)  # a source that repeats a head means the later one
        self._open[key] = _Open(at_ns, connection, method, target, headers, http_version)

    def request_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        if (opened := self._open.get(key)) is not None:
            self.held += opened.request.take(at_ns, data, self.body_limit)

    def request_end(self, key: str, at_ns: int) -> Exchange | None:
        if (opened := self._open.get(key)) is None:
            return None
        opened.request.end_ns = at_ns
        return self._finish(key) if opened.response.end_ns >= 0 else None

    def response_head(self, key: str, at_ns: int, status: int, reason: str, headers: Headers) -> None:
        if (opened := self._open.get(key)) is not None:
            opened.status, opened.reason, opened.response_headers, opened.first_ns = status, reason, headers, at_ns

    def response_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        if (opened := self._open.get(key)) is not None:
            self.held += opened.response.take(at_ns, data, self.body_limit)

    def response_end(self, key: str, at_ns: int) -> Exchange | None:
        if (opened := self._open.get(key)) is None:
            return None
        opened.response.end_ns = at_ns
        return self._finish(key) if opened.request.end_ns >= 0 else None

    def failed(self, key: str, at_ns: int, kind: FailureKind, detail: str = "") -> Exchange | None:
        """``detail`` is our own words or an errno name, never a byte of traffic."""
        if (opened := self._open.get(key)) is None:
            return None
        complete = opened.response.end_ns >= 0
        return self._finish(key, None if complete else Failure(kind, at_ns, detail))

    def gone(self, connection: int, at_ns: int) -> Iterator[Exchange]:
        """The client closed its connection: whatever it still had open is over."""
        keys = [key for key, opened in self._open.items() if opened.connection == connection]
        yield from self._fail_all(keys, at_ns, FailureKind.CLIENT_DISCONNECT, "")

    def abandon(self, at_ns: int, detail: str) -> Iterator[Exchange]:
        """The recording ends: whatever is still open is over, through no fault of client or server."""
        yield from self._fail_all(list(self._open), at_ns, FailureKind.INTERNAL, detail)

    def drop(self, key: str) -> bool:
        """Forget an exchange. False: it was not open."""
        if (opened := self._open.pop(key, None)) is None:
            return False
        self.held -= opened.request.held + opened.response.held
        return True

    def _fail_all(self, keys: list[str], at_ns: int, kind: FailureKind, detail: str) -> Iterator[Exchange]:
        for key in keys:
            if (exchange := self.failed(key, at_ns, kind, detail)) is not None:
                yield exchange

    def _finish(self, key: str, failure: Failure | None = None) -> Exchange:
        opened = self._open[key]
        self.drop(key)
        return Exchange(
            arrival_ns=opened.arrival_ns,
            request=Request(
                method=opened.method,
                target=opened.target,
                headers=opened.headers,
                chunks=tuple(opened.request.chunks),
                end_ns=opened.request.end_ns,
                size=opened.request.size,
                http_version=opened.http_version,
            ),
            response=_response(opened),
            failure=failure,
            connection=opened.connection,
            flags=_flags(opened),
        )


def _response(opened: _Open) -> Response | None:
    if not opened.status:
        return None
    return Response(
        status=opened.status,
        headers=opened.response_headers,
        chunks=tuple(opened.response.chunks),
        first_ns=opened.first_ns,
        end_ns=opened.response.end_ns,
        size=opened.response.size,
        reason=opened.reason,
    )


def _flags(opened: _Open) -> Flags:
    flags = Flags(0)
    if opened.request.end_ns >= 0 and not opened.request.truncated:
        flags |= Flags.REPLAYABLE
    if opened.request.truncated:
        flags |= Flags.REQUEST_TRUNCATED
    if opened.response.truncated:
        flags |= Flags.RESPONSE_TRUNCATED
    if opened.status and _is_stream(opened.response_headers):
        flags |= Flags.STREAM
    return flags


def _is_stream(headers: Headers) -> bool:
    if header(headers, "transfer-encoding") and not header(headers, "content-length"):
        return True
    kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES
