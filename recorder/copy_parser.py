"""The requests of one HTTP/1.1 connection, told from its bytes: what a mirror sends. Pure, strict, and bounded.

A sink must be sure where a request ends, because what follows is another one, and no server behind it would notice a mistake. What
cannot be framed without a doubt (`recorder.strict_http`) is `End.BROKEN`: the connection is then closed, and counted.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from recorder.strict_http import CHUNKED, HEAD_LIMIT, Dechunker, UnframedError, request_plan

_BLANK = b"\r\n\r\n"
_BEGIN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]|\r?\Z")  # a TLS handshake, for one, does not begin so
_OPTION = re.compile(rb"\r\n(connection|expect):[ \t]*+([^\r\n]*+)\r")


@dataclass(slots=True)
class Head:
    """``data``: from the request line to the empty line. ``last``: the sender expects the connection to be closed after the answer.
    ``stays``: it is HTTP/1.0 and asked for the connection to stay, so that the answer must say that it does. ``waits``: the body
    comes when it is told to go on.
    """

    data: bytes
    last: bool
    stays: bool
    waits: bool


class End(IntEnum):
    """What comes after the body. BROKEN can come at any time, and is the last."""

    WHOLE = 0
    BROKEN = 1


type Event = Head | bytes | End
"""A head, bytes of its body as they come, its end."""


class CopyParser:
    """``feed`` bytes as they come. What waits here is an incomplete head at most."""

    __slots__ = ("_broken", "_chunks", "_held", "_left")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # bytes of the body
        self._chunks: Dechunker | None = None
        self._broken = False

    @property
    def idle(self) -> bool:
        """Nothing of a request has come, or all of it; or nothing more will be understood."""
        return not (self._held or self._left or self._chunks)

    def feed(self, data: bytes) -> list[Event]:
        if self._held:
            data, self._held = self._held + data, b""
        events: list[Event] = []
        at, size = 0, len(data)
        try:
            while at < size and not self._broken:
                if self._left:
                    at = self._sized(data, at, events)
                elif self._chunks is not None:
                    at = self._chunked(self._chunks, data, at, events)
                else:
                    at = self._head(data, at, events)
        except UnframedError:
            self._broken = True
            self._left, self._chunks = 0, None
            events.append(End.BROKEN)
        return events

    def _head(self, data: bytes, at: int, events: list[Event]) -> int:
        """Raises UnframedError."""
        while data.startswith(b"\r\n", at):  # RFC 9112 §2.2: empty lines in front of a request
            at += 2
        end = data.find(_BLANK, at, at + HEAD_LIMIT)
        if end < 0:
            if len(data) - at >= HEAD_LIMIT or not _BEGIN.match(data, at):
                raise UnframedError
            self._held = data[at:]
            return len(data)
        end += len(_BLANK)
        head = data[at:end]
        length = request_plan(head).body
        events.append(_asked(head))
        if length == CHUNKED:
            self._chunks = Dechunker()
        elif length:
            self._left = length
        else:
            events.append(End.WHOLE)
        return end

    def _sized(self, data: bytes, at: int, events: list[Event]) -> int:
        piece = data[at : at + self._left]
        self._left -= len(piece)
        events.append(piece)
        if not self._left:
            events.append(End.WHOLE)
        return at + len(piece)

    def _chunked(self, chunks: Dechunker, data: bytes, at: int, events: list[Event]) -> int:
        """Raises UnframedError."""
        piece, at = chunks.feed(data, at)
        if piece:
            events.append(piece)
        if not chunks.over:
            return len(data)
        self._chunks = None
        events.append(End.WHOLE)
        return at


def _asked(head: bytes) -> Head:
    connection, waits = b"", False
    lower = head.lower()
    if b"\r\nconnection:" in lower or b"\r\nexpect:" in lower:
        for name, value in _OPTION.findall(lower):
            if name == b"expect":
                waits = value.strip(b" \t") == b"100-continue"
            else:
                connection += b"," + value
    modern = head[head.find(b"\r\n") - 1] == ord("1")  # HTTP/1.1
    last = b"close" in connection if modern else b"keep-alive" not in connection
    return Head(head, last=last, stays=not modern and not last, waits=waits and modern)
