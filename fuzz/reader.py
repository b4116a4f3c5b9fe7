"""Whatever happened to a file: only exchanges that were written come back, missing ones are reported, at most CaptureError comes.

Mutations are those of disks and copies (flipped, zeroed, cut, inserted, repeated and moved ranges), several at a time.
"""

import random
from dataclasses import replace
from functools import cache

from captures.errors import CaptureError
from captures.exchange import Chunk, Exchange
from captures.testing import capture_bytes, capture_of, cut, example_exchange, flip, zero

PER_FLUSH, FLUSHES = 5, 8


def case(rng: random.Random) -> None:
    sealed, segment_bytes = rng.random() < 0.7, rng.choice([1, 1 << 12, 8 << 20])
    written, data = _capture(sealed, segment_bytes)
    for _ in range(rng.randrange(1, 4)):
        data = _mutate(data, rng)
    try:
        capture = capture_of(data)
    except CaptureError:
        return  # the header is gone: nothing can be read, and it says so
    with capture:
        survivors = list(capture.exchanges())
        lost = len(written) - len(survivors)
        strangers = [exchange for exchange in survivors if exchange not in written]
        assert not strangers, f"{len(strangers)} exchanges were never written"
        assert len(survivors) <= len(capture), "the length promises fewer exchanges than it gives"
        if lost > 0 and capture.sealed:
            assert capture.damage, f"{lost} exchanges are missing from a sealed file, and no damage is reported"
        for damage in capture.damage:
            assert 0 <= damage.offset <= len(data), "damage outside the file"


@cache
def _capture(sealed: bool, segment_bytes: int) -> tuple[list[Exchange], bytes]:
    flushes = [[_exchange(flush * PER_FLUSH + i) for i in range(PER_FLUSH)] for flush in range(FLUSHES)]
    return [item for flush in flushes for item in flush], capture_bytes(
        flushes, seal=sealed, segment_bytes=segment_bytes
    )


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
