"""Where the disagreement is: the same agreement, over parts of the data, worst first.

Slices are looked at by the dozen, and the worst of many looks bad by chance: ``notable`` marks those that stay beyond
chance after the false discovery rate of all slices looked at is held at 5 % (Benjamini and Hochberg).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from replayer.compare.statistics import wilson

FEWEST = 20
"""Pairs in a slice: below, its interval spans most of 0 to 1."""
MOST = 20
DECILES = 10
FALSE_DISCOVERIES = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """``dimension``: "route", "model", "label" or a feature's name; ``part``: which part of it."""

    dimension: str
    part: str
    n: int
    agreement: float
    low: float
    high: float
    notable: bool


type Group = tuple[str, str, NDArray[np.bool_]]
"""(dimension, part, which pairs)"""


def rank(groups: Iterable[Group], agrees: NDArray[np.bool_]) -> list[Slice]:
    """At most `MOST` slices with at least `FEWEST` pairs and one disagreement, the most certainly bad first."""
    overall = 1 - float(agrees.mean()) if len(agrees) else 0.0
    found: list[tuple[str, str, int, int]] = []
    for dimension, part, chosen in groups:
        n = int(np.count_nonzero(chosen))
        if FEWEST <= n < len(agrees):
            found.append((dimension, part, n, int(np.count_nonzero(agrees & chosen))))
    chance = [_at_least(n - k, n, overall) for _, _, n, k in found]
    notable = discoveries(chance)
    slices = [
        Slice(
            dimension=dimension,
            part=part,
            n=n,
            agreement=k / n,
            low=wilson(k, n)[0],
            high=wilson(k, n)[1],
            notable=is_notable,
        )
        for (dimension, part, n, k), is_notable in zip(found, notable, strict=True)
        if k < n
    ]
    return sorted(slices, key=lambda one: (one.high, one.agreement, one.dimension, one.part))[:MOST]


def by_value(dimension: str, values: Sequence[str]) -> Iterator[Group]:
    """One group per value; the empty value is no part of anything."""
    column = np.asarray(values, dtype=object)
    for value in sorted(set(values) - {""}):
        yield dimension, value, np.asarray(column == value, dtype=np.bool_)


def by_decile(dimension: str, values: NDArray[np.float64]) -> Iterator[Group]:
    """Tenths of a numeric feature, by its values over the pairs (NaN: not there). Ties stay together, so a feature of few
    values has fewer parts.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return
    # edges are observed values, so that a part reads as "from … to …" of real data
    edges = np.unique(np.quantile(known, np.arange(1, DECILES) / DECILES, method="lower"))
    edges = edges[edges < known.max()]
    tenth = np.searchsorted(edges, values, side="left")
    parts = len(edges) + 1
    for part in range(parts):
        chosen = (tenth == part) & np.isfinite(values)
        if chosen.any():
            inside = values[chosen]
            low, high = f"{inside.min():.4g}", f"{inside.max():.4g}"
            yield dimension, f"= {low}" if low == high else f"{_ordinal(part, parts)} ({low} … {high})", chosen


def pair_means(
    values: NDArray[np.float64], owner: NDArray[np.int64], sources: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A feature per pair: the mean over the batch of the pair's request. ``owner[k]`` is the exchange ``values[k]`` is from."""
    size = int(max(owner.max(initial=-1), sources.max(initial=-1))) + 1
    finite = np.isfinite(values)
    count = np.bincount(owner[finite], minlength=size)
    total = np.bincount(owner[finite], weights=values[finite], minlength=size)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means[sources]


def feature_groups(features: Mapping[str, NDArray[np.float64]]) -> Iterator[Group]:
    for name, values in features.items():
        yield from by_decile(name, values)


def discoveries(chance: Sequence[float], rate: float = FALSE_DISCOVERIES) -> list[bool]:
    """Which p-values stand at a false discovery rate (Benjamini-Hochberg)."""
    order = sorted(range(len(chance)), key=chance.__getitem__)
    standing = 0
    for place, at in enumerate(order, start=1):
        if chance[at] <= rate * place / len(chance):
            standing = place
    kept = set(order[:standing])
    return [at in kept for at in range(len(chance))]


def _at_least(bad: int, n: int, share: float) -> float:
    """The chance of at least ``bad`` of n where each is bad with ``share``."""
    if bad <= 0 or share >= 1:
        return 1.0
    return 0.0 if share <= 0 else float(betainc(bad, n - bad + 1, share))


def _ordinal(part: int, parts: int) -> str:
    if parts != DECILES:
        return f"part {part + 1} of {parts}"
    return {0: "bottom decile", DECILES - 1: "top decile"}.get(part, f"decile {part + 1}")
