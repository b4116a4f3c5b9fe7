"""What is kept, what is left out, and that everything is counted."""

import pytest

from captures.exchange import RUN_HEADER, FailureKind
from recorder.admission import Admission
from recorder.assembler import Assembler
from recorder.board import Count
from recorder.recording import Limits, Recording
from recorder.sample import kept
from recorder.wire import WireExchange

HEAD = b"POST / HTTP/1.1\r\nhost: h\r\n\r\n"
OWN = HEAD.replace(b"\r\n\r\n", f"\r\n{RUN_HEADER.upper()} : r1\r\n\r\n".encode())
OK = b"HTTP/1.1 200 OK\r\n\r\n"
TOTALS = (Count.OFFERED, Count.SHED, Count.SAMPLED_OUT, Count.OWN, Count.FILTERED, Count.UNPARSED, Count.HOOK_ERRORS)


class Desk:
    """A source, and a spool that takes exchanges until told not to."""

    def __init__(self, admission: Admission | None = None, limits: Limits | None = None) -> None:
        self.out: list[WireExchange] = []
        self.open = True
        self.row = [0] * len(Count)
        self.recording = Recording(self.offer, self.row, admission, limits or Limits())
        self.assembler = Assembler(self.recording)

    def offer(self, exchange: WireExchange) -> bool:
        if self.open:
            self.out.append(exchange)
        return self.open

    def begin(self, key: str = "a", head: bytes = HEAD) -> bool:
        return self.assembler.request_head(key, 0, 1, head)

    def answer(self, key: str = "a", status: int = 200) -> None:
        self.assembler.request_end(key, 1)
        self.assembler.response_head(key, 2, status, OK)
        self.assembler.response_end(key, 3)

    @property
    def counts(self) -> dict[str, int]:
        """How exchanges ended, which is all that were seen."""
        assert self.row[Count.SEEN] == sum(self.row[count] for count in TOTALS)
        return {count.name.lower(): self.row[count] for count in TOTALS if self.row[count]}


def test_what_does_not_fit_is_shed_and_counted() -> None:
    desk = Desk()
    desk.open = False
    desk.begin()
    desk.answer()
    assert desk.counts == {"shed": 1}


def test_our_own_traffic_is_left_out_whatever_its_spelling() -> None:
    desk = Desk()
    assert not desk.begin(head=OWN)
    desk.answer()
    assert desk.counts == {"own": 1}
    assert not desk.out


def test_sampling_counts_what_it_leaves_out_and_own_traffic_does_not_shift_it() -> None:
    desk = Desk(Admission(rate=0.5, seed=3))
    for number in range(1, 101):
        desk.begin("own", OWN)
        assert desk.begin(str(number)) == kept(3, number, 0.5)
        desk.answer(str(number))
    assert desk.counts == {"offered": len(desk.out), "own": 100, "sampled_out": 100 - len(desk.out)}
    assert 30 < len(desk.out) < 70


def test_bodies_in_the_making_over_the_memory_limit_shed_the_exchange_that_went_over() -> None:
    desk = Desk(limits=Limits(memory=10))
    desk.begin("a")
    desk.begin("b")
    desk.assembler.request_chunk("a", 1, b"12345678")
    desk.assembler.request_chunk("b", 1, b"1234")
    desk.answer("b")
    desk.answer("a")
    assert desk.counts == {"offered": 1, "shed": 1}
    assert [exchange.request.chunks for exchange in desk.out] == [[(1, b"12345678")]]
    assert desk.row[Count.HELD_BYTES] == 0


def test_a_body_over_its_limit_is_kept_as_a_prefix_and_counted_to_its_end() -> None:
    desk = Desk(limits=Limits(body=5))
    desk.begin()
    for data in (b"aaa", b"bbb", b"c"):
        desk.assembler.request_chunk("a", 1, data)
    desk.answer()
    (exchange,) = desk.out
    body = exchange.request
    assert (body.chunks, body.size, body.held, body.truncated) == ([(1, b"aaa")], 7, 3, True)
    assert desk.row[Count.HELD_BYTES] == 0


def test_when_it_stops_new_exchanges_are_not_seen_and_open_ones_may_finish() -> None:
    desk = Desk()
    desk.begin("a")
    desk.recording.stop()
    assert not desk.begin("b")
    desk.recording.unparsed()
    desk.recording.hook_failed()
    assert desk.recording.open == 1
    desk.answer("a")
    assert (desk.counts, desk.recording.open) == ({"offered": 1}, 0)


@pytest.mark.parametrize("how", ["gone", "abandoned", "failed"])
def test_every_way_to_end_is_seen_and_kept(how: str) -> None:
    desk = Desk()
    desk.begin()
    if how == "gone":
        desk.assembler.gone(1, 5)
    elif how == "abandoned":
        desk.assembler.abandon(5)
    else:
        desk.assembler.failed("a", 5, FailureKind.CONNECT)
    assert (desk.counts, desk.recording.open) == ({"offered": 1}, 0)
    assert desk.out[0].failure is not FailureKind.NONE


class Broken(Admission):
    def verdict(self, head: bytes) -> Count | None:
        raise RuntimeError("a bug of ours")


def test_an_exchange_that_our_own_code_fails_on_counts_once_wherever_it_fails() -> None:
    desk = Desk(Broken())
    assert not desk.begin()
    assert (desk.counts, desk.recording.open) == ({"hook_errors": 1}, 0)

    def offer(exchange: WireExchange) -> bool:
        raise RuntimeError("a bug of ours")

    row = [0] * len(Count)
    recording = Recording(offer, row)
    assert recording.admit(HEAD)
    recording.keep(WireExchange(0, 1, HEAD))
    recording.hook_failed()  # before it had begun
    recording.unparsed()
    assert [row[count] for count in (Count.BEGAN, Count.SEEN, Count.HOOK_ERRORS, Count.UNPARSED)] == [3, 3, 2, 1]
