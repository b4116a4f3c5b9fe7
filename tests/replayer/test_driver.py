"""Ten-minute replays in milliseconds: the driver on a clock that jumps and a transport that plays a part."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from captures.errors import CaptureError
from captures.exchange import FailureKind
from replayer.attempt import Attempts, Completed, Reply, Shed
from replayer.driver import Flight, OnRow, Settings, Stop, drive_closed, drive_open
from replayer.look_ahead import LookAhead
from replayer.testing import Answer, FakeTransport, Inline, ManualClock
from replayer.transport import Wire

MS, SECOND = 1_000_000, 1_000_000_000


def wire(row: int) -> Wire:
    return Wire("POST", "/infer", (("x-row", str(row)),), b"%d" % row)


class Bench:
    """A driver with its surroundings, everything fake but the driver."""

    def __init__(
        self,
        at_ns: Sequence[int],
        *answers: Callable[[int, Wire], Answer | None],
        max_in_flight: int = 10_000,
        on_row: OnRow | None = None,
    ) -> None:
        self.at_ns = np.array(at_ns, dtype=np.int64)
        self.clock = ManualClock()
        self.stop = Stop(self.clock)
        self.roles = ["target"] if len(answers) == 1 else [f"side{place}" for place in range(len(answers))]
        pairs = zip(self.roles, answers, strict=True)
        self.fakes = {role: FakeTransport(self.clock, answer) for role, answer in pairs}
        self.attempts = {role: Attempts.for_schedule(role, self.at_ns.copy()) for role in self.roles}
        self.flight = Flight(
            self.fakes,
            self.attempts,
            clock=self.clock,
            stop=self.stop,
            settings=Settings(max_in_flight=max_in_flight, drain_ns=31 * SECOND, seed=7),
            on_row=on_row,
        )

    def wires(self, rows: NDArray[np.int64], make: Callable[[int], Wire] = wire) -> LookAhead:
        return LookAhead(
            lambda some: [make(int(row)) for row in some], rows, np.ones(len(rows), dtype=np.int64), Inline()
        )

    def open(self) -> "Bench":
        asyncio.run(drive_open(self.flight, self.wires(np.arange(len(self.at_ns))), self.at_ns))
        return self

    def closed(self, order: Sequence[int]) -> "Bench":
        rows = np.array(order, dtype=np.int64)
        asyncio.run(drive_closed(self.flight, self.wires(rows), rows, self.attempts))
        return self

    @property
    def target(self) -> Attempts:
        return self.attempts[self.roles[0]]


def at_once(row: int, wire: Wire) -> Answer:
    return Answer()


def never(row: int, wire: Wire) -> Answer | None:
    return None


def test_a_ten_minute_replay_keeps_every_time_and_takes_no_time() -> None:
    began = time.monotonic()
    bench = Bench(range(0, 600 * SECOND, 100 * MS), at_once).open()

    assert time.monotonic() - began < 60
    assert np.array_equal(bench.target.dispatched_ns, bench.at_ns)
    assert np.array_equal(bench.target.done_ns, bench.at_ns + MS)
    assert [sent[1] for sent in bench.fakes["target"].sent] == list(range(6000))
    assert all(bench.target.outcome(row) == Completed(200) for row in range(6000))


def test_a_target_that_stalls_does_not_delay_a_single_row() -> None:
    bench = Bench(range(0, 10 * SECOND, 10 * MS), never).open()

    assert np.array_equal(bench.target.dispatched_ns, bench.at_ns)
    assert set(bench.target.failure.tolist()) == {FailureKind.TIMEOUT}
    assert bench.fakes["target"].closed


def test_at_the_cap_a_row_is_shed_at_its_time_and_never_waited_for() -> None:
    def slow(row: int, wire: Wire) -> Answer:
        return Answer(service_ns=35 * MS)

    bench = Bench(range(0, 100 * MS, 10 * MS), slow, max_in_flight=2).open()

    shed = bench.target.failure == FailureKind.SHED
    assert np.flatnonzero(shed).tolist() == [2, 3, 6, 7]
    assert (bench.target.dispatched_ns[shed] == -1).all()
    assert np.array_equal(bench.target.done_ns[shed], bench.at_ns[shed])
    assert bench.target.outcome(2) == Shed("in-flight cap")


def test_rows_that_are_overdue_go_out_at_once_each_exactly_once() -> None:
    bench = Bench([0, 10, 20, 30 * MS], at_once)
    # The loop is held up by something for 25 ms while row 0 is under way.
    bench.clock.call_at(5, lambda: setattr(bench.clock, "_now_ns", 25 * MS))
    bench.open()

    assert bench.target.dispatched_ns.tolist() == [0, 25 * MS, 25 * MS, 30 * MS]
    assert [row for _, row, _ in bench.fakes["target"].sent] == [0, 1, 2, 3]


def test_an_interrupt_stops_sending_and_waits_briefly_for_what_is_under_way() -> None:
    def two_speeds(row: int, wire: Wire) -> Answer:
        return Answer(service_ns=SECOND if row % 2 else 10 * SECOND)

    bench = Bench(range(0, 10 * SECOND, 100 * MS), two_speeds)
    bench.clock.call_at(1050 * MS, lambda: bench.stop.set("interrupted"))
    bench.open()

    sent = bench.target.dispatched_ns >= 0
    assert np.flatnonzero(sent).tolist() == list(range(11))
    assert (bench.target.failure[~sent] == FailureKind.UNSENT).all()
    assert {int(kind) for kind in bench.target.failure[:11][1::2]} == {FailureKind.NONE}
    # They did not fail: we went away.
    assert {int(kind) for kind in bench.target.failure[:11][0::2]} == {FailureKind.CLIENT_DISCONNECT}
    assert bench.clock.now_ns() == 3050 * MS
    assert bench.stop.reason == "interrupted"


def test_an_interrupt_while_the_last_answers_are_awaited_ends_that_too() -> None:
    bench = Bench([0], never)
    bench.clock.call_at(SECOND, lambda: bench.stop.set("interrupted"))
    bench.open()

    assert bench.clock.now_ns() == 2 * SECOND
    assert bench.target.failure.tolist() == [FailureKind.CLIENT_DISCONNECT]


@pytest.mark.parametrize("answer", [Answer(failure=FailureKind.RESET), Answer(status=503), Answer(status=429)])
def test_the_breaker_leaves_a_dead_target_alone(answer: Answer) -> None:
    bench = Bench(range(0, 60 * SECOND, 10 * MS), lambda row, wire: answer).open()

    assert bench.stop.reason == "aborted"
    assert "circuit breaker" in bench.stop.why
    sent = int(np.count_nonzero(bench.target.dispatched_ns >= 0))
    assert 690 <= sent <= 710
    assert (bench.target.failure[sent:] == FailureKind.UNSENT).all()


def test_answers_are_handed_over_when_the_row_has_finished_everywhere() -> None:
    seen: list[tuple[int, dict[str, tuple[int, bytes, FailureKind]]]] = []

    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        seen.append((row, {role: (one.status, one.body, one.failure) for role, one in replies.items()}))

    def left(row: int, wire: Wire) -> Answer:
        return Answer(body=b"left", service_ns=5 * MS)

    def right(row: int, wire: Wire) -> Answer:
        return Answer(failure=FailureKind.RESET) if row else Answer(status=404, body=b"")

    Bench([0, 0], left, right, on_row=on_row).open()

    assert seen == [
        (0, {"side0": (200, b"left", FailureKind.NONE), "side1": (404, b"", FailureKind.NONE)}),
        (1, {"side0": (200, b"left", FailureKind.NONE), "side1": (0, b"", FailureKind.RESET)}),
    ]


def test_of_several_targets_none_is_always_asked_first() -> None:
    asked: list[str] = []

    def left(row: int, wire: Wire) -> Answer:
        asked.append("left")
        return Answer()

    def right(row: int, wire: Wire) -> Answer:
        asked.append("right")
        return Answer()

    Bench(range(0, 400 * MS, MS), left, right).open()

    pairs = list(zip(asked[::2], asked[1::2], strict=True))
    assert len(pairs) == 400
    assert all(set(pair) == {"left", "right"} for pair in pairs)
    assert 150 < sum(pair[0] == "left" for pair in pairs) < 250


def test_closed_loop_keeps_the_order_and_never_more_in_flight_than_asked() -> None:
    under_way = {"now": 0, "most": 0}

    def count(row: int, wire: Wire) -> Answer:
        under_way["now"] += 1
        under_way["most"] = max(under_way["most"], under_way["now"])
        return Answer(service_ns=(1 + row % 3) * MS)

    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        under_way["now"] -= 1

    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    bench = Bench([0] * 10, count, max_in_flight=3, on_row=on_row).closed(order)

    assert [row for _, row, _ in bench.fakes["target"].sent] == order
    assert under_way["most"] == 3
    assert (bench.target.failure == FailureKind.NONE).all()
    assert np.array_equal(bench.target.intended_ns, bench.target.dispatched_ns)


def test_closed_loop_ends_when_it_has_been_decided() -> None:
    bench = Bench([0] * 100, at_once, at_once, max_in_flight=2, on_row=lambda row, replies: row == 5)
    bench.closed(range(100))

    assert bench.stop.reason == "decided"
    assert 6 <= np.count_nonzero(bench.target.dispatched_ns >= 0) <= 8


def test_an_error_while_judging_ends_the_run_and_is_raised() -> None:
    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        raise ZeroDivisionError

    bench = Bench(range(0, SECOND, MS), at_once, on_row=on_row)
    with pytest.raises(ZeroDivisionError):
        bench.open()

    assert np.count_nonzero(bench.target.dispatched_ns >= 0) <= 3
    assert bench.fakes["target"].closed


def test_a_body_that_cannot_be_read_ends_the_run_with_nothing_left_in_flight() -> None:
    def broken(row: int) -> Wire:
        if row >= 300:
            raise CaptureError("segment 2 is damaged")
        return wire(row)

    bench = Bench(range(0, 5 * SECOND, 10 * MS), at_once)
    with pytest.raises(CaptureError):
        asyncio.run(drive_open(bench.flight, bench.wires(np.arange(500), broken), bench.at_ns))

    assert bench.fakes["target"].closed
    assert bench.flight.rows == 0


def test_a_long_answer_is_kept_up_to_a_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replayer.driver.REPLY_BYTES", 4)
    seen: list[Reply] = []

    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        seen.append(replies["target"])

    bench = Bench([0], lambda row, wire: Answer(body=b"123456"), on_row=on_row).open()

    assert (seen[0].body, seen[0].size, seen[0].truncated) == (b"1234", 6, True)
    assert bench.target.response_size.tolist() == [6]


def test_nothing_to_send_is_no_problem() -> None:
    bench = Bench([], at_once).open()

    assert bench.fakes["target"].closed
