import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.fold import MOST_BINS, PER_MILLE, numbers, rank, series, spread_ms

MS, SECOND = 1_000_000, 1_000_000_000


def attempts_of(n: int, *, every_ns: int = 10 * MS, late_ns: int = 0, service_ns: int = 5 * MS) -> Attempts:
    """Rows that all completed."""
    attempts = Attempts.for_schedule("target", np.arange(n, dtype=np.int64) * every_ns)
    attempts.dispatched_ns[:] = attempts.intended_ns + late_ns
    attempts.first_byte_ns[:] = attempts.dispatched_ns + service_ns // 2
    attempts.first_chunk_ns[:] = attempts.dispatched_ns + service_ns // 2
    attempts.done_ns[:] = attempts.dispatched_ns + service_ns
    attempts.status[:] = 200
    attempts.failure[:] = FailureKind.NONE
    return attempts


def fail(attempts: Attempts, row: int, kind: FailureKind) -> None:
    attempts.failure[row] = kind
    attempts.status[row] = 0
    attempts.first_byte_ns[row] = attempts.first_chunk_ns[row] = -1
    if kind is FailureKind.SHED:
        attempts.dispatched_ns[row] = -1
        attempts.done_ns[row] = attempts.intended_ns[row]
    if kind is FailureKind.UNSENT:
        attempts.dispatched_ns[row] = attempts.done_ns[row] = -1


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300))
def test_a_percentile_is_the_smallest_value_with_that_share_at_or_below_it(values: list[int]) -> None:
    spread = spread_ms(np.array(values, dtype=np.int64))

    for name, per_mille in PER_MILLE.items():
        enough = [
            value
            for value in sorted(values)
            if sum(other <= value for other in values) >= Fraction(per_mille * len(values), 1000)
        ]
        assert spread[name] == round(enough[0] / MS, 6)
    assert spread["max"] == round(max(values) / MS, 6)
    assert spread["n"] == len(values)


def test_ranks_are_computed_in_integers() -> None:
    assert rank(100, 70) == 6  # 0.07 * 100 is 7.000000000000001
    assert (rank(1, 500), rank(1, 999), rank(1000, 999), rank(0, 500)) == (0, 0, 998, 0)


def test_nothing_measured_gives_none_and_says_zero() -> None:
    assert spread_ms(np.zeros(0, dtype=np.int64)) == dict.fromkeys(["p50", "p90", "p99", "p999", "max", "mean"]) | {
        "n": 0
    }


def test_every_row_is_counted_exactly_once() -> None:
    attempts = attempts_of(10)
    for row, kind in enumerate(
        [FailureKind.RESET, FailureKind.TIMEOUT, FailureKind.SHED, FailureKind.SHED, FailureKind.UNSENT]
    ):
        fail(attempts, row, kind)
    attempts.status[9] = 503

    found = numbers(attempts)

    assert found["rows"] == {"scheduled": 10, "completed": 5, "failed": 2, "shed": 2, "unsent": 1}
    assert found["failures"] == {"reset": 1, "timeout": 1, "shed": 2}
    assert found["status"] == {"200": 4, "503": 1}
    assert found["service_ms"]["n"] == 5  # type: ignore[index]  # a spread
    assert found["lateness_ms"]["n"] == 7  # type: ignore[index]  # all that were dispatched


def test_the_three_times_are_told_apart() -> None:
    found = numbers(attempts_of(3, late_ns=2 * MS, service_ns=5 * MS))

    assert [found[name]["p50"] for name in ("lateness_ms", "service_ms", "response_ms", "ttft_ms")] == [2, 5, 7, 4.5]  # type: ignore[index]  # spreads


def test_rates_are_of_the_time_they_took() -> None:
    found = numbers(attempts_of(101, every_ns=10 * MS, service_ns=1000 * MS))

    assert found["offered_rps"] == 100.0
    assert found["duration_s"] == 2.0
    assert found["achieved_rps"] == 50.5


def test_a_run_that_sent_nothing_has_numbers_too() -> None:
    for n in (0, 3):
        attempts = Attempts.for_schedule("target", np.arange(n, dtype=np.int64))
        found = numbers(attempts)
        assert (found["offered_rps"], found["achieved_rps"], found["duration_s"]) == (0, 0, 0)
        assert found["rows"] == {"scheduled": n, "completed": 0, "failed": 0, "shed": 0, "unsent": n}
        assert len(series(attempts)["t_s"]) == 1  # type: ignore[arg-type]  # a list


def test_the_series_adds_up() -> None:
    attempts = attempts_of(1000, every_ns=10 * MS)
    fail(attempts, 150, FailureKind.RESET)
    fail(attempts, 250, FailureKind.SHED)
    attempts.status[350] = 503

    found = series(attempts)

    assert found["bin_s"] == 0.1
    assert sum(found["scheduled"]) * 0.1 == pytest.approx(1000)  # type: ignore[call-overload]  # a list of numbers
    assert sum(found["achieved"]) * 0.1 == pytest.approx(998)  # type: ignore[call-overload]  # as above
    assert np.flatnonzero(found["errors"]).tolist() == [15, 25, 35]  # type: ignore[arg-type]  # as above
    assert found["p99"] == [5.0] * 100
    assert found["lateness_max"] == [0.0] * 100


@pytest.mark.parametrize(
    ("seconds", "bin_s"), [(0.4, 0.01), (1.3, 0.02), (4.8, 0.05), (59, 0.5), (119, 1), (121, 2), (3600, 31)]
)
def test_the_bins_of_a_series_fit_the_run(seconds: float, bin_s: float) -> None:
    found = series(attempts_of(2, every_ns=round(seconds * SECOND)))
    assert found["bin_s"] == bin_s
    assert len(found["t_s"]) <= MOST_BINS  # type: ignore[arg-type]  # a list


@given(st.integers(1, 400), st.integers(1, 100))
def test_a_series_is_short_however_long_the_run(rows: int, every_s: int) -> None:
    found = series(attempts_of(rows, every_ns=every_s * SECOND))

    lengths = {len(values) for values in found.values() if isinstance(values, list)}
    assert len(lengths) == 1
    assert lengths.pop() <= MOST_BINS + 1
    assert math.isclose(sum(found["scheduled"]) * found["bin_s"], rows, abs_tol=0.5)  # type: ignore[call-overload]  # as above
