import numpy as np
import pytest

from shadowtape_demo.arrivals import arrivals


def test_times_are_sorted_offsets_within_the_recording() -> None:
    at_ns = arrivals(20, 50, np.random.default_rng(1))

    assert (np.diff(at_ns) >= 0).all()
    assert at_ns[0] >= 0
    assert at_ns[-1] < 20e9


def test_the_same_seed_gives_the_same_day() -> None:
    one, other = (arrivals(10, 60, np.random.default_rng(7)) for _ in range(2))

    np.testing.assert_array_equal(one, other)


def test_about_as_many_as_were_asked_for() -> None:
    counts = [len(arrivals(25, 60, np.random.default_rng(seed))) for seed in range(40)]

    assert abs(np.mean(counts) - 1500) < 50


def test_noon_is_busier_than_night() -> None:
    """The day swings from 0.4 to 1.6 of its mean: its middle half holds well over half of the requests."""
    at_ns = np.concatenate([arrivals(20, 60, np.random.default_rng(seed)) for seed in range(20)])
    noon = ((at_ns > 5e9) & (at_ns < 15e9)).mean()

    assert 0.66 < noon < 0.72  # 1/2 + 0.6/pi = 0.691


def test_arrivals_are_burstier_than_poisson() -> None:
    """Counts of a quarter second around noon vary more than their mean."""
    dispersion = []
    for seed in range(200):
        at_ns = arrivals(20, 80, np.random.default_rng(seed))
        counts = np.bincount((at_ns // 250_000_000).astype(int), minlength=80)[38:42]
        dispersion.append(counts)
    counts = np.concatenate(dispersion)

    assert counts.var() > 2 * counts.mean()


@pytest.mark.parametrize(("seconds", "rate"), [(0, 10), (-1, 10), (10, 0)])
def test_nonsense_is_refused(seconds: float, rate: float) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        arrivals(seconds, rate, np.random.default_rng(1))
