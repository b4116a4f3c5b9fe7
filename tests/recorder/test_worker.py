"""A worker process: what runs after the fork. Real forks, with a service of the test's."""

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from captures.errors import UsageError
from recorder.board import Board, Count
from recorder.channel import Channel
from recorder.frames import Frames
from recorder.outlet import TOLD, Outlet
from recorder.recording import Recording
from recorder.service import Seat
from recorder.wire import WireExchange
from recorder.worker import EXIT_CRASH, Work, WorkerProcess, start_worker

HEAD = b"POST /v2/models/house/infer HTTP/1.1\r\n\r\n"


class Service:
    """Whoever connects has said one exchange; what they send is its fate: k keeps it, o leaves it open, x crashes."""

    refuses = False

    def __init__(self, seat: Seat, recording: Recording) -> None:
        self._seat, self._recording = seat, recording
        self._talks: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        if self.refuses:
            raise UsageError("this cannot work")
        self._server = await asyncio.start_server(self._talk, sock=self._seat.listener)

    async def drain(self, timeout_s: float) -> None:
        self._server.close()

    async def close(self) -> None:
        for talk in self._talks:
            talk.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(writer)
        while fate := await reader.read(1):
            self._recording.admit(HEAD)
            if fate == b"k":
                self._recording.keep(WireExchange(1, 1, HEAD))
            elif fate == b"x":
                os.kill(os.getpid(), signal.SIGKILL)
            writer.write(fate)
        writer.close()


class Refusing(Service):
    refuses = True


class Crashing(Service):
    async def start(self) -> None:
        raise RuntimeError("secret words of the traffic")


class Supervisor:
    """The other end of everything a worker has."""

    def __init__(self, service: type[Service]) -> None:
        self.board = Board.new(1)
        self.row = self.board.rows[0]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        work = Work(service, self._recording, 1 << 20)
        self.worker = start_worker(work, self._seat, list)
        self.heard: list[Any] = []
        self._reading = -1
        self._code: int | None = None

    def _recording(self, seat: Seat, outlet: Outlet) -> Recording:
        return Recording(outlet.offer, seat.board.rows[seat.worker])

    def _seat(self, control: socket.socket) -> Seat:
        return Seat(0, 1, self.listener, control, self.board, 0)

    def says(self, kind: str) -> Any:
        def said() -> list[Any]:
            self.heard += self.worker.hear()
            return [told for told in self.heard if told["kind"] == kind]

        until(lambda: bool(said()) or self.worker.channel.ended)
        return said()[0]

    def pipe(self) -> None:
        self._reading, writing = os.pipe()
        self.worker.outlet(writing)

    def frames(self) -> list[Any]:
        """Until the pipe ends."""
        frames = Frames()
        found: list[Any] = []
        while data := os.read(self._reading, 1 << 16):
            found += frames.feed(data)
        return found

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=30)

    def exit_code(self) -> int:
        def over() -> bool:
            if self._code is None:
                self._code = self.worker.poll()
            return self._code is not None

        until(over)
        assert self._code is not None
        return self._code

    def close(self) -> None:
        if self._code is None:
            os.kill(self.worker.pid, signal.SIGKILL)
            self.exit_code()
        self.worker.channel.close()
        self.listener.close()
        if self._reading >= 0:
            os.close(self._reading)
        self.board.close()


@contextmanager
def supervising(service: type[Service] = Service) -> Iterator[Supervisor]:
    supervisor = Supervisor(service)
    try:
        yield supervisor
    finally:
        supervisor.close()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def tell(client: socket.socket, fate: bytes) -> None:
    client.sendall(fate)
    assert client.recv(1) == fate


def test_a_worker_serves_hands_over_what_it_keeps_and_drains() -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        supervisor.pipe()
        with supervisor.connect() as client:
            tell(client, b"k")
            tell(client, b"k")
            supervisor.worker.channel.send({"do": "drain"})
            frames = supervisor.frames()
        assert supervisor.exit_code() == 0
    assert frames[-1] is None
    assert len([1 for frame in frames if frame and frame[1]]) == 2
    assert frames[-2][0] == tuple(supervisor.row[:TOLD])
    assert supervisor.row[Count.OFFERED] == 2


def test_what_is_in_the_making_when_it_drains_is_told_as_shed() -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        supervisor.pipe()
        with supervisor.connect() as client:
            tell(client, b"o")
            supervisor.worker.channel.send({"do": "drain"})
            told = supervisor.frames()[-2][0]
    assert (told[Count.BEGAN], told[Count.SEEN], told[Count.SHED]) == (1, 1, 1)


def test_the_recording_can_be_ended_while_the_service_goes_on() -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        supervisor.pipe()
        with supervisor.connect() as client:
            tell(client, b"k")
            supervisor.worker.channel.send({"do": "stop"})
            supervisor.says("stopped")
            tell(client, b"k")
        with supervisor.connect() as client:
            tell(client, b"k")
        frames = supervisor.frames()
        supervisor.worker.channel.send({"do": "drain"})
        assert supervisor.exit_code() == 0
    assert len([1 for frame in frames if frame and frame[1]]) == 1
    assert supervisor.row[Count.BEGAN] == 1


def test_a_supervisor_that_is_gone_means_drain_and_goodbye() -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        supervisor.pipe()
        with supervisor.connect() as client:
            tell(client, b"k")
            supervisor.worker.channel.close()
            frames = supervisor.frames()
        assert supervisor.exit_code() == 0
    assert frames[-1] is None
    assert len([1 for frame in frames if frame and frame[1]]) == 1


def test_a_worker_that_dies_says_no_goodbye_and_its_numbers_stay() -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        supervisor.pipe()
        with supervisor.connect() as client:
            tell(client, b"o")
            client.sendall(b"x")
            frames = supervisor.frames()
        assert supervisor.exit_code() == -signal.SIGKILL
    assert None not in frames
    assert (supervisor.row[Count.BEGAN], supervisor.row[Count.SEEN]) == (2, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_meant_for_the_group_do_not_end_a_worker(number: int) -> None:
    with supervising() as supervisor:
        supervisor.says("ready")
        os.kill(supervisor.worker.pid, number)
        with supervisor.connect() as client:
            tell(client, b"k")


def test_a_service_that_refuses_says_why() -> None:
    with supervising(Refusing) as supervisor:
        assert supervisor.says("refused")["message"] == "this cannot work"
        assert supervisor.exit_code() == 2


def test_a_crash_is_one_line_without_words_of_the_traffic_and_exit_70(capfd: pytest.CaptureFixture[str]) -> None:
    with supervising(Crashing) as supervisor:
        assert supervisor.exit_code() == EXIT_CRASH
    said = capfd.readouterr().err
    assert said.startswith("shadowtape: a process of the recorder crashed: RuntimeError at test_worker.py:")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_worker_holds_no_end_of_another_ones_control_socket() -> None:
    first = Supervisor(Service)
    try:
        first.says("ready")
        work = Work(Service, first._recording, 1 << 20)
        other: WorkerProcess = start_worker(work, first._seat, lambda: [first.worker.channel])
        first.worker.channel.close()  # the last one of our ends, but for what the other worker holds
        assert first.exit_code() == 0
        os.kill(other.pid, signal.SIGKILL)
        until(lambda: other.poll() is not None)
        other.channel.close()
    finally:
        first.close()


def test_descriptors_travel_in_order_and_are_not_inherited() -> None:
    ours, theirs = (Channel(end) for end in socket.socketpair())
    pipes = [os.pipe() for _ in range(3)]
    for number, (reading, _) in enumerate(pipes):
        ours.send({"do": "outlet", "number": number, "more": b"x" * 50_000}, reading)
    ours.close()
    heard = []
    while not theirs.ended:
        select.select([theirs], [], [])
        heard += theirs.hear()
    assert [told["number"] for told in heard] == [0, 1, 2]
    for (_, writing), came in zip(pipes, theirs.descriptors, strict=True):
        assert not os.get_inheritable(came)
        os.write(writing, b"x")
        assert os.read(came, 1) == b"x"
        os.close(writing)
    theirs.close()
