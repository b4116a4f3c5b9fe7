from dataclasses import replace

import numpy as np

from captures.testing import capture_bytes, capture_of, cut, example_exchange, example_exchanges
from replayer.account import broken_off, inputs_of, notes, protector
from replayer.driver import Stop
from replayer.plan import plan_of
from replayer.sending import Sent
from replayer.testing import ManualClock
from replayer.validity import Generator
from replayer.verdict import Judged, Verdict

GENERATOR = Generator(
    valid=True, reasons=(), notes=("busy",), late=0, late_limit_ms=10, late_share_allowed=0.01, cpu=0.5
)


def sent(reason: str = "", why: str = "") -> Sent:
    stop = Stop(ManualClock())
    stop.reason, stop.why = reason, why  # type: ignore[assignment]  # as the test wrote it
    return Sent(
        attempts={},
        stop=stop,
        wall_ns=0,
        cpu=0.5,
        headers_not_sent={"cookie": 2},
        targets=[""],
        target_of=np.zeros(0, np.uint32),
        event_loop="uvloop",
    )


def test_a_run_the_breaker_ended_has_failed_and_an_interrupted_one_has_not_shown_what_it_should() -> None:
    held = Judged(expr="errors < 1%", verdict=Verdict.PASS, why="")

    assert broken_off(sent(), [held]) == []
    assert broken_off(sent("aborted", "the circuit breaker"), [])[0].verdict is Verdict.FAIL
    assert broken_off(sent("interrupted"), [held])[0].verdict is Verdict.INCONCLUSIVE
    assert broken_off(sent("interrupted"), []) == []  # nothing was asked
    assert broken_off(sent("decided"), [held]) == []


def test_what_the_inputs_lack_is_told() -> None:
    whole = capture_bytes([example_exchanges(3), example_exchanges(3)], segment_bytes=1)
    unsealed = capture_of(capture_bytes([example_exchanges(3)], seal=False), "b.tape")
    damaged = capture_of(cut(whole, len(whole) - len(whole) // 3), "a.tape")
    plan = plan_of([damaged, unsealed], [], seed=0)

    told = notes(plan, sent(), GENERATOR)

    assert told[0] == "busy"
    assert any("b.tape was not sealed" in note for note in told)
    assert "cookie" in told[-1]
    assert [one["path"] for one in inputs_of(plan.captures)] == ["a.tape", "b.tape"]
    assert [one["sealed"] for one in inputs_of(plan.captures)] == [False, False]


def test_each_input_is_protected_by_its_own_policy() -> None:
    lenient = {"paths_kept": ["/kept/*"]}
    captures = [capture_of(capture_bytes([[]])), capture_of(capture_bytes([[]], policy=lenient))]
    protect = protector(captures, b"k" * 32)
    base = example_exchange()
    raw = replace(
        base, request=replace(base.request, target="/kept/jane.doe@example.org", headers=(("Cookie", "hunter2"),))
    )

    strict, kept = protect(0, [raw])[0], protect(1, [raw])[0]

    assert "jane.doe" not in strict.request.target
    assert kept.request.target == "/kept/jane.doe@example.org"
    assert "hunter2" not in repr(strict) + repr(kept)
