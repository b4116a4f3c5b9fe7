"""`recorder.sink` over loopback, with clients that behave and clients that do not."""

import asyncio
import gc
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from captures.exchange import RUN_HEADER, FailureKind
from recorder import sink as module
from recorder.board import Board, Count
from recorder.pairing import PAIR_NS, Pairing
from recorder.recording import Limits, Recording
from recorder.service import Seat
from recorder.sink import STALLED_NS, Sink, without_suffix
from recorder.wire import WireExchange

BODY = b'{"inputs":[]}'
SIZED = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: model:80\r\nContent-Length: 13\r\n\r\n"
LIMITS = Limits()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TYPE = "org.kubeflow.serving.inference."


@dataclass
class Desk:
    """A sink that listens, its clock, and what it recorded."""

    sink: Sink
    recording: Recording
    address: tuple[str, int]
    kept: list[WireExchange]
    now_ns: int = 1000
    on_offer: Callable[[], None] = lambda: None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        self.writers.append(writer)
        return reader, writer

    async def says(self, data: bytes) -> bytes:
        """All that comes back to a client that sends this and then nothing more."""
        reader, writer = await self.connect()
        writer.write(data)
        writer.write_eof()
        return await reader.read()

    def counts(self) -> dict[str, int]:
        left_out = ("RELAYED_IN_BYTES", "RELAYED_OUT_BYTES", "CONNECTIONS", "OPEN_CONNECTIONS")
        return {each.name: self.sink.row[each] for each in Count if self.sink.row[each] and each.name not in left_out}


def run(test: Callable[[Desk], Awaitable[None]], limits: Limits = LIMITS, loop: str = "uvloop") -> None:
    async def main() -> None:
        kept: list[WireExchange] = []
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # little to fill for who does not read
        control, other = socket.socketpair()
        board = Board.new(2)
        seat = Seat(1, 2, listener, control, board, 0)

        def offer(exchange: WireExchange) -> bool:
            desk.on_offer()
            kept.append(exchange)
            return True

        recording = Recording(offer, board.rows[1], None, limits)
        sink = Sink(seat, recording, Pairing(recording), lambda: desk.now_ns)
        desk = Desk(sink, recording, listener.getsockname(), kept)
        try:
            await sink.start()
            await test(desk)
        finally:
            await sink.close()
            for writer in desk.writers:
                writer.transport.abort()
            await asyncio.sleep(0)
            for each in (listener, control, other, board):
                each.close()
        assert sink.row[Count.HELD_BYTES] == 0
        assert sink.row[Count.OPEN_CONNECTIONS] == 0
        assert sink.row[Count.BEGAN] == sink.row[Count.SEEN]

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    gc.collect()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no events
            await asyncio.sleep(0.001)


def body(exchange: WireExchange) -> bytes:
    return b"".join(data for _, data in exchange.request.chunks)


def test_requests_in_one_packet_are_answered_and_kept_each() -> None:
    async def test(desk: Desk) -> None:
        assert await desk.says((SIZED + BODY) * 3) == OK * 3
        await until(lambda: len(desk.kept) == 3)

        assert {(kept.request_head, body(kept)) for kept in desk.kept} == {(SIZED, BODY)}
        assert {(kept.arrival_ns, kept.request.end_ns, kept.connection) for kept in desk.kept} == {(1000, 1000, 2)}
        assert {(kept.response_head, kept.failure) for kept in desk.kept} == {(b"", FailureKind.NONE)}
        assert desk.counts() == {"BEGAN": 3, "SEEN": 3, "OFFERED": 3}
        assert desk.sink.row[Count.RELAYED_IN_BYTES] == 3 * len(SIZED + BODY)

    run(test)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_answer_has_left_before_anything_is_recorded(loop: str) -> None:
    async def test(desk: Desk) -> None:
        answered: list[bytes] = []
        with socket.create_connection(desk.address) as client:
            client.setblocking(False)
            desk.on_offer = lambda: answered.append(client.recv(1000))
            client.send(SIZED + BODY)
            await until(lambda: bool(desk.kept))

        assert answered == [OK]

    run(test, loop=loop)


def test_times_are_those_of_the_bytes() -> None:
    async def test(desk: Desk) -> None:
        _, writer = await desk.connect()
        pieces = [SIZED[:9], SIZED[9:] + BODY[:4], BODY[4:]]
        for number, piece in enumerate(pieces, 1):
            desk.now_ns = number
            before = desk.sink.row[Count.RELAYED_IN_BYTES]
            writer.write(piece)
            await until(lambda seen=before: desk.sink.row[Count.RELAYED_IN_BYTES] > seen)  # type: ignore[misc]  # bound at once
        await until(lambda: bool(desk.kept))

        (kept,) = desk.kept
        assert (kept.arrival_ns, kept.request.end_ns) == (1, 3)
        assert kept.request.chunks == [(2, BODY[:4]), (3, BODY[4:])]

    run(test)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", OK),
        (
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        ),
        (b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\nabcd", LAST),
        (
            b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nabcd",
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        ),
        (b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd" + SIZED + BODY, LAST),
    ],
    ids=["chunked", "expect", "1.0", "1.0 that stays", "last"],
)
def test_senders_of_every_age_are_answered(sent: bytes, answers: bytes) -> None:
    async def test(desk: Desk) -> None:
        assert await desk.says(sent) == answers
        await until(lambda: bool(desk.kept))
        assert [body(kept) for kept in desk.kept] == [b"abcd"]

    run(test)


def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    async def test(desk: Desk) -> None:
        reader, writer = await desk.connect()
        writer.write(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert await reader.readuntil(b"\r\n\r\n") == OK

    run(test)


def test_a_body_over_the_limit_is_cut_and_the_rest_counted() -> None:
    async def test(desk: Desk) -> None:
        sent = b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
        assert await desk.says(sent) == OK
        await until(lambda: bool(desk.kept))

        request = desk.kept[0].request
        assert (request.size, request.truncated) == (3_000_000, True)
        assert request.held == len(body(desk.kept[0])) <= 1_000_000

    run(test, Limits(body=1_000_000))


def test_what_does_not_fit_into_memory_is_shed_and_answered_all_the_same() -> None:
    async def test(desk: Desk) -> None:
        _, held = await desk.connect()
        held.write(b"POST /slow HTTP/1.1\r\nContent-Length: 100\r\n\r\n" + b"x" * 90)
        await until(lambda: desk.sink.row[Count.HELD_BYTES] == 90)

        event = f"POST / HTTP/1.1\r\nce-id: 1\r\nce-type: {TYPE}request\r\nContent-Length: 13\r\n\r\n".encode() + BODY
        assert await desk.says(SIZED + BODY + event) == OK + OK
        assert desk.counts() == {"BEGAN": 3, "SEEN": 2, "SHED": 2, "HELD_BYTES": 90}

    run(test, Limits(memory=100))


@pytest.mark.parametrize(
    ("sent", "unparsed", "seen"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1, 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1, 1),
        (SIZED + BODY + b"\x00\x00" + SIZED + BODY, 1, 2),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n~\r\n" + SIZED + BODY, 1, 1),
        (
            f"POST / HTTP/1.1\r\nce-type: {TYPE}request\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n~\r\n".encode(),
            1,
            1,
        ),
    ],
    ids=["tls", "h2c", "after a request", "in a body", "in an event"],
)
def test_what_is_no_http_is_refused_and_counted_once(sent: bytes, unparsed: int, seen: int) -> None:
    async def test(desk: Desk) -> None:
        assert (await desk.says(sent)).endswith(BAD)
        await until(lambda: desk.sink.row[Count.SEEN] == seen)
        assert desk.sink.row[Count.UNPARSED] == unparsed

    run(test)


def test_a_client_that_leaves_in_the_middle_is_recorded_as_such() -> None:
    async def test(desk: Desk) -> None:
        await desk.says(SIZED + BODY[:5])
        await until(lambda: bool(desk.kept))
        await desk.says(SIZED[:20])
        await until(lambda: desk.sink.row[Count.SEEN] == 2)
        await desk.says(f"POST / HTTP/1.1\r\nce-type: {TYPE}request\r\nContent-Length: 9\r\n\r\n".encode() + b"{")
        await until(lambda: desk.sink.row[Count.SEEN] == 3)

        (kept,) = desk.kept
        assert (kept.failure, kept.failed_ns, kept.request.end_ns) == (FailureKind.CLIENT_DISCONNECT, 1000, -1)
        assert desk.counts() == {"BEGAN": 3, "SEEN": 3, "OFFERED": 1, "UNPARSED": 2}

    run(test)


def test_our_own_replays_and_what_comes_after_the_end_are_answered_and_left_out() -> None:
    async def test(desk: Desk) -> None:
        own = SIZED.replace(b"Host:", f"{RUN_HEADER}: r\r\nHost:".encode())
        assert await desk.says(own + BODY) == OK
        desk.recording.stop()
        assert await desk.says(SIZED + BODY) == OK
        assert desk.counts() == {"BEGAN": 1, "SEEN": 1, "OWN": 1}

    run(test)


def test_draining_lets_requests_finish_and_sends_senders_elsewhere() -> None:
    async def test(desk: Desk) -> None:
        idle, _ = await desk.connect()
        reader, writer = await desk.connect()
        writer.write(SIZED + BODY + SIZED + BODY[:5])
        await reader.readuntil(b"\r\n\r\n")
        draining = asyncio.create_task(desk.sink.drain(20))
        assert await idle.read() == b""
        writer.write(BODY[5:])
        assert await reader.read() == LAST
        await draining
        assert len(desk.kept) == 2
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*desk.address)

    run(test, loop="asyncio")


def test_a_request_that_stalls_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk) -> None:
        (idle, quiet), (reader, writer) = await desk.connect(), await desk.connect()
        quiet.write(SIZED + BODY)
        await idle.readuntil(b"\r\n\r\n")
        writer.write(SIZED + BODY[:5])
        await until(lambda: desk.sink.row[Count.BEGAN] == 2)
        desk.now_ns += STALLED_NS + 1
        assert await reader.read() == b""
        await until(lambda: len(desk.kept) == 2)
        quiet.write(SIZED + BODY)
        assert await idle.readuntil(b"\r\n\r\n") == OK

    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    run(test)


def test_events_are_paired_and_those_that_wait_in_vain_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk) -> None:
        def event(side: str, identity: str, data: bytes) -> bytes:
            return (
                f"POST / HTTP/1.1\r\nHost: sink\r\nCe-Id: {identity}\r\nCe-Type: {TYPE}{side}\r\nCe-Inferenceservicename: m\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            ).encode() + data

        sent = [
            ("request", "1", b'{"instances":[1]}'),
            ("request", "2", b'{"instances":[2]}'),
            ("response", "1", b"{}"),
        ]
        assert await desk.says(b"".join(event(*each) for each in sent)) == OK * 3
        await until(lambda: len(desk.kept) == 1)
        assert desk.counts()["HELD_BYTES"] == len(b'{"instances":[2]}')
        desk.now_ns += PAIR_NS
        await until(lambda: len(desk.kept) == 2)

        assert [(body(kept)[-2:], kept.response_head[:12]) for kept in desk.kept] == [
            (b"1]}"[1:], b"HTTP/1.1 200"),
            (b"]}", b""),
        ]
        assert desk.counts() == {"BEGAN": 2, "SEEN": 2, "OFFERED": 2}

    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    run(test)


def test_an_error_of_ours_costs_its_event_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk) -> None:
        def broken(*arguments: object) -> None:
            raise RuntimeError("on purpose")

        monkeypatch.setattr(Pairing, "take", broken)
        event = f"POST / HTTP/1.1\r\nce-id: 1\r\nce-type: {TYPE}request\r\n\r\n".encode()
        assert await desk.says(event + SIZED + BODY) == OK * 2
        await until(lambda: len(desk.kept) == 1)
        assert desk.sink.row[Count.HOOK_ERRORS] == 1

    run(test)


def test_a_client_that_does_not_read_is_not_read_from_until_it_does() -> None:
    """A peer that takes no answers must not make us keep them for it."""

    async def test(desk: Desk) -> None:
        def reading() -> bool:
            return all(each._transport.is_reading() for each in desk.sink.connections)

        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, desk.address)
        reader, writer = await asyncio.open_connection(sock=client, limit=1)
        desk.writers.append(writer)
        while reading():
            writer.write((SIZED + BODY) * 1000)
            await asyncio.sleep(0)
        task = asyncio.create_task(reader.read(-1))
        await until(reading)
        task.cancel()

    run(test)


@pytest.mark.parametrize(
    ("host", "recorded"),
    [
        (b"model-shadow", b"model"),
        (b"model.ns.svc-shadow:8080", b"model.ns.svc:8080"),
        (b"model", b"model"),
        (b"model-shadow.ns.svc:80", b"model-shadow.ns.svc:80"),
        (b"a-shadow-shadow ", b"a-shadow "),
    ],
)
def test_the_suffix_of_a_mirror_is_taken_from_the_host_alone(host: bytes, recorded: bytes) -> None:
    head = b"GET /a-shadow HTTP/1.1\r\nX: b-shadow\r\nhost: %s\r\nY: c-shadow\r\n\r\n"

    assert without_suffix(head % host) == head % recorded
    assert re.findall(rb"-shadow", head % b"") == [b"-shadow"] * 3
