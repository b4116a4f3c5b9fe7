"""The assembler as a playbook: a conversation written as it happens, and the exchanges that come out of it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import FailureKind
from recorder.assembler import Assembler
from recorder.board import Count
from recorder.recording import Recording
from recorder.wire import WireExchange

POST = b"POST /v2/models/m/infer?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
HEAD = ("request_head", 1, POST)
OK = ("response_head", 200, FINE)
GONE = FailureKind.CLIENT_DISCONNECT
TOTALS = (Count.OFFERED, Count.SHED, Count.UNPARSED, Count.HOOK_ERRORS)


class Desk:
    def __init__(self) -> None:
        self.out: list[WireExchange] = []
        self.row = [0] * len(Count)
        self.assembler = Assembler(Recording(self.take, self.row))

    def take(self, exchange: WireExchange) -> bool:
        self.out.append(exchange)
        return True

    def play(self, events: Sequence[tuple[object, ...]], key: str = "a") -> list[WireExchange]:
        """Each event happens at its position, in ns: the first at 0."""
        for at_ns, (name, *arguments) in enumerate(events):
            if name == "gone":
                self.assembler.gone(1, at_ns)
            elif name == "leave":
                self.assembler.leave(key, Count.HOOK_ERRORS)
            else:
                getattr(self.assembler, str(name))(key, at_ns, *arguments)
        return self.out


def test_a_plain_exchange_keeps_every_byte_and_every_time() -> None:
    events = [
        HEAD,
        ("request_chunk", b"ab"),
        ("request_chunk", b"c"),
        ("request_end",),
        OK,
        ("response_chunk", b"xyz"),
        ("response_end",),
    ]
    (exchange,) = Desk().play(events)
    assert (exchange.arrival_ns, exchange.connection, exchange.request_head) == (0, 1, POST)
    assert exchange.request.chunks == [(1, b"ab"), (2, b"c")]
    assert (exchange.request.size, exchange.request.end_ns) == (3, 3)
    assert (exchange.response_head, exchange.first_ns) == (FINE, 4)
    assert exchange.response.chunks == [(5, b"xyz")]
    assert (exchange.response.end_ns, exchange.response.size) == (6, 3)
    assert (exchange.failure, exchange.failed_ns) == (FailureKind.NONE, -1)


# conversation, (failure, at), (request end, response end)
PLAYS: dict[str, tuple[list[tuple[object, ...]], tuple[FailureKind, int], tuple[int, int]]] = {
    "an early answer waits for the rest of the request": (
        [HEAD, OK, ("response_end",), ("request_chunk", b"late"), ("request_end",)],
        (FailureKind.NONE, -1),
        (4, 2),
    ),
    "an early answer whose client leaves is complete, and its request is not": (
        [HEAD, ("request_chunk", b"part"), OK, ("response_end",), ("gone",)],
        (FailureKind.NONE, -1),
        (-1, 3),
    ),
    "a client that leaves in the middle of a stream": (
        [HEAD, ("request_end",), OK, ("response_chunk", b"x"), ("gone",)],
        (GONE, 4),
        (1, -1),
    ),
    "an upstream that resets in the middle of a body": (
        [HEAD, ("request_end",), OK, ("response_chunk", b"x"), ("failed", FailureKind.RESET)],
        (FailureKind.RESET, 4),
        (1, -1),
    ),
    "a request cut off by its client": (
        [HEAD, ("request_chunk", b"x"), ("failed", GONE)],
        (GONE, 2),
        (-1, -1),
    ),
    "no connection to the upstream": (
        [HEAD, ("failed", FailureKind.CONNECT)],
        (FailureKind.CONNECT, 1),
        (-1, -1),
    ),
    "no answer and no body": (
        [HEAD, ("request_end",), ("response_head", 204, b"HTTP/1.1 204 No Content\r\n\r\n"), ("response_end",)],
        (FailureKind.NONE, -1),
        (1, 3),
    ),
}


@pytest.mark.parametrize("name", PLAYS)
def test_playbook(name: str) -> None:
    events, failure, ends = PLAYS[name]
    desk = Desk()
    (exchange,) = desk.play(events)
    assert (exchange.failure, exchange.failed_ns) == failure
    assert (exchange.request.end_ns, exchange.response.end_ns) == ends
    assert (len(desk.assembler), desk.row[Count.HELD_BYTES]) == (0, 0)
    desk.play([*events[1:], ("gone",), ("failed", GONE)])
    assert len(desk.out) == 1, "what happens to it later is ignored"


def test_only_the_clients_own_exchanges_end_when_it_leaves() -> None:
    desk = Desk()
    desk.assembler.request_head("a", 0, 1, POST)
    desk.assembler.request_head("b", 1, 2, POST)
    desk.assembler.gone(1, 2)
    assert [exchange.connection for exchange in desk.out] == [1]
    assert "b" in desk.assembler


def test_what_is_open_when_the_recording_ends_is_our_doing() -> None:
    desk = Desk()
    desk.assembler.request_head("a", 0, 1, POST)
    desk.assembler.abandon(5)
    assert [(exchange.failure, exchange.failed_ns) for exchange in desk.out] == [(FailureKind.INTERNAL, 5)]


def test_switching_protocols_leaves_http_and_is_counted_unparsed() -> None:
    desk = Desk()
    desk.play([HEAD, ("request_end",), ("response_head", 101, b"HTTP/1.1 101 S\r\n\r\n"), ("response_chunk", b"ws")])
    assert (desk.row[Count.UNPARSED], desk.row[Count.SEEN], len(desk.assembler), desk.out) == (1, 1, 0, [])


def test_an_exchange_that_is_left_frees_its_memory_and_never_comes_out() -> None:
    desk = Desk()
    desk.play([HEAD, ("request_chunk", b"abc")])
    assert desk.row[Count.HELD_BYTES] == 3
    assert desk.assembler.leave("a", Count.HOOK_ERRORS)
    assert not desk.assembler.leave("a", Count.HOOK_ERRORS)
    assert desk.row[Count.HELD_BYTES] == 0
    assert not desk.play([("request_end",), OK, ("response_end",), ("failed", GONE)])


EVENTS: list[tuple[object, ...]] = [
    HEAD,
    ("request_chunk", b"12"),
    ("request_end",),
    OK,
    ("response_head", 101, b"HTTP/1.1 101 S\r\n\r\n"),
    ("response_chunk", b"345"),
    ("response_end",),
    ("failed", FailureKind.RESET),
    ("gone",),
    ("leave",),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=20))
def test_whatever_happens_in_whatever_order_each_request_is_over_once_and_the_totals_add_up(
    events: list[tuple[object, ...]],
) -> None:
    desk = Desk()
    desk.play(events)
    heads = sum(1 for event in events if event[0] == "request_head")
    assert desk.row[Count.BEGAN] == heads == desk.row[Count.SEEN] + len(desk.assembler)
    desk.assembler.abandon(99)
    assert desk.row[Count.SEEN] == heads == sum(desk.row[count] for count in TOTALS)
    assert desk.row[Count.HELD_BYTES] == 0
