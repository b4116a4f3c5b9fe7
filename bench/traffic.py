"""The traffic the capture benches are about: California rows as inference calls, with UUID ids; nearly incompressible by design.

A request body has ~300 bytes, its answer ~150, in JSON; ids stand in the headers and in both bodies, as production has them.
"""

import random
import uuid
from collections.abc import Iterator

import numpy as np

from captures.exchange import Chunk, Exchange, Flags, Request, Response
from shadowtape_demo.housing import FEATURES, load

PATH = "/v2/models/housing/infer"


def exchanges(count: int, rate: float, seed: int = 1) -> Iterator[Exchange]:
    """``count`` exchanges, Poisson arrivals at ``rate`` a second, in order of completion (service times are short)."""
    rows = load("analysis").features
    draw, random_row = random.Random(seed), np.random.default_rng(seed)
    values = [[float(cell) for cell in row] for row in rows]
    names = ",".join(f'"{name}"' for name in FEATURES)
    at_ns = 0.0
    for number in range(count):
        at_ns += random_row.exponential(1e9 / rate)
        yield _exchange(int(at_ns), values[number % len(values)], names, draw, number)


def _exchange(at_ns: int, row: list[float], names: str, draw: random.Random, number: int) -> Exchange:
    request_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
    data = ",".join(map(repr, row))
    body = (
        f'{{"id":"{request_id}","parameters":{{"names":[{names}]}},'
        f'"inputs":[{{"name":"x","shape":[1,8],"datatype":"FP64","data":[{data}]}}]}}'
    ).encode()
    answer = (
        f'{{"model_name":"housing","model_version":"1","id":"{request_id}",'
        f'"outputs":[{{"name":"y","shape":[1],"datatype":"FP64","data":[{draw.random():.6f}]}}]}}'
    ).encode()
    sent_ns, first_ns = at_ns + draw.randrange(60_000, 90_000), at_ns + int(draw.gammavariate(9, 500_000)) + 100_000
    done_ns = first_ns + draw.randrange(20_000, 60_000)
    return Exchange(
        arrival_ns=at_ns,
        request=Request(
            method="POST",
            target=PATH,
            headers=(
                ("Host", "models.example"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("User-Agent", "python-requests/2.32"),
                ("X-Request-Id", request_id),
            ),
            chunks=(Chunk(sent_ns, body),),
            end_ns=sent_ns,
            size=len(body),
        ),
        response=Response(
            status=200,
            reason="OK",
            headers=(("content-type", "application/json"), ("content-length", str(len(answer))), ("server", "uvicorn")),
            chunks=(Chunk(done_ns, answer),),
            first_ns=first_ns,
            end_ns=done_ns,
            size=len(answer),
        ),
        route="POST /v2/models/{model}/infer",
        codec="oip-v2",
        model="housing",
        connection=number % 32 + 1,
        flags=Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE,
    )
