"""What two peers say over HTTP/1.1, cut anywhere: their exchanges come out; after damage only what is certain; all is counted.

Conversations are made of messages of every framing, pipelined, answered early, with interim answers. Each message carries the
number of its exchange. Damage is either something a strict reader must see, after which nothing may come out, or bytes at
random, where only the counts and the absence of exceptions are certain.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz.mutation import damaged
from recorder.admission import Admission
from recorder.board import ROW_SIZE, Count
from recorder.framer import Framer
from recorder.recording import Recording
from recorder.wire import WireExchange

CLIENT, SERVER = 0, 1
type Said = list[tuple[int, bytes]]
_EVIL_LINES = (b"Content-Length : 3", b" folded", b"X: \0", b"X: a\nY: b", b"no colon", b"Transfer-Encoding: gzip")
_EVIL_LENGTHS = (b"Content-Length: 7\r\nContent-Length: 7", b"Content-Length: -1", b"Content-Length: 1, 2")
_EVIL_CHUNKS = (
    b"g\r\n",
    b"5\nhello\r\n",
    b"+1\r\na\r\n",
    b"1\r\nab\r\n",
    b"0x1\r\na\r\n",
    b"1 \r\na\r\n",
    b"f" * 17 + b"\r\n",
)


@dataclass(slots=True)
class Talk:
    """A request and its answer as they are sent, and what is to come out. ``early``: answered after this many of its bytes."""

    sent: bytes
    answer: bytes
    expected: tuple[bytes, bytes, bytes, bytes]
    early: int = 0


def case(rng: random.Random) -> None:
    talks = [_talk(rng, number) for number in range(rng.randrange(1, 8))]
    expected = [talk.expected for talk in talks]
    assert play(rng, _conversation(rng, talks), whole=True) == expected, "a whole conversation"

    at = rng.randrange(len(talks))
    side = rng.choice([CLIENT, SERVER])
    evil = _evil(rng, talks, at, side)
    assert play(rng, _conversation(rng, evil), whole=True) == expected[:at], f"damage in {at}, side {side}"

    said = [(side, damaged(data, rng) if rng.random() < 0.3 else data) for side, data in _conversation(rng, talks)]
    play(rng, said[: rng.randrange(len(said) + 1)], whole=False)


def play(rng: random.Random, said: Said, *, whole: bool) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """The exchanges that ended well; ``whole``: none may have failed. Both sides go in the end, in one way or the other."""
    kept = list[WireExchange]()
    row = [0] * ROW_SIZE
    recording = Recording(lambda exchange: kept.append(exchange) or True, row, Admission())  # type: ignore[func-returns-value]  # append, then True
    framer = Framer(recording, 1)
    for side, data in _pieces(rng, said):
        (framer.from_client if side == CLIENT else framer.from_server)(data, 1)
    if rng.random() < 0.5:
        framer.client_closed()
    framer.server_closed(2, whole=rng.random() < 0.5)
    framer.client_closed()
    framer.server_closed(3, whole=False)
    assert row[Count.BEGAN] == row[Count.SEEN] == sum(row[Count.OFFERED : Count.HOOK_ERRORS + 1]), (
        "counts do not add up"
    )
    assert row[Count.HELD_BYTES] == 0, "bytes of nobody"
    assert row[Count.OFFERED] == len(kept)
    assert not framer.pending or framer.lost
    assert not whole or not any(exchange.failure for exchange in kept)
    return [
        (exchange.request_head, _body(exchange.request.chunks), exchange.response_head, _body(exchange.response.chunks))
        for exchange in kept
    ]


def _body(chunks: list[tuple[int, bytes]]) -> bytes:
    return b"".join(data for _, data in chunks)


def _talk(rng: random.Random, number: int) -> Talk:
    method = rng.choice([b"GET", b"POST", b"POST", b"HEAD", b"DELETE"])
    asked = b"" if method in {b"GET", b"HEAD"} else b"<%d>" % number * rng.choice([0, 1, 7, 300])
    head, body = _message(rng, b"%s /%d HTTP/1.1\r\nHost: h" % (method, number), asked, has_body=bool(asked))
    status = rng.choice([200, 200, 200, 204, 304, 404])
    bare = method == b"HEAD" or status in {204, 304}
    answered = b"" if bare else b"[%d]" % number * rng.choice([0, 1, 9, 400])
    back, answer = _message(rng, b"HTTP/1.1 %d R\r\nX-N: %d" % (status, number), answered, has_body=not bare)
    if bare and status != 204:
        back = back[:-2] + b"Content-Length: 99\r\n\r\n"
    interim = rng.choice([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"])
    sent = rng.choice([b"", b"", b"\r\n"]) + head + body
    early = rng.randrange(len(sent) - len(body), len(sent) + 1) if rng.random() < 0.2 else 0
    return Talk(sent, interim + back + answer, (head, asked, back, answered), early)


def _message(rng: random.Random, start: bytes, body: bytes, *, has_body: bool) -> tuple[bytes, bytes]:
    if not has_body:
        return start + b"\r\n\r\n", b""
    if rng.random() < 0.5:
        name = rng.choice([b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
        return start + b"\r\n%s:%s%d\r\n\r\n" % (name, rng.choice([b"", b" ", b"\t "]), len(body)), body
    chunks = b""
    while body:
        size = rng.randrange(1, len(body) + 1)
        extension = rng.choice([b"", b"", b";a", b' ; a = "b;\\"\r"'.replace(b"\r", b"")])
        chunks += rng.choice([b"%x", b"%X", b"00%x"]) % size + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = rng.choice([b"", b"", b"X-T: 1\r\n", b"X-T: 1\r\nContent-Length: 5\r\n"])
    return start + b"\r\nTransfer-Encoding: Chunked\r\n\r\n", chunks + b"0\r\n" + trailers + b"\r\n"


def _evil(rng: random.Random, talks: list[Talk], at: int, side: int) -> list[Talk]:
    """The talks with one message that no strict reader takes."""
    talk = talks[at]
    message = talk.sent if side == CLIENT else talk.answer
    start = message.lstrip(b"\r\n")
    while start.startswith((b"HTTP/1.1 100", b"HTTP/1.1 103")):
        start = start.partition(b"\r\n\r\n")[2]
    line, _, rest = start.partition(b"\r\n")
    if b"Chunked\r\n" in start and rng.random() < 0.5:
        start = start.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + rng.choice(_EVIL_CHUNKS)
    else:
        start = line + b"\r\n" + rng.choice(_EVIL_LINES + _EVIL_LENGTHS) + b"\r\n" + rest
    sent, answer = (start, talk.answer) if side == CLIENT else (talk.sent, start)
    return [*talks[:at], Talk(sent, answer, talk.expected), *talks[at + 1 :]]


def _conversation(rng: random.Random, talks: list[Talk]) -> Said:
    """Pipelined now and then; answers come after their requests, or while the request is still coming."""
    said: Said = []
    waiting: list[bytes] = []
    for talk in talks:
        if talk.early:
            said += [(CLIENT, talk.sent[: talk.early]), (SERVER, b"".join([*waiting, talk.answer]))]
            said.append((CLIENT, talk.sent[talk.early :]))
            waiting = []
            continue
        said.append((CLIENT, talk.sent))
        waiting.append(talk.answer)
        if rng.random() < 0.7:
            said.append((SERVER, b"".join(waiting)))
            waiting = []
    return [*said, (SERVER, b"".join(waiting))]


def _pieces(rng: random.Random, said: Said) -> Iterator[tuple[int, bytes]]:
    together: Said = []
    for side, data in said:
        if together and together[-1][0] == side:
            together[-1] = (side, together[-1][1] + data)
        else:
            together.append((side, data))
    for side, data in together:
        largest = rng.choice([1, 3, 50, 1 << 16])
        start = 0
        while start < len(data):
            stop = start + rng.randrange(1, largest + 1)
            yield side, data[start:stop]
            start = stop
