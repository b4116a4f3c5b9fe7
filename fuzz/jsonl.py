"""Whatever happened to an export: what is believed is exactly what was exported; by hand, nobody can claim more than may be.

Nothing is raised, and a line that cannot be read is dropped without being quoted.
"""

import json
import random

from captures.exchange import Exchange, Flags
from captures.exporters.jsonl import JsonlExporter
from captures.importer_testing import check_items, read_all
from captures.importers.importer import Provenance
from captures.importers.jsonl import Jsonl
from captures.importers.moved import moved
from captures.testing import example_exchange, example_header
from fuzz.mutation import damaged

HEADER = example_header(policy={"version": 1}, policy_digest="digest")
VALUES: list[object] = [
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    2**70,
    "",
    "x",
    "\ud800",
    [],
    [[0, 1]],
    [["a", "b"]],
    {},
    {"base64": "eA=="},
]
KEYS = {
    "": ["arrival_ns", "request", "response", "failure", "flags", "labels", "origin", "session", "connection", "seal"],
    "request": ["method", "target", "headers", "end_ns", "size", "body", "chunks"],
    "response": ["status", "reason", "headers", "first_ns", "end_ns", "size", "body", "chunks"],
    "failure": ["kind", "at_ns", "detail"],
}


def case(rng: random.Random) -> None:
    if rng.random() < 0.5:
        _exported(rng)
    else:
        _by_hand(rng)


def _exported(rng: random.Random) -> None:
    written = [example_exchange(arrival_ns=i * 1000, session=rng.getrandbits(64)) for i in range(rng.randrange(1, 6))]
    data = damaged(b"".join(JsonlExporter(exchanges=len(written)).write(HEADER, written, {})), rng)
    items = read_all(Jsonl(), [data])
    check_items(items, data, "jsonl")
    if any(isinstance(item, Provenance) for item in items):
        survivors = [moved(item, -HEADER.wall_ns) for item in items if isinstance(item, Exchange)]
        assert all(survivor in written for survivor in survivors), "an exchange that was not exported is believed"


def _by_hand(rng: random.Random) -> None:
    line: dict[str, object] = {"arrival_ns": 10**18, "request": {"method": "GET", "target": "/"}}
    line |= _some(rng, "")
    for part in ("request", "response", "failure"):
        inner = line.get(part)
        if rng.random() < 0.5:
            line[part] = (inner if isinstance(inner, dict) else {}) | _some(rng, part)
    data = json.dumps(line).encode()
    items = read_all(Jsonl(), [damaged(data, rng) if rng.random() < 0.3 else data])
    check_items(items, data, "jsonl")
    for item in items:
        if isinstance(item, Exchange):
            claims = item.flags & ~(Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED | Flags.STREAM)
            assert (claims, item.labels, item.session) == (Flags(0), (), 0), "a file made by hand is believed"


def _some(rng: random.Random, part: str) -> dict[str, object]:
    return {rng.choice(KEYS[part]): rng.choice(VALUES) for _ in range(rng.randrange(3))}
