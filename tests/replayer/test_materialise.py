from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Chunk, Exchange, Request
from captures.reader import Capture
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges
from replayer.materialise import Materialiser
from transforms.plan import schedule_of
from transforms.schedule import Rows, Schedule
from transforms.view import View

RUN = "0123456789abcdef"


def capture(exchanges: Sequence[Exchange]) -> Capture:
    return capture_of(capture_bytes([exchanges]))


def asking(headers: tuple[tuple[str, str], ...], **changes: object) -> Exchange:
    request = example_exchange().request
    return example_exchange(request=replace(request, headers=headers, **changes))  # type: ignore[arg-type]  # as the test wrote them


def materialiser(*captures: Capture, headers: tuple[tuple[str, str], ...] = ()) -> tuple[Materialiser, Schedule]:
    schedule, _ = schedule_of(captures)
    return Materialiser(View(captures), schedule, RUN, headers), schedule


def test_only_headers_that_decide_how_a_body_is_read_are_sent() -> None:
    recorded = (
        ("Host", "model.prod.example"),
        ("Authorization", "redacted"),
        ("Cookie", "a=b"),
        ("Connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "999"),
        ("X-Shadowtape-Run", "an older run"),
        ("traceparent", "00-1-1-01"),
        ("Content-Type", "application/json"),
        ("Accept", "stk1_abcdefghij"),
        ("x-request-id", "stk1_abcdefghij"),
        ("Inference-Header-Content-Length", "17"),
    )
    made, _ = materialiser(capture([asking(recorded)]))

    (wire,) = made.wires(np.array([0]))

    names = {name.lower(): value for name, value in wire.headers}
    assert set(names) == {
        "content-type",
        "inference-header-content-length",
        "x-request-id",
        "x-shadowtape-run",
        "traceparent",
    }
    assert names["x-shadowtape-run"] == RUN
    assert made.not_sent["authorization"] == 1
    assert made.not_sent["accept"] == 1


def test_credentials_stand_in_for_recorded_headers_of_the_same_name() -> None:
    made, _ = materialiser(
        capture([asking((("content-type", "text/plain"),))]), headers=(("Content-Type", "application/json"),)
    )

    (wire,) = made.wires(np.array([0]))

    assert [value for name, value in wire.headers if name.lower() == "content-type"] == ["application/json"]


def test_every_row_is_a_trace_of_its_own() -> None:
    made, _ = materialiser(capture(example_exchanges(3)))

    traces = [dict(wire.headers)["traceparent"] for wire in made.wires(np.arange(3))]

    assert len(set(traces)) == 3
    for trace in traces:
        version, trace_id, span_id, flags = trace.split("-")
        assert (version, len(trace_id), len(span_id), flags) == ("00", 32, 16, "00")
        assert int(span_id, 16) > 0
        assert trace_id.startswith(RUN)


def test_bytes_do_not_depend_on_how_rows_are_batched_or_ordered() -> None:
    one = capture(example_exchanges(5))
    two = capture([asking((), target=f"/v1/models/m:predict?n={i}", method="PUT") for i in range(4)])
    made, schedule = materialiser(one, two)
    rows = np.arange(len(schedule))

    together = made.wires(rows)

    assert [made.wires(rows[i : i + 1])[0] for i in rows] == together
    assert made.wires(rows[::-1]) == together[::-1]
    assert {wire.method for wire in together} == {"POST", "PUT"}
    assert [made.targets[number] for number in made.target_of] == [wire.target for wire in together]


@dataclass(frozen=True)
class Stamp:
    """A rewrite that says what it was given."""

    kind: ClassVar[Literal["identity"]] = "identity"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return np.ones(len(schedule), dtype=np.bool_)

    def __call__(self, rows: Rows) -> Rows:
        name = rows.codec.name if rows.codec is not None else "none"
        assert len(set(rows.targets)) == 1, "a batch is of one route"
        bodies = [b"%d.%d %s" % (s, v, name.encode()) for s, v in zip(rows.source, rows.variant, strict=True)]
        return replace(rows, bodies=bodies)


def test_rewrites_get_batches_of_one_route_and_rows_keep_their_places() -> None:
    other = Request(method="POST", target="/predict", chunks=(Chunk(9, b"x"),), end_ns=9, size=1)
    predict = example_exchange(request=other, route="POST /predict", codec="opaque")
    mixed = [
        replace(predict, arrival_ns=at, request=replace(other, end_ns=at))
        if at % 2
        else example_exchange(arrival_ns=at)
        for at in range(6)
    ]
    mixed = [replace(one, response=None) if place % 2 else one for place, one in enumerate(mixed)]
    view = View([capture(mixed)])
    schedule, _ = schedule_of(view.captures)
    schedule = replace(schedule, rewrites=(Stamp(),), variant=np.array([0, 0, 0, 1, 1, 1], dtype=np.uint32))

    wires = Materialiser(view, schedule, RUN).wires(np.arange(6))

    assert [wire.body.decode().split()[0] for wire in wires] == ["0.0", "1.0", "2.0", "3.1", "4.1", "5.1"]
    assert [wire.body.decode().split()[1] for wire in wires] == ["oip-v2", "opaque"] * 3
    assert [wire.target for wire in wires][1] == "/predict"


def test_targets_without_end_are_not_remembered_without_end() -> None:
    many = [asking((), target=f"/v2/models/m{i}/infer") for i in range(5000)]
    made, schedule = materialiser(capture(many))
    made.wires(np.arange(len(schedule)))

    assert len(made.targets) < 4200
    assert made.targets[made.target_of[-1]] == ""
