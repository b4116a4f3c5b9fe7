"""From attempts to the numbers of a summary: folds, no state, no clock.

Percentiles are nearest-rank on exact values: the smallest value with at least that share of all at or below it; it is always a
value that was measured. ``n`` is how many values there were. Times are those of completed rows (lateness: of dispatched
rows); what failed or was shed is counted beside them and exceeds every limit of an objective.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from captures.exchange import FailureKind
from replayer.attempt import Attempts

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PER_MILLE: Mapping[str, int] = {"p50": 500, "p90": 900, "p99": 990, "p999": 999}
MOST_BINS = 120
BINS_MS = (10, 20, 50, 100, 200, 500, 1000)


def rank(n: int, per_mille: int) -> int:
    """The nearest rank, from 0: in integers, because 0.07 * 100 is more than 7 in floating point."""
    return max(0, -(-n * per_mille // 1000) - 1)


def spread_ms(values_ns: NDArray[np.int64]) -> dict[str, float | int | None]:
    """p50, p90, p99, p999, max and mean in ms, and n; None where there is no value."""
    n = len(values_ns)
    ordered = np.sort(values_ns)
    spread: dict[str, float | int | None] = {
        name: _ms(ordered[rank(n, share)]) if n else None for name, share in PER_MILLE.items()
    }
    return spread | {"max": _ms(ordered[-1]) if n else None, "mean": _ms(ordered.mean()) if n else None, "n": n}


def numbers(attempts: Attempts) -> dict[str, object]:
    """The measured keys of summary.json for one target (docs/reference.md). Rates are rows per second of ``duration_s``: from the
    first intended time to the last thing that happened.
    """
    failure, status = attempts.failure, attempts.status
    completed, dispatched = failure == FailureKind.NONE, attempts.dispatched_ns >= 0
    shed, unsent = failure == FailureKind.SHED, (failure == FailureKind.UNSENT) & ~dispatched
    span_s = span_ns(attempts) / NS_PER_S
    streamed = completed & (attempts.first_chunk_ns >= 0)
    failed = ~completed & ~shed & ~unsent
    return {
        "rows": {
            "scheduled": len(attempts),
            "completed": _count(completed),
            "failed": _count(failed),
            "shed": _count(shed),
            "unsent": _count(unsent),
        },
        "duration_s": round(span_s, 6),
        "offered_rps": round(offered_rps(attempts), 3),
        "achieved_rps": round(_count(completed) / span_s, 3) if span_s else 0.0,
        "lateness_ms": spread_ms((attempts.dispatched_ns - attempts.intended_ns)[dispatched]),
        "service_ms": spread_ms((attempts.done_ns - attempts.dispatched_ns)[completed]),
        "response_ms": spread_ms((attempts.done_ns - attempts.intended_ns)[completed]),
        "ttft_ms": spread_ms((attempts.first_chunk_ns - attempts.intended_ns)[streamed]),
        "connect_ms": spread_ms(attempts.connect_ns[dispatched & (attempts.connect_ns > 0)]),
        "status": {str(code): _count(status[completed] == code) for code in np.unique(status[completed]).tolist()},
        "failures": {
            FailureKind(kind).name.lower(): _count(failure == kind)
            for kind in np.unique(failure[failed | shed]).tolist()
        },
    }


def span_ns(attempts: Attempts) -> int:
    """From the first intended time to the last thing that happened."""
    ends = np.maximum(attempts.done_ns, attempts.dispatched_ns)
    return (
        max(0, int(ends.max(initial=-1)) - int(attempts.intended_ns.min())) if len(attempts) and ends.max() >= 0 else 0
    )


def series(attempts: Attempts) -> dict[str, object]:
    """The run over time, in at most `MOST_BINS` bins, of whole seconds or of one of `BINS_MS`: for charts.

    Rows per second, each at the time it happened: ``scheduled``, ``offered`` (dispatched or shed), ``achieved`` (completed),
    ``failed``, ``shed``, ``status_4xx``, ``status_5xx``, and ``errors``, which is the last four together. Percentiles of response
    time and lateness in ms, by intended time, None where a bin is empty.
    """
    first_ns, span = int(attempts.intended_ns.min()) if len(attempts) else 0, span_ns(attempts)
    bin_ns = _bin_ns(span)
    bins = span // bin_ns + 1
    completed, shed = attempts.failure == FailureKind.NONE, attempts.failure == FailureKind.SHED
    dispatched, ended = attempts.dispatched_ns >= 0, attempts.done_ns >= 0
    failed = ended & ~completed & ~shed
    refused = {f"status_{kind}xx": completed & (attempts.status // 100 == kind) for kind in (4, 5)}
    offered_ns = np.where(shed, attempts.done_ns, attempts.dispatched_ns)
    happened = {
        "scheduled": (attempts.intended_ns, dispatched | shed),
        "offered": (offered_ns, dispatched | shed),
        "achieved": (attempts.done_ns, completed),
        "errors": (attempts.done_ns, failed | shed | refused["status_4xx"] | refused["status_5xx"]),
        "failed": (attempts.done_ns, failed),
        "shed": (attempts.done_ns, shed),
        **{name: (attempts.done_ns, rows) for name, rows in refused.items()},
    }

    def rate(at_ns: NDArray[np.int64], rows: NDArray[np.bool_]) -> list[float]:
        places = np.clip((at_ns[rows] - first_ns) // bin_ns, 0, bins - 1)
        return [round(float(count) * NS_PER_S / bin_ns, 6) for count in np.bincount(places, minlength=bins)]

    places = np.clip((attempts.intended_ns - first_ns) // bin_ns, 0, bins - 1)
    response_ns, lateness_ns = attempts.done_ns - attempts.intended_ns, attempts.dispatched_ns - attempts.intended_ns
    response = _by_bin(places[completed], response_ns[completed], bins)
    lateness = _by_bin(places[dispatched], lateness_ns[dispatched], bins)
    return {
        "bin_s": bin_ns / NS_PER_S,
        "t_s": [round(place * bin_ns / NS_PER_S, 3) for place in range(bins)],
        **{name: rate(at_ns, rows) for name, (at_ns, rows) in happened.items()},
        **{name: response[name] for name in ("p50", "p90", "p99")},
        **{f"lateness_{name}": lateness[name] for name in ("p50", "p99", "max")},
    }


def _bin_ns(span: int) -> int:
    """The finest that leaves at most `MOST_BINS`."""
    fine = next((ms * NS_PER_MS for ms in BINS_MS if span < MOST_BINS * ms * NS_PER_MS), 0)
    return fine or -(-(span + 1) // (MOST_BINS * NS_PER_S)) * NS_PER_S


def _by_bin(places: NDArray[np.int64], values_ns: NDArray[np.int64], bins: int) -> dict[str, list[float | None]]:
    order = np.lexsort((values_ns, places))
    ordered, edges = values_ns[order], np.searchsorted(places[order], np.arange(bins + 1))
    shares = {name: PER_MILLE[name] for name in ("p50", "p90", "p99")} | {"max": 1000}
    return {
        name: [
            _ms(ordered[low + rank(high - low, share)]) if high > low else None
            for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ]
        for name, share in shares.items()
    }


def offered_rps(attempts: Attempts) -> float:
    """Rows dispatched or shed per second, from the first to the last of them; 0 where they were fewer than two."""
    shed = attempts.failure == FailureKind.SHED
    at_ns = np.where(shed, attempts.done_ns, attempts.dispatched_ns)
    at_ns = at_ns[shed | (attempts.dispatched_ns >= 0)]
    span = int(at_ns.max() - at_ns.min()) if len(at_ns) else 0
    return (len(at_ns) - 1) * NS_PER_S / span if span else 0.0


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _ms(value_ns: float) -> float:
    return round(float(value_ns) / NS_PER_MS, 6)
