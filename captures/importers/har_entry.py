"""One entry of a HAR (HTTP Archive 1.2) -> an `Exchange`. Pure; knows what the tools that write HARs do beyond the specification.

Everything is checked as it is read: a member that is missing or of another type is as if it were not there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from captures.exchange import NO_FLAGS, Exchange, Failure, Flags, Headers, Request, Response, header
from captures.importers.connection_numbers import ConnectionNumbers
from captures.importers.decoded import (
    base64_bytes,
    bytes_of,
    chunk_of,
    http_version,
    is_stream,
    target_of,
    wire_text,
    with_host,
    without_framing,
    without_pseudo,
)
from captures.importers.failure_words import failure_kind
from captures.importers.instants import instant_ns

type Member = Mapping[str, Any]

_NS_PER_MS = 1_000_000
_LONGEST_MS = 1e10  # four months; what is longer is no duration
_NO_BODY = (204, 205, 304)  # RFC 9110 §15: text a browser shows for them came out of its cache
_INCOMPLETE = Flags.RESPONSE_DROPPED | Flags.RESPONSE_TRUNCATED
_LARGEST_STATUS = 999
_FORM = "application/x-www-form-urlencoded"


class NotExchangeError(ValueError):
    """An entry that is none. ``reason``: as in `Dropped`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def exchange_of(entry: object, connections: ConnectionNumbers) -> Exchange:
    """Raises NotExchangeError."""
    if not isinstance(entry, dict):
        raise NotExchangeError("damaged")
    sent, got, timings = _member(entry, "request"), _member(entry, "response"), _member(entry, "timings")
    status, method, url = _size(got.get("status", 0)), _text(sent, "method"), _text(sent, "url")
    if not method or not url or status is None or status > _LARGEST_STATUS:
        raise NotExchangeError("damaged")
    if entry.get("_webSocketMessages") or status == 101 or url.startswith(("ws:", "wss:")):
        raise NotExchangeError("websocket")
    located = target_of(url)
    if located is None or located[0] not in ("http", "https"):
        raise NotExchangeError("not_http")  # data:, blob:, about:, chrome-extension:
    if entry.get("_fromCache"):
        raise NotExchangeError("from_cache")
    try:
        arrival_ns = instant_ns(_text(entry, "startedDateTime"))
    except ValueError:
        raise NotExchangeError("damaged") from None

    _, host, target = located
    sent_ns = arrival_ns + _duration(timings.get("send"), 0)
    done_ns = arrival_ns + _duration(entry.get("time"), 0)
    request, flags = _request(sent, method, target, host, sent_ns)
    words = _text(got, "_error") or _text(entry, "_error")
    response, failure = None, None
    if status:
        response, more = _response(got, status, method, *_response_times(timings, sent_ns, done_ns))
        flags |= more
    if not response or words:
        detail = "" if words else "no response in the HAR"
        failure = Failure(failure_kind(words), max(sent_ns, done_ns), detail)
    if response and failure:
        response, flags = replace(response, end_ns=-1), flags | Flags.RESPONSE_TRUNCATED
    return Exchange(
        arrival_ns=arrival_ns,
        request=request,
        response=response,
        failure=failure,
        connection=_connection(entry, host, connections),
        flags=flags,
    )


def _response_times(timings: Member, sent_ns: int, done_ns: int) -> tuple[int, int]:
    """First and last byte. ``wait`` ends with the first byte; without it only the end is known."""
    wait_ns = _duration(timings.get("wait"), -1)
    if wait_ns < 0:
        return -1, max(sent_ns, done_ns)
    first_ns = sent_ns + wait_ns
    return first_ns, first_ns + _duration(timings.get("receive"), 0)


def _request(sent: Member, method: str, target: str, host: str, end_ns: int) -> tuple[Request, Flags]:
    posted, said = _member(sent, "postData"), _size(sent.get("bodySize")) or 0
    headers = _headers(sent, _text(posted, "mimeType"))
    body = _posted(posted, header(headers, "content-type") or "", said)
    flags, size = NO_FLAGS, len(body or b"")
    if body is None or (said and not body):
        flags, size = Flags.REQUEST_DROPPED, said
    elif said > size and header(headers, "content-encoding") is None:
        flags, size = Flags.REQUEST_TRUNCATED, said
    if body:
        headers = without_framing(headers, body)
    request = Request(
        method=wire_text(method),
        target=target,
        headers=with_host(headers, host),
        chunks=chunk_of(end_ns, body or b""),
        end_ns=end_ns,
        size=size,
        http_version=http_version(_text(sent, "httpVersion")),
    )
    return request, flags


def _posted(posted: Member, content_type: str, said: int) -> bytes | None:
    """The request's body; None: there was one, and it cannot be told. Only HAR 1.3 drafts encode it."""
    text = _text(posted, "text")
    if text:
        return _unpacked(text, posted.get("encoding"), content_type, said)
    params = posted.get("params")
    if not isinstance(params, list) or not params:
        return b""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return None  # multipart: its boundaries and files are not in the HAR
    pairs = [(_text(item, "name"), _text(item, "value")) for item in params if isinstance(item, dict)]
    return urlencode(pairs, errors="surrogateescape").encode()


def _response(got: Member, status: int, method: str, first_ns: int, end_ns: int) -> tuple[Response, Flags]:
    content = _member(got, "content")
    headers = _headers(got, _text(content, "mimeType"))
    flags = Flags.STREAM if is_stream(headers) else NO_FLAGS
    if method == "HEAD" or status in _NO_BODY:
        body, said = b"", 0
    else:
        said = _size(content.get("size")) or 0
        kind = header(headers, "content-type") or ""
        unpacked = _unpacked(_text(content, "text"), content.get("encoding"), kind, said)
        body, coded = unpacked or b"", header(headers, "content-encoding") is not None
        if unpacked is None or (said and not body):
            flags |= Flags.RESPONSE_DROPPED
        elif said > len(body) and not coded:  # else: some tools give the compressed size
            flags |= Flags.RESPONSE_TRUNCATED
        headers = without_framing(headers, body)
    response = Response(
        status=status,
        headers=headers,
        chunks=chunk_of(end_ns, body),
        first_ns=first_ns,
        end_ns=end_ns,
        size=max(said, len(body)) if flags & _INCOMPLETE else len(body),
        reason=wire_text(_text(got, "statusText")),
    )
    return response, flags


def _unpacked(text: str, encoding: object, content_type: str, size: int) -> bytes | None:
    """None: it cannot be decoded."""
    return base64_bytes(text) if encoding == "base64" else bytes_of(text, content_type, size)


def _headers(message: Member, mime_type: str) -> Headers:
    """Headers without HTTP/2's pseudo headers; the type from elsewhere in the entry where there is none among them."""
    found = without_pseudo(tuple(_pairs(message.get("headers"))))
    if "/" in mime_type and header(found, "content-type") is None:
        found = (*found, ("Content-Type", wire_text(mime_type)))
    return found


def _pairs(items: object) -> Iterator[tuple[str, str]]:
    """{"name": …, "value": …}, or [name, value] as Slack writes it. Chromium joins what came several times with line feeds."""
    for item in items if isinstance(items, list) else ():
        name, value = (item.get("name"), item.get("value")) if isinstance(item, dict) else (None, None)
        if isinstance(item, list) and len(item) == 2:
            name, value = item
        if isinstance(name, str) and name.strip() and isinstance(value, str):
            for line in value.split("\n"):
                yield wire_text(name.strip()), wire_text(line).strip(" \t")


def _connection(entry: Member, host: str, connections: ConnectionNumbers) -> int:
    """Ids are the tool's own. Firefox gives the server's port, which tells no connection from another."""
    name = entry.get("connection") or entry.get("_connectionId")
    if not isinstance(name, str | int) or str(name) in ("", "0", "80", "443", host.rpartition(":")[2]):
        return 0
    return connections.of((_text(entry, "serverIPAddress"), str(name)))


def _member(parent: Member, name: str) -> Member:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _text(parent: Member, name: str) -> str:
    found = parent.get(name)
    return found if isinstance(found, str) else ""


def _size(found: object) -> int | None:
    """A number from 0 on; tools write -1, and some write floats or text."""
    try:
        number = int(found) if isinstance(found, int | float | str) else -1
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 1 << 40 else None


def _duration(found: object, unknown: int) -> int:
    """Milliseconds -> ns; -1 is "does not apply"."""
    if not isinstance(found, int | float) or not 0 <= found < _LONGEST_MS:
        return unknown
    return round(found * _NS_PER_MS)
