"""Judging objectives: the exact binomial rule, failures that exceed every limit, and facts of the run."""

from dataclasses import replace

import numpy as np
import pytest

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.compare.judgement import Pairs
from replayer.judge import Evidence, judge
from replayer.objective import METRICS, Kind, parse
from replayer.verdict import Judged, Verdict

MS = 1_000_000


def attempts(n: int, *, over: int = 0, service_ms: int = 10, slow_ms: int = 100) -> Attempts:
    """n completed rows a millisecond apart, the first ``over`` of them slow."""
    found = Attempts.for_schedule("target", np.arange(n, dtype=np.int64) * MS)
    found.dispatched_ns[:] = found.intended_ns + MS // 2
    service = np.where(np.arange(n) < over, slow_ms, service_ms) * MS
    found.done_ns[:] = found.intended_ns + service
    found.first_byte_ns[:] = found.first_chunk_ns[:] = found.done_ns - MS
    found.status[:] = 200
    found.failure[:] = FailureKind.NONE
    return found


def pairs(n: int, **changes: int) -> Pairs:
    """n pairs that match; ``changes``: how many, from the first, have a flag turned (``agrees=3``: three disagree)."""

    def flags(name: str, value: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        column = np.full(n, value)
        column[: changes.get(name, 0)] = not value
        return column

    return Pairs(
        row=np.arange(n, dtype=np.int64),
        comparable=flags("comparable", value=True),
        agrees=flags("agrees", value=True),
        matches=flags("matches", value=True),
        labelled=flags("labelled", value=True),
        flipped=flags("flipped", value=False),
        schema_changed=flags("schema_changed", value=False),
        delta=np.linspace(-1, 1, n) if n else np.zeros(0),
        rtol=np.zeros(n),
        erred=flags("erred", value=False),
        reference_erred=np.roll(flags("reference_erred", value=False), n // 2),
    )


def asked(text: str, evidence: Attempts | Evidence) -> Judged:
    return judge(parse(text), evidence if isinstance(evidence, Evidence) else Evidence(attempts=evidence))


@pytest.mark.parametrize(
    ("n", "over", "expected"),
    [
        (458, 0, Verdict.INCONCLUSIVE),
        (459, 0, Verdict.PASS),
        (661, 1, Verdict.INCONCLUSIVE),
        (662, 1, Verdict.PASS),
        (837, 2, Verdict.INCONCLUSIVE),
        (838, 2, Verdict.PASS),
        (1, 1, Verdict.INCONCLUSIVE),
        (2, 2, Verdict.FAIL),
        (500, 20, Verdict.FAIL),
        (500, 6, Verdict.INCONCLUSIVE),
    ],
)
def test_p99_follows_the_binomial_rule(n: int, over: int, expected: Verdict) -> None:
    assert asked("latency.p99 < 50ms", attempts(n, over=over)).verdict is expected


def test_inconclusive_says_how_many_samples_would_do_at_best() -> None:
    assert "at best 9 more samples" in asked("latency.p99 < 50ms", attempts(450)).why
    assert "at best 162 more samples" in asked("latency.p99 < 50ms", attempts(500, over=1)).why


def test_rows_that_failed_or_were_shed_exceed_every_limit_on_a_time() -> None:
    for kind in (FailureKind.TIMEOUT, FailureKind.SHED, FailureKind.RESET):
        found = attempts(500)
        found.failure[:20] = kind
        answer = asked("latency.p99 < 1m", found)
        assert answer.verdict is Verdict.FAIL
        assert (answer.observed, answer.shown) == (None, "∞")
        assert asked("latency.max < 1m", found).verdict is Verdict.FAIL
        assert asked("ttft.mean < 1m", found).verdict is Verdict.FAIL


def test_rows_the_run_never_came_to_are_no_samples_and_rows_under_way_are() -> None:
    found = attempts(600)
    found.failure[500:] = FailureKind.UNSENT
    found.dispatched_ns[500:] = -1
    assert asked("latency.p99 < 50ms", found).n == 500
    found.dispatched_ns[500:550] = found.intended_ns[500:550]
    answer = asked("latency.p99 < 50ms", found)
    assert (answer.n, answer.verdict) == (550, Verdict.FAIL)


def test_what_we_broke_off_ourselves_is_no_error_of_the_target() -> None:
    found = attempts(600)
    found.failure[590:] = FailureKind.CLIENT_DISCONNECT
    assert asked("errors <= 0", found).verdict is Verdict.PASS
    assert asked("latency.max < 1m", found).verdict is Verdict.FAIL


def test_lateness_is_known_of_rows_that_failed_later() -> None:
    found = attempts(500)
    found.failure[:20] = FailureKind.TIMEOUT
    assert asked("lateness.p99 < 1ms", found).verdict is Verdict.PASS
    found.dispatched_ns[:20] = -1
    assert asked("lateness.p99 < 1ms", found).verdict is Verdict.FAIL


def test_the_limit_itself_counts_as_written() -> None:
    assert asked("latency.p50 <= 10ms", attempts(100)).verdict is Verdict.PASS
    assert asked("latency.p50 < 10ms", attempts(100)).verdict is Verdict.FAIL
    assert asked("latency.max <= 10ms", attempts(1)).verdict is Verdict.PASS
    assert asked("latency.max < 10ms", attempts(1)).verdict is Verdict.FAIL


def test_means_and_rates_are_facts() -> None:
    found = attempts(1001)
    assert asked("latency.mean <= 10ms", found).observed == 10.0
    assert asked("service.mean < 10ms", found).observed == 9.5
    assert asked("throughput >= 990/s", found).verdict is Verdict.PASS
    assert asked("throughput >= 1000/s", found).verdict is Verdict.FAIL
    found.failure[:] = FailureKind.RESET
    assert asked("throughput >= 1/s", found).observed == 0.0


@pytest.mark.parametrize(
    ("text", "bad", "expected"),
    [
        ("errors < 1%", 0, Verdict.PASS),
        ("errors < 1%", 8, Verdict.INCONCLUSIVE),
        ("errors < 1%", 40, Verdict.FAIL),
        ("errors <= 0", 0, Verdict.PASS),
        ("errors <= 0", 1, Verdict.FAIL),
        ("availability >= 99%", 0, Verdict.PASS),
        ("availability >= 99%", 40, Verdict.FAIL),
        ("availability >= 100%", 1, Verdict.FAIL),
    ],
)
def test_shares_are_judged_by_exact_bounds(text: str, bad: int, expected: Verdict) -> None:
    found = attempts(600)
    found.status[:bad] = 503
    assert asked(text, found).verdict is expected


def test_client_errors_are_errors_and_yet_available() -> None:
    found = attempts(600)
    found.status[:] = 404
    assert asked("errors < 1%", found).observed == 1.0
    assert asked("availability >= 99%", found).observed == 1.0


def test_ttft_is_of_the_body_and_an_answer_without_one_is_no_sample() -> None:
    found = attempts(600)
    found.first_byte_ns[:] = found.intended_ns
    found.first_chunk_ns[:] = found.intended_ns + 70 * MS
    found.first_chunk_ns[:100] = -1
    judged = asked("ttft.p99 < 50ms", found)
    assert (judged.verdict, judged.observed, judged.n) == (Verdict.FAIL, 70.0, 500)


def test_labels_choose_the_rows() -> None:
    found = attempts(600, over=100)
    routes = np.array(["POST /slow"] * 100 + ["POST /fast"] * 500, dtype=object)
    evidence = Evidence(attempts=found, labels={"route": routes})
    assert asked('latency.p99{route="*/fast"} < 50ms', evidence).verdict is Verdict.PASS
    assert asked('latency.p99{route="*/slow"} < 50ms', evidence).verdict is Verdict.FAIL
    assert asked('latency.p99{route="*/none"} < 50ms', evidence).verdict is Verdict.INCONCLUSIVE
    assert (
        asked('latency.p99{codec="gold"} < 50ms', evidence).why
        == "no sample that fits its labels: nothing was measured"
    )


@pytest.mark.parametrize(
    ("text", "n", "changes", "expected"),
    [
        ("agreement >= 99%", 459, {}, Verdict.PASS),
        ("agreement >= 99%", 458, {}, Verdict.INCONCLUSIVE),
        ("agreement >= 99%", 500, {"agrees": 30}, Verdict.FAIL),
        ("match >= 99%", 500, {"matches": 30}, Verdict.FAIL),
        ("flips <= 1%", 500, {"flipped": 30}, Verdict.FAIL),
        ("flips <= 1%", 500, {"labelled": 500}, Verdict.INCONCLUSIVE),
        ("schema_changes <= 0", 10, {}, Verdict.PASS),
        ("schema_changes <= 0", 10, {"schema_changed": 1}, Verdict.FAIL),
        ("incomparable <= 5%", 500, {"comparable": 100}, Verdict.FAIL),
        ("agreement >= 99%", 500, {"comparable": 500}, Verdict.INCONCLUSIVE),
        ("excess_errors <= 2%", 1000, {}, Verdict.PASS),
        ("excess_errors <= 2%", 1000, {"erred": 100}, Verdict.FAIL),
        ("excess_errors <= 2%", 1000, {"erred": 100, "reference_erred": 100}, Verdict.INCONCLUSIVE),
        ("delta.max <= 1", 100, {}, Verdict.PASS),
        ("delta.mean < 0.4", 100, {}, Verdict.FAIL),
        ("delta.p50 < 0.9", 100, {}, Verdict.PASS),
    ],
)
def test_pairs_are_judged_as_well(text: str, n: int, changes: dict[str, int], expected: Verdict) -> None:
    evidence = Evidence(attempts=attempts(n), pairs=pairs(n, **changes))
    assert asked(text, evidence).verdict is expected


@pytest.mark.parametrize(
    ("text", "n", "changes", "expected"),
    [
        ("agreement >= 99%", 29, {}, Verdict.INCONCLUSIVE),
        ("agreement >= 99%", 30, {}, Verdict.PASS),
        ("agreement >= 99%", 100, {"agrees": 1}, Verdict.PASS),
        ("agreement >= 99%", 100, {"agrees": 2}, Verdict.INCONCLUSIVE),
        ("agreement >= 99%", 100, {"agrees": 9}, Verdict.FAIL),
        ("schema_changes <= 0", 100, {"schema_changed": 1}, Verdict.FAIL),
        ("excess_errors <= 0", 100, {}, Verdict.PASS),
        ("excess_errors <= 0", 100, {"erred": 1}, Verdict.INCONCLUSIVE),
        ("excess_errors <= 0", 100, {"erred": 10}, Verdict.FAIL),
        ("excess_errors <= 0", 100, {"erred": 10, "reference_erred": 11}, Verdict.PASS),
        ("excess_errors <= 0", 0, {}, Verdict.INCONCLUSIVE),
    ],
)
def test_built_in_objectives_judge_what_was_seen(text: str, n: int, changes: dict[str, int], expected: Verdict) -> None:
    evidence = Evidence(attempts=attempts(n), pairs=pairs(n, **changes))
    assert judge(replace(parse(text), seen=True), evidence).verdict is expected


def test_every_metric_can_be_judged_on_an_empty_run() -> None:
    values = {Kind.TIME: "1s", Kind.SHARE: "1%", Kind.RATE: "1/s", Kind.NUMBER: "1"}
    for name, metric in METRICS.items():
        stats = [".p99", ".mean", ".max"] if metric.kind in (Kind.TIME, Kind.NUMBER) else [""]
        op = ">=" if metric.better == "high" else "<="
        for stat in stats:
            text = f"{name}{stat} {op} {values[metric.kind]}"
            evidence = Evidence(attempts=attempts(0), pairs=pairs(0))
            assert asked(text, evidence).verdict is Verdict.INCONCLUSIVE


def test_a_replay_cannot_answer_what_only_pairs_can() -> None:
    answer = asked("agreement >= 99%", attempts(500))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert "use shadowtape shadow" in answer.why
