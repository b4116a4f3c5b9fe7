"""docs/format.md is enough to read a file: a second reader, made from the page alone, slow and trusting, finds the same exchanges.

It takes the nouns of `captures.exchange` to answer with and nothing else of `captures`: no number, no layout, no decoding.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges

GOLDEN = Path(__file__).parents[1] / "golden"
KEY = bytes(range(32))

START, COLUMNS, NAMES, HEADS, CHUNKS, BODIES, COMMIT, INDEX, MESSAGES = 2, 3, 4, 5, 6, 7, 8, 9, 10
OUTSIDE = 4294967295
ZSTD = 1


@dataclass
class Flush:
    exchanges: int = 0
    raw: dict[int, int] = field(default_factory=dict)


@dataclass
class Segment:
    start: dict[str, Any]
    stored: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, int] = field(default_factory=dict)
    flushes: list[Flush] = field(default_factory=list)

    def payloads(self, kind: int) -> list[bytes]:
        """Of each flush. One zstd stream, whose frame never ends."""
        whole = self.stored.get(kind, b"")
        if self.flags.get(kind, 0) & ZSTD:
            whole = zstandard.ZstdDecompressor().decompressobj().decompress(whole)
        found, at = [], 0
        for flush in self.flushes:
            found.append(whole[at : at + flush.raw.get(kind, 0)])
            at += flush.raw.get(kind, 0)
        assert at == len(whole)
        return found


class Opener:
    """Whoever has the tape key."""

    def __init__(self, header: bytes, tape_key: bytes | None) -> None:
        self.digest, encryption = blake2b(header, digest_size=16).digest(), msgpack.unpackb(header).get("encryption")
        self.aead: AESGCM | None = None
        if encryption and tape_key is not None:
            key_id = blake2b(b"shadowtape tape key id", key=tape_key, digest_size=8).hexdigest()
            assert encryption == {"cipher": "AES-256-GCM", "key_id": key_id}
            self.aead = AESGCM(HKDF(SHA256(), 32, salt=self.digest, info=b"shadowtape piece key").derive(tape_key))

    def open(self, kind: int, flags: int, raw: int, segment: int, piece: int, payload: bytes) -> bytes:
        assert bool(flags & 2) is (self.aead is not None)
        if self.aead is None:
            return payload
        place = self.digest + struct.pack("<BBIII", kind, flags, raw, segment, piece)
        return self.aead.decrypt(payload[:12], payload[12:], place)


def segments_of(data: bytes, tape_key: bytes | None) -> Iterator[Segment]:
    assert data[:7] == b"\x89TAPE\r\n"
    at, opener, sync, segment, flush, ordinal = 8, None, b"", None, Flush(), 0
    sealed = data[-8:] == b"\x89EPAT\r\n\x01"
    while at < len(data) - 24 * sealed:
        if sync and data[at : at + 16] == sync:
            at, ordinal = at + 16, 0
        kind, flags, stored, raw, header_crc = struct.unpack_from("<BBIII", data, at)
        assert zlib.crc32(data[at : at + 10]) == header_crc
        payload = data[at + 14 : at + 14 + stored]
        assert zlib.crc32(payload) == struct.unpack_from("<I", data, at + 14 + stored)[0]
        at += 18 + stored
        if opener is None:
            opener, sync = Opener(payload, tape_key), msgpack.unpackb(payload)["sync"]
            continue
        outside = kind in (START, INDEX)
        number = OUTSIDE if outside or segment is None else segment.start["number"]
        plain = opener.open(kind, flags, raw, number, 0 if outside else ordinal, payload)
        ordinal += 1
        if outside and segment:
            yield segment
        if kind == START:
            segment, flush = Segment(msgpack.unpackb(plain)), Flush()
        elif segment and kind == COMMIT:
            flush.exchanges = msgpack.unpackb(plain)[0]
            segment.flushes.append(flush)
            flush = Flush()
        elif segment:
            segment.stored[kind] = segment.stored.get(kind, b"") + plain
            segment.flags[kind], flush.raw[kind] = flags, flush.raw.get(kind, 0) + raw
    if segment and not sealed:
        yield segment


type Table = dict[str, list[int]]


def planes(declared: Sequence[Sequence[Any]], flushes: Sequence[tuple[int, bytes]]) -> Table:
    """Byte planes of differences, one row after the other."""
    table: Table = {name: [] for name, _, _ in declared}
    for n, payload in flushes:
        at = 0
        for name, dtype, minus in declared:
            sign, width = dtype.lstrip("<|")
            values, bits = table[name], 8 * int(width)
            for i in range(n):
                stored = sum(payload[at + plane * n + i] << 8 * plane for plane in range(int(width)))
                if minus == "previous":
                    minuend = values[-1] if values else -1
                else:
                    minuend = table[minus][len(values)] if isinstance(minus, str) else minus
                value = (stored + minuend) % 2**bits
                values.append(value - 2**bits if sign == "i" and value >= 2 ** (bits - 1) else value)
            at += n * int(width)
        assert at == len(payload)
    return table


def arrays(declared: Sequence[Sequence[Any]], flushes: Sequence[tuple[int, bytes]]) -> Table:
    """Version 1."""
    table: Table = {name: [] for name, _ in declared}
    letters = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
    for n, payload in flushes:
        at = 0
        for name, dtype in declared:
            form = f"<{n}{letters[dtype.lstrip('<|')]}"
            table[name] += struct.unpack_from(form, payload, at)
            at += struct.calcsize(form)
        assert at == len(payload)
    return table


SIDES = (("request_chunks", "request_kept", "request_ns"), ("response_chunks", "response_kept", "last_byte_ns"))


def chunk_rows(segment: Segment, columns: Table, *, new: bool) -> Iterator[tuple[int, int]]:
    """(time from the arrival, bytes) of every chunk."""
    per_flush, row = [], 0
    for flush, payload in zip(segment.flushes, segment.payloads(CHUNKS), strict=True):
        chunks = sum(columns[count][i] for count, _, _ in SIDES for i in range(row, row + flush.exchanges))
        per_flush.append((chunks, payload))
        row += flush.exchanges
    if not new:
        table = arrays([("time", "<i8"), ("bytes", "<u4")], per_flush)
        yield from zip(table["time"], table["bytes"], strict=True)
        return
    table = planes([("time", "<i8", 0), ("bytes", "<u4", 0)], per_flush)
    at = 0
    for i in range(row):
        for count, kept, end in SIDES:
            time, found, here = columns[end][i], [], slice(at, at + columns[count][i])
            missing, sizes = table["time"][here], table["bytes"][here]
            if sizes:
                assert sizes[-1] == 0
                sizes[-1] = columns[kept][i] - sum(sizes)
            for wanted, size in zip(reversed(missing), reversed(sizes), strict=True):
                time -= wanted
                found.append((time, size))
            yield from reversed(found)
            at += len(sizes)


def messages(segment: Segment, columns: Table, *, new: bool) -> Iterator[tuple[list[Any], bytes, bytes]]:
    """Head, request body, response body."""
    n = len(columns["arrival_ns"])
    if not new:
        heads = msgpack.Unpacker()
        heads.feed(b"".join(segment.payloads(HEADS)))
    at, data = 0, b"".join(segment.payloads(MESSAGES if new else BODIES))
    for i in range(n):
        parts = []
        for name in ("head_kept",) * new + ("request_kept", "response_kept"):
            parts.append(data[at : at + columns[name][i]])
            at += columns[name][i]
        yield (msgpack.unpackb(parts[0]) if new else heads.unpack()), parts[-2], parts[-1]
    assert at == len(data)


def read(data: bytes, tape_key: bytes | None = None) -> Iterator[Exchange]:
    for segment in segments_of(data, tape_key):
        declared = segment.start["columns"]
        new = all(len(each) == 3 for each in declared)
        assert new is (data[7] == 2)
        flushes = [flush.exchanges for flush in segment.flushes]
        columns = (planes if new else arrays)(declared, list(zip(flushes, segment.payloads(COLUMNS), strict=True)))
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(segment.payloads(NAMES)))
        names, chunks = ["", *unpacker], chunk_rows(segment, columns, new=new)
        for i, (head, request, response) in enumerate(messages(segment, columns, new=new)):
            cell = {name: values[i] for name, values in columns.items()}
            yield exchange(cell, names, head, [request, response], chunks)
        assert next(chunks, None) is None


def exchange(
    cell: dict[str, int], names: list[str], head: list[Any], bodies: list[bytes], rows: Iterator[tuple[int, int]]
) -> Exchange:
    def at(name: str) -> int:
        return -1 if cell[name] == -1 else cell["arrival_ns"] + cell[name]

    def cut(count: int, body: bytes) -> tuple[Chunk, ...]:
        found = []
        for _ in range(count):
            time, size = next(rows)
            found.append(Chunk(cell["arrival_ns"] + time, body[:size]))
            body = body[size:]
        assert body == b""
        return tuple(found)

    def pairs(flat: list[str]) -> tuple[tuple[str, str], ...]:
        return tuple(zip(flat[::2], flat[1::2], strict=True))

    target, version, request_headers, reason, response_headers, detail = head
    request, response = cut(cell["request_chunks"], bodies[0]), cut(cell["response_chunks"], bodies[1])
    return Exchange(
        arrival_ns=cell["arrival_ns"],
        request=Request(
            method=names[cell["method"]],
            target=target,
            headers=pairs(request_headers),
            chunks=request,
            end_ns=at("request_ns"),
            size=cell["request_size"],
            http_version=version,
        ),
        response=Response(
            status=cell["status"],
            headers=pairs(response_headers),
            chunks=response,
            first_ns=at("first_byte_ns"),
            end_ns=at("last_byte_ns"),
            size=cell["response_size"],
            reason=reason,
        )
        if cell["status"]
        else None,
        failure=Failure(FailureKind(cell["failure"]), at("failure_ns"), detail) if cell["failure"] else None,
        route=names[cell["route"]],
        codec=names[cell["codec"]],
        model=names[cell["model"]],
        session=cell["session"],
        connection=cell["connection"],
        flags=Flags(cell["flags"]),
        labels=tuple(
            (name.removeprefix("label."), names[index])
            for name, index in cell.items()
            if name.startswith("label.") and index
        ),
        origin=Origin(
            row=cell["row"],
            source=cell["source"],
            variant=cell["variant"],
            target=names[cell["target"]],
            attempt=cell["attempt"],
            intended_ns=cell["intended_ns"],
        )
        if cell["row"] != -1
        else None,
    )


def odd_exchanges() -> list[Exchange]:
    """A stream that broke off, an answer without a request's end, an attempt that was never sent, labels."""
    at = 5_000_000_000
    plain = example_exchange(arrival_ns=at, labels=(("region", "eu-\xe9"), ("tier", "gold")))
    assert plain.response is not None
    stream = tuple(Chunk(at + 900 - 10 * i, b"data: %d\n\n" % i * i) for i in range(5))
    broken = Response(status=200, chunks=stream, first_ns=at + 3, size=2**40)
    unsent = Failure(FailureKind.SHED, at, "no room")
    return [
        plain,
        example_exchange(arrival_ns=-7, response=broken, failure=Failure(FailureKind.RESET, at, "reset")),
        example_exchange(arrival_ns=at + 1, request=Request(method="GET", target="/\xff"), session=2**64 - 1),
        example_exchange(
            arrival_ns=at - 1,
            response=None,
            failure=unsent,
            labels=(("tier", "iron"),),
            origin=Origin(row=3, source=2**40, variant=2**32 - 1, target="candidate", attempt=255, intended_ns=-5),
        ),
    ]


@pytest.mark.parametrize("key", [None, KEY], ids=["in clear", "encrypted"])
@pytest.mark.parametrize("segment_bytes", [1, 1500, 8 << 20])
@pytest.mark.parametrize("seal", [True, False], ids=["sealed", "unsealed"])
def test_the_page_is_enough_to_read_a_file(key: bytes | None, segment_bytes: int, seal: bool) -> None:
    flushes = [example_exchanges(3), [], odd_exchanges(), example_exchanges(2), odd_exchanges()]

    data = capture_bytes(flushes, key=key, segment_bytes=segment_bytes, seal=seal, labels=("region", "tier"))

    assert list(read(data, key)) == [each for flush in flushes for each in flush]


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.tape")), ids=lambda path: path.stem)
def test_the_page_is_enough_to_read_files_of_every_version(path: Path) -> None:
    data = path.read_bytes()
    key = KEY if "encrypted" in path.stem else None

    found = list(read(data, key))

    assert found == list(capture_of(data, key=key).exchanges())
    assert found
