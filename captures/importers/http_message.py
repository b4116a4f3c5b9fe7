"""Recorded HTTP/1 messages (RFC 9112) -> their parts. Pure, and lenient: what was recorded is not ours to correct.

Whoever recorded may have cut a message anywhere; what is missing is said, never guessed.
"""

import re
from dataclasses import dataclass

from captures.exchange import Headers, header

_HEAD_LIMIT = 1 << 20  # bytes; a head that does not end within it is none
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) +([^ \r\n]+) +(HTTP/[0-9](?:\.[0-9])?)")
_STATUS_LINE = re.compile(rb"(HTTP/[0-9](?:\.[0-9])?) +([0-9]{3})(?: ([^\r\n]*))?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_LINE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LONGEST_CHUNK_LINE = 4096
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Body:
    """``pieces``: the body, a piece per HTTP chunk (without chunked coding one, or none where it is empty). ``size``: its length on
    the wire as far as it is known; more than what is there where it is ``truncated``. ``framed``: the head says where the body
    ends; without it the body is whatever there is.
    """

    pieces: tuple[bytes, ...]
    size: int
    truncated: bool
    framed: bool


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    method: str
    target: str
    http_version: str
    headers: Headers
    body: Body


@dataclass(frozen=True, slots=True)
class RecordedResponse:
    http_version: str
    status: int
    reason: str
    headers: Headers
    body: Body


def parse_request(data: bytes) -> RecordedRequest | None:
    """None: not a request with a whole head. A request without a length has no body (RFC 9112 §6.3)."""
    found = _head(data, _REQUEST_LINE)
    if found is None:
        return None
    (method, target, version), headers, end = found
    body = _body(data, end, headers)
    if not body.framed:
        body = Body((), 0, truncated=False, framed=True)
    return RecordedRequest(_text(method), _text(target), _text(version), headers, body)


def parse_response(data: bytes, method: str = "") -> RecordedResponse | None:
    """None: not a response with a whole head. ``method`` is that of its request: an answer to HEAD has no body (RFC 9112 §6.3).
    Interim answers (1xx) in front of the final one are skipped.
    """
    found = _head(data, _STATUS_LINE)
    while found is not None and _interim(found[0][1]) and (final := _head(data[found[2] :], _STATUS_LINE)) is not None:
        data, found = data[found[2] :], final
    if found is None:
        return None
    (version, code, reason), headers, end = found
    status = int(code)
    if not status:
        return None
    body = _body(data, end, headers)
    if method == "HEAD" or status in (204, 304):
        body = Body((), 0, truncated=False, framed=True)
    return RecordedResponse(_text(version), status, _text(reason or b""), headers, body)


def message_end(data: bytes | bytearray, start: int) -> int | None:
    """Where the message that starts at ``start`` ends by its own framing. Beyond the end of ``data``: there (Content-Length), or
    not before (chunked). None: the head is not all there or does not say, or what follows is not framed as it says.
    """
    kind = _STATUS_LINE if data[start : start + 5] == b"HTTP/" else _REQUEST_LINE
    end = _HEAD_END.search(data, start, start + _HEAD_LIMIT)
    if end is None:
        return None
    found = _head(bytes(data[start : end.end()]), kind)
    if found is None:
        return None
    headers, at = found[1], end.end()
    if is_chunked(headers):
        return _chunks_end(data, at)
    length = content_length(headers)
    if length is None:
        return at if kind is _REQUEST_LINE else None
    return at + length


def is_chunked(headers: Headers) -> bool:
    coding = header(headers, "transfer-encoding") or ""
    return coding.rpartition(",")[2].strip().lower() == "chunked"


def content_length(headers: Headers) -> int | None:
    """None where there is none, or none that is a number."""
    text = (header(headers, "content-length") or "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def _head(data: bytes, line: re.Pattern[bytes]) -> tuple[tuple[bytes, ...], Headers, int] | None:
    """The parts of the start line, the headers, and where the body begins."""
    end = _HEAD_END.search(data, 0, _HEAD_LIMIT)
    if end is None:
        return None
    first, *rest = data[: end.start()].split(b"\n")
    match = line.fullmatch(first.rstrip(b"\r"))
    return (match.groups(), _headers(rest), end.end()) if match else None


def _headers(rows: list[bytes]) -> Headers:
    """Rows without a colon are left out; a folded row (RFC 9112 §5.2) continues the one before it."""
    found: list[tuple[str, str]] = []
    for row in rows:
        text = _text(row.rstrip(b"\r"))
        if text[:1] in (" ", "\t") and found:
            name, value = found[-1]
            found[-1] = (name, f"{value} {text.strip()}")
            continue
        name, colon, value = text.partition(":")
        if colon and name:
            found.append((name, value.strip(" \t")))
    return tuple(found)


def _body(data: bytes, start: int, headers: Headers) -> Body:
    if is_chunked(headers):
        return _chunked(data, start)
    length = content_length(headers)
    kept = data[start:] if length is None else data[start : start + length]
    pieces = (kept,) if kept else ()
    if length is None:
        return Body(pieces, len(kept), truncated=False, framed=False)
    return Body(pieces, length, truncated=len(kept) < length, framed=True)


def _chunked(data: bytes, at: int) -> Body:
    """Chunks decoded; trailers are left out. What does not parse is where the recording was cut."""
    pieces: list[bytes] = []
    size = 0
    while (line := _CHUNK_LINE.match(data, at, at + _LONGEST_CHUNK_LINE)) is not None:
        length = int(line[1], 16)
        if not length:
            return Body(tuple(pieces), size, truncated=False, framed=True)
        piece = data[line.end() : line.end() + length]
        size += length
        if piece:
            pieces.append(piece)
        if len(piece) < length:
            break
        at = line.end() + length
        at += 2 if data[at : at + 2] == b"\r\n" else 1 if data[at : at + 1] == b"\n" else 0
    return Body(tuple(pieces), size, truncated=True, framed=True)


def _chunks_end(data: bytes | bytearray, at: int) -> int | None:
    beyond = len(data) + 1
    while at < len(data):
        line = _CHUNK_LINE.match(data, at, at + _LONGEST_CHUNK_LINE)
        if line is None:
            cut = len(data) - at < _LONGEST_CHUNK_LINE and data.find(b"\n", at) < 0
            return beyond if cut else None
        length = int(line[1], 16)
        at = line.end()
        if not length:
            return _trailers_end(data, at)
        at += length
        at += 2 if data[at : at + 2] == b"\r\n" else 1 if data[at : at + 1] == b"\n" else 0
    return max(at, beyond)


def _trailers_end(data: bytes | bytearray, at: int) -> int | None:
    if data[at : at + 2] == b"\r\n":
        return at + 2
    if data[at : at + 1] == b"\n":
        return at + 1
    end = _HEAD_END.search(data, at, at + _HEAD_LIMIT)
    if end is not None:
        return end.end()
    return len(data) + 1 if len(data) - at < _HEAD_LIMIT else None


def _interim(code: bytes) -> bool:
    return int(code) // 100 == 1 and int(code) != 101


def _text(data: bytes) -> str:
    return data.decode("latin-1")
