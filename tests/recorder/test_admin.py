"""Health and metrics over real connections, and clients that mean no good."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recorder.admin import HANGS_S, MOST_CLIENTS, answering, response
from recorder.board import Board, Count

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 2**22 + 1  # above the largest process id that Linux gives


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board.new(2)) as board:
        for row in board.rows:
            row[Count.RELAY_PID] = os.getpid()
            row[Count.RELAY_BEAT_S] = int(time.monotonic())
            row[Count.RECORDING] = 1
        yield board


def asked(board: Board, line: str) -> tuple[int, str, dict[str, str]]:
    """Status, body, headers."""
    raw = response(f"{line}\r\nHost: x\r\n\r\n".encode("latin-1"), board).decode()
    head, _, body = raw.partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    return int(status.split()[1]), body, dict(field.split(": ") for field in fields)


@pytest.mark.parametrize(
    ("pids", "draining", "health", "readiness"),
    [
        ((os.getpid(), os.getpid()), 0, 200, 200),
        ((os.getpid(), 0), 0, 503, 200),
        ((os.getpid(), NOBODY), 0, 503, 200),
        ((0, 0), 0, 503, 503),
        ((os.getpid(), os.getpid()), 1, 503, 503),
        ((1, 1), 0, 200, 200),  # another user's process runs as well
    ],
)
def test_health_is_every_relay_and_readiness_any_until_the_port_closes(
    board: Board, pids: tuple[int, int], draining: int, health: int, readiness: int
) -> None:
    for row, pid in zip(board.rows, pids, strict=True):
        row[Count.RELAY_PID] = pid
    board.rows[1][Count.DRAINING] = draining

    assert asked(board, "GET /healthz HTTP/1.1")[0] == health
    assert asked(board, "GET /readyz HTTP/1.1")[0] == readiness


def test_a_relay_that_runs_and_does_nothing_any_more_is_down(board: Board) -> None:
    board.rows[1][Count.RELAY_BEAT_S] -= int(HANGS_S) + 1

    assert asked(board, "GET /healthz HTTP/1.1")[0] == 503
    assert asked(board, "GET /readyz HTTP/1.1")[0] == 200


def test_a_recording_that_is_in_trouble_is_told_and_does_not_take_the_relay_out(board: Board) -> None:
    board.rows[1][Count.RECORDING] = 0
    status, body, headers = asked(board, "GET /healthz?x=1 HTTP/1.1")
    told = json.loads(body)

    assert (status, told["status"], headers["Content-Type"]) == (200, "ok", "application/json")
    assert told["workers"] == [
        {"worker": 0, "relaying": True, "recording": True},
        {"worker": 1, "relaying": True, "recording": False},
    ]


def test_metrics_are_those_of_the_board(board: Board) -> None:
    board.rows[1][Count.KEPT] = 42
    status, body, headers = asked(board, "GET /metrics HTTP/1.1")

    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'shadowtape_recorder_exchanges_total{worker="1",outcome="kept"} 42\n' in body
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /", 400),
        ("GET / HTTP/1.1", 404),
        ("GET /healthz/../metrics HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("", 400),
        ("\xff\xff\xff", 400),
    ],
)
def test_anything_else_is_refused_in_json(board: Board, line: str, status: int) -> None:
    found, body, _ = asked(board, line)

    assert found == status
    assert json.loads(body)["error"]


def test_a_head_request_gets_the_head(board: Board) -> None:
    status, body, headers = asked(board, "HEAD /metrics HTTP/1.1")

    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 1000


class Desk:
    """A running server, to connect to."""

    def __init__(self, board: Board) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.board = board

    def run(self, talk: Coroutine[Any, Any, None], answer_s: float = 30) -> None:
        async def served() -> None:
            async with answering(self.listener, self.board, answer_s):
                await talk

        asyncio.run(served())

    async def ask(self, data: bytes = b"GET /healthz HTTP/1.1\r\n\r\n") -> bytes:
        """All that comes back."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


def test_one_answer_per_connection_and_many_at_once(board: Board) -> None:
    desk = Desk(board)

    async def talk() -> None:
        answers = await asyncio.gather(*(desk.ask(b"GET /healthz HTTP/1.1\r\n\r\n" * 2) for _ in range(20)))
        assert {answer.count(b"HTTP/1.1 200 OK") for answer in answers} == {1}

    desk.run(talk())


def test_a_client_that_says_nothing_or_never_stops_is_cut_off_and_others_are_served(board: Board) -> None:
    desk = Desk(board)

    async def talk() -> None:
        silent, flood, started, asked = await asyncio.gather(
            desk.ask(b""), desk.ask(b"x" * 100_000), desk.ask(b"GET /healthz HTTP/1.1\r\nx: y"), desk.ask()
        )
        assert (silent, flood, started) == (b"", b"", b"")
        assert asked.startswith(b"HTTP/1.1 200 OK")

    desk.run(talk(), answer_s=1.0)


def test_more_clients_than_there_is_room_for_are_turned_away_until_there_is(board: Board) -> None:
    desk = Desk(board)

    async def talk() -> None:
        crowd = [await asyncio.open_connection(*desk.address) for _ in range(MOST_CLIENTS)]
        await asyncio.gather(*(_half_asked(writer) for _, writer in crowd))
        assert await desk.ask() == b""
        for reader, writer in crowd[:3]:
            writer.write(b"\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        assert (await desk.ask()).startswith(b"HTTP/1.1 200 OK")
        for _, writer in crowd:
            writer.transport.abort()

    desk.run(talk())


async def _half_asked(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1")
    await writer.drain()


def test_at_its_end_it_closes_the_port_and_waits_for_nobody(board: Board) -> None:
    desk = Desk(board)

    slow: list[asyncio.StreamWriter] = []

    async def talk() -> None:
        _, writer = await asyncio.open_connection(*desk.address)
        slow.append(writer)
        await _half_asked(writer)

    desk.run(talk())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(desk.address)


@pytest.mark.slow
def test_as_a_process_it_outlives_signals_of_its_group_and_ends_with_its_supervisor(board: Board) -> None:
    ours, theirs = socket.socketpair()
    code = (
        "import socket, sys; from recorder.admin import serve; from recorder.board import Board\n"
        "listener, board, control = map(int, sys.argv[1:])\n"
        "serve(socket.socket(fileno=listener), Board(board, 2), socket.socket(fileno=control))"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(ours):
        descriptors = (listener.fileno(), board.descriptor, theirs.fileno())
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, descriptors)], pass_fds=descriptors, cwd=ROOT, process_group=0
        )
        theirs.close()

        def ask() -> bytes:
            with socket.create_connection(listener.getsockname(), timeout=30) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
                return client.recv(20)

        assert ask() == b"HTTP/1.1 200 OK\r\nCon"  # it is up
        os.killpg(process.pid, 15)
        os.killpg(process.pid, 2)
        board.rows[0][Count.DRAINING] = 1
        assert ask().startswith(b"HTTP/1.1 503")
        ours.close()
        assert process.wait(30) == 0
