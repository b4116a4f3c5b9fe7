"""Percentiles and distinct keys of a stream of numbers in bounded memory. Pure, and exact as long as there are few.

Up to EXACT values a percentile is exact. Above, values fall into a log-linear histogram (as HdrHistogram has): 1,024 buckets per
power of two, so that what it says is within PERCENTILE_ERROR of a value that was there. Count, maximum and mean are always exact.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 1 << 16  # values kept as they are: 512 KiB
_BITS = 11  # of a value that tell its bucket: three significant digits
PERCENTILE_ERROR = 1 / (1 << _BITS)
PERCENTILES = {"p50": 500, "p90": 900, "p99": 990, "p999": 999}  # in thousandths

DISTINCT = 1 << 19  # keys counted one by one: 16 MiB at most while they are merged


class Quantiles:
    """``n``: values seen. ``exact``: whether percentiles still are."""

    def __init__(self, exact: int = EXACT) -> None:
        self._limit = exact
        self._values: list[NDArray[np.int64]] = []
        self._buckets: NDArray[np.int64] | None = None
        self._total = 0
        self._max = 0
        self.n = 0

    @property
    def exact(self) -> bool:
        return self._buckets is None

    def add(self, values: NDArray[np.int64]) -> None:
        """Values are not negative."""
        if not len(values):
            return
        self.n += len(values)
        # Two halves: the sum of many nanoseconds does not fit 64 bits.
        self._total += (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
        self._max = max(self._max, int(values.max()))
        self._values.append(values.astype(np.int64))
        if self._buckets is not None or self.n > self._limit:
            self._fold()

    def summary(self, unit: int = 1) -> dict[str, float | None]:
        """p50, p90, p99, p999, max and mean in ``unit`` (1,000,000: ms from ns), None without values; n."""
        if not self.n:
            return {**dict.fromkeys((*PERCENTILES, "max", "mean")), "n": 0}
        found = {name: round(self._at(share) / unit, 6) for name, share in PERCENTILES.items()}
        return {**found, "max": round(self._max / unit, 6), "mean": round(self._total / self.n / unit, 6), "n": self.n}

    def _at(self, thousandths: int) -> float:
        """By nearest rank: a value that was there, or is near one."""
        rank = max(-(-self.n * thousandths // 1000) - 1, 0)
        if self._buckets is not None:
            return self._value(rank)
        values = np.concatenate(self._values)
        return float(np.partition(values, rank)[rank])

    def _value(self, rank: int) -> float:
        """The value at a rank, from 0: the middle of its bucket."""
        assert self._buckets is not None
        bucket = int(np.searchsorted(np.cumsum(self._buckets), rank, side="right"))
        half = 1 << (_BITS - 1)
        shift = max(bucket // half - 1, 0)
        low = (bucket - shift * half) << shift
        return min(low + ((1 << shift) - 1) / 2, float(self._max))

    def _fold(self) -> None:
        values = np.concatenate(self._values)
        self._values = []
        shift = np.maximum(np.frexp(values.astype(np.float64))[1] - _BITS, 0).astype(np.int64)
        bucket = (shift << (_BITS - 1)) + (values >> shift)
        known = self._buckets if self._buckets is not None else np.zeros(0, dtype=np.int64)
        counts = np.bincount(bucket, minlength=len(known))
        counts[: len(known)] += known
        self._buckets = counts


class Distinct:
    """How often each key came. Exact up to ``limit`` keys; above, every other key is left out, and so on: a fair sample of
    keys (not of occurrences), each counted fully, from which the number of keys is estimated.
    """

    def __init__(self, limit: int = DISTINCT) -> None:
        self._limit = limit
        self._keys: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._halvings = 0

    @property
    def exact(self) -> bool:
        return not self._halvings

    @property
    def n(self) -> int:
        """Keys, or how many there are likely to be."""
        return len(self._keys) << self._halvings

    @property
    def per_key(self) -> NDArray[np.int64]:
        """How often each key (of the sample) came, in no order that means anything."""
        return self._counts

    def add(self, keys: NDArray[np.uint64]) -> None:
        mixed, counts = np.unique(self._sampled(_mix(keys)), return_counts=True)
        self._keys, where = np.unique(np.concatenate((self._keys, mixed)), return_inverse=True)
        self._counts = _summed(where, np.concatenate((self._counts, counts)))
        while len(self._keys) > self._limit:
            self._halvings += 1
            kept = _belongs(self._keys, self._halvings)
            self._keys, self._counts = self._keys[kept], self._counts[kept]

    def _sampled(self, mixed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return mixed[_belongs(mixed, self._halvings)] if self._halvings else mixed


class Seconds:
    """How many came in each second: 16 bytes for every second in which anything did."""

    def __init__(self) -> None:
        self._seconds: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @property
    def peak(self) -> int:
        return int(self._counts.max(initial=0))

    def add(self, seconds: NDArray[np.int64]) -> None:
        new, counts = np.unique(seconds, return_counts=True)
        if not len(new):
            return
        # Arrivals are nearly sorted: only the end is ever touched, or a long capture would be merged over and over.
        tail = int(np.searchsorted(self._seconds, new[0]))
        merged, where = np.unique(np.concatenate((self._seconds[tail:], new)), return_inverse=True)
        self._counts = np.concatenate(
            (self._counts[:tail], _summed(where, np.concatenate((self._counts[tail:], counts))))
        )
        self._seconds = np.concatenate((self._seconds[:tail], merged))

    def bins(self, most: int) -> tuple[int, list[int]]:
        """Seconds of a bin, and the counts of at most ``most`` bins from the first second that has any to the last."""
        if not len(self._seconds):
            return 1, []
        since: NDArray[Any] = self._seconds - self._seconds[0]
        width = int(since[-1]) // most + 1
        return width, _summed(since // width, self._counts).tolist()


def _mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: a permutation of 64 bits, so that keys that are counted up are sampled fairly too."""
    z = keys.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _belongs(mixed: NDArray[np.uint64], halvings: int) -> NDArray[np.bool_]:
    belongs: NDArray[np.bool_] = (mixed >> np.uint64(64 - halvings)) == np.uint64(0)
    return belongs


def _summed(where: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts added up by where they belong. Exact: bincount would go through floats."""
    total = np.zeros(int(where.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(total, where, counts)
    return total
