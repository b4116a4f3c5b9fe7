"""The comparison as data: what stands under ``shadow`` in summary.json (docs/reference.md has the keys)."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from replayer.compare.judgement import Pairs
from replayer.compare.slices import Group, rank
from replayer.compare.statistics import INTERVAL_CONFIDENCE, percentile, spread, wilson
from replayer.compare.tally import Example, Tally, mapping_of

MOST_LABELS = 12
"""In the confusion table; the rest is "other"."""
HISTOGRAM_BINS = 41  # odd: no difference has a bin of its own in the middle
OTHER = "other"


def summarise(tally: Tally, groups: Iterable[Group], described: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """``groups``: slices over the comparable pairs, in row order. ``described``: what is known of each example of
    `Tally.examples` beside its answers (source, route, features), in the same order.
    """
    pairs = tally.pairs()
    comparable = pairs.comparable
    n = int(np.count_nonzero(comparable))
    agreeing = int(np.count_nonzero(pairs.agrees))
    labelled = int(np.count_nonzero(pairs.labelled))
    return {
        "pairs": len(pairs),
        "comparable": n,
        "incomparable": dict(tally.incomparable.most_common()),
        "agreement": share(agreeing, n),
        "flips": int(np.count_nonzero(pairs.flipped)),
        "labelled": labelled,
        "match": share(int(np.count_nonzero(pairs.matches)), n),
        "schema_changes": int(np.count_nonzero(pairs.schema_changed)),
        "errors": {
            "reference": int(np.count_nonzero(pairs.reference_erred)),
            "candidate": int(np.count_nonzero(pairs.erred)),
            "candidate_only": int(np.count_nonzero(pairs.erred & ~pairs.reference_erred)),
        },
        "scores": scores(pairs),
        "confusion": confusion(tally.confusion),
        "noise": None,
        "slices": [asdict(one) for one in rank(groups, pairs.agrees[comparable])],
        "examples": [
            {**extra, **_example(example)} for example, extra in zip(tally.examples(), described, strict=True)
        ],
    }


def share(k: int, n: int) -> dict[str, object]:
    """A share with its interval; ``value`` is None where nothing was counted."""
    low, high = wilson(k, n)
    return {"value": k / n if n else None, "low": low, "high": high, "n": n, "confidence": INTERVAL_CONFIDENCE}


def scores(pairs: Pairs) -> dict[str, object] | None:
    """Differences of scores, one per pair (its largest). None where no pair holds a score.

    ``would_pass_rtol``: the relative tolerance at which 50 %, 99 % and all of the pairs would match.
    """
    scored = pairs.comparable & ~np.isnan(pairs.delta)
    if not scored.any():
        return None
    delta, rtol = pairs.delta[scored], pairs.rtol[scored]
    sizes = spread(delta)
    return {
        "n": int(scored.sum()),
        "infinite": int(np.count_nonzero(np.isinf(delta))),
        "mean": finite(sizes.mean),
        "mean_abs": finite(sizes.mean_abs),
        "p50": finite(sizes.p50),
        "p99": finite(sizes.p99),
        "max": finite(sizes.max),
        "would_pass_rtol": {
            name: finite(percentile(rtol, part)) for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "histogram": histogram(delta[np.isfinite(delta)]),
    }


def histogram(deltas: NDArray[np.float64]) -> dict[str, object] | None:
    """Signed differences in bins around zero, between the 0.5 % and 99.5 % points; what lies beyond is counted in the end bins."""
    if not len(deltas):
        return None
    reach = max(abs(float(np.quantile(deltas, part))) for part in (0.005, 0.995))
    if not 0 < reach < math.inf:
        reach = float(np.abs(deltas).max()) or 1.0
    edges = np.linspace(-reach, reach, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(deltas, -reach, reach), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def confusion(flips: Counter[tuple[str, str]]) -> dict[str, object] | None:
    """The labels that flip most, and how often which became which. None where nothing flipped."""
    if not flips:
        return None
    weight: Counter[str] = Counter()
    for (left, right), count in flips.items():
        weight[left] += count
        weight[right] += count
    labels = sorted(label for label, _ in weight.most_common(MOST_LABELS))
    folded: Counter[tuple[str, str]] = Counter()
    for (left, right), count in flips.items():
        folded[left if left in labels else OTHER, right if right in labels else OTHER] += count
    named = [*labels, *([OTHER] if any(OTHER in pair for pair in folded) and OTHER not in labels else [])]
    return {"labels": named, "counts": [[folded[left, right] for right in named] for left in named]}


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _example(example: Example) -> dict[str, object]:
    return {
        "row": example.row,
        "left": example.left,
        "right": example.right,
        "differences": [mapping_of(difference) for difference in example.differences],
    }
