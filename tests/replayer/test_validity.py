import numpy as np
import pytest

from captures.exchange import FailureKind
from replayer.attempt import Attempts
from replayer.objective import parse
from replayer.validity import judge_run, late_limit_ns, late_share

MS = 1_000_000


def completed(n: int, late_ns: int = 0, every_ns: int = 10 * MS) -> Attempts:
    attempts = Attempts.for_schedule("target", np.arange(n, dtype=np.int64) * every_ns)
    attempts.dispatched_ns[:] = attempts.intended_ns + late_ns
    attempts.done_ns[:] = attempts.dispatched_ns + 5 * MS
    attempts.status[:] = 200
    attempts.failure[:] = FailureKind.NONE
    return attempts


def recorded(n: int, status: int = 200) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.full(n, status, dtype=np.uint16)


def reasons(attempts: Attempts, *require: str, status: int = 200, expect: tuple[int, ...] = ()) -> list[str]:
    objectives = [parse(text) for text in require]
    judged = judge_run(attempts, recorded(len(attempts), status), objectives, expect_status=expect)
    assert judged.valid == (not judged.reasons)
    return list(judged.reasons)


@pytest.mark.parametrize(
    ("require", "limit_ms", "share"),
    [
        ([], 10, 0.01),
        (["latency.p99 < 50ms"], 5, 0.001),
        (["latency.p99 < 2ms"], 1, 0.001),
        (["latency.p99 < 10s"], 10, 0.001),
        (["latency.p50 < 30ms", "ttft.p999 < 80ms"], 3, 0.0001),
        (["errors < 1%"], 10, 0.01),
        (["latency.mean < 50ms"], 5, 0.01),
        (["latency.max < 50ms"], 5, 0.0),
        (["lateness.p99 < 2ms"], 10, 0.01),
    ],
)
def test_the_tightest_objective_decides_what_late_means(require: list[str], limit_ms: int, share: float) -> None:
    objectives = [parse(text) for text in require]

    assert late_limit_ns(objectives) == limit_ms * MS
    assert late_share(objectives) == pytest.approx(share)


def test_a_run_on_time_is_valid() -> None:
    assert reasons(completed(1000, late_ns=10 * MS)) == []
    assert reasons(completed(1000), "latency.p99 < 50ms") == []


def test_a_hundredth_may_be_late_and_no_more() -> None:
    attempts = completed(1000)
    attempts.dispatched_ns[:10] += 11 * MS
    assert reasons(attempts) == []

    attempts.dispatched_ns[10] += 11 * MS
    assert "late: 11 of 1,000" in reasons(attempts)[0]


def test_a_row_shed_in_time_is_the_targets_doing_one_shed_overdue_is_ours() -> None:
    attempts = completed(1000)
    attempts.failure[500:] = FailureKind.SHED
    attempts.dispatched_ns[500:] = -1
    attempts.done_ns[500:] = attempts.intended_ns[500:]
    assert reasons(attempts) == []

    attempts.done_ns[500:] += 11 * MS
    assert "late: 500 of 1,000" in reasons(attempts)[0]


def test_a_target_that_fails_or_stalls_never_makes_a_run_invalid() -> None:
    attempts = completed(1000)
    attempts.failure[:] = FailureKind.TIMEOUT
    attempts.status[:] = 0
    attempts.done_ns[:] += 30_000 * MS
    assert reasons(attempts) == []

    attempts = completed(1000)
    attempts.status[:] = 503
    assert reasons(attempts, "errors < 1%") == []


def test_a_load_off_its_schedule_is_another_load() -> None:
    attempts = completed(1000)
    attempts.dispatched_ns[:] = attempts.intended_ns * 103 // 100

    assert any("off the schedule" in reason for reason in reasons(attempts))


def test_rows_never_sent_after_an_interrupt_are_no_fault_of_the_pace() -> None:
    attempts = completed(1000)
    attempts.failure[100:] = FailureKind.UNSENT
    attempts.dispatched_ns[100:] = attempts.done_ns[100:] = -1

    assert reasons(attempts) == []
    attempts.failure[:] = FailureKind.UNSENT
    attempts.dispatched_ns[:] = attempts.done_ns[:] = -1
    assert reasons(attempts) == []


@pytest.mark.parametrize("status", [301, 401, 404, 429])
def test_another_status_mix_is_other_work_unless_expected(status: int) -> None:
    attempts = completed(1000)
    attempts.status[:20] = status

    told = reasons(attempts)
    assert "other work" in told[0]
    assert f"{status} where 200" in told[0]
    assert reasons(attempts, expect=(status,)) == []


def test_a_few_strays_are_answers() -> None:
    attempts = completed(1000)
    attempts.status[:10] = 404

    assert reasons(attempts) == []


def test_recorded_errors_that_stay_errors_are_the_same_mix_and_unknown_ones_are_not_judged() -> None:
    attempts = completed(1000)
    attempts.status[:] = 404
    assert reasons(attempts, status=400) == []
    assert reasons(attempts, status=0) == []
    assert reasons(attempts, status=502) == []

    attempts.status[:] = 200
    assert "200 where 404" in reasons(attempts, status=404)[0]


def test_few_in_flight_promises_no_times() -> None:
    assert judge_run(completed(100, late_ns=1000 * MS), recorded(100), paced=False).valid


def test_a_busy_generator_is_advice_not_a_verdict() -> None:
    judged = judge_run(completed(100), recorded(100), cpu=0.97)

    assert judged.valid
    assert "97%" in judged.notes[0]
    assert judged.as_data()["reasons"] == []
