"""`recorder.pairing`: every request of a logger is kept once, with its answer where one came, and everything is counted."""

import json
import random

import pytest

from captures.exchange import RUN_HEADER, FailureKind
from recorder.admission import Admission
from recorder.board import ROW_SIZE, Count
from recorder.pairing import PAIR_NS, Pairing
from recorder.recording import Limits, Recording
from recorder.wire import WireBody, WireExchange

TYPE = "org.kubeflow.serving.inference."
ASKED = b'{"instances":[[1.0]]}'
LIMITS = Limits()
SAID = b'{"predictions":[2.0]}'


class Desk:
    """A pairing, its recording, and what was kept."""

    def __init__(self, limits: Limits = LIMITS, admission: Admission | None = None, **options: object) -> None:
        self.kept: list[WireExchange] = []
        self.row = [0] * ROW_SIZE
        self.recording = Recording(self._offer, self.row, admission, limits)
        self.pairing = Pairing(self.recording, **options)  # type: ignore[arg-type]  # as they are named there

    def _offer(self, exchange: WireExchange) -> bool:
        self.kept.append(exchange)
        return True

    def event(self, side: str, identity: str, at_ns: int, body: bytes = b"", **headers: str) -> None:
        named = {"ce-id": identity, "ce-type": TYPE + side, "ce-inferenceservicename": "house", **headers}
        head = "POST / HTTP/1.1\r\n" + "".join(f"{n.replace('_', '-')}: {v}\r\n" for n, v in named.items()) + "\r\n"
        copy = WireExchange(at_ns - 1, 3, head.encode())
        assert self.recording.body(copy.request, at_ns, body or (ASKED if side == "request" else SAID))
        copy.request.end_ns = at_ns
        self.pairing.take(copy, at_ns)

    def counts(self) -> dict[str, int]:
        return {count.name: self.row[count] for count in Count if self.row[count]}


def body(wire: WireBody) -> bytes:
    return b"".join(data for _, data in wire.chunks)


@pytest.mark.parametrize("order", [["request", "response"], ["response", "request"]])
def test_halves_meet_in_either_order(order: list[str]) -> None:
    desk = Desk()
    for at_ns, side in enumerate(order, 100):
        desk.event(side, "1", at_ns)

    (kept,) = desk.kept
    asked_ns = 100 + order.index("request")
    assert kept.request_head == b"POST /v1/models/house:predict HTTP/1.1\r\n\r\n"
    assert (kept.arrival_ns, kept.connection, kept.request.end_ns) == (asked_ns - 1, 3, asked_ns)
    assert (body(kept.request), body(kept.response)) == (ASKED, SAID)
    assert kept.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (kept.first_ns, kept.response.end_ns, kept.failure) == (-1, 101, FailureKind.NONE)
    assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "OFFERED": 1}


def test_the_time_an_answer_took_is_the_loggers_own_where_it_tells() -> None:
    desk = Desk()
    desk.event("request", "1", 100, ce_time="2026-01-01T00:00:00.000000100Z")
    desk.event("response", "1", 5000, ce_time="2026-01-01T00:00:00.000000140Z")

    assert desk.kept[0].response.end_ns == 140
    assert [at_ns for at_ns, _ in desk.kept[0].response.chunks] == [140]


def test_an_answer_is_never_before_its_request() -> None:
    desk = Desk()
    desk.event("request", "1", 100, ce_time="2026-01-01T00:00:02Z")
    desk.event("response", "1", 5000, ce_time="2026-01-01T00:00:01Z")

    assert desk.kept[0].response.end_ns == 100


def test_a_request_whose_answer_does_not_come_is_kept_alone() -> None:
    desk = Desk()
    desk.event("request", "1", 100)
    desk.pairing.expire(99 + PAIR_NS)
    assert desk.kept == []

    desk.pairing.expire(100 + PAIR_NS)
    (kept,) = desk.kept
    assert (kept.response_head, kept.failure) == (b"", FailureKind.NONE)

    desk.event("response", "1", 101 + PAIR_NS)
    desk.pairing.finish()
    assert desk.counts() == {"BEGAN": 2, "SEEN": 2, "OFFERED": 1, "UNPARSED": 1}


def test_an_answer_without_a_request_is_counted_as_unparsed() -> None:
    desk = Desk()
    desk.event("response", "1", 100)
    assert desk.row[Count.HELD_BYTES] == len(SAID)
    desk.pairing.expire(100 + PAIR_NS)

    assert desk.kept == []
    assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "UNPARSED": 1}


@pytest.mark.parametrize("order", [["request", "response"], ["response", "request"]])
def test_the_answer_to_one_of_our_own_replays_is_counted_with_it(order: list[str]) -> None:
    desk = Desk()
    for side in order:
        desk.event(side, "1", 100, ce_metadata=json.dumps({RUN_HEADER: ["run-1"]}))
    desk.pairing.finish()

    assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "OWN": 1}


def test_an_id_that_is_used_twice_makes_two_exchanges() -> None:
    desk = Desk()
    for side in ("request", "request", "response", "response", "response"):
        desk.event(side, "1", 100)
    desk.pairing.finish()

    assert [bool(kept.response_head) for kept in desk.kept] == [False, True]
    assert desk.counts() == {"BEGAN": 4, "SEEN": 4, "OFFERED": 2, "UNPARSED": 2}


def test_ids_are_those_of_one_service() -> None:
    desk = Desk()
    desk.event("request", "1", 100, ce_inferenceservicename="a")
    desk.event("response", "1", 101, ce_inferenceservicename="b")
    desk.pairing.finish()

    assert desk.counts() == {"BEGAN": 2, "SEEN": 2, "OFFERED": 1, "UNPARSED": 1}


def test_a_request_of_which_no_path_can_be_told_is_counted_as_unparsed() -> None:
    desk = Desk()
    desk.event("request", "1", 100, b"\x89PNG")
    desk.event("response", "1", 101)
    assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "UNPARSED": 1}

    desk = Desk(path_template="/score/{model}", model="a b")
    desk.event("request", "1", 100, b"\x89PNG")
    desk.event("response", "1", 101)
    assert desk.kept[0].request_head.startswith(b"POST /score/a%20b HTTP/1.1\r\n")


def test_events_of_another_kind_are_copies_like_any() -> None:
    desk = Desk()
    head = b"POST /orders HTTP/1.1\r\ncontent-type: application/cloudevents+json\r\n\r\n"
    copy = WireExchange(0, 1, head)
    desk.recording.body(copy.request, 1, b'{"specversion":"1.0","type":"com.example.order","id":"1"}')
    desk.pairing.take(copy, 1)

    assert desk.kept == [copy]
    assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "OFFERED": 1}


def test_the_oldest_goes_alone_where_bodies_take_too_much_memory() -> None:
    desk = Desk(Limits(memory=4 * len(ASKED)))
    for number in range(9):
        desk.event("request", str(number), number)

    assert len(desk.kept) == 7
    assert desk.row[Count.HELD_BYTES] == 2 * len(ASKED)


def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.pairing.PENDING_LIMIT", 3)
    desk = Desk()
    for number in range(9):
        desk.event("request", str(number), number)

    assert [kept.arrival_ns for kept in desk.kept] == [-1, 0, 1, 2, 3, 4]


def test_nobody_waits_when_the_recording_is_over() -> None:
    desk = Desk()
    desk.event("request", "1", 100)
    desk.recording.stop()
    desk.pairing.expire(101)

    assert len(desk.kept) == 1


def test_whatever_comes_in_whatever_order_the_counts_add_up() -> None:
    dice = random.Random(3)
    desk = Desk(admission=Admission(rate=0.5, seed=1))
    now_ns = requests = 0
    for _ in range(3000):
        now_ns += dice.choice([0, 1, PAIR_NS // 20])
        side = dice.choice(["request", "response"])
        requests += side == "request"
        desk.event(side, str(dice.randrange(20)), now_ns)
        if dice.random() < 0.1:
            desk.pairing.expire(now_ns)
    desk.pairing.finish()

    row = desk.row
    assert row[Count.BEGAN] == row[Count.SEEN] == row[Count.OFFERED] + row[Count.SAMPLED_OUT] + row[Count.UNPARSED]
    assert row[Count.OFFERED] + row[Count.SAMPLED_OUT] == requests
    assert row[Count.HELD_BYTES] == 0
    assert sum(bool(kept.response_head) for kept in desk.kept) > 100
