"""Whatever a line of a SageMaker data capture holds, nothing is raised, and lines in = exchanges + dropped.

Lines are real ones with parts exchanged, left out, nested and damaged.
"""

import io
import json
import random

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.sagemaker import SageMaker
from fuzz.mutation import damaged

_ODD: tuple[object, ...] = (None, 0, -1, True, [], {}, "", "\ud800", [["x"]], {"data": 1}, "x" * 3000, "!!!", "YWJj")
_TIMES = ("2020-07-30T13:36:30Z", "2020-07-30T13:36:31Z", "2020-07-30T13:36:30.5Z", "1900-01-01T00:00:00Z", "now")


def case(rng: random.Random) -> None:
    lines = [_line(rng) for _ in range(rng.randrange(12))]
    whole = b"\n".join(lines)
    data = damaged(whole, rng) if rng.random() < 0.5 else whole
    items = list(SageMaker().read([SourceFile("capture", io.BytesIO(data))], ImportOptions(seed=rng.randrange(3))))
    SageMaker().sniff(data[:65536])
    exchanges = [item for item in items if isinstance(item, Exchange)]
    batch_of(exchanges)
    read = len(exchanges) + sum(item.count for item in items if isinstance(item, Dropped))
    assert read == sum(1 for line in data.split(b"\n") if line.strip()), "lines were lost, or made up"
    for exchange in exchanges:
        assert exchange.response is None or exchange.response.end_ns == exchange.arrival_ns, "a time was made up"


def _line(rng: random.Random) -> bytes:
    captured: dict[str, object] = {
        side: _side(rng) for side in ("endpointInput", "endpointOutput") if rng.random() < 0.9
    }
    about: dict[str, object] = {"eventId": f"e{rng.randrange(5)}", "inferenceTime": rng.choice(_TIMES)}
    if rng.random() < 0.2:
        about["customAttributes"] = rng.choice([["a=1"], *_ODD])
    record: dict[str, object] = {"captureData": captured, "eventMetadata": about, "eventVersion": "0"}
    for place in (captured, about, record):
        if place and rng.random() < 0.1:
            place[rng.choice(list(place))] = rng.choice(_ODD)
    return json.dumps(record).encode()


def _side(rng: random.Random) -> dict[str, object]:
    encoding, data = rng.choice([("CSV", "1,2\n"), ("JSON", '{"instances":[[1]]}'), ("BASE64", "AAEC"), ("ZIP", "")])
    side: dict[str, object] = {"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": encoding}
    if rng.random() < 0.2:
        side[rng.choice(list(side))] = rng.choice(_ODD)
    return side
