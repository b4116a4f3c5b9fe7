"""Compressed bytes of somebody else's, opened in bounded memory: gzip, zlib, deflate, zstd and brotli, as HTTP has them.

What is damaged or cut off gives what came before. gzip, zlib and zstd are known by their first bytes; brotli and bare deflate have
none, so they are believed only where they are named, or where all of it decompresses to text.
"""

import zlib

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import zstandard

_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"  # RFC 1952 §2.3.1, RFC 8878 §3.1.1
_STEP = 1 << 16
_WINDOW = 128 << 20
_SHORTEST = 4  # bytes of text: less of it is an accident

MAGIC = (_GZIP, _ZSTD)
"""How a compressed stream begins, where that cannot be an accident."""


def inflated(data: bytes, most: int, coding: str = "") -> tuple[str, bytes] | None:
    """(what it was, the first ``most`` bytes of what was compressed), or None where it is nothing of ours. ``coding``: what a
    Content-Encoding says. Never raises.
    """
    if data.startswith(_GZIP):
        return "gzip", _zlib(data, most, zlib.MAX_WBITS | 16)[0]
    if data.startswith(_ZSTD):
        return "zstd", _zstd(data, most)
    if len(data) > 2 and data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0:
        text, ended = _zlib(data, most, zlib.MAX_WBITS)
        if text or ended:
            return "zlib", text
    named = coding.lower()
    if not data or (not named and is_text(data)):
        return None
    for name, (text, ended) in (("deflate", _zlib(data, most, -zlib.MAX_WBITS)), ("brotli", _brotli(data, most))):
        if text and (name[:2] in named or ((ended or len(text) == most) and len(text) >= _SHORTEST and is_text(text))):
            return name, text
    return None


def is_text(data: bytes) -> bool:
    """UTF-8 without control characters other than white space."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not any(character in text for character in _CONTROLS)


_CONTROLS = tuple(chr(code) for code in range(32) if code not in b"\t\n\r\f\x1b")


def _zlib(data: bytes, most: int, window: int) -> tuple[bytes, bool]:
    """What came of it, and whether its end was reached. Gzip may be several members, one after another."""
    parts: list[bytes] = []
    room = most
    rest = data
    ended = False
    while rest and room > 0:
        stream = zlib.decompressobj(window)
        size = len(rest)
        try:
            while rest and not stream.eof and room > 0:
                part = stream.decompress(rest[:_STEP] if not stream.unconsumed_tail else stream.unconsumed_tail, room)
                if not stream.unconsumed_tail:
                    rest = rest[_STEP:]
                parts.append(part)
                room -= len(part)
        except zlib.error:
            break
        ended = stream.eof
        rest = stream.unused_data + rest
        if window != zlib.MAX_WBITS | 16 or not rest.startswith(_GZIP) or len(rest) >= size:
            break
    return b"".join(parts), ended


def _zstd(data: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    room = most
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with decompressor.stream_reader(data, read_across_frames=True) as reader:
        try:
            while room > 0 and (part := reader.read(min(room, _STEP))):
                parts.append(part)
                room -= len(part)
        except zstandard.ZstdError:
            pass
    return b"".join(parts)


def _brotli(data: bytes, most: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    room = most
    stream = brotli.Decompressor()
    given: bytes = data
    try:
        while room > 0 and not stream.is_finished():
            part = stream.process(given, output_buffer_limit=min(room, _STEP))
            given = b""
            if not part and stream.can_accept_more_data():
                break
            parts.append(part)
            room -= len(part)
        ended = stream.is_finished()
    except brotli.error:
        ended = False
    return b"".join(parts)[:most], ended
