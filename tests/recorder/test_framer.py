"""The framer as a table of conversations: each is cut into pieces of every size, and what comes out is always the same."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from captures.exchange import FailureKind
from fuzz import framer as hunt
from recorder.admission import Admission
from recorder.board import ROW_SIZE, Count
from recorder.framer import PENDING_LIMIT, Framer
from recorder.recording import Limits, Recording
from recorder.strict_http import CHUNK_LINE_LIMIT, HEAD_LIMIT, TRAILERS_LIMIT
from recorder.wire import WireExchange

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
SECOND = b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
UPLOAD = b"POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
WAITING = b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
TWO = b"HTTP/1.1 200 Two\r\nContent-Length: 3\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

CLIENT_CLOSES, SERVER_CLOSES, SERVER_RESETS, CONNECT_FAILS, ABANDON = "cC", "sC", "sR", "x", "a"
type Step = tuple[str, bytes] | str


def c(*data: bytes) -> Step:
    return ("c", b"".join(data))


def s(*data: bytes) -> Step:
    return ("s", b"".join(data))


@dataclass(frozen=True)
class Out:
    """What is expected of an exchange. ``ends``: whether the request's and the response's end came."""

    request: bytes
    body: bytes = b""
    response: bytes = b""
    answer: bytes = b""
    failure: FailureKind = FailureKind.NONE
    ends: tuple[bool, bool] = (True, True)


@dataclass
class Watched:
    """A framer, and what came out of it."""

    admission: Admission = field(default_factory=Admission)
    limits: Limits = field(default_factory=Limits)
    kept: list[WireExchange] = field(default_factory=list)
    now_ns: int = 0

    def __post_init__(self) -> None:
        self.row = [0] * ROW_SIZE
        self.recording = Recording(self._offer, self.row, self.admission, self.limits)
        self.framer = Framer(self.recording, 7)

    def _offer(self, exchange: WireExchange) -> bool:
        self.kept.append(exchange)
        return True

    def play(self, steps: Sequence[Step], size: int = 0) -> list[Out]:
        """Each piece of ``size`` bytes (0: whole steps) comes a nanosecond after the one before it."""
        for step in steps:
            if isinstance(step, str):
                self.now_ns += 1
                self._event(step)
                continue
            side, data = step
            take = self.framer.from_client if side == "c" else self.framer.from_server
            for start in range(0, len(data), size or len(data)):
                self.now_ns += 1
                take(data[start : start + (size or len(data))], self.now_ns)
        return [as_out(exchange) for exchange in self.kept]

    def _event(self, name: str) -> None:
        match name:
            case "cC":
                self.framer.client_closed()
            case "sC":
                self.framer.server_closed(self.now_ns, whole=True)
            case "sR":
                self.framer.server_closed(self.now_ns, whole=False)
            case "x":
                self.framer.connect_failed(self.now_ns)
            case _:
                self.framer.abandon(self.now_ns)

    def end(self) -> None:
        self.framer.client_closed()
        self.framer.server_closed(self.now_ns, whole=False)

    def counts(self) -> dict[str, int]:
        """Those that are not 0; what began and was seen is checked here."""
        row = self.row
        assert row[Count.BEGAN] == row[Count.SEEN] == sum(row[Count.OFFERED : Count.HOOK_ERRORS + 1])
        assert row[Count.HELD_BYTES] == 0
        return {count.name.lower(): row[count] for count in Count if count > Count.SEEN and row[count]}


def as_out(exchange: WireExchange) -> Out:
    request, response = exchange.request, exchange.response
    assert request.truncated or request.size == sum(len(data) for _, data in request.chunks)
    return Out(
        exchange.request_head,
        b"".join(data for _, data in request.chunks),
        exchange.response_head,
        b"".join(data for _, data in response.chunks),
        exchange.failure,
        (request.end_ns >= 0, response.end_ns >= 0),
    )


GONE, RESET = FailureKind.CLIENT_DISCONNECT, FailureKind.RESET

# conversation, exchanges, what else is counted
WHOLE: dict[str, tuple[list[Step], list[Out]]] = {
    "a plain exchange": ([c(POST, b"hello"), s(OK, b"ok")], [Out(POST, b"hello", OK, b"ok")]),
    "one after the other": (
        [c(GET), s(OK, b"ok"), c(POST, b"hello"), s(TWO, b"two")],
        [Out(GET, b"", OK, b"ok"), Out(POST, b"hello", TWO, b"two")],
    ),
    "pipelined, answered in order": (
        [c(GET, POST, b"hello", SECOND), s(OK, b"ok", TWO, b"two", OK, b"KO")],
        [Out(GET, b"", OK, b"ok"), Out(POST, b"hello", TWO, b"two"), Out(SECOND, b"", OK, b"KO")],
    ),
    "empty lines before a request": (
        [c(b"\r\n\r\n", GET), s(OK, b"ok"), c(b"\r\n", SECOND), s(OK, b"ok")],
        [Out(GET, b"", OK, b"ok"), Out(SECOND, b"", OK, b"ok")],
    ),
    "chunks with extensions and trailers": (
        [
            c(UPLOAD, b'3;a=b\r\nabc\r\n02 ; q="\\";x" ;z\r\nde\r\n0\r\nX-T: 1\r\n\r\n'),
            s(STREAM, b"5\r\nhello\r\n00;last\r\nDigest: x\r\nY: z\r\n\r\n"),
        ],
        [Out(UPLOAD, b"abcde", STREAM, b"hello")],
    ),
    "a chunked body of nothing": ([c(UPLOAD, b"0\r\n\r\n"), s(STREAM, b"0\r\n\r\n")], [Out(UPLOAD, b"", STREAM)]),
    "a chunk that holds what looks like the end": (
        [c(GET), s(STREAM, b"9\r\n0\r\n\r\n\r\n\r\n\r\n0\r\n\r\n")],
        [Out(GET, b"", STREAM, b"0\r\n\r\n\r\n\r\n")],
    ),
    "an answer that lasts until the close": (
        [c(GET), s(TO_THE_END, b"until "), s(b"here"), SERVER_CLOSES],
        [Out(GET, b"", TO_THE_END, b"until here")],
    ),
    "an answer of an older server": (
        [c(GET), s(OK.replace(b"1.1", b"1.0"), b"ok"), SERVER_CLOSES],
        [Out(GET, b"", OK.replace(b"1.1", b"1.0"), b"ok")],
    ),
    "HEAD has a length and no body": (
        [c(HEAD, GET), s(TWO, OK, b"ok")],
        [Out(HEAD, b"", TWO), Out(GET, b"", OK, b"ok")],
    ),
    "HEAD of a chunked answer": (
        [c(HEAD, GET), s(STREAM, OK, b"ok")],
        [Out(HEAD, b"", STREAM), Out(GET, b"", OK, b"ok")],
    ),
    "204 has no body": (
        [c(GET, SECOND), s(b"HTTP/1.1 204 No Content\r\n\r\n", OK, b"ok")],
        [Out(GET, b"", b"HTTP/1.1 204 No Content\r\n\r\n"), Out(SECOND, b"", OK, b"ok")],
    ),
    "304 tells a length and has no body": (
        [c(GET, SECOND), s(OK.replace(b"200", b"304"), OK, b"ok")],
        [Out(GET, b"", OK.replace(b"200", b"304")), Out(SECOND, b"", OK, b"ok")],
    ),
    "100-continue is not the answer": (
        [c(WAITING), s(CONTINUE), c(b"hello"), s(OK, b"ok")],
        [Out(WAITING, b"hello", OK, b"ok")],
    ),
    "early hints are not the answer": ([c(GET), s(HINTS, HINTS, OK, b"ok")], [Out(GET, b"", OK, b"ok")]),
    "an early answer waits for the rest of the request": (
        [c(POST, b"he"), s(TOO_LARGE, b"no"), c(b"llo", SECOND), s(OK, b"ok")],
        [Out(POST, b"hello", TOO_LARGE, b"no"), Out(SECOND, b"", OK, b"ok")],
    ),
    "an early answer and a server that goes": (
        [c(POST, b"he"), s(TOO_LARGE, b"no"), SERVER_CLOSES, c(b"llo")],
        [Out(POST, b"hello", TOO_LARGE, b"no")],
    ),
    "an early answer and a client that goes": (
        [c(POST, b"he"), s(TOO_LARGE, b"no"), CLIENT_CLOSES],
        [Out(POST, b"he", TOO_LARGE, b"no", ends=(False, True))],
    ),
    "an answer that is early, and ends after its client has": (
        [c(POST, b"he"), CLIENT_CLOSES, s(TOO_LARGE, b"no")],
        [Out(POST, b"he", TOO_LARGE, b"no", ends=(False, True))],
    ),
    "a client that has asked all it wants": ([c(GET), CLIENT_CLOSES, s(OK, b"ok")], [Out(GET, b"", OK, b"ok")]),
    "a client that has asked all it wants, answered until the close": (
        [c(GET), CLIENT_CLOSES, s(TO_THE_END, b"ok"), SERVER_CLOSES],
        [Out(GET, b"", TO_THE_END, b"ok")],
    ),
    "a client that goes in the middle of an answer": (
        [c(GET), s(STREAM, b"5\r\nhel"), CLIENT_CLOSES, SERVER_RESETS],
        [Out(GET, b"", STREAM, b"hel", GONE, (True, False))],
    ),
    "a client that goes in the middle of a request": (
        [c(POST, b"he"), CLIENT_CLOSES, SERVER_CLOSES],
        [Out(POST, b"he", failure=GONE, ends=(False, False))],
    ),
    "a server that goes in the middle of an answer": (
        [c(GET), s(OK, b"o"), SERVER_CLOSES],
        [Out(GET, b"", OK, b"o", RESET, (True, False))],
    ),
    "a server that goes in the middle of a head": (
        [c(GET), s(OK[:9]), SERVER_CLOSES],
        [Out(GET, failure=RESET, ends=(True, False))],
    ),
    "a server that goes before it has answered anybody": (
        [c(GET, SECOND, POST, b"he"), s(OK, b"ok"), SERVER_CLOSES, c(b"llo", GET)],
        [
            Out(GET, b"", OK, b"ok"),
            Out(SECOND, failure=RESET, ends=(True, False)),
            Out(POST, b"he", failure=RESET, ends=(False, False)),
        ],
    ),
    "an answer until the close that is cut off": (
        [c(GET), s(TO_THE_END, b"ok"), SERVER_RESETS],
        [Out(GET, b"", TO_THE_END, b"ok", RESET, (True, False))],
    ),
    "no connection to the upstream": (
        [c(POST, b"he"), CONNECT_FAILS],
        [Out(POST, b"he", failure=FailureKind.CONNECT, ends=(False, False))],
    ),
    "a recording that ends": (
        [c(POST, b"he"), s(STREAM, b"2\r\nok\r\n"), ABANDON, c(b"llo"), s(b"0\r\n\r\n")],
        [Out(POST, b"he", STREAM, b"ok", FailureKind.INTERNAL, (False, False))],
    ),
    "a status line without a reason": (
        [c(GET), s(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")],
        [Out(GET, b"", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")],
    ),
    "methods and targets of any kind": (
        [
            c(b"OPTIONS * HTTP/1.1\r\n\r\n", b"M-SEARCH http://h/x?y=%20#z HTTP/1.0\r\nX:\r\n\r\n"),
            s(OK, b"ok", OK, b"ok"),
        ],
        [
            Out(b"OPTIONS * HTTP/1.1\r\n\r\n", b"", OK, b"ok"),
            Out(b"M-SEARCH http://h/x?y=%20#z HTTP/1.0\r\nX:\r\n\r\n", b"", OK, b"ok"),
        ],
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_can_be_framed_is_framed_however_it_is_cut(name: str) -> None:
    steps, expected = WHOLE[name]
    longest = max(len(step[1]) for step in steps if not isinstance(step, str))
    for size in (0, *range(1, longest + 1)):
        watched = Watched()
        assert watched.play(steps, size) == expected, f"in pieces of {size}"
        assert not watched.framer.pending
        assert watched.counts() == {"offered": len(expected)}


def request(*lines: bytes) -> Step:
    return c(b"\r\n".join((b"POST / HTTP/1.1", *lines, b"", b"hello")))


def response(*lines: bytes) -> Step:
    return s(b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b"hello")))


# conversation, the exchanges that are certain, what else is left out as unparsed
DAMAGED: dict[str, tuple[list[Step], list[Out], int]] = {
    "two lengths": ([request(b"Content-Length: 5", b"Content-Length: 6")], [], 1),
    "the same length twice": ([request(b"Content-Length: 5", b"content-length: 5")], [], 1),
    "a list of lengths": ([request(b"Content-Length: 5, 5")], [], 1),
    "a length with a sign": ([request(b"Content-Length: +5")], [], 1),
    "a length in hex": ([request(b"Content-Length: 0x5")], [], 1),
    "a length of nothing": ([request(b"Content-Length:")], [], 1),
    "a length beyond numbers": ([request(b"Content-Length: " + b"9" * 19)], [], 1),
    "a length and chunks": ([request(b"Content-Length: 5", b"Transfer-Encoding: chunked")], [], 1),
    "chunks and a length": ([request(b"Transfer-Encoding: chunked", b"Content-Length: 5")], [], 1),
    "a coding that is not chunked": ([request(b"Transfer-Encoding: gzip")], [], 1),
    "chunked before another coding": ([request(b"Transfer-Encoding: chunked, gzip")], [], 1),
    "chunked after another coding": ([request(b"Transfer-Encoding: gzip, chunked")], [], 1),
    "chunked twice": ([request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")], [], 1),
    "identity": ([request(b"Transfer-Encoding: identity")], [], 1),
    "almost chunked": ([request(b"Transfer-Encoding: xchunked")], [], 1),
    "chunks in HTTP/1.0": ([c(UPLOAD.replace(b"1.1", b"1.0"), b"0\r\n\r\n")], [], 1),
    "a space before the colon": ([request(b"Content-Length : 5")], [], 1),
    "a folded line": ([request(b"X: a", b" b", b"Content-Length: 5")], [], 1),
    "a header without a name": ([request(b": a")], [], 1),
    "a line that is no header": ([request(b"no colon")], [], 1),
    "NUL in a value": ([request(b"X: a\0b")], [], 1),
    "a bare CR in a value": ([request(b"X: a\rContent-Length: 5")], [], 1),
    "a bare LF between headers": ([request(b"X: a\nContent-Length: 5")], [], 1),
    "a head with bare LF only, and its answer": ([c(b"GET / HTTP/1.1\nHost: h\n\n"), s(OK, b"ok")], [], 1),
    "two spaces in the request line": ([c(GET.replace(b" /a", b"  /a"))], [], 1),
    "a tab in the request line": ([c(GET.replace(b" /a", b"\t/a"))], [], 1),
    "a space in the target": ([c(GET.replace(b"/a", b"/a b"))], [], 1),
    "HTTP/0.9": ([c(b"GET /a\r\n\r\n")], [], 1),
    "another version": ([c(GET.replace(b"1.1", b"1.2"))], [], 1),
    "HTTP/2 without TLS": ([c(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0")], [], 1),
    "TLS where there was to be HTTP": ([c(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n")], [], 1),
    "a request behind a good one": (
        [c(POST, b"hello", b"GET / HTTP/1.1\r\nX : y\r\n\r\n"), s(OK, b"ok"), s(TWO, b"two")],
        [Out(POST, b"hello", OK, b"ok")],
        1,
    ),
    "half a request and a client that goes": ([c(GET[:9]), CLIENT_CLOSES], [], 1),
    "a chunk size that is none": ([c(UPLOAD, b"g\r\n")], [], 2),
    "a chunk size with a sign": ([c(UPLOAD, b"-1\r\n")], [], 2),
    "a chunk size with 0x": ([c(UPLOAD, b"0x5\r\nhello\r\n")], [], 2),
    "a chunk size with a space behind it": ([c(UPLOAD, b"5 \r\nhello\r\n")], [], 2),
    "a chunk size without end": ([c(UPLOAD, b"f" * 16, b"\r\n")], [], 2),
    "a chunk line with a bare LF": ([c(UPLOAD, b"5\nhello\r\n")], [], 2),
    "an extension with a bare LF": ([c(UPLOAD, b"5;a\nhello\r\n")], [], 2),
    "a chunk longer than it said": ([c(UPLOAD, b"5\r\nhello!\r\n")], [], 2),
    "a chunk that ends in a bare LF": ([c(UPLOAD, b"5\r\nhello\n")], [], 2),
    "trailers that are no headers": ([c(UPLOAD, b"0\r\nX : y\r\n\r\n")], [], 2),
    "a good request behind bad chunks": ([c(UPLOAD, b"5\nhello\r\n0\r\n\r\n", GET), s(OK, b"ok")], [], 2),
    "a bad request behind an early answer": ([c(UPLOAD, b"2\r\n"), s(TOO_LARGE, b"no"), c(b"ab!\r\n")], [], 2),
    "an answer nobody asked for": ([s(OK, b"ok"), c(GET)], [], 1),
    "one answer too many": ([c(GET), s(OK, b"ok", OK, b"ok"), c(GET)], [Out(GET, b"", OK, b"ok")], 1),
    "two answers while the request is coming": ([c(POST), s(TOO_LARGE, b"no", OK, b"ok"), c(b"hello")], [], 2),
    "interim answers nobody asked for": ([s(CONTINUE), c(GET), s(OK, b"ok")], [], 1),
    "an answer with two lengths": ([c(GET), response(b"Content-Length: 5", b"Content-Length: 4")], [], 2),
    "an answer with a length and chunks": (
        [c(GET), response(b"Content-Length: 5", b"Transfer-Encoding: chunked")],
        [],
        2,
    ),
    "an answer with a space before a colon": ([c(GET), response(b"Content-Length : 5")], [], 2),
    "an answer with bare LF": ([c(GET), s(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"), s(b"\r\n\r\n")], [], 2),
    "an answer that is not HTTP": ([c(GET, SECOND), s(b"hello\r\n\r\n")], [], 3),
    "an answer of HTTP/2": ([c(GET), s(b"HTTP/2 200\r\n\r\n")], [], 2),
    "a status of two digits": ([c(GET), s(b"HTTP/1.1 20 OK\r\n\r\n")], [], 2),
    "204 with a length": ([c(GET), s(OK.replace(b"200", b"204"), b"ok")], [], 2),
    "100 with a length": ([c(GET), s(OK.replace(b"200", b"100"), b"ok")], [], 2),
    "an answer with bad chunks, and another one behind it": (
        [c(GET, SECOND), s(STREAM, b"2\r\nok!\r\n0\r\n\r\n", OK, b"ok")],
        [],
        3,
    ),
    "WebSocket": ([c(UPGRADE), s(SWITCHING, b"\x81\x02hi"), c(b"\x81\x82abcd")], [], 1),
    "WebSocket after a good exchange": (
        [c(GET), s(OK, b"ok"), c(UPGRADE), s(SWITCHING), s(OK), c(GET)],
        [Out(GET, b"", OK, b"ok")],
        1,
    ),
    "CONNECT": ([c(CONNECT), s(b"HTTP/1.1 200 Connected\r\n\r\n"), c(b"\x16\x03\x01"), s(OK)], [], 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_two_readers_could_read_in_two_ways_is_left_out_and_counted(name: str) -> None:
    steps, expected, unparsed = DAMAGED[name]
    longest = max(len(step[1]) for step in steps if not isinstance(step, str))
    for size in (0, *range(1, longest + 1)):
        watched = Watched()
        assert watched.play(steps, size) == expected, f"in pieces of {size}"
        watched.play([c(GET, POST, b"hello", b"\r\n\r\n"), s(OK, b"ok", b"\r\n\r\n"), SERVER_CLOSES, CLIENT_CLOSES])
        assert watched.framer.lost
        assert watched.counts() == {"unparsed": unparsed} | ({"offered": len(expected)} if expected else {})
        assert [as_out(exchange) for exchange in watched.kept] == expected


def test_a_connect_that_was_refused_is_an_exchange_like_any_other() -> None:
    watched = Watched()
    refusal = OK.replace(b"200", b"403")
    assert watched.play([c(CONNECT), s(refusal, b"ok"), c(GET), s(OK, b"ok")]) == [
        Out(CONNECT, b"", refusal, b"ok"),
        Out(GET, b"", OK, b"ok"),
    ]


def test_bytes_that_came_together_are_one_chunk_with_their_time() -> None:
    watched = Watched()
    watched.play([c(GET), s(STREAM), s(b"2\r\nab\r\n3\r\ncde\r\n"), s(b"1\r\nf\r\n2"), s(b"\r\ngh\r\n0\r\n\r\n")])
    (exchange,) = watched.kept
    assert exchange.response.chunks == [(3, b"abcde"), (4, b"f"), (5, b"gh")]
    assert (exchange.arrival_ns, exchange.request.end_ns, exchange.first_ns, exchange.response.end_ns) == (1, 1, 2, 5)
    assert exchange.connection == 7


def test_a_message_begins_with_its_first_byte() -> None:
    watched = Watched()
    watched.play([c(b"\r\n"), c(GET[:3]), c(GET[3:]), s(OK[:3]), s(OK[3:]), s(b"ok")])
    (exchange,) = watched.kept
    assert (exchange.arrival_ns, exchange.request.end_ns, exchange.first_ns, exchange.response.end_ns) == (2, 3, 4, 6)


def test_a_body_that_came_in_one_piece_is_not_copied() -> None:
    piece = bytes(1 << 16)
    watched = Watched()
    watched.play([c(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2 << 16)), c(piece), c(piece), s(OK, b"ok")])
    assert all(data is piece for _, data in watched.kept[0].request.chunks)


def test_what_is_not_wanted_is_framed_all_the_same() -> None:
    watched = Watched(admission=Admission(rate=0.0))
    assert watched.play([c(POST, b"hello", GET), s(STREAM, b"2\r\nok\r\n0\r\n\r\n", OK, b"ok")]) == []
    assert not watched.framer.pending
    assert watched.counts() == {"sampled_out": 2}
    watched.play([c(UPGRADE), s(SWITCHING, b"\x81\x02hi")])
    assert watched.counts() == {"sampled_out": 3}


def test_after_the_recording_nothing_is_counted() -> None:
    watched = Watched()
    watched.recording.stop()
    assert watched.play([c(GET), s(OK, b"ok"), c(b"GET\n\n\r\n\r\n"), s(OK)]) == []
    assert watched.counts() == {}


def test_an_exchange_without_room_is_shed_and_the_next_one_is_not() -> None:
    watched = Watched(limits=Limits(body=100, memory=4))
    steps = [
        c(POST, b"hello"),
        s(OK, b"ok"),
        c(GET),
        s(STREAM, b"3\r\nabc\r\n"),
        s(b"2\r\nde\r\n0\r\n\r\n"),
        c(SECOND),
        s(OK, b"ok"),
    ]
    assert watched.play(steps) == [Out(SECOND, b"", OK, b"ok")]
    assert watched.counts() == {"offered": 1, "shed": 2}


def test_a_body_beyond_the_limit_is_measured_and_not_kept() -> None:
    watched = Watched(limits=Limits(body=1 << 20))
    piece = bytes(1 << 16)
    watched.play([c(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (1 << 26))])
    for _ in range(1 << 10):
        watched.play([c(piece)])
        assert watched.row[Count.HELD_BYTES] <= 1 << 20
    watched.play([s(OK, b"ok")])
    (exchange,) = watched.kept
    assert (exchange.request.size, exchange.request.held, exchange.request.truncated) == (1 << 26, 1 << 20, True)
    assert watched.counts() == {"offered": 1}


LONG = b"GET / HTTP/1.1\r\nX: "
LIMITS = {
    "a head": ([], LONG, HEAD_LIMIT - len(LONG) - 4, b"\r\n\r\n", 0),
    "a chunk line": ([c(UPLOAD)], b"1;a=", CHUNK_LINE_LIMIT - 6, b"\r\nx\r\n0\r\n\r\n", 1),
    "the trailers": ([c(UPLOAD)], b"0\r\nX: ", TRAILERS_LIMIT - 7, b"\r\n\r\n", 1),
}


@pytest.mark.parametrize("size", [0, 1 << 10])
@pytest.mark.parametrize("name", LIMITS)
def test_there_is_an_end_to_the_length_of(name: str, size: int) -> None:
    before, prefix, room, suffix, begun = LIMITS[name]
    watched = Watched()
    watched.play([*before, c(prefix, b"a" * room, suffix)], size)
    watched.play([s(OK, b"ok")])
    assert watched.counts() == {"offered": 1}

    watched = Watched()
    watched.play([*before, c(prefix, b"a" * (room + 1), suffix)], size)
    assert watched.counts() == {"unparsed": 1 + begun}


@pytest.mark.parametrize("data", [LONG, UPLOAD + b"1;a=", UPLOAD + b"0\r\nX: "])
def test_what_never_ends_is_not_held(data: bytes) -> None:
    watched = Watched()
    watched.play([c(data)])
    for _ in range(HEAD_LIMIT >> 12):
        watched.play([c(b"a" * 4096)])
    watched.play([c(b"a" * 4096)])
    assert watched.framer.lost


def test_nobody_pipelines_for_ever() -> None:
    watched = Watched()
    watched.play([c(GET * (PENDING_LIMIT + 10))])
    assert watched.framer.lost
    assert len(watched.play([s((OK + b"ok") * PENDING_LIMIT)])) == PENDING_LIMIT
    assert watched.counts() == {"offered": PENDING_LIMIT, "unparsed": 1}


def test_a_failure_of_our_own_is_counted_once_and_ends_the_framing() -> None:
    watched = Watched()
    watched.play([c(POST, b"he")])
    watched.framer.give_up()
    assert watched.play([c(b"llo", GET), s(OK, b"ok"), SERVER_CLOSES]) == []
    assert watched.counts() == {"hook_errors": 1}


@pytest.mark.parametrize("number", range(60))
def test_random_conversations_come_out_as_they_went_in(number: int) -> None:
    hunt.case(random.Random(f"test/framer/{number}"))
