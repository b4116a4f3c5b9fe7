"""Whatever a tap holds, nothing is raised, every exchange can be kept, and damage costs the traces it touches and the next at most.

Traces are buffered and streamed ones with parts exchanged, left out and damaged.
"""

import json
import random

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.envoy_tap import EnvoyTap
from captures.importers.importer import ImportOptions, SourceFile
from fuzz.har import ODD, Pieces
from fuzz.mutation import damaged


def case(rng: random.Random) -> None:
    between, indent = rng.choice([b"", b"\n", b" \n"]), rng.choice([None, 1])
    if rng.random() < 0.5:
        traces = [rng.choice([_buffered, _segment])(rng, number % 3) for number in range(rng.randrange(12))]
        whole = between.join(json.dumps(trace, indent=indent).encode() for trace in traces)
        _read(damaged(whole, rng) if rng.random() < 0.7 else whole, rng)
        return
    texts = [json.dumps(_buffered(rng, number), indent=indent).encode() for number in range(rng.randrange(1, 8))]
    sound = [_paths(_read(text, rng)) for text in texts]
    hurt = rng.randrange(len(texts))
    texts[hurt] = damaged(texts[hurt], rng)
    found = _paths(_read(between.join(texts), rng))
    for number, paths in enumerate(sound):
        if number not in (hurt, hurt + 1) and hurt > 0:  # what does not begin like a tap is not read as one
            assert all(path in found for path in paths), "a trace far from the damage is missing"


def _paths(exchanges: list[Exchange]) -> list[str]:
    return [exchange.request.target for exchange in exchanges]


def _read(data: bytes, rng: random.Random) -> list[Exchange]:
    EnvoyTap().sniff(data[:65536])
    items = EnvoyTap().read([SourceFile("x", Pieces(data, rng))], ImportOptions())
    exchanges = [item for item in items if isinstance(item, Exchange)]
    batch_of(exchanges)
    return exchanges


def _buffered(rng: random.Random, number: int) -> object:
    trace: dict[str, object] = {"request": _message(rng, number), "response": _message(rng, number)}
    if rng.random() < 0.1:
        trace[rng.choice(["request", "response", "downstream_connection"])] = rng.choice(ODD)
    return {rng.choice(["http_buffered_trace", "httpBufferedTrace"]): trace}


def _segment(rng: random.Random, trace_id: int) -> object:
    name = rng.choice(
        ["request_headers", "response_headers", "request_body_chunk", "response_body_chunk", "response_trailers"]
    )
    piece = rng.choice(ODD) if rng.random() < 0.1 else _body(rng) if "body" in name else {"headers": _headers(rng, 1)}
    return {"http_streamed_trace_segment": {"trace_id": rng.choice([trace_id, str(trace_id)]), name: piece}}


def _message(rng: random.Random, number: int) -> dict[str, object]:
    message: dict[str, object] = {"headers": _headers(rng, number), "body": _body(rng)}
    if rng.random() < 0.5:
        message["headers_received_time"] = rng.choice(["2023-11-14T22:13:20.123456789Z", "2023-11-14T22:13:20Z", "x"])
    if rng.random() < 0.1:
        message[rng.choice(list(message))] = rng.choice(ODD)
    return message


def _headers(rng: random.Random, number: int) -> list[object]:
    names = {":method": "POST", ":path": f"/{number}", ":authority": "h", ":status": "200", "content-length": "7"}
    headers: list[object] = [{"key": name, "value": value} for name, value in names.items() if rng.random() < 0.97]
    return [*headers, rng.choice(ODD)] if rng.random() < 0.1 else headers


def _body(rng: random.Random) -> dict[str, object]:
    return {
        rng.choice(["as_bytes", "asBytes", "as_string"]): rng.choice(["AAEC", "{}", *ODD]),
        "truncated": rng.choice([True, False, None]),
    }
