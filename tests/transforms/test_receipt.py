import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from transforms.amplify import Amplify
from transforms.noise import Noise
from transforms.plan import schedule_of
from transforms.receipt import effective_sample_size, receipt, timing
from transforms.receipt_text import text
from transforms.schedule import DTYPES, Schedule
from transforms.testing import example_captures
from transforms.time_scale import TimeScale
from transforms.transform import Transform, apply, describe
from transforms.view import View

NS = 1_000_000_000


def proof(*chain: Transform, count: int = 200, **options: Any) -> dict[str, Any]:
    captures = example_captures(count)
    view = View(captures)
    plan, dropped = schedule_of(captures)
    made = apply(plan, view, chain, 7)
    result = receipt(plan, made, view, chain=[describe(one) for one in chain], seed=7, dropped=dropped, **options)
    return cast("dict[str, Any]", json.loads(json.dumps(result, allow_nan=False)))


def schedule(at_ns: list[int]) -> Schedule:
    n = len(at_ns)
    return Schedule(
        np.array(at_ns, dtype=np.int64),
        np.arange(n, dtype=np.int64),
        np.zeros(n, dtype=np.uint32),
        np.zeros(n, dtype=np.uint64),
    )


def test_doing_nothing_leaves_everything_identical() -> None:
    done = proof()

    assert done["features"] == {}
    assert done["unchanged_features"] == {"names": ["amount", "rate", "count"], "identical": True}
    assert done["contents"]["bodies_changed"] == 0
    assert done["schedule"]["before"] == done["schedule"]["after"]
    assert done["rows"] == {"in": 201, "dropped": {}, "planned": 201, "out": 201}


def test_noise_is_measured_beside_what_was_asked() -> None:
    numbers = proof(Noise("amount", "0.5", "40%"), count=600)["features"]["amount"]

    assert numbers["asked"] == {"change_sd": 0.5, "share": 0.4}
    assert numbers["change_sd"] == pytest.approx(0.5, rel=0.12)
    assert numbers["share"] == pytest.approx(0.4, abs=0.06)
    assert abs(numbers["delta_mean_sd"]) < 0.1
    assert numbers["delta_missing"] == 0


def test_every_measure_grows_with_the_noise() -> None:
    measured = [proof(Noise("amount", sd))["features"]["amount"] for sd in (0.1, 0.5, 2)]

    for key in ("change_sd", "psi", "ks", "wasserstein_sd", "sd_after"):
        sizes = [numbers[key] for numbers in measured]
        assert sizes == sorted(sizes), key


def test_untouched_features_are_named_as_identical() -> None:
    done = proof(Noise("amount", 1))

    assert list(done["features"]) == ["amount"]
    assert done["unchanged_features"]["names"] == ["rate", "count"]
    assert done["contents"] == {
        "value_touched": 200,
        "identity_touched": 0,
        "sampled": 201,
        "of": 201,
        "bodies_changed": 200,
        "untouched_sampled": 1,
        "untouched_identical": True,
    }


def test_a_feature_that_was_asked_for_is_reported_even_where_nothing_came_of_it() -> None:
    numbers = proof(Noise("amount", 0))["features"]["amount"]

    assert numbers["share"] == numbers["change_sd"] == numbers["psi"] == 0


def test_large_schedules_are_sampled_and_say_so() -> None:
    done = proof(Amplify(3), Noise("amount", "0.5"), sampled_rows=100)

    assert done["contents"]["sampled"] == 100
    assert done["contents"]["of"] == 603
    assert done == proof(Amplify(3), Noise("amount", "0.5"), sampled_rows=100)


def test_times_are_told_before_and_after() -> None:
    done = proof(TimeScale(4))["time"]

    assert done["after"]["duration_s"] == pytest.approx(done["before"]["duration_s"] / 4)
    assert done["after"]["mean_rps"] == pytest.approx(done["before"]["mean_rps"] * 4)
    assert done["after"]["gap_cv"] == pytest.approx(done["before"]["gap_cv"])


@pytest.mark.parametrize(
    ("at_ns", "expected"),
    [
        ([], {"duration_s": 0, "mean_rps": None, "peak_rps": 0, "gap_cv": None}),
        ([0], {"duration_s": 0, "mean_rps": None, "peak_rps": 1, "gap_cv": None}),
        ([0, 0], {"duration_s": 0, "mean_rps": None, "peak_rps": 2, "gap_cv": None}),
        ([0, NS, 2 * NS], {"duration_s": 2, "mean_rps": 1.5, "peak_rps": 1, "gap_cv": 0}),
        ([0, 1, 2, 10**6 * NS], {"duration_s": 10**6, "mean_rps": 4e-6, "peak_rps": 3}),
    ],
)
def test_timing_of_small_schedules(at_ns: list[int], expected: dict[str, float]) -> None:
    measured = timing(schedule(at_ns))

    assert {key: measured[key] for key in expected} == expected


def test_the_sample_is_worth_as_many_sources_as_it_spreads_over() -> None:
    plan = schedule([0, 1, 2, 3])
    at_ns, source, variant, session = (np.repeat(getattr(plan, name), 3) for name in DTYPES)
    copied = Schedule(at_ns, source, variant, session)
    one_only = replace(plan, source=np.zeros(4, dtype=np.int64))

    assert effective_sample_size(plan, copied) == {"sources": 4, "size": 4.0, "share": 1.0}
    assert effective_sample_size(plan, one_only) == {"sources": 4, "size": 1.0, "share": 0.25}
    assert effective_sample_size(Schedule.empty(), Schedule.empty()) == {"sources": 0, "size": 0.0, "share": None}


def test_a_receipt_of_nothing_is_still_a_receipt() -> None:
    captures = example_captures(3)
    empty = receipt(Schedule.empty(), Schedule.empty(), View(captures), chain=[], seed=0)

    assert json.loads(json.dumps(empty, allow_nan=False))["rows"]["out"] == 0
    assert "chain      nothing" in text(empty)


def test_the_receipt_for_people_says_the_same() -> None:
    done = proof(TimeScale(5), Amplify(2), Noise("amount", "0.5", "40%"))
    done["contents"]["responses_dropped"] = 123
    lines = text(done).splitlines()

    assert (
        lines[0]
        == "chain      time_scale:factor=5 → amplify:copies=2 → noise:feature=amount,sd=0.5,share=40%  (seed 7)"
    )
    assert lines[1] == "rows       201 in, 402 out"
    assert "123 recorded responses dropped" in text(done)
    assert "measured   on all 402 rows, bodies decoded again" in lines
    (row,) = [line for line in lines if line.startswith("amount")]
    assert row.endswith("change_sd 0.5, share 0.4")
    assert lines[-1] == "identical  rate, count"


def test_what_was_left_out_is_said() -> None:
    done = proof() | {"rows": {"in": 10, "dropped": {"request_truncated": 3}, "planned": 7, "out": 7}}

    assert "rows       10 in, 7 out; dropped: 3 request_truncated" in text(done)
