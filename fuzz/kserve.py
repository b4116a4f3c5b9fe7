"""Whatever a blob of the inference logger holds, nothing is raised, and every exchange that comes out can be written to a capture.

Records are real ones with parts exchanged, cut, repeated, nested and damaged, whole files of them joined in every way.
"""

import base64
import io
import json
import random

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.kserve import KServe
from fuzz.mutation import damaged

_BODIES = (
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    b'{"instances":[[1.0,2.0]]}',
    b'{"predictions":[NaN]}',
    b"\x89PNG",
    b"",
)
_TIMES = (
    "2024-01-01T00:00:00.123456789Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "",
    None,
    5,
    "2016-12-31T23:59:60+14:00",
)
_ODD: tuple[object, ...] = (None, 0, -1, True, [], {}, "", "\ud800", [[["x"]]], {"a": {"b": 1}}, 1e308, "x" * 3000)


def case(rng: random.Random) -> None:
    records = [_record(rng) for _ in range(rng.randrange(8))]
    data = _joined(records, rng)
    if rng.random() < 0.6:
        data = damaged(data, rng)
    template = rng.choice(["", "", "/v1/models/{model}:predict", "/score"])
    items = list(
        KServe().read(
            [SourceFile("blob", io.BytesIO(data))], ImportOptions(path_template=template, model=rng.choice(["", "m"]))
        )
    )
    KServe().sniff(data[:65536])
    batch_of([item for item in items if isinstance(item, Exchange)])
    assert all(item.count > 0 for item in items if isinstance(item, Dropped)), "a drop of nothing"
    assert len(items) <= 2 * len(records) + data.count(b"{") + data.count(b"[") + 10, "more came out than was in it"


def _record(rng: random.Random) -> dict[str, object]:
    side, identity = rng.choice(["request", "response", "feedback"]), str(rng.randrange(4))
    body, time = rng.choice(_BODIES), rng.choice(_TIMES)
    kind = f"org.kubeflow.serving.inference.{side}"
    encoded = base64.b64encode(body).decode()
    record: dict[str, object] = {
        "url": "s3://logs",
        "bytes": encoded,
        "contentType": "application/json",
        "reqType": kind,
        "id": identity,
        "inferenceService": "house",
        "metadata": {"X-A": ["1"]},
        "occurrenceTime": time,
    }
    if rng.random() < 0.3:
        record = {"specversion": "1.0", "id": identity, "type": kind, "time": time, "data_base64": encoded}
        if rng.random() < 0.5:
            record["data"] = rng.choice([json.loads(_BODIES[1]), *_ODD])
            del record["data_base64"]
    elif rng.random() < 0.5:
        record = {key[:1].upper() + key[1:]: value for key, value in record.items()}
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        record[rng.choice(list(record))] = rng.choice(_ODD)
    return record


def _joined(records: list[dict[str, object]], rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return json.dumps(records, indent=rng.choice([None, 1])).encode()
    joint = rng.choice(["", "\n", ",", " \r\n", "]["])
    return joint.join(json.dumps(record) for record in records).encode()
