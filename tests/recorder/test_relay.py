"""The relay as a service: it takes connections from a listener that it was given, drains and closes."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from recorder.board import Count
from recorder.modes import Mode
from recorder.options import Address, Upstream
from recorder.relay_testing import Rig, rigged

ASK = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

type Main = Callable[["Scene"], Awaitable[None]]


class Scene:
    """A relay, and an upstream behind it that answers when ``held`` is set."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.held.set()
        self.asked = asyncio.Event()
        self.rig: Rig

    @property
    def row(self) -> list[int]:
        return self.rig.recording.row  # type: ignore[return-value]  # as good as a list

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"hi"):
                self.asked.set()
                await self.held.wait()
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.rig.port)


@asynccontextmanager
async def staged() -> AsyncIterator[Scene]:
    scene = Scene()
    upstream = await asyncio.start_server(scene.answer, "127.0.0.1", 0)
    mode = Mode("reverse", Upstream("http", Address("127.0.0.1", upstream.sockets[0].getsockname()[1])))
    try:
        async with rigged(mode) as scene.rig:
            yield scene
    finally:
        upstream.close()
        upstream.close_clients()
        await upstream.wait_closed()


def run(main: Main) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20), staged() as scene:
            await main(scene)

    asyncio.run(bounded())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(ASK)
    return await reader.readuntil(b"ok")


def test_connections_are_counted_and_the_level_comes_down_again() -> None:
    async def main(scene: Scene) -> None:
        talks = [await scene.connect() for _ in range(3)]
        assert [await ask(*talk) for talk in talks] == [ANSWER] * 3
        assert (scene.row[Count.CONNECTIONS], scene.row[Count.OPEN_CONNECTIONS]) == (3, 3)
        for _, writer in talks:
            writer.close()
        await scene.rig.until(lambda: scene.row[Count.OPEN_CONNECTIONS] == 0)
        assert scene.rig.counts == {"offered": 3}

    run(main)


def test_draining_lets_what_is_in_flight_finish_and_closes_the_port() -> None:
    async def main(scene: Scene) -> None:
        scene.held.clear()
        talk = await scene.connect()
        asking = asyncio.ensure_future(ask(*talk))
        await scene.asked.wait()
        draining = asyncio.ensure_future(scene.rig.relay.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await scene.connect()
        assert not draining.done()
        scene.held.set()
        assert await asking == ANSWER
        await draining
        assert scene.rig.counts == {"offered": 1}
        talk[1].close()

    run(main)


def test_draining_serves_those_who_had_connected_and_were_not_yet_taken() -> None:
    async def main(scene: Scene) -> None:
        opened = [_connected(scene.rig.port) for _ in range(30)]  # before the loop has looked
        for descriptor in opened:
            os.write(descriptor, ASK)
        scene.held.clear()
        draining = asyncio.ensure_future(scene.rig.relay.drain(10))
        await scene.asked.wait()
        scene.held.set()
        await draining
        for descriptor in opened:
            assert os.read(descriptor, 1 << 10) == ANSWER
            os.close(descriptor)

    run(main)


def _connected(port: int) -> int:
    return socket.create_connection(("127.0.0.1", port)).detach()


def test_draining_gives_up_after_its_time_and_closing_cuts_what_is_left() -> None:
    async def main(scene: Scene) -> None:
        scene.held.clear()
        reader, writer = await scene.connect()
        writer.write(ASK)
        await scene.asked.wait()
        await scene.rig.relay.drain(0.05)
        await scene.rig.relay.close()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        assert scene.row[Count.OPEN_CONNECTIONS] == 0
        assert scene.rig.counts == {"offered": 1}  # as the failure that it was
        writer.close()

    run(main)


def test_who_comes_when_no_descriptor_is_left_waits_and_is_served() -> None:
    async def main(scene: Scene) -> None:
        reader, writer = await scene.connect()
        assert await ask(reader, writer) == ANSWER
        waiting = _connected(scene.rig.port)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await asyncio.sleep(0.01)  # it is asked to accept, and cannot
            assert await ask(reader, writer) == ANSWER
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.write(waiting, ASK)
        await scene.rig.until(lambda: scene.row[Count.OFFERED] == 3)
        assert os.read(waiting, 1 << 10) == ANSWER
        os.close(waiting)
        writer.close()

    run(main)
