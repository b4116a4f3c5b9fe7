from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from transforms.schedule import Schedule
from transforms.testing import UntouchableView, check_transform
from transforms.time_scale import TimeScale, divided
from transforms.transform import apply

NS = 1_000_000_000


def schedule(at_ns: list[int]) -> Schedule:
    n = len(at_ns)
    return Schedule(
        np.array(at_ns, dtype=np.int64),
        np.arange(n, dtype=np.int64),
        np.zeros(n, dtype=np.uint32),
        np.zeros(n, dtype=np.uint64),
    )


@pytest.mark.parametrize("factor", ["5", "0.5", "1", "3.14159265358979323846"])
def test_time_scale_keeps_every_promise_of_a_transform(factor: str) -> None:
    check_transform(TimeScale(factor))


@pytest.mark.parametrize(
    ("factor", "at_ns", "expected"),
    [
        ("5", [0, 1 * NS, 10 * NS], [0, NS // 5, 2 * NS]),
        ("0.5", [0, 1, 7], [0, 2, 14]),
        ("3", [0, 1, 2, 3, 4], [0, 0, 1, 1, 1]),
        ("2", [0, 1, 3], [0, 1, 2]),  # ties go up
        ("1", [0, 2**62], [0, 2**62]),
        (0.1, [0, 3], [0, 30]),  # one tenth exactly, not its nearest double
        ("5", [], []),
    ],
)
def test_times_are_divided_from_the_origin(factor: Any, at_ns: list[int], expected: list[int]) -> None:
    scaled = TimeScale(factor)(schedule(at_ns), UntouchableView(), np.random.default_rng(0))

    assert scaled.at_ns.tolist() == expected


FACTORS = st.one_of(
    st.decimals("0.001", "1000", places=3).map(Fraction),
    st.fractions(Fraction(1, 50), 50, max_denominator=10**25),
)


@given(st.lists(st.integers(0, 2**57), max_size=20), FACTORS)
def test_every_time_is_within_half_a_nanosecond_of_the_exact_one(times: list[int], factor: Fraction) -> None:
    times.sort()
    if times and times[-1] / factor > 2**62:
        return
    scaled = divided(np.array(times, dtype=np.int64), factor)

    assert all(
        abs(Fraction(new) - old / factor) <= Fraction(1, 2) for old, new in zip(times, scaled.tolist(), strict=True)
    )


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20), st.integers(1, 10**6), st.integers(1, 10**6))
def test_both_ways_of_computing_agree(times: list[int], p: int, q: int) -> None:
    times.sort()
    factor = Fraction(p, q)
    exact = [(2 * at * factor.denominator + factor.numerator) // (2 * factor.numerator) for at in times]
    if exact[-1] > 2**63 - 1:
        with pytest.raises(UsageError, match="292 years"):
            divided(np.array(times, dtype=np.int64), factor)
        return

    assert divided(np.array(times, dtype=np.int64), factor).tolist() == exact


def test_scaling_up_and_down_again_never_accumulates() -> None:
    at_ns = np.sort(np.random.default_rng(3).integers(0, 10**15, 1000))
    view = UntouchableView()
    there_and_back = apply(schedule(at_ns.tolist()), view, [TimeScale("0.3"), TimeScale("10/3")], 1)

    assert np.abs(there_and_back.at_ns - at_ns).max() <= 1


@pytest.mark.parametrize("factor", ["0", "-2", 0])
def test_a_factor_is_above_zero(factor: Any) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        TimeScale(factor)
