"""Proof that nothing leaked: look for known secrets in every encoding, and for patterns that validate themselves.

Findings say which exchange, where and what kind, never the value. Known secrets are sought everywhere; patterns only in text
(heads, and the strings and keys of JSON bodies), for the digits of a tensor mean nothing. Our own tokens are skipped.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

import numpy as np

from captures.codecs import json_spans
from captures.errors import CodecError
from captures.exchange import Exchange, Headers
from captures.privacy.surrogate import TOKEN_PATTERN

SHORTEST_SECRET = 4
"""Bytes. Anything shorter is found by accident everywhere; such secrets are counted in ``too_short``."""

_SHORTEST_BASE64 = 6  # characters that belong to the secret alone
_MOST_LAYERS = 3  # JSON in a JSON string in a JSON string
_MOST_INFLATED = 64 << 20
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL)
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Finding:
    exchange: int  # ordinal, from 0
    where: str  # "request header 3", "response body byte 120"
    kind: str  # "known secret", "e-mail", …


@dataclass(frozen=True, slots=True)
class Findings:
    findings: tuple[Finding, ...]
    scanned: int  # exchanges looked at
    too_short: int = 0  # known secrets that were not sought

    @property
    def clean(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Piece:
    where: str
    data: bytes
    is_text: bool


def audit_exchanges(exchanges: Iterable[Exchange], known: Sequence[bytes] = ()) -> Findings:
    """Looks at every byte an exchange holds. ``known``: secrets as they are, one each."""
    secrets = [secret for secret in known if len(secret) >= SHORTEST_SECRET]
    needles = Needles(secrets)
    found: list[Finding] = []
    count = 0
    for ordinal, exchange in enumerate(exchanges):
        count += 1
        found += (Finding(ordinal, where, kind) for where, kind in scan_exchange(exchange, needles))
    return Findings(tuple(found), count, len(known) - len(secrets))


class HoldsExchanges(Protocol):
    """As `captures.reader.Capture` does."""

    def exchanges(self) -> Iterable[Exchange]: ...


def scan(capture: HoldsExchanges, known: Sequence[bytes] = ()) -> Sequence[Finding]:
    """`audit_exchanges` of everything that can be read of a capture."""
    return audit_exchanges(capture.exchanges(), known).findings


def scan_exchange(exchange: Exchange, needles: "Needles") -> list[tuple[str, str]]:
    """(where, kind) of each finding, each once. ``needles`` serve any number of exchanges."""
    found: dict[tuple[str, str], None] = {}
    for piece in _pieces(exchange):
        if needles.are_in(piece.data):
            found[piece.where, "known secret"] = None
        if piece.is_text:
            found.update(dict.fromkeys((piece.where, kind) for kind in patterns_in(piece.data)))
        elif piece.where.endswith("body"):
            found.update(dict.fromkeys(_patterns_in_body(piece.where, piece.data)))
    return list(found)


# -- where to look


def _pieces(exchange: Exchange) -> Iterator[_Piece]:
    request, response = exchange.request, exchange.response
    head = {"request method": request.method, "request target": request.target, "request version": request.http_version}
    names = {"route": exchange.route, "codec": exchange.codec, "model": exchange.model}
    if response is not None:
        head["response reason"] = response.reason
    if exchange.failure is not None:
        head["failure detail"] = exchange.failure.detail
    if exchange.origin is not None:
        names["target role"] = exchange.origin.target
    names |= {f"label {name}": value for name, value in exchange.labels}
    for where, text in (head | names).items():
        yield _Piece(where, _wire(text), is_text=True)
    yield from _of_headers("request", request.headers)
    yield from _of_body("request", request.body)
    if response is not None:
        yield from _of_headers("response", response.headers)
        yield from _of_body("response", response.body)


def _of_headers(side: str, headers: Headers) -> Iterator[_Piece]:
    for number, (name, value) in enumerate(headers):
        yield _Piece(f"{side} header {number} name", _wire(name), is_text=True)
        yield _Piece(f"{side} header {number}", _wire(value), is_text=True)


def _of_body(side: str, body: bytes) -> Iterator[_Piece]:
    if not body:
        return
    yield _Piece(f"{side} body", body, is_text=False)
    try:
        inflated = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, _MOST_INFLATED)
    except zlib.error:
        return
    yield _Piece(f"{side} body, decompressed, body", inflated, is_text=False)


def _wire(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


# -- known secrets


class Needles:
    r"""Known secrets, ready to be sought. Percent and ``\u`` escapes are undone in what is searched, so that partly escaped text
    is seen too; base64 (at three alignments, both alphabets) and hex are sought as such.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        folded: list[bytes] = []
        exact: list[bytes] = []
        for secret in dict.fromkeys(secrets):
            for form in _spellings(secret):
                folded += (form.lower(), form.hex().encode())
                exact += _base64_forms(form)
        self._folded, self._exact = _Starts(folded), _Starts(exact)

    def are_in(self, data: bytes) -> bool:
        return any(self._folded.any_in(view.lower()) or self._exact.any_in(view) for view in _views(data))


class _Starts:
    """Strings of at least four bytes, sought all at once: only those whose first four bytes stand somewhere are looked for.

    Thousands of spellings cost one pass over the data, not one each.
    """

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._by_start: dict[int, list[bytes]] = {}
        for string in dict.fromkeys(strings):
            self._by_start.setdefault(int.from_bytes(string[:4], "little"), []).append(string)
        self._starts = np.array(sorted(self._by_start), dtype=np.uint32)

    def any_in(self, data: bytes) -> bool:
        size = len(data) - 3
        if size <= 0 or not len(self._starts):
            return False
        octets = np.frombuffer(data, dtype=np.uint8).astype(np.uint32)
        windows = octets[:size] | octets[1 : size + 1] << 8 | octets[2 : size + 2] << 16 | octets[3:] << 24
        places = np.minimum(np.searchsorted(self._starts, windows), len(self._starts) - 1)
        found = {int(self._starts[place]) for place in places[self._starts[places] == windows].tolist()}
        return any(string in data for start in found for string in self._by_start[start])


def _spellings(secret: bytes) -> Iterator[bytes]:
    """The secret in the encodings and letter cases that bytes.lower() does not cover."""
    yield secret
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    for spelling in (text.lower(), text.upper(), text.title()):
        yield spelling.encode()
    if not text.isascii():
        try:
            yield text.encode("latin-1")
        except UnicodeEncodeError:
            return


def _base64_forms(secret: bytes) -> Iterator[bytes]:
    """The characters that belong to ``secret`` alone, for each place it can start in a group of three bytes."""
    for shift in range(3):
        text = b64encode(b"\0" * shift + secret)
        start = (shift * 8 + 5) // 6
        stop = (shift + len(secret)) * 8 // 6
        if stop - start >= _SHORTEST_BASE64:
            yield text[start:stop]
            yield text[start:stop].translate(bytes.maketrans(b"+/", b"-_"))


def _views(data: bytes) -> Iterator[bytes]:
    """``data`` as it is and with its escapes undone: percent (with and without a plus for a space), then backslashes."""
    views = {data: None}
    if b"%" in data or b"+" in data:
        views[unquote_to_bytes(data)] = None
        views[unquote_to_bytes(data.replace(b"+", b" "))] = None
    for view in views:
        yield view
        layer = view
        for _ in range(_MOST_LAYERS):
            if b"\\" not in layer:
                break
            layer = _unescaped(layer)
            yield layer


_SHORT_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def _unescaped(data: bytes) -> bytes:
    def character(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return chr(int(match[1], 16)).encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        return _SHORT_ESCAPES.get(match[2], match[2])

    return _ESCAPE.sub(character, data)


# -- patterns


def patterns_in(text: bytes) -> list[str]:
    """The kinds of pattern that ``text`` holds outside our own tokens."""
    rest = TOKEN_PATTERN.sub(b" ", text)
    if len(rest) < SHORTEST_SECRET:
        return []
    return [
        kind
        for kind, (pattern, valid) in PATTERNS.items()
        if any(valid(match.group()) for match in pattern.finditer(rest))
    ]


def _patterns_in_body(where: str, body: bytes) -> Iterator[tuple[str, str]]:
    """In strings and keys of JSON; in the whole of a body that is text but not JSON."""
    try:
        spans = json_spans.scan(body)
    except CodecError:
        if not _is_text(body):
            return
        yield from ((where, kind) for kind in patterns_in(body))
        return
    for _, start, stop, span_kind in spans:
        if span_kind in ("key", "string"):
            literal = body[start:stop]
            text = json_spans.text_of(literal).encode("utf-8", "surrogatepass") if b"\\" in literal else literal
            yield from ((f"{where} byte {start}", kind) for kind in patterns_in(text))


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_card(text: bytes) -> bool:
    """Luhn's check (ISO/IEC 7812-1)."""
    digits = [digit - 48 for digit in reversed(text) if 48 <= digit <= 57]
    doubled = (digit if index % 2 == 0 else sum(divmod(2 * digit, 10)) for index, digit in enumerate(digits))
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _is_iban(text: bytes) -> bool:
    """ISO 13616: 97 divides what letters and digits make, plus one."""
    compact = text.replace(b" ", b"").decode()
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _always(_text: bytes) -> bool:
    return True


PATTERNS: Mapping[str, tuple[re.Pattern[bytes], Callable[[bytes], bool]]] = {
    "e-mail": (re.compile(rb"[A-Za-z0-9._%+-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"), _always),
    "card number": (re.compile(rb"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"), _is_card),
    "IBAN": (
        re.compile(rb"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Z0-9])"),
        _is_iban,
    ),
    "JSON Web Token": (re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), _always),
    "AWS access key": (re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"), _always),
}
