"""Lines of a foreign file, in bounded memory. Pure: the stream comes in as an argument and is read once, forward."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captures.importers.importer import LINE_LIMIT

BOM = b"\xef\xbb\xbf"
_SKIPPED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """``data`` without its line end (LF or CRLF), and the first of a file without a byte order mark. ``number`` counts from 1,
    ``offset`` from the start of the (decompressed) file. ``too_long``: it was longer than the limit, and ``data`` is empty.
    ``ended``: a line end was there; only the last line of a file can lack it.
    """

    number: int
    offset: int
    data: bytes
    ended: bool = True
    too_long: bool = False


def lines(stream: BinaryIO, limit: int = LINE_LIMIT, number: int = 0) -> Iterator[Line]:
    """Every line of a file, blank ones too, from where the stream stands, behind ``number`` lines; offsets count from there. Of a
    line above ``limit`` bytes nothing is kept.
    """
    offset = 0
    while data := stream.readline(limit + 1):
        number += 1
        size = len(data)
        if size > limit and not data.endswith(b"\n"):
            del data  # not two of them at a time
            rest, ended = _skipped(stream)
            yield Line(number, offset, b"", ended, too_long=True)
            offset += size + rest
            continue
        ended = data.endswith(b"\n")
        text = data.removeprefix(BOM) if number == 1 else data
        yield Line(number, offset, text.removesuffix(b"\n").removesuffix(b"\r") if ended else text, ended)
        offset += size


def _skipped(stream: BinaryIO) -> tuple[int, bool]:
    """Read to the end of the line; how many bytes that were, and whether it had an end."""
    size = 0
    while data := stream.readline(_SKIPPED_AT_ONCE):
        size += len(data)
        if data.endswith(b"\n"):
            return size, True
    return size, False
