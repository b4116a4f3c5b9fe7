"""What is kept, what is left out, and that everything is counted."""

import pytest

from captures.exchange import RUN_HEADER, Exchange, FailureKind, Headers
from recorder.assembler import Assembler
from recorder.recording import Counts, Recording
from recorder.sample import kept


class Desk:
    """A spool that takes exchanges until told not to."""

    def __init__(self, **options: object) -> None:
        self.out: list[Exchange] = []
        self.open = True
        self.counts = Counts()
        self.recording = Recording(self.offer, self.counts, **options)  # type: ignore[arg-type]  # passed on as they are

    def offer(self, exchange: Exchange) -> bool:
        if self.open:
            self.out.append(exchange)
        return self.open

    def begin(self, key: str = "a", headers: Headers = (), connection: int = 1) -> bool:
        return self.recording.request_head(key, 0, connection, "POST", "/", headers, "HTTP/1.1")

    def answer(self, key: str = "a", status: int = 200) -> None:
        self.recording.request_end(key, 1)
        self.recording.response_head(key, 2, status, "", ())
        self.recording.response_end(key, 3)


def test_what_does_not_fit_is_shed_and_counted() -> None:
    desk = Desk()
    desk.open = False
    desk.begin()
    desk.answer()
    assert desk.counts == Counts(seen=1, shed=1)


def test_our_own_traffic_is_left_out_whatever_its_spelling() -> None:
    desk = Desk()
    assert not desk.begin(headers=((RUN_HEADER.upper(), "r1"),))
    desk.answer()
    assert desk.counts == Counts(seen=1, own=1)
    assert not desk.out


def test_sampling_counts_what_it_leaves_out_and_own_traffic_does_not_shift_it() -> None:
    desk = Desk(rate=0.5, seed=3)
    for number in range(1, 101):
        desk.begin("own", headers=((RUN_HEADER, "r"),))
        assert desk.begin(str(number)) == kept(3, number, 0.5)
        desk.answer(str(number))
    assert desk.counts == Counts(seen=200, own=100, sampled_out=100 - len(desk.out))
    assert 30 < len(desk.out) < 70


def test_switching_protocols_leaves_http_and_is_counted_unparsed() -> None:
    desk = Desk()
    desk.begin()
    desk.answer(status=101)
    assert (desk.counts, desk.out, desk.recording.open) == (Counts(seen=1, unparsed=1), [], 0)


def test_bodies_in_the_making_over_the_memory_limit_shed_the_exchange_that_went_over() -> None:
    desk = Desk(memory_limit=10)
    desk.begin("a")
    desk.begin("b")
    desk.recording.request_chunk("a", 1, b"12345678")
    desk.recording.request_chunk("b", 1, b"1234")
    desk.answer("b")
    desk.answer("a")
    assert desk.counts == Counts(seen=2, shed=1)
    assert [exchange.request.body for exchange in desk.out] == [b"12345678"]


def test_a_failed_hook_drops_the_exchange_once() -> None:
    desk = Desk()
    desk.begin()
    desk.recording.hook_failed("a")
    desk.answer()
    assert desk.counts == Counts(seen=1, hook_errors=1)
    assert not desk.out


def test_when_it_stops_new_exchanges_are_not_seen_and_open_ones_may_finish() -> None:
    desk = Desk()
    desk.begin("a")
    desk.recording.stop()
    assert not desk.begin("b")
    desk.recording.not_http()
    desk.answer("a")
    assert desk.counts == Counts(seen=1)
    assert len(desk.out) == 1


@pytest.mark.parametrize("how", ["gone", "abandoned", "failed"])
def test_every_way_to_end_is_seen_and_kept(how: str) -> None:
    desk = Desk(assembler=Assembler())
    desk.begin()
    if how == "gone":
        desk.recording.gone(1, 5)
    elif how == "abandoned":
        desk.recording.abandon(5, "the recording ended")
    else:
        desk.recording.failed("a", 5, FailureKind.CONNECT)
    assert desk.counts == Counts(seen=1)
    assert desk.out[0].failure is not None
