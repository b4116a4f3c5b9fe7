"""Where an exchange holds text: every part of it by name, and what lies inside of bodies, layer under layer.

A `Piece` is bytes with a name for where they stand. Known secrets are sought in every piece; patterns only where it is text, for
the digits of a tensor mean nothing.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from captures.codecs import json_spans
from captures.errors import CodecError
from captures.exchange import Exchange, Headers, Request, Response, header
from captures.inflation import inflated, is_text
from captures.privacy.scan_streams import binary_strings, joined_deltas, multipart_parts
from captures.privacy.scan_views import MOST_INFLATED, embedded, layers, printable
from captures.privacy.surrogate import TOKEN_PATTERN

MOST_LAYERS = 4
MOST_BYTES = 256 << 20  # of all layers of one body
# No pattern is that short, and nothing can be decoded from it; known secrets are sought in the whole of what it stands in.
_HARMLESS = re.compile(rb"[A-Za-z_.-]{0,11}+|" + TOKEN_PATTERN.pattern)
_JSON_STARTS = (b"{", b"[", b'"')


@dataclass(frozen=True, slots=True)
class Piece:
    """``text``: whether patterns are sought in it. ``name``: of the field, header or parameter it is the value of. ``outer``:
    another piece holds all of it as it is, so that a known secret in it is found there.
    """

    where: str
    data: bytes
    text: bool
    name: str = ""
    outer: bool = False


def pieces_of(exchange: Exchange) -> Iterator[Piece]:
    """Everything, and what lies inside of it."""
    yield from _target(_wire(exchange.request.target))
    for where, data, name in heads_of(exchange):
        yield from _text(where, data, name, 1)
    yield from _body("request", exchange.request)
    if exchange.response is not None:
        yield from _body("response", exchange.response)


def surface_of(exchange: Exchange) -> Iterator[tuple[str, bytes]]:
    """(where, what stands there), as it is kept; nothing is looked into."""
    yield "request target", _wire(exchange.request.target)
    for where, data, _ in heads_of(exchange):
        yield where, data
    yield "request body", exchange.request.body
    if exchange.response is not None:
        yield "response body", exchange.response.body


def heads_of(exchange: Exchange) -> Iterator[tuple[str, bytes, str]]:
    """(where, text, name of what it is the value of) of all that is neither target nor body."""
    request, response = exchange.request, exchange.response
    texts = {"request method": request.method, "request version": request.http_version}
    texts |= {"route": exchange.route, "codec": exchange.codec, "model": exchange.model}
    if response is not None:
        texts["response reason"] = response.reason
    if exchange.failure is not None:
        texts["failure detail"] = exchange.failure.detail
    if exchange.origin is not None:
        texts["target role"] = exchange.origin.target
    texts |= {f"label {name}": value for name, value in exchange.labels}
    for where, text in texts.items():
        yield where, _wire(text), ""
    yield from _headers("request", request.headers)
    if response is not None:
        yield from _headers("response", response.headers)


def _target(target: bytes) -> Iterator[Piece]:
    """As a whole, then by segment and parameter: what is encoded in one does not run on into the next."""
    where = "request target"
    yield Piece(where, target, text=False)
    path, _, query = target.partition(b"?")
    for segment in path.split(b"/"):
        yield from _text(where, unquote_to_bytes(segment), "", 1, outer=True)
    yield from _parameters(where, query, 0)


def _headers(side: str, headers: Headers) -> Iterator[tuple[str, bytes, str]]:
    for number, (name, value) in enumerate(headers):
        yield f"{side} header {number} name", _wire(name), ""
        yield f"{side} header {number}", _wire(value), name


def _body(side: str, message: Request | Response) -> Iterator[Piece]:
    if body := message.body:
        coding = header(message.headers, "content-encoding") or ""
        kind = (header(message.headers, "content-type") or "").lower()
        head = header(message.headers, "inference-header-content-length") or ""
        budget = [MOST_BYTES]
        yield from _content(f"{side} body", body, budget, 0, coding, kind, int(head) if head.isdecimal() else 0)


def _content(
    where: str, body: bytes, budget: list[int], depth: int, coding: str = "", kind: str = "", head: int = 0
) -> Iterator[Piece]:
    """A body, or what was a body inside of another. ``head``: bytes of JSON in front of binary tensors, where that is known."""
    budget[0] -= len(body)
    if depth > MOST_LAYERS or budget[0] < 0:
        return
    yield Piece(where, body, text=False)
    opened = inflated(body, min(MOST_INFLATED, max(budget[0], 1)), coding)
    if opened is not None:
        yield from _content(f"{where}, decompressed", opened[1], budget, depth + 1, kind=kind, head=head)
        return
    if 0 < head < len(body):
        with suppress(CodecError):
            yield from _json(where, body[:head], depth)
            yield from _binary_tensors(where, body, head)
            return
    if parts := multipart_parts(body):
        for number, part in enumerate(parts):
            yield from _content(f"{where}, part {number}", part, budget, depth + 1)
        return
    yield from _readable(where, body, budget, depth, kind)


def _readable(where: str, body: bytes, budget: list[int], depth: int, kind: str) -> Iterator[Piece]:
    """JSON, or text, or what text there is in it. A lone number is text: it may be the field of a form."""
    starts = body.lstrip().startswith(_JSON_STARTS)
    try:
        yield from _json(where, body if starts else b"", depth)
    except CodecError:
        if is_text(body):
            yield from _plain(where, body, kind, depth)
        else:
            for run in printable(body):
                yield from _text(where, run, "", depth + 1, outer=True)
            for name, content in embedded(body):
                yield from _content(f"{where}, {name}", content, budget, depth + 1)


def _binary_tensors(where: str, body: bytes, head: int) -> Iterator[Piece]:
    """The strings of BYTES tensors in the binary extension of the Open Inference Protocol."""
    for text in binary_strings(body, head):
        yield from _text(f"{where}, binary tensor", text, "", 1, outer=True)


def _plain(where: str, body: bytes, kind: str, depth: int) -> Iterator[Piece]:
    """Text that is no JSON: a form, a stream of events or lines, CSV, a page."""
    if "urlencoded" in kind:
        yield from _parameters(where, body, depth)
        return
    yield from _text(where, body, "", depth + 1, outer=True)
    for name, text in joined_deltas(body):
        yield from _text(f"{where}, joined", text, name, depth + 1)


def _parameters(where: str, text: bytes, depth: int) -> Iterator[Piece]:
    for parameter in text.split(b"&"):
        name, _, value = parameter.partition(b"=")
        yield from _text(where, unquote_to_bytes(name), "", depth + 1, outer=True)
        value = unquote_to_bytes(value.replace(b"+", b"%20"))
        yield from _text(where, value, name.decode("latin-1"), depth + 1, outer=True)


def _json(where: str, body: bytes, depth: int) -> Iterator[Piece]:
    """The strings and keys of a JSON body. Raises CodecError before the first where it is none."""
    for path, start, stop, kind in json_spans.scan(body):
        if kind not in ("key", "string"):
            continue
        literal = body[start:stop]
        if _HARMLESS.fullmatch(body, start + 1, stop - 1):
            continue
        text = json_spans.text_of(literal).encode("utf-8", "surrogatepass") if b"\\" in literal else literal[1:-1]
        named = kind == "string"
        name = next((part for part in reversed(path) if isinstance(part, str)), "") if named else ""
        yield from _text(f"{where} byte {start}", text, name, depth + 1, outer=True)


def _text(where: str, data: bytes, name: str, depth: int, *, outer: bool = False) -> Iterator[Piece]:
    """A text, and what lies under it."""
    if _HARMLESS.fullmatch(data):
        if not outer:
            yield Piece(where, data, text=False)
        return
    yield Piece(where, data, text=True, name=name, outer=outer)
    if depth >= MOST_LAYERS or len(data) < 8:
        return
    if data.lstrip().startswith(_JSON_STARTS):
        with suppress(CodecError):
            yield from _json(f"{where}, JSON", data, depth)
    for coding, content in layers(data):
        yield from _text(f"{where}, {coding}", content, name, depth + 1)


def _wire(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
