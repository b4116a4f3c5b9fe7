"""Whatever a HAR holds, nothing is raised, every exchange can be kept, and damage costs its entry and the next at most.

The scanner underneath is tried with pieces of every size.
"""

import io
import json
import random

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.har import Har
from captures.importers.importer import ImportOptions, SourceFile
from fuzz.mutation import damaged

ODD: tuple[object, ...] = (
    None,
    0,
    -1,
    1e300,
    True,
    [],
    {},
    "",
    "\ud800é",
    [["x", "y"]],
    {"name": 1},
    "x" * 3000,
    10**30,
    "AA==",
)


def case(rng: random.Random) -> None:
    entries = [_entry(rng, number) for number in range(rng.randrange(8))]
    indent = rng.choice([None, None, 1])
    texts = [json.dumps(entry, indent=indent).encode() for entry in entries]
    if rng.random() < 0.5:
        whole = _har(texts)
        read(damaged(whole, rng) if rng.random() < 0.7 else whole, rng)
        return
    sound = [[item for item in read(_har([text]), rng) if isinstance(item, Exchange)] for text in texts]
    hurt = rng.randrange(len(texts)) if texts else 0
    spoiled = [damaged(text, rng) if number == hurt else text for number, text in enumerate(texts)]
    found = [item for item in read(_har(spoiled), rng) if isinstance(item, Exchange)]
    for number, exchanges in enumerate(sound):
        if number not in (hurt, hurt + 1):
            assert all(exchange in found for exchange in exchanges), "an entry far from the damage is missing"


def read(data: bytes, rng: random.Random) -> list[object]:
    Har().sniff(data[:65536])
    items: list[object] = list(Har().read([SourceFile("x", Pieces(data, rng))], ImportOptions()))
    batch_of([item for item in items if isinstance(item, Exchange)])
    return items


class Pieces(io.BytesIO):
    """A stream that gives what it likes, up to what it is asked for."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        super().__init__(data)
        self._sizes = rng.choice([(1 << 20,), (1 << 20,), (1, 7, 300)])
        self._rng = rng

    def read(self, size: int | None = -1) -> bytes:
        most = self._rng.choice(self._sizes)
        return super().read(most if size is None or size < 0 else min(size, most))


def _har(texts: list[bytes]) -> bytes:
    return b'{"log": {"version": "1.2", "entries": [' + b",\n".join(texts) + b'], "comment": "x"}}'


def _entry(rng: random.Random, number: int) -> object:
    headers = [{"name": "Content-Type", "value": rng.choice(["application/json", "text/plain; charset=utf-16", ""])}]
    request: dict[str, object] = {
        "method": "POST",
        "url": f"http://h/{number}",
        "httpVersion": "h2",
        "headers": headers,
        "bodySize": rng.choice([-1, 0, 2, 90]),
        "postData": {"mimeType": "a/b", "text": rng.choice(["{}", "é\udcff", ""]), "params": []},
    }
    content: dict[str, object] = {"size": rng.choice([0, 2, 80]), "text": rng.choice(["{}", "AAEC", '{["\\'])}
    if rng.random() < 0.3:
        content["encoding"] = "base64"
    response: dict[str, object] = {"status": rng.choice([0, 200, 304, 503]), "headers": headers, "content": content}
    timings: dict[str, object] = {"send": 1, "wait": rng.choice([-1, 0.5]), "receive": 2.25}
    entry: dict[str, object] = {
        "startedDateTime": "2023-03-30T00:13:38.123Z",
        "time": 4,
        "request": request,
        "response": response,
        "timings": timings,
    }
    for place in (request, content, response, timings, entry):
        if rng.random() < 0.1:
            place[rng.choice(list(place))] = rng.choice(ODD)
    return entry
