"""Cuts a .gor file into its records: a line of meta data, a raw HTTP message, a line of three monkeys.

The format has no lengths and no escaping. So a message's own framing (Content-Length, chunks) is believed where the separator
stands right behind it; else the next separator ends the record. A last record without its separator is taken as it is.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captures.importers.http_message import message_end
from captures.importers.importer import LINE_LIMIT

SEPARATOR = "\n🐵🙈🙉\n".encode()
META = re.compile(rb"([123]) ([0-9A-Za-z_-]{1,64}) ([0-9]{1,19})(?: (-?[0-9]{1,19}))?(?: [^\n]*)?")
_META_LIMIT = 512
_LATEST_NS = 1 << 62
_READ = 1 << 18
_KAFKA = ("Req_Type", "Req_ID", "Req_Ts", "Req_Method", "Req_URL")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Record:
    """``kind`` 1: request, 2: its response, 3: what a replay was answered. ``latency_ns`` None: the field is not there."""

    offset: int
    kind: int
    name: bytes  # the id: pairs a request with its response, and may hold the client's address
    at_ns: int
    latency_ns: int | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    offset: int
    reason: str


def records(stream: BinaryIO, limit: int = LINE_LIMIT) -> Iterator[Record | Trouble]:
    """Every record of a file, or what is in the place of one. Holds at most twice ``limit`` bytes."""
    buffer = _Buffer(stream)
    read = _kafka_record if buffer.starts_with(b"{") else _record
    while (found := read(buffer, limit)) is not None:
        yield found


class _Buffer:
    """What was read of a stream and not yet used: ``data[at:]``. ``offset``: of ``data[at]`` in the file."""

    def __init__(self, stream: BinaryIO) -> None:
        self.data = bytearray()
        self.at = 0
        self._stream, self._base, self._ended = stream, 0, False

    @property
    def offset(self) -> int:
        return self._base + self.at

    def fill(self, size: int) -> bool:
        """Have ``size`` bytes behind ``at``. False: the file ends before."""
        while len(self.data) - self.at < size and not self._ended:
            piece = self._stream.read(_READ)
            self.data += piece
            self._ended = not piece
        return len(self.data) - self.at >= size

    def starts_with(self, prefix: bytes) -> bool:
        return self.fill(len(prefix)) and self.data.startswith(prefix, self.at)

    def find(self, what: bytes, start: int, limit: int) -> int:
        """Where ``what`` stands next, ``start`` and the result counted from ``at``; -1: not within ``limit`` bytes."""
        while True:
            found = self.data.find(what, self.at + start)
            if found >= 0:
                return found - self.at
            have = len(self.data) - self.at
            start = max(have - len(what) + 1, start)
            if have > limit or not self.fill(have + 1):
                return -1

    def skip(self, size: int) -> None:
        self.at = min(self.at + size, len(self.data))
        if self.at > len(self.data) // 2:  # so that every byte is moved once
            del self.data[: self.at]
            self._base, self.at = self._base + self.at, 0

    def skip_behind(self, what: bytes) -> None:
        """Behind the next ``what``, or to the end of the file."""
        while (found := self.find(what, 0, _READ)) < 0:
            kept = len(what) - 1
            if not self.fill(len(self.data) - self.at + 1):
                self.skip(len(self.data))
                return
            self.skip(max(len(self.data) - self.at - kept, 0))
        self.skip(found + len(what))


def _record(buffer: _Buffer, limit: int) -> Record | Trouble | None:
    """None: the end of the file."""
    while buffer.starts_with(b"\n") or buffer.starts_with(SEPARATOR[1:]):
        buffer.skip(1 if buffer.starts_with(b"\n") else len(SEPARATOR) - 1)
    if not buffer.fill(1):
        return None
    offset = buffer.offset
    line_end = buffer.find(b"\n", 0, _META_LIMIT)
    meta = META.fullmatch(buffer.data, buffer.at, buffer.at + line_end) if line_end >= 0 else None
    if meta is None or int(meta[3]) > _LATEST_NS or abs(int(meta[4] or 0)) > _LATEST_NS:
        buffer.skip_behind(SEPARATOR)
        return Trouble(offset, "damaged")
    kind, name, at_ns, latency = int(meta[1]), meta[2], int(meta[3]), meta[4]
    start = line_end + 1
    end = _end(buffer, start, limit)
    if end < 0:
        buffer.skip_behind(SEPARATOR)
        return Trouble(offset, "too_long")
    payload = bytes(memoryview(buffer.data)[buffer.at + start : buffer.at + end])
    buffer.skip(end + len(SEPARATOR))
    return Record(offset, kind, name, at_ns, None if latency is None else int(latency), payload)


def _end(buffer: _Buffer, start: int, limit: int) -> int:
    """Where the payload that begins at ``start`` ends, both counted from ``at``; -1: it is longer than ``limit``."""
    # A payload may be empty: the separator's first byte is then the end of the meta line.
    first = buffer.find(SEPARATOR, start - 1, start + limit)
    if first >= 0:
        first = max(first, start)
    while (framed := message_end(buffer.data, buffer.at + start)) is not None:
        end = framed - buffer.at
        if end <= first or end - start > limit:
            break
        if buffer.fill(end + len(SEPARATOR)):
            if buffer.data.startswith(SEPARATOR, framed):
                return end
            if message_end(buffer.data, buffer.at + start) == framed:  # chunked: only now all of it is here
                break
        elif len(buffer.data) == framed:
            return end  # the last record, without its separator
        else:
            break
    if first >= 0:
        return first if first - start <= limit else -1
    rest = len(buffer.data) - buffer.at
    return -1 if rest > start + limit else rest


def _kafka_record(buffer: _Buffer, limit: int) -> Record | Trouble | None:
    """GoReplay's Kafka variant: a JSON object a line, made into the message it was."""
    if not buffer.fill(1):
        return None
    offset = buffer.offset
    end = buffer.find(b"\n", 0, limit)
    if end < 0 and len(buffer.data) - buffer.at > limit:
        buffer.skip_behind(b"\n")
        return Trouble(offset, "too_long")
    end = len(buffer.data) - buffer.at if end < 0 else end
    line = bytes(memoryview(buffer.data)[buffer.at : buffer.at + end])
    buffer.skip(end + 1)
    if not line.strip():
        return _kafka_record(buffer, limit) if buffer.fill(1) else None
    try:
        return _of_kafka(json.loads(line), offset)
    except (ValueError, RecursionError):
        return Trouble(offset, "damaged")


def _of_kafka(data: object, offset: int) -> Record | Trouble:
    """Raises ValueError."""
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in _KAFKA):
        return Trouble(offset, "damaged")
    kind, at_ns = data["Req_Type"], int(data["Req_Ts"])
    if kind != "1":
        return Trouble(offset, "response_without_status")
    headers, body = data.get("Req_Headers") or {}, data.get("Req_Body") or ""
    if not isinstance(headers, dict) or not isinstance(body, str) or not 0 <= at_ns <= _LATEST_NS:
        return Trouble(offset, "damaged")
    content = body.encode("utf-8", "surrogatepass")
    rows = [f"{data['Req_Method']} {data['Req_URL']} HTTP/1.1"]
    for key, value in headers.items():
        if _TOKEN.fullmatch(key) and key.lower() not in ("content-length", "transfer-encoding"):
            rows.append(f"{key}: {value}")
    rows += [f"Content-Length: {len(content)}", "", ""]
    if any("\r" in row or "\n" in row for row in rows):
        return Trouble(offset, "damaged")
    head = "\r\n".join(rows).encode("latin-1", "replace")
    return Record(offset, 1, data["Req_ID"].encode("utf-8", "surrogatepass"), at_ns, None, head + content)
