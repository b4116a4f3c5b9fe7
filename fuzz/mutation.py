"""Bytes -> damaged bytes, as disks, copies and careless tools do it. No hunt of its own."""

import random


def damaged(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 4)):
        if not data:
            return data
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.choice([1, 2, 8, 64, 512]))
        data = rng.choice(_WAYS)(data, start, stop, rng)
    return data


def _flipped(data: bytes, start: int, _stop: int, rng: random.Random) -> bytes:
    return data[:start] + bytes((data[start] ^ rng.randrange(1, 256),)) + data[start + 1 :]


def _zeroed(data: bytes, start: int, stop: int, _rng: random.Random) -> bytes:
    return data[:start] + bytes(stop - start) + data[stop:]


def _cut(data: bytes, start: int, _stop: int, _rng: random.Random) -> bytes:
    return data[:start]


def _shortened(data: bytes, start: int, stop: int, _rng: random.Random) -> bytes:
    return data[:start] + data[stop:]


def _doubled(data: bytes, start: int, stop: int, _rng: random.Random) -> bytes:
    return data[:stop] + data[start:stop] + data[stop:]


def _filled(data: bytes, start: int, stop: int, rng: random.Random) -> bytes:
    return (
        data[:start]
        + rng.choice([rng.randbytes(stop - start), b'"', b"{[", b"}]", b"\\", b"9" * 400, b"\n", b","])
        + data[start:]
    )


_WAYS = (_flipped, _zeroed, _cut, _shortened, _doubled, _filled)
