"""`recorder.copy_parser`: requests as a mirror sends them, cut anywhere, and what is none."""

import random

import pytest

from recorder.copy_parser import CopyParser, End, Event, Head
from recorder.strict_http import HEAD_LIMIT

BODY = b'{"inputs":[]}'
SIZED = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n" + BODY
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;ext=1\r\n{"inp\r\n8\r\nuts":[]}\r\n0\r\nX-Sum: 1\r\n\r\n'
)
EMPTY = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def told(events: list[Event]) -> list[tuple[bytes, bytes, bool]]:
    """(request line, body, whole) of each request."""
    found: list[tuple[bytes, bytes, bool]] = []
    line = body = b""
    for event in events:
        if isinstance(event, Head):
            line, body = event.data.partition(b"\r\n")[0], b""
        elif isinstance(event, bytes):
            body += event
        else:
            found.append((line, body, event is End.WHOLE))
            line = body = b""
    return found


def fed(data: bytes, cuts: list[int]) -> list[Event]:
    parser = CopyParser()
    events = []
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += parser.feed(data[start:stop])
    assert parser.idle
    return events


@pytest.mark.parametrize("how", ["whole", "byte by byte", "at random"])
def test_pipelined_requests_are_told_apart_however_they_are_cut(how: str) -> None:
    data = SIZED + b"\r\n" + CHUNKED + EMPTY + SIZED
    dice = random.Random(7)
    cuts = {
        "whole": [],
        "byte by byte": list(range(1, len(data))),
        "at random": sorted(dice.sample(range(1, len(data)), 9)),
    }[how]

    assert told(fed(data, cuts)) == [
        (b"POST /v2/models/m/infer HTTP/1.1", BODY, True),
        (b"POST /x HTTP/1.1", BODY, True),
        (b"GET /health HTTP/1.1", b"", True),
        (b"POST /v2/models/m/infer HTTP/1.1", BODY, True),
    ]


@pytest.mark.parametrize(
    ("head", "last", "stays", "waits"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False, False, False),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True, False, False),
        (b"GET / HTTP/1.1\r\nconnection: x, Close \r\n\r\n", True, False, False),
        (b"GET / HTTP/1.0\r\n\r\n", True, False, False),
        (b"GET / HTTP/1.0\r\nVia: HTTP/1.1\r\n\r\n", True, False, False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False, True, False),
        (b"GET / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", False, False, True),
        (b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", True, False, False),
    ],
)
def test_what_the_sender_expects_of_the_connection(head: bytes, last: bool, stays: bool, waits: bool) -> None:
    assert CopyParser().feed(head) == [Head(head, last=last, stays=stays, waits=waits), End.WHOLE]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # HTTP/2 without TLS
        b"POST / HTTP/1.1\nHost: a\n\n\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"G" * (HEAD_LIMIT + 1),
    ],
    ids=["tls", "h2c", "bare LF", "two lengths", "length and coding", "no chunk", "endless head"],
)
def test_what_cannot_be_framed_ends_the_connection_once(data: bytes) -> None:
    parser = CopyParser()

    assert parser.feed(data)[-1] is End.BROKEN
    assert parser.idle
    assert parser.feed(SIZED) == []


def test_a_request_in_the_making_is_not_idle() -> None:
    for cut in (1, 40, len(SIZED) - 1):
        parser = CopyParser()
        parser.feed(SIZED[:cut])
        assert not parser.idle
