"""Whatever happened to a file: only exchanges that were written come back, missing ones are reported, at most CaptureError comes.

Mutations are those of disks and copies (flipped, zeroed, cut, inserted, repeated and moved ranges), several at a time, on sealed
and unsealed files, in clear and encrypted. A third of the cases is malice: payloads that are other bytes under right checksums, and
counts and lengths that promise the world. Then anything may be read, but nothing else may be raised and memory stays small.
"""

import random
import resource
from contextlib import suppress
from dataclasses import replace
from functools import cache

import msgpack
import numpy as np

from captures.capture_file import CaptureFile
from captures.compression import decompress
from captures.errors import CaptureError
from captures.exchange import Chunk, Exchange
from captures.frame import (
    CRC_SIZE,
    PIECE_HEADER_SIZE,
    STREAM_KINDS,
    FrameError,
    Kind,
    Piece,
    PieceFlags,
    pack_piece,
    unpack_piece_header,
)
from captures.reader import Capture, Listing
from captures.testing import capture_bytes, cut, example_exchange, flip, stored_of, zero

PER_FLUSH, FLUSHES = 5, 8
KEY = bytes(range(32))
_KINDS = frozenset(Kind)
MOST_BYTES = 512 << 20
"""By how much the memory of this process may grow in one case: a few times the largest payload that may be claimed."""


def case(rng: random.Random) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    key = KEY if rng.random() < 0.3 else None
    sealed, segment_bytes = rng.random() < 0.7, rng.choice([1, 1 << 12, 8 << 20])
    written, data = _capture(sealed, segment_bytes, key)
    malice = key is None and rng.random() < 0.5
    for _ in range(rng.randrange(1, 4)):
        data = (_forge if malice and rng.random() < 0.7 else _mutate)(data, rng)
    try:
        capture = Capture("fuzz", Listing([CaptureFile(stored_of(data), key)]))
    except CaptureError:
        return  # the header is gone: nothing can be read, and it says so
    with capture:
        survivors = _read(capture, rng)
        if not malice:
            strangers = [exchange for exchange in survivors if exchange not in written]
            assert not strangers, f"{len(strangers)} exchanges were never written"
            if len(written) > len(survivors) and capture.sealed:
                assert capture.damage, "exchanges are missing from a sealed file, and no damage is reported"
        assert len(survivors) <= len(capture), "the length promises fewer exchanges than it gives"
        for damage in capture.damage:
            assert 0 <= damage.offset <= len(data), "damage outside the file"
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert growth < MOST_BYTES, f"memory grew by {growth:,} bytes"


def _read(capture: Capture, rng: random.Random) -> list[Exchange]:
    """In every way there is; what one says, the others say."""
    n = len(capture)
    for position in range(len(capture.segments)):
        if rng.random() < 0.3:
            capture.check(position)
    survivors = list(capture.numbered())
    columns, lost, readable = capture.columns(), capture.lost(), capture.readable_columns()
    assert len(columns) == len(lost) == len(readable) == n, "columns and masks have a row per exchange"
    assert np.flatnonzero(~lost).tolist() == [ordinal for ordinal, _ in survivors], "lost and read are not one"
    # Columns of more flushes than can be read whole may contradict themselves, and are absent then.
    arrivals = columns.columns["arrival_ns"]
    assert all(not readable[at] or arrivals[at] == each.arrival_ns for at, each in survivors), "columns are of others"
    assert np.isin(capture.window(-(2**63), 2**63 - 1), np.flatnonzero(readable)).all(), "a window shows what is lost"
    assert sum(len(batch) for _, batch in capture.parts()) == int(readable.sum()), "parts show what is lost"
    for ordinal in rng.sample(range(n), min(n, 3)):
        try:
            (exchange,) = capture.read(np.array([ordinal]))
        except CaptureError:
            assert lost[ordinal], "an exchange is refused that can be read"
        else:
            assert (ordinal, exchange) in survivors, "random access gives something else"
    return [exchange for _, exchange in survivors]


@cache
def _capture(sealed: bool, segment_bytes: int, key: bytes | None) -> tuple[list[Exchange], bytes]:
    flushes = [[_exchange(flush * PER_FLUSH + i) for i in range(PER_FLUSH)] for flush in range(FLUSHES)]
    data = capture_bytes(flushes, seal=sealed, segment_bytes=segment_bytes, key=key)
    return [item for flush in flushes for item in flush], data


def _exchange(number: int) -> Exchange:
    """No two alike, so that a survivor proves itself."""
    plain = example_exchange(arrival_ns=number * 1_000_000, connection=number)
    body = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[%d]}]}' % number
    request = replace(plain.request, chunks=(Chunk(plain.request.chunks[0].at_ns, body),), size=len(body))
    return replace(plain, request=request)


def _mutate(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice([1, 2, 8, 64, 512, 4096]))
    match rng.randrange(7):
        case 0:
            return flip(data, at, rng.randrange(1, 256))
        case 1:
            return zero(data, at, end)
        case 2:
            return cut(data, at)
        case 3:
            return data[:at] + rng.randbytes(end - at) + data[at:]
        case 4:
            return data[:at] + data[end:]
        case 5:
            return data[:end] + data[at:end] + data[end:]
        case _:
            to = rng.randrange(len(data))
            return data[:to] + data[at:end] + data[to + (end - at) :]


def _forge(data: bytes, rng: random.Random) -> bytes:
    """Another payload in place of one, under right checksums; the file behind it moves or not."""
    piece = _piece_in(data, rng)
    if piece is None:
        return data
    payload = bytearray(data[piece.payload_offset : piece.payload_offset + piece.stored])
    if piece.kind == Kind.START and rng.random() < 0.7:
        with suppress(ValueError, TypeError, KeyError, IndexError):  # it was forged before
            forged = _other_columns(bytes(payload), rng)
            return data[: piece.offset] + pack_piece(piece.kind, forged) + data[piece.end :]
    plain = piece.kind in STREAM_KINDS and piece.flags & PieceFlags.ZSTD and rng.random() < 0.5
    if plain:  # what is inside the stream is forged, not the stream
        try:
            payload = bytearray(decompress([bytes(payload)], piece.raw))
        except FrameError:
            return data
    for _ in range(rng.randrange(1, 4)):
        if payload:
            payload[rng.randrange(len(payload))] = rng.choice([0, 1, 0x7F, 0x80, 0xDD, 0xDF, 0xFF, rng.randrange(256)])
    if rng.random() < 0.3:
        payload = bytearray(_promise(piece.kind, rng))
    flags, raw = 0 if plain else piece.flags, rng.choice([piece.raw, len(payload), 1 << 28, 0])
    if not flags & 1:
        raw = len(payload)
    forged = pack_piece(piece.kind, bytes(payload), raw=raw, flags=flags)
    return data[: piece.offset] + forged + data[piece.end :]


def _promise(kind: int, rng: random.Random) -> bytes:
    """Records that claim a lot."""
    huge = rng.choice([1 << 16, 1 << 32, 1 << 62, -1])
    match kind:
        case Kind.COMMIT:
            values = [rng.choice([0, 1, 5, huge]) for _ in range(15)]
            return bytes(msgpack.packb(values))
        case Kind.START:
            names = ["head_kept", "arrival_ns", "status", "request_kept", "request_chunks", "label.x", "none of ours"]
            columns = [_column(name, names, rng) for name in rng.sample(names, rng.randrange(8))]
            start = {"number": rng.choice([0, 1, huge]), "before": rng.choice([0, huge]), "columns": columns}
            return bytes(msgpack.packb(start))
        case Kind.INDEX:
            rows = [[rng.choice([0, 300, huge]) for _ in range(5)] for _ in range(rng.randrange(4))]
            return bytes(msgpack.packb({"segments": rows, "commit": [huge] * 15, "digest": bytes(16)}))
        case _:
            return rng.choice([b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x81" * 5000, bytes(5000)])


def _column(name: object, others: list[str], rng: random.Random) -> list[object]:
    """As a start declares it, of any type, and with any minus or none."""
    minus = [0, -1, 1 << 63, "previous", "", None, 1.5, [], rng.choice(others), rng.choice(others)]
    element = [name, rng.choice(["<i8", "<u8", "u1", "i2", "<f8", "<f2", "<u4"]), rng.choice(minus)]
    return element if rng.random() < 0.9 else element[:2]


def _other_columns(start: bytes, rng: random.Random) -> bytes:
    """A start that declares one column otherwise."""
    record = msgpack.unpackb(start)
    columns = record["columns"]
    at = rng.randrange(len(columns))
    columns[at] = _column(columns[at][0], [each[0] for each in columns], rng)
    return bytes(msgpack.packb(record))


def _piece_in(data: bytes, rng: random.Random) -> Piece | None:
    """One of the pieces behind the header, found by their checksums."""
    found = []
    for at in range(8, len(data) - PIECE_HEADER_SIZE - CRC_SIZE):
        if data[at] in _KINDS and data[at + 1] <= 1:
            try:
                found.append(unpack_piece_header(data[at : at + PIECE_HEADER_SIZE], at))
            except FrameError:
                continue
    return rng.choice(found) if found else None
