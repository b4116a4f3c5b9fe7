"""Percentiles and distinct keys: exact while there are few, within the stated error when there are many."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from captures.quantiles import PERCENTILE_ERROR, PERCENTILES, Distinct, Quantiles, Seconds

numbers = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5000), min_size=1, max_size=60)


def nearest_rank(values: list[int], thousandths: int) -> int:
    return sorted(values)[max(math.ceil(len(values) * thousandths / 1000) - 1, 0)]


@settings(deadline=None)  # slow machines are no finding
@given(numbers, st.integers(1, 5))
def test_few_values_give_exact_percentiles_however_they_come(values: list[int], parts: int) -> None:
    quantiles = Quantiles()
    for part in np.array_split(np.array(values, dtype=np.int64), parts):
        quantiles.add(part)

    found = quantiles.summary()

    assert quantiles.exact
    assert found["n"] == len(values)
    assert found["max"] == float(max(values))
    assert found["mean"] == pytest.approx(sum(values) / len(values))
    for name, thousandths in PERCENTILES.items():
        assert found[name] == float(nearest_rank(values, thousandths))


@settings(deadline=None)  # slow machines are no finding
@given(numbers, st.integers(1, 5))
def test_many_values_give_percentiles_within_the_stated_error(values: list[int], parts: int) -> None:
    quantiles = Quantiles(exact=0)
    for part in np.array_split(np.array(values, dtype=np.int64), parts):
        quantiles.add(part)

    found = quantiles.summary()

    assert not quantiles.exact
    assert (found["n"], found["max"]) == (len(values), float(max(values)))
    for name, thousandths in PERCENTILES.items():
        assert found[name] == pytest.approx(nearest_rank(values, thousandths), rel=PERCENTILE_ERROR, abs=1e-6)


def test_a_unit_divides_and_nothing_gives_nothing() -> None:
    quantiles = Quantiles()
    assert quantiles.summary() == dict.fromkeys((*PERCENTILES, "max", "mean")) | {"n": 0}

    quantiles.add(np.array([2_000_000, 4_000_000]))

    assert quantiles.summary(1_000_000)["mean"] == 3.0


def keys(*values: int) -> NDArray[np.uint64]:
    return np.array(values, dtype=np.uint64)


def test_few_keys_are_counted_one_by_one() -> None:
    distinct = Distinct()
    for part in (keys(1, 1, 2), keys(), keys(2**64 - 1, 1)):
        distinct.add(part)

    assert (distinct.n, distinct.exact, sorted(distinct.per_key.tolist())) == (3, True, [1, 1, 3])


def test_many_keys_are_estimated_from_a_fair_sample() -> None:
    """Counted up, as no hash would be; every key twice, in different parts."""
    distinct = Distinct(limit=1 << 10)
    everything = np.arange(1, 40_001, dtype=np.uint64)
    for part in (*np.array_split(everything, 7), *np.array_split(everything, 5)):
        distinct.add(part)

    assert not distinct.exact
    assert len(distinct.per_key) <= 1 << 10
    assert distinct.n == pytest.approx(40_000, rel=0.15)
    assert set(distinct.per_key.tolist()) == {2}


@settings(deadline=None)  # slow machines are no finding
@given(st.lists(st.lists(st.integers(0, 200), max_size=20), max_size=6))
def test_seconds_are_counted_in_any_order(parts: list[list[int]]) -> None:
    seconds, every = Seconds(), [second for part in parts for second in part]
    for part in parts:
        seconds.add(np.array(part, dtype=np.int64))

    width, counts = seconds.bins(60)

    assert seconds.peak == max((every.count(second) for second in every), default=0)
    assert sum(counts) == len(every)
    assert len(counts) <= 60
    if every:
        assert counts == np.bincount((np.array(every) - min(every)) // width).tolist()
