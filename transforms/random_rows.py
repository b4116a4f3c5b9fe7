"""Randomness that belongs to a row: a hash of (key, source, variant, k), never a generator that walks.

The bytes of a row must not depend on the order or the batches in which rows are sent, so there is no state: the same
arguments give the same number, on any worker, at any time. ``key`` stands for (seed, step): a transform draws it once
from its own stream (`row_key`). ``k`` counts the draws within a row. All functions broadcast their arguments.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

# splitmix64 (Steele, Lea, Flood 2014): the increment and the finaliser's multipliers. Each word is added and mixed in turn.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def row_key(rng: Generator) -> int:
    """The key of one rewrite or one kind of draw, from a transform's own stream."""
    return int(rng.integers(1 << 63))


def bits(key: int, source: ArrayLike, variant: ArrayLike, k: ArrayLike = 0) -> NDArray[np.uint64]:
    """64 random bits for each row."""
    with np.errstate(over="ignore"):  # wrapping around 2**64 is the point
        state = _mixed(np.asarray(key, dtype=np.uint64))
        for word in (source, variant, k):
            state = _mixed(state ^ np.asarray(word).astype(np.uint64))
    return state


def uniform(key: int, source: ArrayLike, variant: ArrayLike, k: ArrayLike = 0) -> NDArray[np.float64]:
    """Uniform in the open interval (0, 1): 52 bits, and half a step away from both ends."""
    return ((bits(key, source, variant, k) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(key: int, source: ArrayLike, variant: ArrayLike, k: ArrayLike = 0) -> NDArray[np.float64]:
    """Standard normal, by inversion: one hash, one number."""
    from scipy.special import ndtri  # noqa: PLC0415 - scipy loads slowly, and only noise needs it

    drawn: NDArray[np.float64] = np.asarray(ndtri(uniform(key, source, variant, k)), dtype=np.float64)
    return drawn


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + GOLDEN
    state = (state ^ (state >> np.uint64(30))) * MIX_1
    state = (state ^ (state >> np.uint64(27))) * MIX_2
    return state ^ (state >> np.uint64(31))
