"""Where the values of a JSON body stand: one pass over the bytes, giving spans with paths.

This file knows JSON (RFC 8259, plus the NaN and Infinity that TensorFlow Serving and MLflow write) and no protocol.
Strategy: one regular expression eats a whole member (key, colon, value) or a whole element; an array of nothing but
numbers and literals is one span, however long. Nothing recurses and no quantifier backtracks (they are possessive),
so hostile bodies cost linear time; depth and number of spans are limited before paths can grow quadratic.
"""

import json
import re
from collections.abc import Iterator
from typing import Literal

import orjson

from captures.errors import CodecError

type Path = tuple[str | int, ...]
type Kind = Literal["string", "key", "number", "literal", "numbers"]
type Span = tuple[Path, int, int, Kind]
"""(path, start, stop, kind). The path of a key is the path of its value. Plain tuples: a body has hundreds."""

MAX_DEPTH = 64  # tensors stop at about 8; every path is at most this long
MAX_SPANS = 1 << 20  # a batch of 5,000 rows with 100 named features; beyond that a body is not worth its memory

_WS = rb"[ \t\r\n]*+"
ANY_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
ANY_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_LITERAL = rb"true|false|null|NaN|-?Infinity"


def _arrays(levels: int) -> bytes:
    """The pattern of an array of numbers and literals, nested up to ``levels`` deep.

    An array that turns out to hold something else is tried again one level deeper, so a byte is looked at most
    ``levels`` + 1 times.
    """
    pattern = rb"(?!)"
    for _ in range(levels):
        item = rb"(?:" + ANY_NUMBER + rb"|" + _LITERAL + rb"|" + pattern + rb")"
        more = rb"(?:" + _WS + rb"," + _WS + item + rb")*+"
        pattern = rb"\[" + _WS + rb"(?:" + item + more + _WS + rb")?+\]"
    return pattern


ANY_ARRAYS = _arrays(5)
_VALUE = (
    rb"(?:(?P<string>" + ANY_STRING + rb")|(?P<numbers>" + ANY_ARRAYS + rb")|(?P<number>" + ANY_NUMBER
    + rb")|(?P<literal>" + _LITERAL + rb")|(?P<object>\{)|(?P<array>\[))" + _WS
)  # fmt: skip
_ELEMENT = re.compile(_WS + _VALUE)
_MEMBER = re.compile(_WS + rb"(" + ANY_STRING + rb")" + _WS + rb":" + _WS + _VALUE)
_EMPTY_OBJECT = re.compile(_WS + rb"\}" + _WS)

NUMBER = re.compile(rb"(?:" + ANY_NUMBER + rb"|" + _LITERAL + rb")")
"""The numbers and literals inside a span of kind "numbers", one match each."""

SPLIT = re.compile(
    rb"(" + ANY_STRING.removesuffix(b'"') + rb'(?:"|(?s:.*+))|' + ANY_ARRAYS + rb"|" + ANY_NUMBER + rb")"
)
"""``split`` gives the structure of a body at even positions and its strings and numbers at odd ones.

A string that does not end takes the rest of the body, and nothing stands behind it: no JSON ends so. Were it passed over, a body of
nothing but ``\\"`` would be read once for each of its quotes.
"""

_KINDS: dict[str, Kind] = {"string": "string", "numbers": "numbers", "number": "number", "literal": "literal"}
_COMMA, _CLOSE_ARRAY, _CLOSE_OBJECT = b",]}"


def scan(body: bytes) -> list[Span]:  # noqa: C901, PLR0912, PLR0915 - one loop; a call per token would double its cost
    """Every key and value of ``body`` in order of ``start``; arrays of only numbers and literals are one span.

    Raises `CodecError`: not UTF-8, not JSON, deeper than MAX_DEPTH or longer than MAX_SPANS.
    """
    require_utf8(body)
    spans: list[Span] = []
    stack: list[tuple[Path, int]] = []  # open containers: path, next index (-1: an object)
    path: Path = ()
    index = 0
    position = 0
    in_object = False
    size = len(body)
    root = True
    while True:
        # -- one value, with its key where one belongs
        if in_object:
            match = _MEMBER.match(body, position)
            if match is None:
                raise _malformed(position)
            start, stop = match.span(1)
            here: Path = (*path, text_of(body[start:stop]))
            spans.append((here, start, stop, "key"))
        else:
            match = _ELEMENT.match(body, position)
            if match is None:
                raise _malformed(position)
            here = () if root else (*path, index)
            index += 1
        root = False
        position = match.end()
        kind = match.lastgroup
        assert kind is not None
        if kind in _KINDS:
            spans.append((here, *match.span(kind), _KINDS[kind]))
            if len(spans) > MAX_SPANS:
                raise CodecError("JSON with too many values")
        else:
            if len(stack) >= MAX_DEPTH:
                raise CodecError("JSON nested too deeply")
            if kind == "object" and (empty := _EMPTY_OBJECT.match(body, position)):
                position = empty.end()
            else:
                stack.append((path, -1 if in_object else index))
                path, index, in_object = here, 0, kind == "object"
                continue
        # -- what follows a value: a comma, or the end of one or more containers
        while stack:
            after = body[position] if position < size else -1
            if after == _COMMA:
                position += 1
                break
            if after != (_CLOSE_OBJECT if in_object else _CLOSE_ARRAY):
                raise _malformed(position)
            position = _skip_space(body, position + 1)
            path, index = stack.pop()
            in_object = index < 0
        else:
            if position != size:
                raise _malformed(position)
            return spans


def _skip_space(body: bytes, position: int) -> int:
    while position < len(body) and body[position] in b" \t\r\n":
        position += 1
    return position


def _malformed(position: int) -> CodecError:
    return CodecError(f"not JSON at byte {position}")


def require_utf8(body: bytes) -> None:
    """Raises `CodecError` where ``body`` is not UTF-8 (RFC 8259 §8.1)."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise CodecError(f"not UTF-8 at byte {error.start}") from None


def text_of(literal: bytes) -> str:
    """The text of a JSON string literal, quotes included. It may hold lone surrogates."""
    if b"\\" in literal:
        text: str = json.loads(literal.decode())
        return text
    return literal[1:-1].decode()


def numbers_in(body: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The span of each number or literal of a "numbers" span, in row-major order."""
    return (match.span() for match in NUMBER.finditer(body, start, stop))


def load(body: bytes) -> object:
    """The value of a JSON body: orjson, or the standard library where NaN or Infinity appear.

    Raises `CodecError` and nothing else.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if b"NaN" not in body and b"Infinity" not in body:
            raise CodecError("not JSON") from None
    try:
        return json.loads(body.decode())  # decode() here: json.loads(bytes) would also accept UTF-16
    except (ValueError, RecursionError):
        raise CodecError("not JSON") from None
