"""Whatever is in a .gor file: nothing is raised, and what cannot be read is dropped with a place and never quoted.

Records are built well-formed, then broken as disks and copy buffers break them; ids repeat, bodies hold separators.
"""

import random

from captures.exchange import Exchange
from captures.importer_testing import check_items, read_all
from captures.importers.gor import Gor
from captures.importers.gor_records import SEPARATOR
from fuzz.mutation import damaged

NAMES = [b"%024x" % number for number in range(1, 4)] + [b"%040x" % 7, b"x"]


def case(rng: random.Random) -> None:
    whole = b"".join(_record(rng) for _ in range(rng.randrange(1, 9)))
    for data in (whole, damaged(whole, rng)):
        items = read_all(Gor(), [data])
        check_items(items, data, "gor")
    messages = whole.count(SEPARATOR) + 2
    assert sum(isinstance(item, Exchange) for item in read_all(Gor(), [whole])) <= messages, "exchanges out of nothing"


def _record(rng: random.Random) -> bytes:
    kind = rng.choice([1, 1, 2, 2, 3])
    latency = b"" if rng.random() < 0.4 else b" %d" % rng.choice([0, 5, 10**9, -3, 2**63])
    meta = b"%d %s %d%s\n" % (kind, rng.choice(NAMES), 10**18 + rng.choice([0, 1, 10**12]), latency)
    return meta + (_request(rng) if kind == 1 else _response(rng)) + SEPARATOR


def _request(rng: random.Random) -> bytes:
    return rng.choice([b"POST /a HTTP/1.1", b"HEAD / HTTP/1.1", b"GET /a b HTTP/1.1"]) + b"\r\n" + _rest(rng)


def _response(rng: random.Random) -> bytes:
    return rng.choice([b"HTTP/1.1 200 OK", b"HTTP/1.1 100 Continue", b"HTTP/1.0 999"]) + b"\r\n" + _rest(rng)


def _rest(rng: random.Random) -> bytes:
    body = b"".join(rng.choice([b"abc", SEPARATOR, b"\r\n\r\n", rng.randbytes(9)]) for _ in range(rng.randrange(4)))
    match rng.randrange(4):
        case 0:
            return b"\r\n" + body
        case 1:
            return b"Content-Length: %d\r\n\r\n" % rng.choice([len(body), len(body), 0, 10**6, 10**17]) + body
        case 2:
            size = rng.choice([len(body), len(body), 2**40])
            return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, body)
        case _:
            return b"A: b\r\n c\r\nno colon\r\n\r\n" + body
