"""What a capture holds, added up batch by batch: columns in, figures out. Pure; memory does not grow with the number of exchanges.

A time of 0 ns from the arrival is no measurement: importers write it where a format has none. It is in no distribution, and counted
as ``untimed``. Errors are answers of 400 and above, and failures; a request that nobody answered, and nobody says why, is none.

Counts are exact. Percentiles and the number of sessions are exact as long as there are few (captures/quantiles.py), and `exact`
says whether they still are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.batches import label_columns
from captures.columns import LABEL_PREFIX, Batch
from captures.exchange import FailureKind, Flags
from captures.quantiles import PERCENTILE_ERROR, Distinct, Quantiles, Seconds

type Facts = dict[str, Any]

RATE_BINS = 60
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
SIZES = ("request_size", "response_size", "request_kept", "response_kept")
_CALL = ("method", "route", "codec", "model")
_FIRST_ERROR = 400
_EXACT_IN_A_GROUP = 1 << 13  # values; there may be hundreds of groups


@dataclass(slots=True)
class _Group:
    """The exchanges of one route or model."""

    count: int = 0
    errors: int = 0
    unanswered: int = 0
    status: Counter[int] = field(default_factory=Counter)
    service: Quantiles = field(default_factory=lambda: Quantiles(_EXACT_IN_A_GROUP))

    def add(self, status: NDArray[np.int64], failure: NDArray[np.int64], last_byte_ns: NDArray[np.int64]) -> None:
        self.count += len(status)
        self.errors += int(np.count_nonzero((status >= _FIRST_ERROR) | (failure != 0)))
        self.unanswered += int(np.count_nonzero((status == 0) & (failure == 0)))
        self.status.update(_counts(status))
        self.service.add(last_byte_ns[last_byte_ns > 0])

    def facts(self, total: int) -> Facts:
        return {
            "count": self.count,
            "share": round(self.count / total, 6) if total else 0.0,
            "status": {str(code): count for code, count in sorted(self.status.items()) if code},
            "errors": self.errors,
            "unanswered": self.unanswered,
            "service_ms": self.service.summary(NS_PER_MS),
        }


class Tally:
    """``n``: exchanges so far. ``first_ns``, ``last_ns``: least and greatest arrival of them."""

    def __init__(self, origin_ns: int = 0) -> None:
        """``origin_ns``: where the seconds of the rate begin, the least arrival where it is known."""
        self.origin_ns = origin_ns
        self.n = 0
        self.first_ns = self.last_ns = origin_ns
        self._calls: dict[tuple[str, ...], _Group] = {}
        self._models: dict[str, _Group] = {}
        self._status: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self._unanswered = self._untimed = 0
        self._flags: Counter[Flags] = Counter()
        self._labels: dict[str, Counter[str]] = {}
        self._seconds = Seconds()
        self._sessions, self._connections = Distinct(), Distinct()
        self._times = {name: Quantiles() for name in ("first_byte", "last_byte")}
        self._stream = {name: Quantiles() for name in ("chunks", "first_byte", "last_byte")}
        self._sizes = {name: Quantiles() for name in SIZES}
        self._totals = dict.fromkeys(SIZES, 0)

    def add(self, batch: Batch) -> None:
        """Count the exchanges of a batch; its heads, chunks and bodies are not looked at."""
        n = len(batch)
        if not n:
            return
        column = {name: batch.columns[name].astype(np.int64) for name in (*_NUMBERS, *_CALL)}
        arrival, flags = column["arrival_ns"], column["flags"]
        low, high = int(arrival.min()), int(arrival.max())
        self.first_ns = min(low, self.first_ns) if self.n else low
        self.last_ns = max(high, self.last_ns) if self.n else high
        self.n += n
        self._seconds.add((arrival - self.origin_ns) // NS_PER_S)
        self._status.update(_counts(column["status"]))
        self._failures.update(_counts(column["failure"]))
        self._unanswered += int(np.count_nonzero((column["status"] == 0) & (column["failure"] == 0)))
        self._untimed += int(np.count_nonzero((column["status"] != 0) & (column["last_byte_ns"] == 0)))
        self._flags.update({flag: int(np.count_nonzero(flags & flag)) for flag in Flags})
        self._add_groups(column, batch.names)
        for name, quantiles in self._times.items():
            values = column[f"{name}_ns"]
            quantiles.add(values[values > 0])
        self._add_streams({name: column[name][(flags & Flags.STREAM) != 0] for name in _OF_STREAMS})
        for name in SIZES:
            self._totals[name] += int(column[name].sum())
            self._sizes[name].add(column[name])
        session, connection = batch.columns["session"].astype(np.uint64), batch.columns["connection"].astype(np.uint64)
        self._sessions.add(session[session != 0])
        self._connections.add(connection[connection != 0])
        for label in label_columns(batch.columns):
            known = self._labels.setdefault(label.removeprefix(LABEL_PREFIX), Counter())
            known.update({batch.names[i]: count for i, count in _counts(batch.columns[label]).items()})

    def _add_streams(self, column: dict[str, NDArray[np.int64]]) -> None:
        self._stream["chunks"].add(column["response_chunks"])
        for name in ("first_byte", "last_byte"):
            values = column[f"{name}_ns"]
            self._stream[name].add(values[values > 0])

    def _add_groups(self, column: dict[str, NDArray[np.int64]], names: Sequence[str]) -> None:
        answers = [column[name] for name in ("status", "failure", "last_byte_ns")]
        for call, rows in _groups([column[name] for name in _CALL]):
            key = tuple(names[index] for index in call)
            self._calls.setdefault(key, _Group()).add(*(each[rows] for each in answers))
        for (model,), rows in _groups([column["model"]]):
            self._models.setdefault(names[model], _Group()).add(*(each[rows] for each in answers))

    @property
    def exact(self) -> bool:
        groups = [group.service for group in (*self._calls.values(), *self._models.values())]
        quantiles = (*self._times.values(), *self._stream.values(), *self._sizes.values(), *groups)
        return all(each.exact for each in quantiles) and self._sessions.exact and self._connections.exact

    def facts(self) -> Facts:
        """The part of `inspect --json` that comes from columns."""
        flagged = {flag.name.lower(): self._flags[flag] for flag in Flags if flag.name}
        return {
            "exchanges": self.n,
            "duration_s": (self.last_ns - self.first_ns) / NS_PER_S,
            "routes": self._routes(),
            "models": _by_count(
                [{"model": name, **group.facts(self.n)} for name, group in self._models.items()], "model"
            ),
            "status": {str(code): count for code, count in sorted(self._status.items()) if code},
            "failures": {_failure(kind): count for kind, count in sorted(self._failures.items()) if kind},
            "labels": {
                label: dict(sorted(self._label(values), key=lambda pair: (-pair[1], pair[0])))
                for label, values in sorted(self._labels.items())
            },
            "sessions": self._sessions.n,
            "connections": self._connections.n,
            "per_session": _summary(self._sessions.per_key),
            "streams": flagged["stream"],
            "stream": {
                "chunks": self._stream["chunks"].summary(),
                "first_byte_ms": self._stream["first_byte"].summary(NS_PER_MS),
                "last_byte_ms": self._stream["last_byte"].summary(NS_PER_MS),
            },
            "responses": self.n - self._status[0],
            "unanswered": self._unanswered,
            "untimed": self._untimed,
            "replayable": flagged["replayable"],
            "recorded_valid": flagged["recorded_valid"],
            "inference": flagged["inference"],
            "synthetic": flagged["synthetic"],
            "flags": flagged,
            "service_ms": {name: quantiles.summary(NS_PER_MS) for name, quantiles in self._times.items()},
            "bytes": dict(self._totals),
            "sizes": {name: quantiles.summary() for name, quantiles in self._sizes.items()},
            "rate": self._rate(),
            "percentile_error": 0.0 if self.exact else PERCENTILE_ERROR,
        }

    def _routes(self) -> list[Facts]:
        found = []
        for (method, route, codec, model), group in self._calls.items():
            path = route.partition(" ")[2] or route
            found.append({"method": method, "path": path, "codec": codec, "model": model, **group.facts(self.n)})
        return _by_count(found, "path", "method", "codec", "model")

    def _label(self, values: Counter[str]) -> Iterator[tuple[str, int]]:
        """Values and counts; "" is who has none, in the batches without that column too."""
        none = self.n - sum(count for value, count in values.items() if value)
        yield from ((value, count) for value, count in values.items() if value)
        if none:
            yield "", none

    def _rate(self) -> Facts:
        bin_s, counts = self._seconds.bins(RATE_BINS)
        # A capture shorter than a second has no rate: its mean would be an artefact of two arrivals.
        mean = self.n / max((self.last_ns - self.first_ns) / NS_PER_S, 1.0)
        return {"bin_s": bin_s, "counts": counts, "mean_rps": round(mean, 3), "peak_rps": self._seconds.peak}


_OF_STREAMS = ("response_chunks", "first_byte_ns", "last_byte_ns")
_NUMBERS = ("arrival_ns", "first_byte_ns", "last_byte_ns", "status", "failure", "flags", "response_chunks", *SIZES)


def _groups(keys: Sequence[NDArray[np.int64]]) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """Every combination that occurs, and its rows."""
    stacked = np.stack(keys, axis=1)
    order = np.lexsort(stacked.T[::-1])
    sorted_keys = stacked[order]
    starts = np.flatnonzero(np.concatenate(([True], np.any(sorted_keys[1:] != sorted_keys[:-1], axis=1))))
    for rows in np.split(order, starts[1:]):
        yield tuple(stacked[rows[0]].tolist()), rows


def _by_count(rows: list[Facts], *then: str) -> list[Facts]:
    """Most frequent first."""
    return sorted(rows, key=lambda row: (-row["count"], *(row[name] for name in then)))


def _counts(values: NDArray[Any]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _summary(values: NDArray[np.int64]) -> dict[str, float | None]:
    quantiles = Quantiles()
    quantiles.add(values)
    return quantiles.summary()


def _failure(kind: int) -> str:
    return FailureKind(kind).name.lower() if kind in FailureKind else f"kind_{kind}"
