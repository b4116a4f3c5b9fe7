from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from captures.exchange import Flags
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges
from replayer.plan import figures, plan_of
from transforms.catalogue import build_all
from transforms.schedule import Rows, Schedule

SECOND = 1_000_000_000
SENT = Flags.REPLAYABLE | Flags.RECORDED_VALID


def test_what_is_not_inference_is_left_out_counted_and_time_starts_with_what_is_sent() -> None:
    health = example_exchange(arrival_ns=0, route="GET /v2/health/ready", flags=SENT)
    cut = example_exchange(arrival_ns=1, flags=Flags.INFERENCE | Flags.REQUEST_TRUNCATED)
    rest = [example_exchange(arrival_ns=at * SECOND) for at in (5, 6, 7)]

    plan = plan_of([capture_of(capture_bytes([[health, cut, *rest]]))], [], seed=0)

    assert plan.dropped == {"request_truncated": 1, "not_inference": 1}
    assert plan.schedule.at_ns.tolist() == [0, SECOND, 2 * SECOND]
    assert plan.schedule.source.tolist() == [2, 3, 4]
    assert set(plan.label("route")) == {"POST /v2/models/{model}/infer"}


def test_a_dry_run_says_how_much_when_and_how_dangerous() -> None:
    unload = example_exchange(arrival_ns=0, route="POST /v2/repository/models/{model}/unload", flags=SENT)
    captures = [capture_of(capture_bytes([[unload, *example_exchanges(100, SECOND // 10)]], sampling_rate=0.25))]

    plan = plan_of(captures, build_all(["time_scale:factor=5", "amplify:copies=2"]), seed=1, allow_paths=["POST /v2/*"])
    found = figures(plan)

    assert found["rows"] == 202
    assert found["duration_s"] == pytest.approx(99 / 50, abs=0.06)
    assert found["bytes"] == plan.sizes.sum()
    assert found["unsafe"] == [{"method": "POST", "route": "POST /v2/repository/models/{model}/unload", "rows": 2}]
    load = found["load"]
    assert isinstance(load, dict)
    assert load["recording"] == pytest.approx(10, rel=0.1)
    assert load["production"] == pytest.approx(load["recording"] / 4, rel=1e-3)


def test_damage_is_found_before_a_row_is_sent_and_counted() -> None:
    whole = capture_bytes([example_exchanges(5), example_exchanges(5)], segment_bytes=1)
    lost_some = 0
    for offset in range(400, len(whole), 211):
        broken = bytearray(whole)
        broken[offset] ^= 0xFF
        capture = capture_of(bytes(broken))
        plan = plan_of([capture], [], seed=0)
        lost = plan.dropped.get("damaged", 0)
        assert len(plan.schedule) + lost == 10 or capture.damage
        assert len(capture.read(plan.schedule.source)) == len(plan.schedule)
        lost_some += bool(lost)

    assert lost_some


@dataclass(frozen=True)
class Touching:
    """A value rewrite of the second half."""

    kind: ClassVar[Literal["value"]] = "value"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return np.arange(len(schedule)) >= len(schedule) // 2

    def __call__(self, rows: Rows) -> Rows:
        return rows


def test_recorded_statuses_are_known_only_where_the_question_is_the_recorded_one() -> None:
    plan = plan_of([capture_of(capture_bytes([example_exchanges(4)]))], [], seed=0)
    assert plan.recorded_status.tolist() == [200] * 4

    changed = replace(plan, schedule=replace(plan.schedule, rewrites=(Touching(),)))
    assert changed.recorded_status.tolist() == [200, 200, 0, 0]
