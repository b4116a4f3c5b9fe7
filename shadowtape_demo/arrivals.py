"""When the demo's requests are sent: one invented day, squeezed into seconds, with bursts. Pure and seeded."""

import numpy as np
from numpy.typing import NDArray

SLOTS_PER_SECOND = 4  # a burst or a lull lasts a quarter of a second
NIGHT_TO_NOON = 0.6  # the day swings by 60 % around its mean
BURSTINESS = (
    0.35  # coefficient of variation of a slot's rate around the day's curve: overdispersed, as real arrivals are
)


def arrivals(seconds: float, mean_rps: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Offsets in ns, sorted, within [0, seconds). About ``seconds * mean_rps`` of them: the number is drawn too.

    A Cox process: each slot's rate is the day's sinusoid (night at both ends, noon in the middle) times a gamma factor of mean 1;
    within a slot arrivals are Poisson.
    """
    if not (seconds > 0 and mean_rps > 0):
        raise ValueError("seconds and mean_rps must be > 0")
    slots = max(1, round(seconds * SLOTS_PER_SECOND))
    width = seconds / slots
    hour = (np.arange(slots) + 0.5) / slots
    day = 1 - NIGHT_TO_NOON * np.cos(2 * np.pi * hour)
    shape = 1 / BURSTINESS**2
    rate = mean_rps * day * rng.gamma(shape, 1 / shape, slots)
    counts = rng.poisson(rate * width)
    starts = np.repeat(np.arange(slots) * width, counts)
    at_s = np.sort(starts + rng.random(counts.sum()) * width)
    return (at_s * 1e9).astype(np.int64)
