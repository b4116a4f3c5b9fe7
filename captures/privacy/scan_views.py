"""What else a text may say: with its escapes undone, decompressed, decoded. Bounded, and never raises for what is inside.

Two kinds of reading. A *view* is the same text without its escapes (percent, backslashes, HTML, quoted-printable, folded base64):
known secrets are sought in every view. A *layer* lies under a text (base64 of JSON, hex of a name, gzip in a multipart body): it is
text of its own.
"""

import html
import quopri
import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote_to_bytes

from captures.inflation import MAGIC, inflated, is_text

MOST_INFLATED = 64 << 20  # bytes of one body
_MOST_OF_A_STRING = 4 << 20  # bytes that come of a compressed string

_MOST_ESCAPES = 4  # JSON in a JSON string, three times, in a parameter
_MOST_FOUND = 64  # encoded runs looked into, of one text
_SHORTEST_RUN = 12  # characters: nine bytes, and the shortest e-mail address worth the name
_LONGEST_CACHED = 256
_SHORTEST_BARE = 32  # bytes of brotli or deflate without any sign of it
_LONGEST_SHIFTED = 1 << 12
_ESCAPES = re.compile(rb"[%+\\&=\n]")
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL)
_SHORT_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_FOLDED = re.compile(rb"(?<=[A-Za-z0-9+/_-]{16})(?:\r\n|\n)[ \t]*(?=[A-Za-z0-9+/=_-])")
_QUOTED = re.compile(rb"=(?:[0-9A-Fa-f]{2}|\r?\n)")
_ENTITY = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-z]{2,8});")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{%d,}={0,2}" % _SHORTEST_RUN)
_HEX = re.compile(rb"[0-9a-fA-F]{%d,}+" % (_SHORTEST_RUN * 3 // 2))  # pairs would cost a hundred bytes each to match
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PRINTABLE = re.compile(rb"[\x20-\x7e]{8,}")


def views(data: bytes) -> Iterator[bytes]:
    """``data`` as it is, then with its escapes undone, layer by layer: each kind alone, and all kinds together."""
    if not _ESCAPES.search(data):
        yield data
        return
    seen: dict[bytes, None] = {}
    starts = [data, data.replace(b"+", b" ")] if b"+" in data else [data]
    if b"\n" in data:
        starts += [unfolded for each in starts if (unfolded := _FOLDED.sub(b"", each)) != each]
    for start in starts:
        for undone in _UNDOING:
            view = start
            for _ in range(_MOST_ESCAPES):
                if view not in seen:
                    seen[view] = None
                    yield view
                plainer = undone(view)
                if plainer == view:
                    break
                view = plainer
            if view not in seen:
                seen[view] = None
                yield view


def _all_undone(data: bytes) -> bytes:
    return _unescaped(_without_entities(unquote_to_bytes(data) if b"%" in data else data))


def _without_entities(data: bytes) -> bytes:
    if b"&" not in data or not _ENTITY.search(data):
        return data
    return html.unescape(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _without_quotes(data: bytes) -> bytes:
    return quopri.decodestring(data) if b"=" in data and _QUOTED.search(data) else data


def _unescaped(data: bytes) -> bytes:
    """Of a pair of surrogates each is an escape: they are put together at the end."""
    if b"\\" not in data:
        return data

    def character(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
        return _SHORT_ESCAPES.get(match[2], match[2])

    found = _ESCAPE.sub(character, data)
    if b"\xed" not in found:
        return found
    text = found.decode("utf-8", "surrogatepass") if _is_loose_utf8(found) else None
    return found if text is None else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


_UNDOING = (_unescaped, _all_undone, _without_quotes)


def _is_loose_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def layers(data: bytes) -> Iterable[tuple[str, bytes]]:
    """(what it was encoded as, what it says) of what is encoded in a text: base64, hex and escapes, and what is compressed below
    them.
    """
    return _layers_again(data) if len(data) <= _LONGEST_CACHED else _layers(data)


@lru_cache(1 << 14)
def _layers_again(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Header values and keys come again with every exchange."""
    return tuple(_layers(data))


def _layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    for name, pattern, decoded in (("base64", _BASE64, _from_base64), ("hex", _HEX, _from_hex)):
        for match in islice(pattern.finditer(data), _MOST_FOUND):
            for content in decoded(match.group()):
                if is_text(content):
                    yield name, content
                    continue
                for coding, opened in embedded(content, _MOST_OF_A_STRING):
                    yield f"{name} of {coding}", opened
                if runs := list(printable(content)):
                    yield name, b"\n".join(runs)
    if b"%" in data and (text := unquote_to_bytes(data)) != data:
        yield "percent-encoded", text
    if (b"\\" in data or b"&" in data) and (text := _unescaped(_without_entities(data))) != data:
        yield "escaped", text


def embedded(data: bytes, most: int = MOST_INFLATED) -> Iterator[tuple[str, bytes]]:
    """Compressed streams anywhere in binary data: in a part of a multipart body, in a message of gRPC."""
    bare = len(data) >= _SHORTEST_BARE or data.startswith(b"x")  # as zlib begins
    if bare and not data.startswith(MAGIC) and (whole := inflated(data, most)) is not None:
        yield whole
    for magic in MAGIC:
        at = data.find(magic)
        for _ in range(_MOST_FOUND):
            if at < 0:
                break
            if (opened := inflated(data[at:], most)) is not None and opened[1]:
                yield opened
            at = data.find(magic, at + 1)


def printable(data: bytes) -> Iterator[bytes]:
    """Runs of printable ASCII in binary data, as strings(1) finds them."""
    return (match.group() for match in _PRINTABLE.finditer(data))


def _from_base64(run: bytes) -> Iterator[bytes]:
    """What a run says read from its first character on; where it is short, from the next three too: letters may stand in front."""
    text = run.rstrip(b"=").translate(_URL_SAFE)
    for shift in range(4 if len(text) <= _LONGEST_SHIFTED else 1):
        part = text[shift:]
        if len(part) % 4 == 1:
            part = part[:-1]
        try:
            yield b64decode(part + b"=" * (-len(part) % 4))
        except BinasciiError:
            return


def _from_hex(run: bytes) -> Iterator[bytes]:
    yield bytes.fromhex(run[: len(run) // 2 * 2].decode())
