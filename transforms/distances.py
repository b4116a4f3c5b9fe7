"""How far two samples are apart, as effect sizes: none of these is a p-value, none grows with the number of rows.

Missing values (NaN) are a bin of their own in `psi` and left out elsewhere; infinite values count as values. Every function
takes the sample before and the sample after, and returns None where it is not defined.
"""

import numpy as np
from numpy.typing import NDArray

type Sample = NDArray[np.float64]

BINS = 10  # deciles of the reference: what the usual reading (below 0.1 none, above 0.25 major) was calibrated on


def psi(before: Sample, after: Sample) -> float | None:
    """Population stability index over deciles of ``before`` with open ends, a bin for each point mass, a bin for missing."""
    edges = _edges(before[~np.isnan(before)])
    if edges is None or not len(after):
        return None
    p, q = _shares(before, edges), _shares(after, edges)
    return float(np.sum((q - p) * np.log(q / p)))


def ks(before: Sample, after: Sample) -> float | None:
    """Kolmogorov-Smirnov D: the largest gap between the two empirical distribution functions."""
    x, y = np.sort(before[~np.isnan(before)]), np.sort(after[~np.isnan(after)])
    if not len(x) or not len(y):
        return None
    at = np.concatenate((x, y))
    gap = np.searchsorted(x, at, side="right") / len(x) - np.searchsorted(y, at, side="right") / len(y)
    return float(np.abs(gap).max())


def wasserstein(before: Sample, after: Sample) -> float | None:
    """First Wasserstein distance, in units of the feature: how far the values moved, on average."""
    x, y = np.sort(before[np.isfinite(before)]), np.sort(after[np.isfinite(after)])
    if not len(x) or not len(y):
        return None
    at = np.sort(np.concatenate((x, y)))
    steps = np.diff(at)
    gap = np.searchsorted(x, at[:-1], side="right") / len(x) - np.searchsorted(y, at[:-1], side="right") / len(y)
    return float(np.sum(np.abs(gap) * steps))


def _edges(reference: Sample) -> Sample | None:
    """Upper edges of all bins but the last. A value that several deciles share is a point mass: it gets the bin (below it, it]."""
    if not len(reference):
        return None
    deciles = np.quantile(reference, np.arange(1, BINS) / BINS, method="inverted_cdf")
    values, times = np.unique(deciles, return_counts=True)
    below = np.nextafter(values[times > 1], -np.inf)
    return np.unique(np.concatenate((values, below)))


def _shares(sample: Sample, edges: Sample) -> Sample:
    bins = np.searchsorted(edges, sample, side="left")
    bins[np.isnan(sample)] = len(edges) + 1
    counts = np.bincount(bins, minlength=len(edges) + 2)
    # Smoothed: an empty bin is rare, not impossible.
    return np.asarray((counts + 0.5) / (len(sample) + 0.5 * len(counts)), dtype=np.float64)
