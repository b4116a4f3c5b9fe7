import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transforms.distances import Sample, ks, psi, wasserstein

SAMPLES = arrays(np.float64, st.integers(1, 30), elements=st.integers(-20, 20).map(float))
NORMAL = np.random.default_rng(5).normal(0, 1, 5000)
NAN = float("nan")


@given(SAMPLES)
def test_nothing_differs_from_itself(sample: Sample) -> None:
    assert psi(sample, sample) == ks(sample, sample) == wasserstein(sample, sample) == 0


@given(SAMPLES, SAMPLES)
def test_ks_is_the_largest_gap_between_the_distribution_functions(before: Sample, after: Sample) -> None:
    gaps = [abs(np.mean(before <= at) - np.mean(after <= at)) for at in (*before, *after)]

    assert ks(before, after) == pytest.approx(max(gaps))


@given(SAMPLES, SAMPLES)
def test_wasserstein_is_how_far_the_sorted_values_lie_apart(before: Sample, after: Sample) -> None:
    apart = np.sort(np.repeat(before, len(after))) - np.sort(np.repeat(after, len(before)))

    assert wasserstein(before, after) == pytest.approx(np.abs(apart).mean())


def test_each_measure_grows_with_the_shift() -> None:
    for measure in (psi, ks, wasserstein):
        sizes = [measure(NORMAL, NORMAL + shift) or 0.0 for shift in (0, 0.1, 0.3, 1, 3)]

        assert sizes == sorted(sizes)
        assert sizes[0] == 0 < sizes[1]


def test_a_shift_is_its_own_wasserstein_distance() -> None:
    assert wasserstein(NORMAL, NORMAL + 0.25) == pytest.approx(0.25)


def test_a_spike_of_missing_values_is_visible() -> None:
    spiked = NORMAL.copy()
    spiked[:1000] = NAN

    assert (psi(NORMAL, spiked) or 0) > 0.25
    assert (ks(NORMAL, spiked) or 0) < 0.03


def test_a_point_mass_has_a_bin_of_its_own() -> None:
    """70 % of the values are -1: a move of the others by nothing but the neighbouring bin must not hide in it."""
    before = np.where(np.arange(1000) < 700, -1.0, np.linspace(-2, 5, 1000))
    after = np.where(before == -1.0, -1.1, before)

    assert (psi(before, after) or 0) > 1


def test_what_is_not_defined_is_none() -> None:
    nothing, missing = np.empty(0), np.array([NAN, NAN])

    assert psi(nothing, NORMAL) is psi(NORMAL, nothing) is psi(missing, NORMAL) is None
    assert ks(missing, NORMAL) is ks(NORMAL, nothing) is None
    assert wasserstein(missing, NORMAL) is None
    assert wasserstein(np.array([np.inf]), NORMAL) is None
