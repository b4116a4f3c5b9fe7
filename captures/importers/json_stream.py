"""JSON values cut one after another out of a byte stream: a HAR is one object of gigabytes, a tap objects with nothing between.

This file knows brackets and strings and no more: what is inside a value is for a parser. It is strict about what may stand
outside a string and inside one, so a lost quote is noticed within a few bytes. A lost bracket would swallow the records behind it:
whatever begins like a record inside of one is taken for the next, and the one around it for broken. So every byte is looked at
twice at most, whatever the file holds. Memory: one value, at most ``limit`` bytes, and one piece of the stream.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

from captures.importers.importer import LINE_LIMIT
from captures.importers.records import TOO_LONG, Record

PIECE = 256 << 10
"""Bytes read at a time."""
MAX_DEPTH = 500  # parsers stop at about 1,000
_LOOK_AHEAD = 256  # what `starts` may match
_BOM = b"\xef\xbb\xbf"

_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
_REST_OF_STRING = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+')
# White space, commas, colons, numbers, true, false, null, and whole strings.
_FLAT = re.compile(rb'(?:[ \t\r\n:,0-9+\-.Eaeflnrstu]++|"' + _REST_OF_STRING.pattern + rb'")*+')
_QUOTE, _BACKSLASH, _OBJECT, _ARRAY = b'"\\{['
_TO_CLOSE = 2  # from { to } and from [ to ]


class BrokenJsonError(ValueError):
    """Not JSON from ``offset`` on. The message never quotes the file."""

    def __init__(self, offset: int, trouble: str) -> None:
        super().__init__(trouble)
        self.offset = offset


class JsonStream:
    """A forward reader. ``starts`` matches, within `_LOOK_AHEAD` bytes, how a record begins; nothing inside a sound one does."""

    def __init__(self, stream: BinaryIO, starts: re.Pattern[bytes], limit: int = LINE_LIMIT) -> None:
        self._stream = stream
        self._starts = starts
        self._limit = limit
        self._buffer = bytearray()
        self._base = 0  # offset in the stream of the buffer's first byte
        self._at = 0  # in the buffer
        self._ended = False
        while len(self._buffer) < len(_BOM) and self._fill():
            pass
        if self._buffer.startswith(_BOM):
            self._at = len(_BOM)

    @property
    def offset(self) -> int:
        return self._base + self._at

    def peek(self) -> bytes:
        """The next byte that is no white space; b"" at the end."""
        while True:
            self._at = _end(_SPACE, self._buffer, self._at)
            if self._at < len(self._buffer):
                return bytes(self._buffer[self._at : self._at + 1])
            self._forget()
            if not self._fill():
                return b""

    def skip(self) -> None:
        """Past the byte that `peek` gave."""
        self._at += 1

    def expect(self, byte: bytes) -> None:
        """Past ``byte``; b"" is the end. Raises BrokenJsonError."""
        if self.peek() != byte:
            raise BrokenJsonError(self.offset, f"{byte.decode() or 'the end'} expected")
        self._at += len(byte)

    def value(self, *, keep: bool = True) -> bytes:
        """The next value; b"" where it is not to be kept: then it may hold what looks like records, and be of any length.

        Raises BrokenJsonError; `resume` then finds the next record.
        """
        first = self.peek()
        self._forget()
        start = self.offset
        if first and first in b'{["':
            self._nested(keep=keep)
        else:
            self._scalar()
        data = bytes(self._buffer[start - self._base : self._at]) if keep else b""
        self._forget()
        return data

    def record(self) -> bytes:
        """As `value`, but an object."""
        if (byte := self.peek()) != b"{":
            raise BrokenJsonError(self.offset, "not an object" if byte else "cut off")
        return self.value()

    def resume(self) -> bool:
        """Move to where the next record begins; False: there is none."""
        while (found := self._starts.search(self._buffer, self._at)) is None:
            self._at = max(self._at, len(self._buffer) - _LOOK_AHEAD)
            self._forget()
            if not self._fill():
                return False
        self._at = found.start()
        return True

    def _nested(self, *, keep: bool) -> None:
        """Past a string, an object or an array. After trouble: to where the search for another record may begin."""
        start, position = self.offset, self._at + 1
        in_string = self._buffer[self._at] == _QUOTE
        brackets = bytearray() if in_string else bytearray((self._buffer[self._at] + _TO_CLOSE,))
        try:
            while brackets or in_string:
                position = _end(_REST_OF_STRING if in_string else _FLAT, self._buffer, position)
                byte = self._buffer[position] if position < len(self._buffer) else -1
                if byte < 0 or (in_string and byte == _BACKSLASH and position + 1 == len(self._buffer)):
                    position = self._more(start, position, keep=keep)
                    continue
                if byte == _QUOTE:
                    in_string = not in_string
                elif in_string:
                    self._broken(position, "a control character in a string")
                elif byte in (_OBJECT, _ARRAY):
                    if byte == _OBJECT and keep and self._is_start(position):
                        self._broken(position, "a record within a record")
                    brackets.append(byte + _TO_CLOSE)
                    if len(brackets) > MAX_DEPTH:
                        self._broken(position, "nested too deeply")
                elif byte == brackets[-1]:
                    brackets.pop()
                else:
                    self._broken(position, "not JSON")
                position += 1
        except BrokenJsonError as error:
            again = error.offset - _LOOK_AHEAD  # a string may have hidden a beginning
            self._at = max(again, start + 1, self._base) - self._base
            raise
        self._at = position

    def _broken(self, position: int, trouble: str) -> NoReturn:
        raise BrokenJsonError(self._base + position, trouble)

    def _more(self, start: int, position: int, *, keep: bool) -> int:
        """Another piece of the stream, and where ``position`` is in the buffer then. Raises BrokenJsonError."""
        if not keep:
            self._at = position
            self._forget()
            position = self._at
        elif self._base + position - start > self._limit:
            raise BrokenJsonError(self._base + position, TOO_LONG)
        if not self._fill():
            raise BrokenJsonError(self._base + position, "cut off")
        return position

    def _is_start(self, position: int) -> bool:
        while len(self._buffer) - position < _LOOK_AHEAD and self._fill():
            pass
        return self._starts.match(self._buffer, position) is not None

    def _scalar(self) -> None:
        start = self.offset
        while (position := _end(_SCALAR, self._buffer, self._at)) == len(self._buffer):
            if position - self._at > _LOOK_AHEAD or not self._fill():
                break
        if self._base + position == start:
            raise BrokenJsonError(start, "no value")
        self._at = position

    def _forget(self) -> None:
        """What stands before the position is not needed any more."""
        del self._buffer[: self._at]
        self._base += self._at
        self._at = 0

    def _fill(self) -> bool:
        piece = b"" if self._ended else self._stream.read(PIECE)
        self._ended = not piece
        self._buffer += piece
        return not self._ended


def _end(pattern: re.Pattern[bytes], buffer: bytearray, position: int) -> int:
    match = pattern.match(buffer, position)
    assert match is not None  # every pattern here matches nothing as well
    return match.end()


def records(stream: JsonStream, end: bytes = b"") -> Iterator[Record]:
    """The objects that come next, up to ``end`` or the end of the stream; commas between them do not matter."""
    while (byte := stream.peek()) != end:
        offset = stream.offset
        if byte == b",":
            stream.skip()
            continue
        try:
            yield Record(offset, stream.record())
        except BrokenJsonError as error:
            yield Record(offset, trouble=str(error))
            if not stream.resume():
                return


def enter(stream: JsonStream, name: bytes) -> bool:
    """Into the object that comes next, up to the value of its member ``name``. False: it has none, and is behind us.

    Raises BrokenJsonError.
    """
    stream.expect(b"{")
    return _member(stream, b'"' + name + b'"')


def leave(stream: JsonStream, alike: bytes) -> None:
    """Past the rest of the object that we are inside of. What begins like a record is one, but in the member ``alike``.

    Raises BrokenJsonError.
    """
    if stream.peek() == b",":
        stream.skip()
    _member(stream, b"", b'"' + alike + b'"')


def _member(stream: JsonStream, wanted: bytes, alike: bytes | None = None) -> bool:
    """Up to the value of this member, or past the end of the object. ``alike`` None: no member holds a record."""
    while stream.peek() == b'"':
        key = stream.value()
        stream.expect(b":")
        if key == wanted:
            return True
        stream.value(keep=alike is not None and key != alike)
        if stream.peek() == b",":
            stream.skip()
    stream.expect(b"}")
    return False
