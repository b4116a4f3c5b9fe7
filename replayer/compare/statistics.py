"""Bounds and intervals. Pure numbers in, pure numbers out.

Binomial bounds are exact (Clopper-Pearson): they hold at their stated confidence for every n and every share, which is
what lets a verdict of PASS or FAIL mean something at any sample size. The Wilson interval is for reading, not for
judging: it is narrower, centred better, and only approximately at its stated level.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, ndtri

CONFIDENCE = 0.99
"""Of every one-sided bound a verdict rests on, as in the early-stopping rule of MLPerf (c = 0.99): p99 takes 459
samples with none over the limit, 662 with one.
"""

ROUNDING = 1e-12
"""One sample in one over the limit of p99 lies exactly on the bound, which is no proof: rounding must not make it one."""

INTERVAL_CONFIDENCE = 0.95
"""Of the two-sided intervals printed beside an estimate."""


def upper_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of a share of which k in n were seen. 1 for n = 0."""
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, confidence))


def lower_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Clopper-Pearson bound. 0 for n = 0."""
    return 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, 1 - confidence))


def share_is_at_most(k: int, n: int, share: float, confidence: float = CONFIDENCE) -> bool:
    """Whether k in n prove, at ``confidence``, that the true share is at most ``share``: `upper_bound` <= share, without
    the rounding of an inverse. With n = 0 nothing is proven, unless nothing is claimed (share >= 1).
    """
    if share >= 1:
        return True
    if k >= n or share <= 0:
        return False
    return float(betainc(k + 1, n - k, share)) >= confidence - ROUNDING


def share_is_above(k: int, n: int, share: float, confidence: float = CONFIDENCE) -> bool:
    """Whether k in n prove that the true share is above ``share``: `lower_bound` > share."""
    if k <= 0 or share >= 1:
        return False
    if share <= 0:
        return True
    return float(betainc(k, n - k + 1, share)) < 1 - confidence - ROUNDING


def samples_needed(share: float, k: int = 0, confidence: float = CONFIDENCE) -> int | None:
    """The smallest n at which k exceedances still prove a share of at most ``share``. None where no n would."""
    if share <= 0:
        return None
    if share >= 1:
        return 0
    low, high = k, max(2 * k, 2)
    while not share_is_at_most(k, high, share, confidence):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if share_is_at_most(k, middle, share, confidence) else (middle, high)
    return high


def wilson(k: int, n: int, confidence: float = INTERVAL_CONFIDENCE) -> tuple[float, float]:
    """Two-sided Wilson score interval; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri((1 + confidence) / 2))
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return low, high


def excess_bounds(b: int, c: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """One-sided lower and upper bound of (b - c) / n, where b pairs erred on this side only and c on the other only.

    Exact on the discordant pairs (the sign test), with the share of discordant pairs itself bounded; half of the
    error goes to each.
    """
    half = (1 + confidence) / 2
    discordant = b + c
    few, many = lower_bound(discordant, n, half), upper_bound(discordant, n, half)
    tilt_low = 2 * lower_bound(b, discordant, half) - 1
    tilt_high = 2 * upper_bound(b, discordant, half) - 1
    return tilt_low * (few if tilt_low > 0 else many), tilt_high * (many if tilt_high > 0 else few)


def percentile(values: NDArray[np.float64], share: float) -> float:
    """The smallest value with at least ``share`` of all values at or below it (nearest rank; may be +inf). NaN if empty."""
    n = len(values)
    if n == 0:
        return float("nan")
    rank = min(n, max(1, math.ceil(share * n - 1e-9)))
    return float(np.partition(values, rank - 1)[rank - 1])


@dataclass(frozen=True, slots=True)
class Spread:
    """The size of differences: mean (signed), and the statistics of their absolute values."""

    n: int
    mean: float
    mean_abs: float
    p50: float
    p99: float
    max: float


def spread(deltas: NDArray[np.float64]) -> Spread:
    """``deltas`` are signed differences; those that are not finite are left out."""
    kept = deltas[np.isfinite(deltas)]
    if not len(kept):
        return Spread(0, *[float("nan")] * 5)
    size = np.abs(kept)
    return Spread(
        n=len(kept),
        mean=float(kept.mean()),
        mean_abs=float(size.mean()),
        p50=percentile(size, 0.5),
        p99=percentile(size, 0.99),
        max=float(size.max()),
    )
