"""Bounds and intervals, against scipy's own and against published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from replayer.compare.statistics import (
    CONFIDENCE,
    excess_bounds,
    lower_bound,
    percentile,
    samples_needed,
    share_is_above,
    share_is_at_most,
    spread,
    upper_bound,
    wilson,
)

COUNTS = st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.10, [44, 64, 81, 127, 197]),
        (0.05, [90, 130, 165, 259, 398]),
        (0.01, [459, 662, 838, 1307, 2010]),
        (0.001, [4603, 6636, 8403]),
    ],
)
def test_sample_sizes_are_those_of_mlperf_early_stopping(share: float, expected: list[int]) -> None:
    assert [samples_needed(share, k) for k in (0, 1, 2, 5, 10)][: len(expected)] == expected


@given(COUNTS)
def test_one_sided_bounds_are_clopper_pearson(counts: tuple[int, int]) -> None:
    k, n = counts
    test = binomtest(k, n)
    two_sided = 2 * CONFIDENCE - 1
    interval = test.proportion_ci(two_sided, method="exact")
    assert upper_bound(k, n) == pytest.approx(interval.high, abs=1e-9)
    assert lower_bound(k, n) == pytest.approx(interval.low, abs=1e-9)


@given(COUNTS, st.floats(0.0005, 0.9995))
def test_claims_agree_with_the_binomial_distribution(counts: tuple[int, int], share: float) -> None:
    k, n = counts
    assert share_is_at_most(k, n, share) == (k < n and binom.cdf(k, n, share) <= 1 - CONFIDENCE + 1e-12)
    assert share_is_above(k, n, share) == (k > 0 and binom.sf(k - 1, n, share) < 1 - CONFIDENCE - 1e-12)
    assert not (share_is_at_most(k, n, share) and share_is_above(k, n, share))


@given(st.integers(0, 50), st.floats(0.001, 0.9))
def test_the_samples_needed_are_the_fewest(k: int, share: float) -> None:
    n = samples_needed(share, k)
    assert n is not None
    assert share_is_at_most(k, n, share)
    assert not share_is_at_most(k, n - 1, share)


def test_claims_at_the_edges() -> None:
    assert share_is_at_most(0, 0, 1.0)
    assert not share_is_at_most(0, 0, 0.5)
    assert not share_is_at_most(0, 10**6, 0.0)
    assert share_is_above(1, 10**6, 0.0)
    assert not share_is_above(1, 1, 0.01), "one sample proves nothing about p99"
    assert (samples_needed(0), samples_needed(1)) == (None, 0)
    assert (upper_bound(0, 0), lower_bound(0, 0)) == (1.0, 0.0)


@given(COUNTS)
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    k, n = counts
    interval = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(COUNTS, st.integers(0, 200))
def test_the_excess_lies_between_its_bounds(counts: tuple[int, int], c: int) -> None:
    b, n = counts
    c = min(c, n - b)
    low, high = excess_bounds(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=200), st.integers(1, 999))
def test_a_percentile_is_the_nearest_rank(values: list[float], per_mille: int) -> None:
    share = per_mille / 1000
    found = percentile(np.array(values), share)
    at_or_below = sum(value <= found for value in values)
    assert found in values
    assert at_or_below * 1000 >= per_mille * len(values)
    assert sum(value < found for value in values) * 1000 < per_mille * len(values)


def test_percentiles_of_infinities_and_of_nothing() -> None:
    assert percentile(np.array([1.0, math.inf]), 0.5) == 1.0
    assert percentile(np.array([1.0, math.inf]), 0.99) == math.inf
    assert math.isnan(percentile(np.zeros(0), 0.5))


def test_a_spread_is_of_sizes_and_keeps_the_sign_of_the_mean() -> None:
    found = spread(np.array([-1.0, -1.0, -4.0, 2.0, math.inf, math.nan]))
    assert (found.n, found.mean, found.mean_abs, found.p50, found.max) == (4, -1.0, 2.0, 1.0, 4.0)
    assert spread(np.zeros(0)).n == 0
