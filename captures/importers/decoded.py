"""Messages that a format holds as text, or without their framing: what can be said about their bytes and headers. Pure."""

import base64
import binascii
import re
from urllib.parse import quote, urlsplit

from captures.codecs.compressed import is_compressed
from captures.exchange import Chunk, Headers, header
from captures.importers.http_message import content_length

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")
_FRAMING = frozenset(("content-encoding", "content-length", "transfer-encoding"))
_TARGET_CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))
_PSEUDO = ":"
_URL_SAFE = str.maketrans("-_", "+/")
_SAME = {"utf8": "utf-8", "iso-8859-1": "latin-1"}
# Of what Python can encode: what browsers know (encoding.spec.whatwg.org), and the other two UTFs. Its punycode and idna take hours
# for a megabyte, and a file must not be able to ask for them.
_CHARSETS = re.compile(
    r"utf-?(?:8|16|32)(?:[-_]?[lb]e)?|us-ascii|ascii|latin-?1|iso[-_]?8859[-_][0-9]{1,2}|(?:windows|cp)-?125[0-8]|(?:ibm|cp)?866|"
    r"koi8[-_][rtu]|mac-?(?:roman|cyrillic)|macintosh|gb2312|gbk|gb18030|hz-gb-2312|big5(?:-hkscs)?|"
    r"euc[-_](?:jp|kr)|iso-2022-(?:jp|kr)|shift[-_]jis|s-?jis|windows-31j|cp(?:932|936|949|950)|tis-620|windows-874"
)


def bytes_of(text: str, content_type: str, size: int) -> bytes:
    """Text -> the bytes it was: by the charset of its type, else UTF-8, else latin-1, the first of them that gives ``size`` bytes.

    Where none does, the first that can. Lone surrogates stand for bytes (mitmproxy writes them so) or for half a character.
    """
    charset = charset_of(content_type)
    if text.isascii() and charset in ("utf-8", "latin-1"):
        return text.encode()
    found = [encoded for name in (charset, "utf-8", "latin-1") if (encoded := _encoded(text, name)) is not None]
    exact = [encoded for encoded in found if len(encoded) == size]
    if exact or found:
        return (exact or found)[0]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _encoded(text: str, charset: str) -> bytes | None:
    try:
        return text.encode(charset, "surrogateescape" if charset == "utf-8" else "strict")
    except (UnicodeError, ValueError):
        return None


def base64_bytes(text: str) -> bytes | None:
    """Of either alphabet, padded or not, in lines or not. None: it is none."""
    compact = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def charset_of(content_type: str) -> str:
    """The charset that a type names, where it is one of those on the web that Python knows; else UTF-8."""
    found = _CHARSET.search(content_type)
    name = found[1].lower() if found else "utf-8"
    if not _CHARSETS.fullmatch(name):
        return "utf-8"
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return "utf-8"
    return _SAME.get(name, name)


def wire_text(text: str) -> str:
    """As headers are kept: latin-1, without what no header value may hold. Anything beyond latin-1 was UTF-8 on the wire."""
    clean = text.replace("\r", " ").replace("\n", " ").replace("\0", "")
    try:
        clean.encode("latin-1")
    except UnicodeError:
        return clean.encode("utf-8", "replace").decode("latin-1")
    return clean


def without_framing(headers: Headers, body: bytes) -> Headers:
    """Headers of a body that is there decoded. What the file left as it was compressed keeps its coding."""
    if is_compressed(body):
        return tuple(pair for pair in headers if pair[0].lower() not in ("content-length", "transfer-encoding"))
    return tuple(pair for pair in headers if pair[0].lower() not in _FRAMING)


def without_pseudo(headers: Headers) -> Headers:
    """Less ``:method`` and its like, which HTTP/2 has in place of a request line."""
    return tuple(pair for pair in headers if not pair[0].startswith(_PSEUDO))


def with_host(headers: Headers, host: str) -> Headers:
    """A Host header in front, where there is none."""
    return headers if not host or header(headers, "host") is not None else (("Host", wire_text(host)), *headers)


def target_of(url: str) -> tuple[str, str, str] | None:
    """A URL -> scheme, host and request-target; the fragment never leaves a client. None: no URL with a host."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    if not parts.scheme or not host:
        return None
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return parts.scheme.lower(), host, target_text(target)


def target_text(target: str) -> str:
    """A request-target with what cannot stand in one percent-encoded."""
    return quote(target, safe=_TARGET_CHARACTERS, errors="replace")


def chunk_of(at_ns: int, body: bytes) -> tuple[Chunk, ...]:
    return (Chunk(at_ns, body),) if body else ()


def is_stream(headers: Headers) -> bool:
    """As the recorder tells them: by type, or chunked without a length."""
    if header(headers, "transfer-encoding") and content_length(headers) is None:
        return True
    kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES


def http_version(text: str) -> str:
    """What tools call h2, http/2.0 or HTTP/2 -> one spelling."""
    digits = text.strip().lower().removeprefix("http/").removeprefix("h")
    return {
        "1.0": "HTTP/1.0",
        "2": "HTTP/2.0",
        "2.0": "HTTP/2.0",
        "2c": "HTTP/2.0",
        "3": "HTTP/3",
        "3.0": "HTTP/3",
    }.get(digits.partition("-")[0], "HTTP/1.1")
