"""The receipt: measured proof of what a chain of transforms did.

Everything is computed from what will be sent: sampled rows are materialised, their bodies decoded again and compared with
what was recorded. Nothing is taken from the transforms' word except what was ``asked``, printed beside what was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from captures.version import __version__
from transforms.contents import contents
from transforms.decoding import Columns, FeatureColumn, by_route, feature_columns, joined
from transforms.distances import ks, psi, wasserstein
from transforms.rewrite import identity_touched, value_touched
from transforms.schedule import Schedule
from transforms.view import View

SAMPLED_ROWS = 10_000
BATCH_ROWS = 512
SECOND_NS = 1_000_000_000

type Numbers = dict[str, float | int | None]


@runtime_checkable
class Asks(Protocol):
    """What a rewrite may add so that a receipt can print asked beside measured: feature -> measure -> value."""

    def asked(self) -> Mapping[str, Mapping[str, float]]: ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """Features of the sampled rows before and after rewriting; ``owner`` is the place in the sample. Changed: bytewise."""

    before: Columns
    after: Columns
    changed: NDArray[np.bool_]


def receipt(
    before: Schedule,
    after: Schedule,
    view: View,
    *,
    chain: Sequence[str],
    seed: int,
    dropped: Mapping[str, int] | None = None,
    sampled_rows: int = SAMPLED_ROWS,
) -> dict[str, object]:
    """A JSON-able dict. ``chain``: the transforms as written; ``dropped``: exchanges that never entered ``before``, by reason.
    Times are in seconds; ``None`` is not defined (one row has no gaps).
    """
    value, identity = value_touched(after), identity_touched(after)
    rows = _sample(after, seed, sampled_rows)
    sampled = _sampled(view, after, rows)
    asked = {
        name: dict(measures)
        for rewrite in after.rewrites
        if isinstance(rewrite, Asks)
        for name, measures in rewrite.asked().items()
    }
    features, untouched = _features(view, before, sampled, _touches(after, rows), asked)
    untouched_rows = ~(value | identity)[rows]
    return {
        "version": __version__,
        "seed": seed,
        "chain": list(chain),
        "inputs": [{"path": capture.path, "digest": capture.digest} for capture in view.captures],
        "schedule": {"before": before.digest, "after": after.digest},
        "rows": {"in": len(view), "dropped": dict(dropped or {}), "planned": len(before), "out": len(after)},
        "time": {"before": timing(before), "after": timing(after)},
        "contents": {
            "value_touched": int(value.sum()),
            "identity_touched": int((identity & ~value).sum()),
            "sampled": len(rows),
            "of": len(after),
            "bodies_changed": int(sampled.changed.sum()),
            "untouched_sampled": int(untouched_rows.sum()),
            "untouched_identical": not bool((sampled.changed & untouched_rows).any()),
        },
        "features": features,
        "unchanged_features": untouched,
        "effective_sample_size": effective_sample_size(before, after),
    }


def timing(schedule: Schedule) -> Numbers:
    """Duration, mean rate (over a second at least), rate of the busiest second, and the variation of the gaps (1: Poisson,
    above: bursts).
    """
    n, duration = len(schedule), schedule.duration_ns
    gaps = np.diff(schedule.at_ns)
    mean = float(gaps.mean()) if len(gaps) else 0.0
    return {
        "duration_s": duration / SECOND_NS,
        "mean_rps": n * SECOND_NS / max(duration, SECOND_NS) if duration else None,
        "peak_rps": schedule.peak_rps,
        "gap_cv": float(gaps.std() / mean) if mean else None,
    }


def effective_sample_size(before: Schedule, after: Schedule) -> Numbers:
    """(sum w)^2 / sum w^2 over the sources of ``before``, w: how often each is sent. Copies of everything cost nothing."""
    sources = np.unique(before.source)
    kept = np.isin(after.source, sources)
    weights = np.bincount(np.searchsorted(sources, after.source[kept]), minlength=len(sources)).astype(np.float64)
    squares = float(np.sum(weights**2))
    size = float(weights.sum()) ** 2 / squares if squares else 0.0
    return {"sources": len(sources), "size": size, "share": size / len(sources) if len(sources) else None}


def _sample(schedule: Schedule, seed: int, most: int) -> NDArray[np.int64]:
    """All rows, or a random part of them, in order. Its draws are no transform's."""
    if len(schedule) <= most:
        return np.arange(len(schedule))
    rng = np.random.default_rng(np.random.SeedSequence([seed, most]))
    return np.sort(rng.choice(len(schedule), size=most, replace=False))


def _sampled(view: View, schedule: Schedule, rows: NDArray[np.int64]) -> Sampled:
    before: list[tuple[int, Columns]] = []
    after: list[tuple[int, Columns]] = []
    changed = np.zeros(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), BATCH_ROWS):
        sent = contents(view, schedule, rows[start : start + BATCH_ROWS])
        recorded = [exchange.request.body for exchange in sent.exchanges]
        changed[start : start + len(recorded)] = [old != new for old, new in zip(recorded, sent.bodies, strict=True)]
        for (name, _route), places in by_route(sent.exchanges).items():
            codec = view.codec(name)
            if codec is not None:
                at = np.array(places, dtype=np.int64)
                for bodies, parts in ((recorded, before), (sent.bodies, after)):
                    columns = feature_columns(codec, [bodies[place] for place in places])
                    parts.append(
                        (start, {key: FeatureColumn(values, at[owner]) for key, (values, owner) in columns.items()})
                    )
    return Sampled(joined(before), joined(after), changed)


def _features(
    view: View,
    before: Schedule,
    sampled: Sampled,
    touches: Mapping[str, NDArray[np.bool_]],
    asked: Mapping[str, Mapping[str, float]],
) -> tuple[dict[str, object], dict[str, object]]:
    """(numbers of every feature that a rewrite touched or whose values differ, one entry about all others)."""
    nothing = FeatureColumn(np.empty(0), np.empty(0, dtype=np.int64))
    features: dict[str, object] = {}
    same: list[str] = []
    for name in dict.fromkeys((*sampled.before, *sampled.after)):
        old, new = sampled.before.get(name, nothing), sampled.after.get(name, nothing)
        if (
            name not in asked
            and np.array_equal(old.values, new.values, equal_nan=True)
            and np.array_equal(old.owner, new.owner)
        ):
            same.append(name)
        else:
            reference = _reference(view, before, name)
            features[name] = _numbers(old, new, reference, touches.get(name, touches[""]), asked.get(name, {}))
    return features, {"names": same, "identical": True}


def _touches(after: Schedule, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which sampled rows were to change, by feature; "": in any feature whose rewrites do not say."""
    touches = {"": value_touched(after)[rows]}
    for rewrite in after.rewrites:
        if isinstance(rewrite, Asks):
            chosen = rewrite.touches(after)[rows]
            for name in rewrite.asked():
                touches[name] = touches[name] | chosen if name in touches else chosen
    return touches


def _reference(view: View, before: Schedule, name: str) -> NDArray[np.float64]:
    """The feature over the rows that went in, each source as often as it was to be sent."""
    if name not in view.feature_names():
        return np.empty(0)
    values, owner = view.feature(name)
    times = np.bincount(before.source, minlength=len(view))[owner]
    return np.repeat(values, times)


def _numbers(
    old: FeatureColumn,
    new: FeatureColumn,
    reference: NDArray[np.float64],
    touched: NDArray[np.bool_],
    asked: Mapping[str, float],
) -> dict[str, object]:
    finite, sent = reference[np.isfinite(reference)], new.values[np.isfinite(new.values)]
    mean, sd = _mean_sd(finite)
    mean_after, sd_after = _mean_sd(sent)
    missing, missing_after = _missing(reference), _missing(new.values)
    measured: Numbers = {
        "n": len(new.values),
        "mean_before": mean,
        "mean_after": mean_after,
        "sd_before": sd,
        "sd_after": sd_after,
        "delta_mean_sd": _over(_minus(mean_after, mean), sd),
        "share": None,
        "change_sd": None,
        "psi": psi(reference, new.values),
        "ks": ks(reference, new.values),
        "wasserstein_sd": _over(wasserstein(reference, new.values), sd),
        "missing_before": missing,
        "missing_after": missing_after,
        "delta_missing": _minus(missing_after, missing),
    }
    if np.array_equal(old.owner, new.owner) and len(
        old.owner
    ):  # the same rows with the same batches: changes can be paired
        chosen = touched[old.owner]
        change = (new.values - old.values)[chosen]
        measured["share"] = float(np.mean((new.values != old.values) & ~(np.isnan(new.values) & np.isnan(old.values))))
        measured["change_sd"] = _over(_mean_sd(change[np.isfinite(change)])[1], sd)
    return {**measured, "asked": dict(asked)}


def _mean_sd(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    return (float(values.mean()), float(values.std())) if len(values) else (None, None)


def _missing(values: NDArray[np.float64]) -> float | None:
    return float(np.isnan(values).mean()) if len(values) else None


def _minus(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _over(value: float | None, sd: float | None) -> float | None:
    return None if value is None or not sd else value / sd
