"""Packed wire exchanges -> exchanges: what each side of the journey means, and that nothing but ValueError comes of garbage."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Request, Response
from recorder.admission import head_of, response_head_of
from recorder.frames import Frames, frame, pack_wire
from recorder.testing import wire_exchange
from recorder.unpack import unpack_wire
from recorder.wire import WireBody, WireExchange

HEAD = b"POST /v1/models/a:predict?x=1 HTTP/1.1\r\nHost:  a:80 \t\r\nX-Odd:\r\nx-odd: a: b\r\nX-Odd: caf\xe9\r\n\r\n"
ANSWER = b"HTTP/1.1 413 Content Too Large\r\nDate: now\r\n\r\n"


def unpacked(exchange: WireExchange) -> Exchange:
    (packed,) = Frames().feed(frame(pack_wire(exchange)))
    return unpack_wire(packed)


def answered(head: bytes, *, truncated: bool = False) -> Exchange:
    exchange = wire_exchange()
    exchange.response_head, exchange.response.truncated = head, truncated
    return unpacked(exchange)


def test_an_exchange_is_what_stood_on_the_wire() -> None:
    exchange = WireExchange(
        100,
        7,
        HEAD,
        WireBody([(100, b"ab"), (110, b"c")], 3, 3, 110),
        ANSWER,
        120,
        WireBody([(121, b"no")], 2, 2, 130),
    )
    assert unpacked(exchange) == Exchange(
        arrival_ns=100,
        connection=7,
        request=Request(
            method="POST",
            target="/v1/models/a:predict?x=1",
            headers=(("Host", "a:80"), ("X-Odd", ""), ("x-odd", "a: b"), ("X-Odd", "caf\xe9")),
            chunks=(Chunk(100, b"ab"), Chunk(110, b"c")),
            end_ns=110,
            size=3,
        ),
        response=Response(
            status=413,
            headers=(("Date", "now"),),
            chunks=(Chunk(121, b"no"),),
            first_ns=120,
            end_ns=130,
            size=2,
            reason="Content Too Large",
        ),
        flags=Flags.REPLAYABLE,
    )


def test_what_never_came_is_not_there() -> None:
    exchange = WireExchange(5, 1, HEAD, failure=FailureKind.CLIENT_DISCONNECT, failed_ns=9)
    found = unpacked(exchange)
    assert (found.response, found.failure) == (None, Failure(FailureKind.CLIENT_DISCONNECT, 9))
    assert (found.request.end_ns, found.request.chunks, found.flags) == (-1, (), Flags(0))


@pytest.mark.parametrize("kind", list(FailureKind)[1:])
def test_every_failure_arrives(kind: FailureKind) -> None:
    found = unpacked(WireExchange(5, 1, HEAD, failure=kind, failed_ns=9))
    assert found.failure == Failure(kind, 9)


@pytest.mark.parametrize("line", ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 Fine by me", "HTTP/2.0 200 OK"])
def test_a_reason_may_be_missing(line: str) -> None:
    response = answered(f"{line}\r\n\r\n".encode()).response
    assert response is not None
    assert (response.status, response.reason) == (200, line[13:])


@pytest.mark.parametrize(
    ("headers", "stream"),
    [
        ("Content-Type: application/json\r\n", False),
        ("Transfer-Encoding: chunked\r\n", True),
        ("tRANSFER-eNCODING: chunked\r\n", True),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", False),
        ("X-About: transfer-encoding\r\n", False),
        ("content-type: Text/Event-Stream; charset=utf-8\r\n", True),
        ("Content-Type: application/x-ndjson\r\n", True),
        ("Content-Type: application/jsonl\r\n", True),
        ("Content-Type: application/stream+json\r\n", True),
        ("Content-Type: application/octet-stream\r\n", False),
        ("", False),
    ],
)
def test_a_stream_is_known_by_its_head(headers: str, stream: bool) -> None:
    found = answered(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode())
    assert (Flags.STREAM in found.flags) == stream


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("request_cut", [True, False])
@pytest.mark.parametrize("response_cut", [True, False])
def test_flags_say_what_is_whole(complete: bool, request_cut: bool, response_cut: bool) -> None:
    exchange = wire_exchange(100)
    exchange.request.truncated, exchange.response.truncated = request_cut, response_cut
    if not complete:
        exchange.request.end_ns = -1
    flags = unpacked(exchange).flags
    assert (Flags.REPLAYABLE in flags) == (complete and not request_cut)
    assert (Flags.REQUEST_TRUNCATED in flags, Flags.RESPONSE_TRUNCATED in flags) == (request_cut, response_cut)


def test_a_very_long_head_is_read_like_any_other() -> None:
    headers = [(f"x-{number}", "v" * 50) for number in range(200)]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    found = unpacked(wire_exchange(headers=lines))
    assert list(found.request.headers[2:]) == headers


NAMES = st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}\Z")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f\x85\xa0"), max_size=20)
HEADERS = st.lists(st.tuples(NAMES, VALUES.map(str.strip)), max_size=5).map(tuple)


@given(HEADERS, HEADERS, st.integers(100, 999))
def test_heads_made_of_http_2_come_back(
    asked: tuple[tuple[str, str], ...], answer: tuple[tuple[str, str], ...], status: int
) -> None:
    exchange = wire_exchange()
    exchange.request_head = head_of("GET", "/a b", asked, "HTTP/2.0")
    exchange.response_head = response_head_of(status, "", answer, "HTTP/2.0")
    found = unpacked(exchange)
    assert found.response is not None
    assert (found.request.method, found.request.target, found.request.http_version) == ("GET", "/a b", "HTTP/2.0")
    assert (found.request.headers, found.response.headers, found.response.status) == (asked, answer, status)


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\n: a\r\n\r\n", b"GET / HTTP/1.1\r\n folded: a\r\nb\r\n\r\n"),
    ],
)
def test_a_head_that_is_none_is_refused(head: bytes) -> None:
    exchange = wire_exchange()
    exchange.request_head = head
    with pytest.raises(ValueError, match="not a packed exchange"):
        unpacked(exchange)


@pytest.mark.parametrize("head", [b"x", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed exchange"):
        answered(head)


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.text(max_size=10)


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=9), max_leaves=30), st.integers(0, 8))
def test_garbage_is_an_exchange_or_a_value_error(garbage: object, place: int) -> None:
    packed = list(pack_wire(wire_exchange()))
    packed[place] = garbage
    for each in (garbage, packed):
        try:
            unpack_wire(msgpack.unpackb(msgpack.packb(each), use_list=False))
        except ValueError as error:
            assert str(error).startswith("not a packed exchange")  # noqa: PT017 - or nothing was raised
