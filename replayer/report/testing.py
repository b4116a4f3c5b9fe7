"""A small run with something in every part, for tests of whatever shows runs: (summary.json, run.json)."""

import numpy as np

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.compare.judgement import Difference, Incomparable, Match, Measured, Mismatch
from replayer.compare.slices import feature_groups
from replayer.compare.summary import summarise
from replayer.compare.tally import Shown, Tally
from replayer.fold import numbers, series

ROWS = 400
MS = 1_000_000


def example_run() -> tuple[dict[str, object], dict[str, object]]:
    """The same every time: 400 rows in 20 s, a label flip and a moved score wherever ``age`` is in its top decile."""
    attempts = _attempts()
    numeric = numbers(attempts)
    summary: dict[str, object] = {
        "command": "shadow",
        "verdict": "FAIL",
        "why": ["agreement >= 99%: FAIL, 40 of 398 disagree (10.05 %) where 1 % may"],
        **numeric,
        "objectives": [
            {"expr": "latency.p99 < 50ms", "verdict": "PASS", "why": "", "observed": 30.0, "shown": "30 ms"},
            {
                "expr": "agreement >= 99%",
                "verdict": "FAIL",
                "why": "40 of 398 disagree (10.05 %) where 1 % may",
                "observed": 0.9,
                "shown": "90 %",
            },
            {"expr": "flips <= 5%", "verdict": "INCONCLUSIVE", "why": "too few", "observed": 0.1, "shown": "10 %"},
        ],
        "generator": {"valid": True, "reasons": [], "cpu": 0.2},
        "targets": {"candidate": numeric, "baseline": numeric},
        "notes": ["monday.tape lacks 2 exchanges its recorder shed"],
        "series": series(attempts),
        "shadow": _shadow() | {"left_out": {"recorded answer was altered by the policy": 7}},
    }
    run: dict[str, object] = {
        "run_id": "0123456789abcdef",
        "command": "shadow",
        "sides": ["baseline", "candidate"],
        "started": "2026-01-05T09:00:00.000+00:00",
        "inputs": [
            {
                "path": "monday.tape",
                "digest": "ab" * 16,
                "exchanges": 402,
                "confessions": {"seen": 404, "shed": 2, "sampling_rate": 0.25},
            }
        ],
        "targets": {"candidate": "http://127.0.0.1:8081", "baseline": "http://127.0.0.1:8080"},
        "transforms": ["noise:feature=age,sd=0.5"],
        "receipt": {"features": {"age": {"mean_before": 40.1, "mean_after": 40.3}}},
        "seed": 7,
        "config": {"tolerance": None},
        "machine": {"cpus": 2},
        "versions": {"shadowtape": "0.1.0"},
    }
    return summary, run


def _attempts() -> Attempts:
    attempts = Attempts.for_schedule("candidate", np.arange(ROWS, dtype=np.int64) * 50 * MS)
    attempts.dispatched_ns[:] = attempts.intended_ns + MS // 5
    attempts.first_byte_ns[:] = attempts.first_chunk_ns[:] = attempts.intended_ns + 10 * MS
    attempts.done_ns[:] = attempts.intended_ns + (10 + np.arange(ROWS) % 20) * MS
    attempts.status[:] = 200
    attempts.failure[:] = FailureKind.NONE
    attempts.failure[:2] = FailureKind.TIMEOUT
    attempts.status[2] = 503
    return attempts


def _shadow() -> dict[str, object]:
    tally, age = Tally(), np.arange(ROWS) / 4
    for row in range(ROWS):
        if row < 2:
            tally.add(row, Incomparable("candidate: timeout"), erred=(False, True))
        elif row < ROWS * 0.9:
            measured = Measured(labelled=True, delta=0.001 * (row % 7 - 3), rtol=0.003)
            tally.add(row, Match(measured), (Shown("low", "band = low"), Shown("low", "band = low")))
        else:
            changed = (Difference("band", "flip", "low", "high"), Difference("price", "score", "1", "1.5", 0.5))
            measured = Measured(labelled=True, delta=0.5, rtol=0.33)
            tally.add(row, Mismatch(changed, measured), (Shown("low", "band = low"), Shown("high", "band = high")))
    described = [{"source": one.row, "features": {"age": float(age[one.row])}} for one in tally.examples()]
    pairs = tally.pairs()
    return summarise(tally, feature_groups({"age": age[pairs.row[pairs.comparable]]}), described)
