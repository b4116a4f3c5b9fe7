"""Whatever a flow file holds, nothing is raised, every exchange can be kept, and records in front of damage are not touched by it.

Flows are of this version of mitmproxy, with values exchanged anywhere in their state.
"""

import random
import warnings
from functools import cache
from typing import Any

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.importer import ImportOptions, SourceFile
from captures.importers.mitm import Mitm
from fuzz.har import Pieces
from fuzz.mutation import damaged

_ODD: tuple[object, ...] = (
    None,
    0,
    -1,
    1e300,
    float("nan"),
    True,
    [],
    {},
    "",
    b"",
    b"\xff" * 100,
    "x",
    10**30,
    [b"a", b"b"],
)


def case(rng: random.Random) -> None:
    dumps, states = _mitmproxy()
    records = []
    for _ in range(rng.randrange(1, 4)):
        state = _copy(rng.choice(states))
        for _ in range(rng.choice([0, 0, 1, 3])):
            _exchange_something(state, rng)
        records.append(dumps(state))
    sound = [_read(record, rng) for record in records]
    hurt = rng.randrange(len(records))
    spoiled = [damaged(record, rng) if number == hurt else record for number, record in enumerate(records)]
    found = _targets(_read(b"".join(spoiled), rng))
    for number in range(hurt):
        assert all(target in found for target in _targets(sound[number])), "a record in front of the damage is missing"


def _targets(exchanges: list[Exchange]) -> list[str]:
    return [exchange.request.target for exchange in exchanges]


def _read(data: bytes, rng: random.Random) -> list[Exchange]:
    Mitm().sniff(data[:65536])
    items = Mitm().read([SourceFile("x", Pieces(data, rng))], ImportOptions())
    exchanges = [item for item in items if isinstance(item, Exchange)]
    batch_of(exchanges)
    return exchanges


@cache
def _mitmproxy() -> tuple[Any, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports use deprecated names
        from mitmproxy.io import tnetstring
        from mitmproxy.test import tflow
    flows = [tflow.tflow(resp=True), tflow.tflow(err=True), tflow.twebsocketflow(), tflow.ttcpflow()]
    return tnetstring.dumps, [tnetstring.loads(tnetstring.dumps(flow.get_state())) for flow in flows]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _exchange_something(state: Any, rng: random.Random) -> None:
    while True:
        key = rng.choice(list(state)) if isinstance(state, dict) else rng.randrange(len(state))
        if not isinstance(state[key], dict | list) or not state[key] or rng.random() < 0.1:
            state[key] = _copy(rng.choice(_ODD))
            return
        state = state[key]
