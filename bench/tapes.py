"""Captures made for a measurement: steady arrivals of one small inference call."""

import os
import time
from pathlib import Path

from bench.peers import ANSWER, BODY, PATH
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.exchange import Chunk, Exchange, Flags, Request, Response
from captures.header import Header
from captures.store import create_capture

HEADERS = (("Content-Type", "application/json"),)


def write_steady(path: Path, rate: int, seconds: float) -> int:
    """``rate * seconds`` exchanges, evenly spaced. Returns how many."""
    count = int(rate * seconds)
    header = Header(
        file_id=os.urandom(16),
        recording_id=os.urandom(16),
        kind="recording",
        wall_ns=time.time_ns(),
        producer="shadowtape bench",
    )
    with create_capture(path, header) as tape:
        for start in range(0, count, 1000):
            tape.append(batch_of([_exchange(i * 10**9 // rate) for i in range(start, min(start + 1000, count))]))
            tape.flush(Confessions(seen=min(start + 1000, count)))
        tape.seal(Confessions(seen=count))
    return count


def _exchange(at_ns: int) -> Exchange:
    body, answer = BODY.encode(), ANSWER.encode()
    return Exchange(
        arrival_ns=at_ns,
        request=Request(
            method="POST", target=PATH, headers=HEADERS, chunks=(Chunk(at_ns, body),), end_ns=at_ns, size=len(body)
        ),
        response=Response(
            status=200,
            headers=HEADERS,
            chunks=(Chunk(at_ns + 10**6, answer),),
            first_ns=at_ns + 10**6,
            end_ns=at_ns + 10**6,
            size=len(answer),
        ),
        route="POST /v2/models/{model}/infer",
        codec="oip-v2",
        model="housing",
        flags=Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE,
    )
