"""The same conversations through the lane and through mitmproxy's own HTTP layer: the same exchanges are recorded.

Where mitmproxy cannot do it, the table says what it makes of it and why.
"""

import asyncio
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from captures.exchange import RUN_HEADER, Exchange, FailureKind, Flags, Headers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated pyparsing names
    from mitmproxy.proxy import layer, layers
    from mitmproxy.proxy.layers.http import HTTPMode

GET = b"GET /a?b=%20c HTTP/1.1\r\nhOsT: h\r\nX-Odd: \xff v\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
WAITING = b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
UPLOAD = b"POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\nx-ODD: \xe9\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ASKED, ANSWERED, HELLO = ("WAIT", b"\r\n\r\n"), ("WAIT", b"ok"), ("WAIT", b"hello")


@dataclass(frozen=True)
class Recorded:
    """An exchange without its times: what both paths must agree on."""

    request: tuple[str, str, str, Headers]
    body: bytes
    response: tuple[int, str, Headers] | None
    answer: bytes
    sizes: tuple[int, int]
    ends: tuple[bool, bool]
    failure: FailureKind
    flags: Flags


def recorded(exchange: Exchange) -> Recorded:
    request, response = exchange.request, exchange.response
    return Recorded(
        (request.method, request.target, request.http_version, request.headers),
        request.body,
        (response.status, response.reason, response.headers) if response else None,
        response.body if response else b"",
        (request.size, response.size if response else 0),
        (request.end_ns >= 0, response is not None and response.end_ns >= 0),
        exchange.failure.kind if exchange.failure else FailureKind.NONE,
        exchange.flags,
    )


# What the client does, what the server does (None: it is not there), how many exchanges are over at the end.
CASES: dict[str, tuple[Sequence[Any], Sequence[Any] | None, int]] = {
    "a plain exchange": ([GET, ANSWERED], [ASKED, OK, "END"], 1),
    "a body": ([POST, ANSWERED], [HELLO, OK, "END"], 1),
    "kept alive": ([GET, ANSWERED, POST, ANSWERED], [ASKED, OK, HELLO, OK, "END"], 2),
    "pipelined": ([POST + GET, ANSWERED, ANSWERED], [HELLO, OK, ASKED, OK, "END"], 2),
    "an empty line before a request": ([b"\r\n" + GET, ANSWERED], [ASKED, OK, "END"], 1),
    "HEAD": ([HEAD, ("WAIT", b"2\r\n\r\n"), GET, ANSWERED], [ASKED, OK[:-2], ASKED, OK, "END"], 2),
    "204": (
        [GET, ("WAIT", b"\r\n\r\n"), GET, ANSWERED],
        [ASKED, b"HTTP/1.1 204 No Content\r\n\r\n", ASKED, OK, "END"],
        2,
    ),
    "304 with a length": (
        [GET, ("WAIT", b"\r\n\r\n"), GET, ANSWERED],
        [ASKED, OK[:-2].replace(b"200", b"304"), ASKED, OK, "END"],
        2,
    ),
    "chunks both ways": (
        [UPLOAD, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", ("WAIT", b"0\r\n\r\n")],
        [("WAIT", b"0\r\n\r\n"), STREAM, b"3\r\na: \r\n2\r\nok\r\n", b"0\r\n\r\n", "END"],
        1,
    ),
    "chunk extensions": (
        [UPLOAD, b"5;a=b\r\nhello\r\n0;z\r\n\r\n", ANSWERED],
        [HELLO, ("WAIT", b"\r\n\r\n"), OK, "END"],
        1,
    ),
    "an answer of nothing": (
        [GET, ("WAIT", b"0\r\n\r\n")],
        [ASKED, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "END"],
        1,
    ),
    "an answer until the close": ([GET, "END"], [ASKED, TO_THE_END, b"to the end"], 1),
    "HTTP/1.0": ([GET.replace(b"1.1", b"1.0"), "END"], [ASKED, OK.replace(b"1.1", b"1.0")], 1),
    "100-continue": (
        [WAITING, ("WAIT", b"100 Continue\r\n\r\n"), b"hello", ANSWERED],
        [ASKED, b"HTTP/1.1 100 Continue\r\n\r\n", HELLO, OK, "END"],
        1,
    ),
    "early hints": (
        [GET, ANSWERED],
        [ASKED, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK, "END"],
        1,
    ),
    "trailers": (
        [UPLOAD, b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", ("WAIT", b"0\r\n")],
        [HELLO, ("WAIT", b"0\r\n"), STREAM, b"2\r\nok\r\n0\r\nZ: z\r\n\r\n", "END"],
        1,
    ),
    "an early answer, and the rest of the request": (
        [POST[:-2], ANSWERED, POST[-2:], ("THERE", b"hello")],
        [("WAIT", b"hel"), OK, "END"],
        1,
    ),
    "an early answer, and a client that leaves": ([POST[:-2], ANSWERED], [("WAIT", b"hel"), OK, "END"], 1),
    "a client that leaves in the middle of a stream": (
        [GET, ANSWERED],
        [ASKED, STREAM + b"2\r\nok\r\n", "END"],
        1,
    ),
    "a client that leaves before the answer": ([GET, ("THERE", b"\r\n\r\n")], [ASKED, "END"], 1),
    "a client that leaves in the middle of its request": ([POST[:-2], ("THERE", b"hel")], [("WAIT", b"hel"), "END"], 1),
    "a stream that breaks off": ([GET, "END"], [ASKED, STREAM + b"5\r\nhel"], 1),
    "a body that breaks off": ([GET, "END"], [ASKED, OK[:-1]], 1),
    "a reset in the middle of a body": ([GET, "END"], [ASKED, OK[:-1], ("THERE", b"\r\n\r\no"), "RESET"], 1),
    "a server that closes without a word": ([GET, "END"], [ASKED], 1),
    "half a head": ([GET, "END"], [ASKED, OK[:12]], 1),
    "nobody there": ([GET, "END"], None, 1),
    "a client that has asked all it wants": ([GET, "EOF", "END"], [ASKED, OK], 1),
    "a replay of ours": ([GET.replace(b"X-Odd", RUN_HEADER.encode()), ANSWERED], [ASKED, OK, "END"], 1),
    "WebSocket": (
        [UPGRADE, ("WAIT", b"\r\n\r\n"), b"\x81\x82abcd", ("WAIT", b"frame")],
        [ASKED, SWITCHING, ("WAIT", b"abcd"), b"frame", "END"],
        1,
    ),
}


# What mitmproxy's own HTTP layer does not do as the wire has it. The lane's exchange: body, answer, failure.
APART: dict[str, tuple[str, tuple[bytes, bytes, FailureKind]]] = {
    "an empty line before a request": (
        "it reads an empty head, and looks no further until more bytes come",
        (b"", b"ok", FailureKind.NONE),
    ),
    "100-continue": (
        "it answers 100 itself, takes Expect from the request, and the upstream's own 100 for the answer",
        (b"hello", b"ok", FailureKind.NONE),
    ),
    "early hints": ("it takes 103 for the answer", (b"", b"ok", FailureKind.NONE)),
    "trailers": ("it knows none in HTTP/1, and fails", (b"hello", b"ok", FailureKind.NONE)),
    "half a head": ("it tells of a protocol error, not of a connection that ended", (b"", b"", FailureKind.RESET)),
    "a client that has asked all it wants": (
        "it takes the end of what the client sends for the client's leaving",
        (b"", b"ok", FailureKind.NONE),
    ),
}


def hooked(nextlayer: layer.NextLayer) -> None:
    """Everything is left to mitmproxy's own HTTP layer."""
    if isinstance(nextlayer.context.layers[-1], layers.modes.ReverseProxy):
        nextlayer.layer = layers.HttpLayer(nextlayer.context, HTTPMode.transparent)


def through(path: str, name: str, relayed: Any) -> tuple[list[Recorded], dict[str, int]]:
    client_does, server_does, seen = CASES[name]

    async def main() -> tuple[list[Recorded], dict[str, int]]:
        async with asyncio.timeout(20), relayed(*([server_does] if server_does else [])) as here:
            if path == "hooks":
                here.rig.recorder.next_layer = hooked
            await here.client(*client_does)
            counts = await here.counts(seen)
            return [recorded(exchange) for exchange in here.rig.out], counts

    return asyncio.run(main())


@pytest.mark.parametrize("name", [name for name in CASES if name not in APART])
def test_both_paths_record_the_same(name: str, relayed: Any) -> None:
    assert through("hooks", name, relayed) == through("lane", name, relayed)


@pytest.mark.parametrize("name", APART)
def test_the_lane_records_what_mitmproxy_does_not_understand(name: str, relayed: Any) -> None:
    _why, expected = APART[name]
    ((exchange,), counts) = through("lane", name, relayed)
    assert (exchange.body, exchange.answer, exchange.failure) == expected
    assert counts == {"offered": 1}
