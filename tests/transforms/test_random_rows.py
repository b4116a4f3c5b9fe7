from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.random_rows import bits, normal, row_key, uniform

WORDS = st.integers(0, 2**63 - 1)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 1000)), min_size=1, max_size=30), WORDS, st.randoms())
def test_a_row_draws_the_same_in_any_order_and_any_batch(
    rows: list[tuple[int, int]], key: int, shuffler: Random
) -> None:
    source, variant = (np.array(column) for column in zip(*rows, strict=True))
    together = uniform(key, source, variant, 3)
    order = list(range(len(rows)))
    shuffler.shuffle(order)

    assert uniform(key, source[order], variant[order], 3).tolist() == together[order].tolist()
    assert [float(uniform(key, s, v, 3)) for s, v in rows] == together.tolist()


@given(WORDS, WORDS, st.integers(0, 2**32 - 1), st.integers(0, 2**40))
def test_every_argument_counts(key: int, source: int, variant: int, k: int) -> None:
    drawn = {
        int(bits(*arguments))
        for arguments in (
            (key, source, variant, k),
            (key ^ 1, source, variant, k),
            (key, source ^ 1, variant, k),
            (key, source, variant ^ 1, k),
            (key, source, variant, k ^ 1),
        )
    }

    assert len(drawn) == 5


def test_uniform_draws_are_uniform_and_never_at_the_ends() -> None:
    drawn = uniform(7, np.arange(100_000), 0)

    assert 0 < drawn.min() < drawn.max() < 1
    # D of 100,000 uniform draws exceeds 0.0062 one time in a thousand.
    assert np.abs(np.sort(drawn) - (np.arange(100_000) + 0.5) / 100_000).max() < 0.0062


def test_neighbouring_rows_copies_and_draws_are_uncorrelated() -> None:
    source = np.arange(50_000)
    for other in (uniform(7, source + 1, 0), uniform(7, source, 1), uniform(7, source, 0, 1), uniform(8, source, 0)):
        assert abs(np.corrcoef(uniform(7, source, 0), other)[0, 1]) < 0.02


def test_normal_draws_have_the_moments_of_the_standard_normal() -> None:
    drawn = normal(11, np.arange(100_000), 2, 5)

    assert abs(drawn.mean()) < 0.012
    assert abs(drawn.std() - 1) < 0.009
    assert abs((drawn**3).mean()) < 0.04
    assert np.isfinite(drawn).all()


def test_the_hash_never_changes() -> None:
    """Recorded seeds must give the same bytes tomorrow: this is splitmix64, whatever the platform."""
    assert [int(bits(0, 0, 0)), int(bits(7, 123, 4, 5))] == GOLDEN


def test_a_key_is_drawn_from_the_transforms_own_stream() -> None:
    assert row_key(np.random.default_rng(1)) == row_key(np.random.default_rng(1)) != row_key(np.random.default_rng(2))


GOLDEN = [2391539541053276776, 1436104957101821291]
