"""Three-valued answers to objectives.

A percentile objective ``latency.p99 < 50ms`` is the claim that at most 1 % of rows exceed 50 ms. It is judged by the exact
binomial rule: with t of n rows over the limit, PASS if the upper bound of the share at `CONFIDENCE` is at most 1 %, FAIL if
the lower bound is above it, else INCONCLUSIVE. Shares (errors, agreement, …) are judged the same way. A limit of exactly 0 %
or 100 % can never be proven from a sample and is read as "none in this run". Means, maxima and rates are facts of
the run and compared directly.

Rows that failed, were shed, or were under way when the run ended exceed every limit on a time. Rows the run never came to
(interrupt, circuit breaker) are no samples.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.compare import statistics
from replayer.compare.judgement import Pairs
from replayer.objective import METRICS, Kind, Objective
from replayer.verdict import Judged, Verdict

FEWEST_PAIRS = 30
"""Built-in objectives judge what was seen; below this many pairs nothing has been seen yet."""

NS_PER_MS = 1_000_000
COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
# What the samples that speak against a share objective are said to do.
BAD: Mapping[str, str] = {
    "errors": "were errors",
    "availability": "were not answered",
    "agreement": "disagree",
    "match": "do not match",
    "flips": "flipped",
    "schema_changes": "changed their schema",
    "incomparable": "could not be compared",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run measured: the attempts of the target that is judged, labels per row (``route``, ``model``, …), and
    for a comparison the pairs.
    """

    attempts: Attempts
    labels: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    pairs: Pairs | None = None


def judge(objective: Objective, evidence: Evidence) -> Judged:
    """The answer to one objective. Never raises for what a run can hold."""
    if METRICS[objective.metric].pairs and evidence.pairs is None:
        why = f"{objective.metric} compares answers: a replay has one target only; use shadowtape shadow"
        return Judged(expr=objective.text, verdict=Verdict.INCONCLUSIVE, why=why)
    chosen = _rows_chosen(objective, evidence)
    match objective.kind:
        case Kind.TIME:
            return _judge_time(objective, _times_ns(objective.metric, evidence.attempts, chosen))
        case Kind.RATE:
            return _judge_fact(objective, _throughput(evidence.attempts, chosen), int(chosen.sum()))
        case Kind.NUMBER | Kind.SHARE:
            return _judge_share_or_number(objective, evidence, chosen)


def judge_all(objectives: Iterable[Objective], evidence: Evidence) -> list[Judged]:
    return [judge(objective, evidence) for objective in objectives]


def _rows_chosen(objective: Objective, evidence: Evidence) -> NDArray[np.bool_]:
    """Rows that are samples: everything the run came to, and whose labels fit."""
    attempts = evidence.attempts
    chosen: NDArray[np.bool_] = (attempts.failure != FailureKind.UNSENT) | (attempts.dispatched_ns >= 0)
    for name, glob in objective.labels:
        values = evidence.labels.get(name)
        if values is None:
            return np.zeros(len(attempts), dtype=np.bool_)
        fits = {value: fnmatchcase(str(value), glob) for value in set(values.tolist())}
        chosen &= np.fromiter((fits[value] for value in values.tolist()), np.bool_, len(values))
    return chosen


def _times_ns(metric: str, attempts: Attempts, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The metric's time of each chosen row; +inf where it failed, was shed or had not ended."""
    completed = attempts.failure == FailureKind.NONE
    match metric:
        case "latency":
            ends, starts, known = attempts.done_ns, attempts.intended_ns, completed
        case "service":
            ends, starts, known = attempts.done_ns, attempts.dispatched_ns, completed
        case "ttft":
            ends, starts, known = attempts.first_chunk_ns, attempts.intended_ns, completed
            chosen = chosen & ~(completed & (ends < 0))  # an answer without a body has no first byte of one
        case _:  # lateness: known for every row that was dispatched, whatever became of it
            ends, starts, known = attempts.dispatched_ns, attempts.intended_ns, attempts.dispatched_ns >= 0
    times = np.where(known, (ends - starts).astype(np.float64), np.inf)
    return times[chosen]


def _throughput(attempts: Attempts, chosen: NDArray[np.bool_]) -> float:
    """Completed rows per second between the first intended time and the last completion."""
    completed = chosen & (attempts.failure == FailureKind.NONE)
    if not completed.any():
        return 0.0
    span = int(attempts.done_ns[completed].max()) - int(attempts.intended_ns[chosen].min())
    return float(completed.sum()) / (max(span, 1) / 1e9)


def _judge_time(objective: Objective, times: NDArray[np.float64]) -> Judged:
    n = len(times)
    if n == 0:
        return _nothing(objective)
    share = objective.percentile
    if share is None:
        value = float(times.max()) if objective.stat == "max" else float(times.mean())
        return _judge_fact(objective, value, n)
    over = int(np.count_nonzero(~_holds(objective, times)))
    observed = statistics.percentile(times, float(share))
    limit = f"{objective.value / NS_PER_MS:g} ms"
    verdict, why = _judge_claim(over, n, float(1 - share), f"exceed {limit}")
    failed = int(np.count_nonzero(np.isinf(times)))
    if failed and verdict is not Verdict.PASS:
        why += f" ({failed} of them failed, were shed or never ended)" if failed < over else " (all of them failures)"
    return _judged(objective, verdict, why, observed, n)


def _judge_share_or_number(objective: Objective, evidence: Evidence, chosen: NDArray[np.bool_]) -> Judged:
    attempts, pairs = evidence.attempts, evidence.pairs
    # what we broke off ourselves when the run was stopped is no error of the target
    chosen = chosen & (attempts.failure != FailureKind.CLIENT_DISCONNECT)
    match objective.metric:
        case "errors":
            bad = (attempts.failure != FailureKind.NONE) | (attempts.status >= 400)
            return _judge_share(objective, bad[chosen])
        case "availability":
            return _judge_share(objective, ((attempts.failure == FailureKind.NONE) & (attempts.status < 500))[chosen])
    assert pairs is not None, "judge() answered already"
    here = chosen[pairs.row]
    comparable = pairs.comparable & here
    match objective.metric:
        case "agreement":
            return _judge_share(objective, pairs.agrees[comparable])
        case "match":
            return _judge_share(objective, pairs.matches[comparable])
        case "flips":
            return _judge_share(objective, pairs.flipped[comparable & pairs.labelled])
        case "schema_changes":
            return _judge_share(objective, pairs.schema_changed[comparable])
        case "incomparable":
            return _judge_share(objective, ~pairs.comparable[here])
        case "excess_errors":
            return _judge_excess(objective, pairs.erred[here], pairs.reference_erred[here])
        case _:
            return _judge_delta(objective, np.abs(pairs.delta[comparable]))


def _judge_share(objective: Objective, hits: NDArray[np.bool_]) -> Judged:
    """``hits``: whether each sample counts towards the metric."""
    n, k = len(hits), int(np.count_nonzero(hits))
    if n == 0:
        return _nothing(objective)
    high = METRICS[objective.metric].better == "high"
    # both directions are one claim: "at most `allowed` of the samples are bad"
    bad, allowed = (n - k, 1 - objective.value) if high else (k, objective.value)
    # 1 - 0.99 is not 0.01: the limit was written in decimals
    verdict, why = (_judge_seen if objective.seen else _judge_claim)(bad, n, round(allowed, 12), BAD[objective.metric])
    return _judged(objective, verdict, why, k / n, n)


def _judge_claim(bad: int, n: int, allowed: float, what: str) -> tuple[Verdict, str]:
    """The claim that at most ``allowed`` of the traffic is bad, by the exact binomial rule."""
    seen = f"{bad:,} of {n:,} {what} ({_percent(bad / n)})"
    if allowed <= 0:
        return (Verdict.FAIL, f"{seen}, none may") if bad else (Verdict.PASS, f"none of {n:,} {what}")
    if statistics.share_is_at_most(bad, n, allowed):
        return (
            Verdict.PASS,
            f"{seen}, at most {_percent(statistics.upper_bound(bad, n))} at {_percent(statistics.CONFIDENCE)} confidence",
        )
    if statistics.share_is_above(bad, n, allowed):
        low = statistics.lower_bound(bad, n)
        return (
            Verdict.FAIL,
            f"{seen}, {allowed:.4g} allowed" if low <= 0 else f"{seen} where {_percent(allowed)} may",
        )
    needed = statistics.samples_needed(allowed, bad)
    assert needed is not None, "allowed > 0"
    more = f"at best {needed - n:,} more samples would show that it is at most {_percent(allowed)}"
    return Verdict.INCONCLUSIVE, f"{seen}: too few samples to tell, {more}"


def _judge_seen(bad: int, n: int, allowed: float, what: str) -> tuple[Verdict, str]:
    """What was seen against an allowance: FAIL only where the excess is beyond chance."""
    seen = f"{bad:,} of {n:,} {what} ({_percent(bad / n)})"
    if (allowed <= 0 and bad) or statistics.share_is_above(bad, n, allowed):
        return Verdict.FAIL, f"{seen} where {_percent(allowed)} may"
    if bad > allowed * n:
        return (
            Verdict.INCONCLUSIVE,
            f"{seen} where {_percent(allowed)} may, which may be chance: compare more rows",
        )
    if n < FEWEST_PAIRS:
        return Verdict.INCONCLUSIVE, f"{seen}: fewer than {FEWEST_PAIRS} samples say nothing"
    return Verdict.PASS, f"{seen}; the traffic behind them: at most {_percent(statistics.upper_bound(bad, n))}"


def _judge_excess(objective: Objective, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Judged:
    n = len(ours)
    if n == 0:
        return _nothing(objective)
    b, c = int(np.count_nonzero(ours & ~theirs)), int(np.count_nonzero(theirs & ~ours))
    low, high = statistics.excess_bounds(b, c, n)
    excess, allowed = (b - c) / n, objective.value
    seen = f"{b} of {n} pairs erred on this side only, {c} on the other only"
    if low > allowed:
        verdict, why = Verdict.FAIL, f"{seen}, beyond chance"
    elif high <= allowed:
        verdict, why = Verdict.PASS, f"{seen}, an excess of at most {_percent(high)}"
    elif objective.seen and excess <= allowed and n >= FEWEST_PAIRS:
        verdict, why = Verdict.PASS, f"{seen}; the traffic behind them: an excess of at most {_percent(high)}"
    else:
        verdict, why = (
            Verdict.INCONCLUSIVE,
            f"{seen}: an excess between {_percent(low)} and {_percent(high)}, compare more rows",
        )
    return _judged(objective, verdict, why, excess, n)


def _judge_delta(objective: Objective, deltas: NDArray[np.float64]) -> Judged:
    known = deltas[~np.isnan(deltas)]
    if len(known) == 0:
        return _nothing(objective)
    share = objective.percentile
    if share is None:
        return _judge_fact(objective, float(known.max() if objective.stat == "max" else known.mean()), len(known))
    over = int(np.count_nonzero(~_holds(objective, known)))
    verdict, why = _judge_claim(over, len(known), float(1 - share), f"moved by more than {objective.value:g}")
    return _judged(objective, verdict, why, statistics.percentile(known, float(share)), len(known))


def _judge_fact(objective: Objective, value: float, n: int) -> Judged:
    if n == 0:
        return _nothing(objective)
    holds = bool(_holds(objective, np.asarray([value]))[0])
    why = f"{show(objective, value)} over {n:,} rows" + (
        "" if holds else f", wanted {objective.op} {show(objective, objective.value)}"
    )
    if math.isinf(value):
        why += ": rows that failed, were shed or never ended exceed every limit"
    return _judged(objective, Verdict.PASS if holds else Verdict.FAIL, why, value, n)


def _holds(objective: Objective, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = COMPARE[objective.op](values, objective.value)
    return result


def _nothing(objective: Objective) -> Judged:
    where = " that fits its labels" if objective.labels else ""
    return Judged(expr=objective.text, verdict=Verdict.INCONCLUSIVE, why=f"no sample{where}: nothing was measured")


def _judged(objective: Objective, verdict: Verdict, why: str, value: float, n: int) -> Judged:
    observed = value / NS_PER_MS if objective.kind is Kind.TIME else value
    finite = observed if math.isfinite(observed) else None
    return Judged(expr=objective.text, verdict=verdict, why=why, observed=finite, shown=show(objective, value), n=n)


def show(objective: Objective, value: float) -> str:
    """A value of the objective's metric, in base units, for people."""
    match objective.kind:
        case Kind.TIME:
            return "∞" if math.isinf(value) else f"{value / NS_PER_MS:.4g} ms"
        case Kind.SHARE:
            return _percent(value)
        case Kind.RATE:
            return f"{value:,.1f}/s"
        case Kind.NUMBER:
            return f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %" if share < 0.99 else f"{100 * share:.5g} %"
