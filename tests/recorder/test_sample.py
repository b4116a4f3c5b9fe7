"""Sampling by hash."""

import pytest

from recorder.sample import kept, kept_value


def test_everything_is_kept_at_one_and_nothing_at_zero() -> None:
    assert all(kept(0, ordinal, 1.0) for ordinal in range(500))
    assert not any(kept(0, ordinal, 0.0) for ordinal in range(500))


def test_the_same_seed_decides_the_same_and_another_seed_differs() -> None:
    choice = [kept(7, ordinal, 0.5) for ordinal in range(200)]
    assert choice == [kept(7, ordinal, 0.5) for ordinal in range(200)]
    assert choice != [kept(8, ordinal, 0.5) for ordinal in range(200)]


def test_a_smaller_share_is_a_subset_of_a_larger_one() -> None:
    for ordinal in range(500):
        assert kept(0, ordinal, 0.5) or not kept(0, ordinal, 0.25)


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.9])
def test_the_share_kept_is_the_share_asked_for(rate: float) -> None:
    n = 20_000
    share = sum(kept(0, ordinal, rate) for ordinal in range(n)) / n
    assert abs(share - rate) < 5 * (rate * (1 - rate) / n) ** 0.5


def test_values_of_any_length_are_decided_and_without_the_key_nobody_knows_how() -> None:
    values = [b"", b"a", b"x" * 100_000, *(b"session %d" % n for n in range(200))]
    one, same, other = ([kept_value(key * 16, value, 0.5) for value in values] for key in (b"a", b"a", b"b"))
    assert one == same != other
