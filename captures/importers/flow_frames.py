"""The records of a mitmproxy flow file, cut out one at a time: ``<length>:<payload><tag>``, end to end. Pure.

What is inside a record is mitmproxy's business. It would read as many bytes as a length claims, and nothing behind the first
thing it does not understand; this file believes no length above the limit, and looks for the next record.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from captures.importers.importer import LINE_LIMIT
from captures.importers.records import TOO_LONG, Record

# Members of a flow, of every version of the format, that do not begin the objects inside one.
_MEMBERS = (
    b"backup client_conn close_code close_message close_reason close_sender comment error intercepted marked messages metadata "
    b"mode request response server_conn timestamp_created type version websocket"
).split()
START = re.compile(
    rb"(?<![0-9])[1-9][0-9]{0,11}:(?:" + b"|".join(b"%d:%s[,;]" % (len(member), member) for member in _MEMBERS) + rb")"
)
"""How a record begins: a length, and inside a dict whose first key is one of a flow's."""
_LONGEST_START = 64
_LENGTH = re.compile(rb"([0-9]{1,12}):")
_DICT = b"}"
_PIECE = 256 << 10


def frames(stream: BinaryIO, limit: int = LINE_LIMIT) -> Iterator[Record]:
    """Every record. Where one is broken, reading goes on at the next thing that begins like one."""
    window = _Window(stream)
    while window.has(1):
        window.has(_LONGEST_START)
        found = _LENGTH.match(window.data)
        whole = found.end() + int(found[1]) + 1 if found else 0
        if found is None:
            trouble = "not a flow"
        elif whole > limit:
            trouble = TOO_LONG
        elif not window.has(whole):
            trouble = "cut off"
        else:
            trouble = "" if window.data[whole - 1 : whole] == _DICT else "not a flow"
        if not trouble:
            offset = window.offset
            yield Record(offset, window.take(whole))
            continue
        yield Record(window.offset, trouble=trouble)
        window.seek_start()


class _Window:
    """The part of a stream that is being looked at. ``offset``: where it begins."""

    def __init__(self, stream: BinaryIO) -> None:
        self.data = bytearray()
        self.offset = 0
        self._stream = stream
        self._ended = False

    def has(self, size: int) -> bool:
        """Whether there are ``size`` bytes; they are read where they are not."""
        while len(self.data) < size and not self._ended:
            piece = self._stream.read(_PIECE)
            self._ended = not piece
            self.data += piece
        return len(self.data) >= size

    def take(self, size: int) -> bytes:
        taken = bytes(self.data[:size])
        del self.data[:size]
        self.offset += len(taken)
        return taken

    def seek_start(self) -> None:
        """To the next beginning of a record behind this byte, or to the end."""
        while (found := START.search(self.data, 1)) is None:
            more = self.has(len(self.data) + 1)
            self.take(max(len(self.data) - _LONGEST_START, 0) if more else len(self.data))
            if not more:
                return
        self.take(found.start())
