"""The grammar of HTTP/1.1 messages (RFC 9112), read strictly: what two readers could take for different messages is refused.

A watcher that guesses where a message ends puts one client's bytes into another's exchange. So whatever the grammar does not allow,
and some things that it does, are `UnframedError`:

- Content-Length twice, even if equal, or as a list: RFC 9110 lets a server refuse what another one accepts.
- Content-Length together with Transfer-Encoding, and Transfer-Encoding in HTTP/1.0: ways to smuggle.
- A transfer coding other than chunked alone: "gzip, chunked" can be framed, but what is inside would not be the body.
- Bare LF, folded lines, white space before a colon, NUL and other control characters, more than one space in a start line.

One liberty: a status line may lack the space before an empty reason, as some servers have it; nobody reads that in another way.
"""

import re
from typing import NamedTuple

HEAD_LIMIT = 256 << 10  # bytes of a head
TRAILERS_LIMIT = 16 << 10  # bytes
CHUNK_LINE_LIMIT = 4 << 10  # bytes of a chunk's size with its extensions

CHUNKED = -1
UNTIL_CLOSE = -2

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"
_FIELDS = rb"(?:" + _TOKEN + rb":" + _TEXT + rb"*+\r\n)*+\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") [\x21-\x7e]++ HTTP/1\.([01])\r\n" + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: " + _TEXT + rb"*+)?+\r\n" + _FIELDS)
_TRAILERS = re.compile(_FIELDS)
_LENGTH = re.compile(rb"[ \t]*+([0-9]{1,18})[ \t]*+\r\n")
_CODING = re.compile(rb"[ \t]*+chunked[ \t]*+\r\n")
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\' + _TEXT + rb')*+"'
_VALUE = rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[ \t]*+" + _TOKEN + _VALUE + rb")*+\r\n")

_CONTENT_LENGTH = b"\r\ncontent-length:"
_TRANSFER_ENCODING = b"\r\ntransfer-encoding:"


class UnframedError(Exception):
    """These bytes are no HTTP/1.1 that everybody would read alike. Says nothing about them: they may be secret."""


class RequestPlan(NamedTuple):
    """``body``: its length, or CHUNKED. The RFC gives a request without either header no body."""

    method: bytes
    body: int


class ResponsePlan(NamedTuple):
    """``body``: its length, CHUNKED or UNTIL_CLOSE, as the head has it: some responses have none whatever their head says."""

    status: int
    body: int


def request_plan(head: bytes) -> RequestPlan:
    """``head``: from the start line to the empty line, which is its only one. Raises UnframedError."""
    match = _REQUEST.fullmatch(head)
    if match is None:
        raise UnframedError
    body = _body(head, match[2])
    return RequestPlan(match[1], 0 if body == UNTIL_CLOSE else body)


def response_plan(head: bytes) -> ResponsePlan:
    """As `request_plan`."""
    match = _RESPONSE.fullmatch(head)
    if match is None:
        raise UnframedError
    return ResponsePlan(int(match[2]), _body(head, match[1]))


def _body(head: bytes, minor_version: bytes) -> int:
    lower = head.lower()
    length_at = lower.find(_CONTENT_LENGTH)
    if lower.find(_TRANSFER_ENCODING) >= 0:
        coding_at = lower.index(_TRANSFER_ENCODING) + len(_TRANSFER_ENCODING)
        coding = _CODING.match(lower, coding_at)
        if coding is None or length_at >= 0 or minor_version == b"0" or lower.find(_TRANSFER_ENCODING, coding_at) >= 0:
            raise UnframedError
        return CHUNKED
    if length_at < 0:
        return UNTIL_CLOSE
    value_at = length_at + len(_CONTENT_LENGTH)
    length = _LENGTH.match(lower, value_at)
    if length is None or lower.find(_CONTENT_LENGTH, value_at) >= 0:
        raise UnframedError
    return int(length[1])


class Dechunker:
    """One chunked body, in pieces. Trailers are checked and not kept."""

    __slots__ = ("_in_trailers", "_left", "_line", "over")

    def __init__(self) -> None:
        self.over = False
        self._left = 0  # bytes of the chunk that are to come, with the CRLF after them
        self._line = b""  # an unfinished size line, or the trailers so far
        self._in_trailers = False

    def feed(self, data: bytes, start: int) -> tuple[bytes, int]:
        """The body bytes in ``data`` from ``start``, and where reading stopped: at the end of ``data``, or of the body, which is
        then `over`. Raises UnframedError.
        """
        parts: list[bytes] = []
        size = len(data)
        while start < size and not self.over:
            if self._left:
                start = self._chunk(data, start, parts)
            elif self._in_trailers:
                start = self._trailers(data, start)
            elif self._line:
                start = self._rest_of_line(data, start)
            else:
                match = _CHUNK.match(data, start)
                if match is None:
                    self._line, start = _unfinished(data[start:]), size
                    break
                self._begin(match)
                start = match.end()
        return parts[0] if len(parts) == 1 else b"".join(parts), start

    def _chunk(self, data: bytes, start: int, parts: list[bytes]) -> int:
        stop = start + self._left
        if stop <= len(data):
            if data[stop - min(2, self._left) : stop] != b"\r\n"[-min(2, self._left) :]:
                raise UnframedError
            if self._left > 2:
                parts.append(data[start : stop - 2])
            self._left = 0
            return stop
        here = len(data) - start
        if self._left - here >= 2:
            parts.append(data[start:])
        else:  # the CR of the CRLF is the last byte here
            if data[-1:] != b"\r":
                raise UnframedError
            if here > 1:
                parts.append(data[start:-1])
        self._left -= here
        return len(data)

    def _rest_of_line(self, data: bytes, start: int) -> int:
        """Raises UnframedError where the line is too long or wrong."""
        end = data.find(b"\n", start)
        if end < 0:
            self._line = _unfinished(self._line + data[start:])
            return len(data)
        line = self._line + data[start : end + 1]
        match = _CHUNK.fullmatch(line) if len(line) <= CHUNK_LINE_LIMIT else None
        if match is None:
            raise UnframedError
        self._line = b""
        self._begin(match)
        return end + 1

    def _begin(self, match: re.Match[bytes]) -> None:
        if match.end() - match.start() > CHUNK_LINE_LIMIT:
            raise UnframedError
        length = int(match[1], 16)
        self._left = length + 2 if length else 0
        self._in_trailers = not length

    def _trailers(self, data: bytes, start: int) -> int:
        before = len(self._line)
        text = self._line + data[start:]
        stop = 2 if text.startswith(b"\r\n") else text.find(b"\r\n\r\n", max(0, before - 3)) + 4
        if stop == 3:  # not found
            stop = 0
        if max(stop, before) > TRAILERS_LIMIT:
            raise UnframedError
        if not stop:
            self._line = text
            return len(data)
        if _TRAILERS.fullmatch(text, 0, stop) is None:
            raise UnframedError
        self.over = True
        return start + stop - before


def _unfinished(line: bytes) -> bytes:
    """The beginning of a size line whose end has not come. Raises UnframedError where no end could make it right."""
    if b"\n" in line or len(line) > CHUNK_LINE_LIMIT:
        raise UnframedError
    return line
