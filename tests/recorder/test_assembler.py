"""The assembler as a playbook: a conversation written as it happens, and the exchanges that come out of it."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Headers
from recorder.assembler import Assembler

KEY = "a"
HEAD = ("request_head", 1, "POST", "/v2/models/m/infer?x=1", (("Host", "h"),), "HTTP/1.1")
OK = ("response_head", 200, "OK", (("content-type", "application/json"),))
CHUNKED: Headers = (("Transfer-Encoding", "chunked"),)
SSE: Headers = (("Content-Type", "text/event-stream; charset=utf-8"), ("content-length", "5"))
GONE = FailureKind.CLIENT_DISCONNECT


def play(assembler: Assembler, events: Sequence[tuple[object, ...]], key: str = KEY) -> Iterator[Exchange]:
    """Each event happens at its position, in ns: the first at 0."""
    for at_ns, (name, *arguments) in enumerate(events):
        if name == "gone":
            yield from assembler.gone(arguments[0], at_ns)  # type: ignore[arg-type]  # a table of events is untyped
            continue
        out = getattr(assembler, str(name))(key, at_ns, *arguments)
        if out is not None:
            yield out


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
    (exchange,) = play(Assembler(), events)
    assert exchange.arrival_ns == 0
    assert exchange.connection == 1
    assert exchange.request.target == "/v2/models/m/infer?x=1"
    assert exchange.request.chunks == (Chunk(1, b"ab"), Chunk(2, b"c"))
    assert (exchange.request.size, exchange.request.end_ns) == (3, 3)
    assert exchange.response is not None
    assert exchange.response.chunks == (Chunk(5, b"xyz"),)
    assert (exchange.response.first_ns, exchange.response.end_ns, exchange.response.size) == (4, 6, 3)
    assert exchange.failure is None
    assert exchange.flags == Flags.REPLAYABLE


# conversation, failure, (request end, response end), flags
PLAYS: dict[str, tuple[list[tuple[object, ...]], Failure | None, tuple[int, int], Flags]] = {
    "an early answer waits for the rest of the request": (
        [HEAD, OK, ("response_end",), ("request_chunk", b"late"), ("request_end",)],
        None,
        (4, 2),
        Flags.REPLAYABLE,
    ),
    "an early answer whose client leaves is complete, and its request cannot be replayed": (
        [HEAD, ("request_chunk", b"part"), OK, ("response_end",), ("gone", 1)],
        None,
        (-1, 3),
        Flags(0),
    ),
    "a client that leaves in the middle of a stream": (
        [HEAD, ("request_end",), ("response_head", 200, "OK", CHUNKED), ("response_chunk", b"x"), ("gone", 1)],
        Failure(GONE, 4),
        (1, -1),
        Flags.REPLAYABLE | Flags.STREAM,
    ),
    "an upstream that resets in the middle of a body": (
        [HEAD, ("request_end",), OK, ("response_chunk", b"x"), ("failed", FailureKind.RESET, "ECONNRESET")],
        Failure(FailureKind.RESET, 4, "ECONNRESET"),
        (1, -1),
        Flags.REPLAYABLE,
    ),
    "a request cut off by its client": (
        [HEAD, ("request_chunk", b"x"), ("failed", GONE)],
        Failure(GONE, 2),
        (-1, -1),
        Flags(0),
    ),
    "no answer and no body": (
        [HEAD, ("request_end",), ("response_head", 204, "No Content", ()), ("response_end",)],
        None,
        (1, 3),
        Flags.REPLAYABLE,
    ),
    "a stream by its content type": (
        [HEAD, ("request_end",), ("response_head", 200, "", SSE), ("response_end",)],
        None,
        (1, 3),
        Flags.REPLAYABLE | Flags.STREAM,
    ),
}


@pytest.mark.parametrize("name", PLAYS)
def test_playbook(name: str) -> None:
    events, failure, ends, flags = PLAYS[name]
    assembler = Assembler()
    (exchange,) = play(assembler, events)
    assert exchange.failure == failure
    assert (exchange.request.end_ns, exchange.response.end_ns if exchange.response else -1) == ends
    assert exchange.flags == flags
    assert (len(assembler), assembler.held) == (0, 0)


def test_no_connection_to_the_upstream_is_a_failure_without_a_response() -> None:
    (exchange,) = play(Assembler(), [HEAD, ("failed", FailureKind.CONNECT, "ECONNREFUSED")])
    assert exchange.response is None
    assert exchange.failure == Failure(FailureKind.CONNECT, 1, "ECONNREFUSED")


def test_only_the_clients_own_exchanges_end_when_it_leaves() -> None:
    assembler = Assembler()
    assembler.request_head("a", 0, 1, "GET", "/", (), "HTTP/1.1")
    assembler.request_head("b", 1, 2, "GET", "/", (), "HTTP/1.1")
    assert [exchange.connection for exchange in assembler.gone(1, 2)] == [1]
    assert "b" in assembler


def test_what_is_open_when_the_recording_ends_is_our_doing() -> None:
    assembler = Assembler()
    assembler.request_head("a", 0, 1, "GET", "/", (), "HTTP/1.1")
    (exchange,) = assembler.abandon(5, "the recording ended")
    assert exchange.failure == Failure(FailureKind.INTERNAL, 5, "the recording ended")


def test_a_body_over_the_limit_keeps_a_prefix_counts_the_rest_and_cannot_be_replayed() -> None:
    events = [HEAD, ("request_chunk", b"aaa"), ("request_chunk", b"bbb"), ("request_chunk", b"c"), ("request_end",), OK]
    (exchange,) = play(Assembler(body_limit=5), [*events, ("response_chunk", b"123456"), ("response_end",)])
    assert exchange.request.body == b"aaa"
    assert exchange.request.size == 7
    assert exchange.response is not None
    assert (exchange.response.body, exchange.response.size) == (b"", 6)
    assert exchange.flags == Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED


def test_a_dropped_exchange_frees_its_memory_and_never_comes_out() -> None:
    assembler = Assembler()
    assert not list(play(assembler, [HEAD, ("request_chunk", b"abc")]))
    assert assembler.held == 3
    assert assembler.drop(KEY)
    assert not assembler.drop(KEY)
    assert assembler.held == 0
    assert not list(play(assembler, [("request_end",), OK, ("response_end",), ("failed", GONE)]))


EVENTS: list[tuple[object, ...]] = [
    HEAD,
    ("request_chunk", b"12"),
    ("request_end",),
    OK,
    ("response_chunk", b"345"),
    ("response_end",),
    ("failed", FailureKind.RESET),
    ("gone", 1),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=20))
def test_whatever_happens_in_whatever_order_each_request_comes_out_at_most_once(
    events: list[tuple[object, ...]],
) -> None:
    assembler = Assembler()
    out = list(play(assembler, events))
    assert len(out) + len(assembler) <= sum(1 for event in events if event[0] == "request_head")
    list(assembler.abandon(99, ""))
    assert assembler.held == 0
