"""Bodies that are several things in a row: events and lines whose pieces make one text, parts of a form, strings of a tensor."""

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterator
from contextlib import suppress
from quopri import decodestring

from captures.codecs import json_spans
from captures.errors import CodecError

_MOST_EVENTS = 100_000
_MOST_PARTS = 1_000
_MOST_STRINGS = 1 << 20
_BOUNDARY = re.compile(rb"--([^\r\n]{1,200})\r?\n")
_CODING = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*(base64|quoted-printable)")
_LINE_ENDS = re.compile(rb"\r\n|\n|\r")


def joined_deltas(body: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, text) of each field of the JSON documents of an event stream, or of lines: what a model says word by word, in one.

    The strings that stand at one place of the documents are put together in their order.
    """
    texts: dict[tuple[str | int, ...], list[str]] = {}
    for document in _documents(body):
        try:
            spans = json_spans.scan(document)
        except CodecError:
            continue
        for path, start, stop, kind in spans:
            if kind == "string":
                texts.setdefault(path, []).append(json_spans.text_of(document[start:stop]))
    for path, parts in texts.items():
        if len(parts) > 1:
            name = next((part for part in reversed(path) if isinstance(part, str)), "")
            yield name, "".join(parts).encode("utf-8", "surrogatepass")


def _documents(body: bytes) -> Iterator[bytes]:
    """The data of each event (lines of one are put together), or each line."""
    lines = _LINE_ENDS.split(body)
    if len(lines) > _MOST_EVENTS:
        return
    if not any(line.startswith(b"data:") for line in lines):
        yield from lines
        return
    data: list[bytes] = []
    for line in (*lines, b""):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []


def multipart_parts(body: bytes) -> list[bytes]:
    """The parts of a multipart body, heads and contents, with their transfer encoding undone. []: it is none."""
    match = _BOUNDARY.match(body.lstrip(b"\r\n"))
    if match is None or body.count(b"--" + match[1]) < 2:
        return []
    found: list[bytes] = []
    for part in body.split(b"--" + match[1])[1 : _MOST_PARTS + 1]:
        head, _, content = part.strip(b"\r\n").replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
        if head in (b"", b"--"):
            continue
        found.append(head)
        coding = match[1].lower() if (match := _CODING.search(head)) else b""
        if coding == b"base64":
            with suppress(BinasciiError):
                content = b64decode(content)
        elif coding:
            content = decodestring(content)
        if content:
            found.append(content)
    return found


def binary_strings(body: bytes, head: int) -> Iterator[bytes]:
    """The strings of BYTES tensors behind the JSON of a message: each four bytes of length, little-endian, then text."""
    try:
        document = json_spans.load(body[:head])
    except CodecError:
        return
    tensors = document.get("inputs") or document.get("outputs") if isinstance(document, dict) else None
    at = head
    for tensor in tensors if isinstance(tensors, list) else ():
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if not isinstance(size, int) or size < 0:
            continue
        if tensor.get("datatype") == "BYTES":
            yield from length_prefixed(body[at : at + size])
        at += size


def length_prefixed(data: bytes) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_STRINGS):
        if at + 4 > len(data):
            return
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
