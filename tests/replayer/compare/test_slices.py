"""Slices: the parts that disagree most certainly come first, and chance is told from fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from replayer.compare.slices import FEWEST, MOST, by_decile, by_value, discoveries, feature_groups, pair_means, rank


def test_the_worst_slice_comes_first_and_is_notable() -> None:
    rng = np.random.default_rng(1)
    feature = rng.random(2000)
    other = rng.random(2000)
    agrees = ~((feature > 0.9) & (rng.random(2000) < 0.3))
    found = rank(feature_groups({"age": feature, "rooms": other}), agrees)
    assert (found[0].dimension, found[0].notable) == ("age", True)
    assert found[0].part.startswith("top decile (0.")
    assert found[0].low < found[0].agreement < found[0].high < 0.8
    assert all(one.dimension == "rooms" and not one.notable for one in found[1:])


def test_small_slices_whole_slices_and_perfect_slices_are_not_listed() -> None:
    agrees = np.ones(100, dtype=np.bool_)
    agrees[:5] = False
    few = [*by_value("route", ["a"] * (FEWEST - 1) + ["b"] * (101 - FEWEST))]
    assert [one.part for one in rank(few, agrees)] == []
    assert rank(by_value("route", ["a"] * 100), agrees) == []
    halves = rank(by_value("route", ["a"] * 50 + ["b"] * 50), agrees)
    assert [(one.part, one.n) for one in halves] == [("a", 50)]


def test_at_most_twenty_are_listed() -> None:
    rng = np.random.default_rng(2)
    values = {f"x{at}": rng.random(1000) for at in range(10)}
    assert len(rank(feature_groups(values), rng.random(1000) < 0.5)) == MOST


def test_nothing_to_rank() -> None:
    assert rank([], np.zeros(0, dtype=np.bool_)) == []
    assert list(by_decile("x", np.full(5, np.nan))) == []


def test_empty_values_are_no_part() -> None:
    assert [part for _, part, _ in by_value("model", ["", "b", "a", "b"])] == ["a", "b"]


@given(
    st.lists(
        st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.integers(0, 3).map(float)), min_size=1, max_size=200
    )
)
def test_deciles_are_a_partition_of_what_is_known(values: list[float]) -> None:
    column = np.array(values)
    parts = [chosen for _, _, chosen in by_decile("x", column)]
    covered = np.sum(parts, axis=0) if parts else np.zeros(len(column))
    assert np.array_equal(covered, np.isfinite(column).astype(int))
    for value in set(values):
        assert sum(bool((column[chosen] == value).any()) for chosen in parts) <= 1, "ties stay together"


def test_a_feature_of_few_values_has_few_parts() -> None:
    parts = [part for _, part, _ in by_decile("flag", np.array([0.0] * 50 + [1.0] * 50))]
    assert parts == ["= 0", "= 1"]


def test_a_pairs_feature_is_the_mean_over_its_batch() -> None:
    values = np.array([1.0, 3.0, 5.0, np.nan, 7.0])
    owner = np.array([0, 0, 2, 2, 3])
    means = pair_means(values, owner, np.array([3, 0, 2, 1, 9]))
    assert np.allclose(means[:3], [7.0, 2.0, 5.0])
    assert np.isnan(means[3:]).all()


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=50))
def test_discoveries_are_those_of_benjamini_and_hochberg(chance: list[float]) -> None:
    adjusted = false_discovery_control(chance)
    if not np.any(np.isclose(adjusted, 0.05, rtol=1e-9)):
        assert discoveries(chance) == [bool(one <= 0.05) for one in adjusted]


@pytest.mark.parametrize("chance", [[], [1.0], [0.0]])
def test_discoveries_of_few(chance: list[float]) -> None:
    assert discoveries(chance) == [one == 0.0 for one in chance]
