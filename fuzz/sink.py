"""Whatever a sender writes, and however it is cut, nothing is raised, every request counts once, and what is kept can be unpacked.

Senders pipeline copies and logger events, whole, damaged and cut off; what was cut differently is recorded the same.
"""

import itertools
import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from captures.exchange import FailureKind
from fuzz.mutation import damaged
from recorder.board import ROW_SIZE, Count
from recorder.frames import pack_wire
from recorder.pairing import Pairing
from recorder.recording import Limits, Recording
from recorder.sink import Sink, _Connection
from recorder.strict_http import HEAD_LIMIT
from recorder.unpack import unpack_wire
from recorder.wire import WireExchange

if TYPE_CHECKING:
    import asyncio

    from recorder.service import Seat

_TYPE = "org.kubeflow.serving.inference."
_BODIES = (
    b'{"inputs":[{"shape":[1]}]}',
    b'{"instances":[1]}',
    b"",
    b"\x00\xff",
    b"x" * 3000,
    b"POST / HTTP/1.1\r\n\r\n",
)
_ROW = ROW_SIZE
_LIMITS = Limits(body=2000, memory=5000)


def case(rng: random.Random) -> None:
    sent = b"".join(rng.choice([_copy, _event])(rng) for _ in range(rng.randrange(1, 7)))
    if rng.random() < 0.6:
        sent = damaged(sent, rng)
    one, other = _received([sent]), _received(_cut(sent, rng))
    if not any(row[Count.SHED] for _, row in (one, other)):  # what is in memory at a time depends on the pieces
        assert one == other, "cut differently, recorded differently"


def _received(pieces: list[bytes]) -> tuple[list[object], list[int]]:
    """What was kept, and the counts that do not depend on how it came."""
    kept: list[WireExchange] = []
    row = [0] * _ROW

    def offer(exchange: WireExchange) -> bool:
        kept.append(exchange)
        return True

    recording = Recording(offer, row, None, _LIMITS)
    pairing = Pairing(recording)
    seat = SimpleNamespace(board=SimpleNamespace(rows=[row]), worker=0)
    sink = Sink(cast("Seat", seat), recording, pairing, lambda: 5)
    sink.over = lambda exchange, *, event: pairing.take(exchange, 5) if event else recording.keep(exchange)  # type: ignore[method-assign]  # no loop here
    connection = _Connection(sink, 1)
    transport = _Transport()
    connection.connection_made(cast("asyncio.BaseTransport", transport))
    for piece in pieces:
        connection.data_received(piece)
        assert len(connection._parser._held) <= HEAD_LIMIT + max(map(len, pieces))  # noqa: SLF001 - what waits is bounded
    connection.connection_lost(None)
    pairing.finish()
    assert row[Count.BEGAN] == row[Count.SEEN], "an exchange was lost"
    assert row[Count.SEEN] == sum(row[each] for each in (Count.OFFERED, Count.SHED, Count.OWN, Count.UNPARSED))
    assert row[Count.HELD_BYTES] == row[Count.OPEN_CONNECTIONS] == 0
    told: list[object] = []
    for exchange in kept:
        assert exchange.request.held == sum(len(data) for _, data in exchange.request.chunks) <= _LIMITS.body
        found = unpack_wire(json_like(pack_wire(exchange)))
        assert (found.failure is None) == (exchange.failure is FailureKind.NONE)
        whole = exchange.request.end_ns >= 0 and not exchange.request.truncated
        told.append(
            (exchange.request_head, found.request.body if whole else b"", exchange.response_head, exchange.failure)
        )
    row[Count.RELAYED_IN_BYTES] = 0  # what comes after the last request of a connection is not read, if it comes later
    return told, row


def json_like(packed: object) -> object:
    """Lists as tuples, as they come out of msgpack."""
    return tuple(json_like(each) for each in packed) if isinstance(packed, list | tuple) else packed


class _Transport:
    def __init__(self) -> None:
        self._closing = False

    def write(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 ")
        assert not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


def _cut(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.choice([1, 3, 40])))})
    return [data[start:stop] for start, stop in itertools.pairwise(cuts)]


def _copy(rng: random.Random) -> bytes:
    lines = [
        rng.choice(
            ["POST /v2/models/m/infer HTTP/1.1", "GET / HTTP/1.0", "POST http://a/b HTTP/1.1", "PRI * HTTP/2.0"]
        ),
        rng.choice(["Host: a-shadow:80", "host: b", "Host: -shadow"]),
        *rng.sample(
            ["Connection: close", "Expect: 100-continue", "X-Shadowtape-Run: r", "A:", "Connection: keep-alive"], 1
        ),
    ]
    return _with_body(lines, rng.choice(_BODIES), rng)


def _event(rng: random.Random) -> bytes:
    side, identity = rng.choice(["request", "response", "other"]), rng.choice("123")
    data = rng.choice(_BODIES)
    if rng.random() < 0.5:
        lines = [
            "POST / HTTP/1.1",
            f"Ce-Id: {identity}",
            f"Ce-Type: {_TYPE}{side}",
            rng.choice(["Ce-Time: x", "Ce-Namespace: %zz"]),
        ]
        return _with_body(lines, data, rng)
    record = {
        "specversion": "1.0",
        "id": identity,
        "type": _TYPE + side,
        "data": data.decode("latin-1"),
        "inferenceservicename": "m",
    }
    text = json.dumps(rng.choice([record, [record, record], [], record | {"data": None}, "x"])).encode()
    return _with_body(["POST / HTTP/1.1", "Content-Type: application/cloudevents+json"], text, rng)


def _with_body(lines: list[str], body: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        cut = rng.randrange(len(body) + 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
        return _head([*lines, "Transfer-Encoding: chunked"]) + chunks + b"0\r\n\r\n"
    return _head([*lines, f"Content-Length: {len(body)}"]) + body


def _head(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
