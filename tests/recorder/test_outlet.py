"""A worker's end of the pipe to its spool."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from captures.exchange import FailureKind
from recorder.board import Count
from recorder.frames import Frames, frame, pack_wire
from recorder.outlet import TOLD, Outlet
from recorder.wire import WireBody, WireExchange


def exchange(number: int = 1, size: int = 10) -> WireExchange:
    body = b"x" * size
    return WireExchange(
        arrival_ns=number,
        connection=number,
        request_head=b"POST / HTTP/1.1\r\n\r\n",
        request=WireBody([(number, body)], size, size, number + 1),
        response_head=b"HTTP/1.1 200 OK\r\n\r\n",
        first_ns=number + 2,
        response=WireBody([(number, b"")], 0, 0, number + 3),
        failure=FailureKind.RESET,
        failed_ns=number + 4,
    )


class Desk:
    """An outlet, its row, and the spool's end of one pipe after another."""

    def __init__(self, limit_bytes: int = 64 << 20) -> None:
        self.row = [0] * len(Count)
        self.outlet = Outlet(self.row, limit_bytes)
        self._ends: list[int] = []
        self._frames = Frames()

    def attach(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._frames = Frames()
        self._ends.append(reading)
        self.outlet.attach(writing)

    def offer(self, *exchanges: WireExchange) -> list[bool]:
        """Counted as a recording counts them."""
        taken = []
        for each in exchanges:
            self.row[Count.BEGAN] += 1
            taken.append(self.outlet.offer(each))
            self.row[Count.SEEN] += 1
            self.row[Count.OFFERED if taken[-1] else Count.SHED] += 1
        return taken

    def read(self) -> list[Any]:
        """What has come so far, in whole frames."""
        frames: list[Any] = []
        with suppress(BlockingIOError):
            while data := os.read(self._ends[-1], 1 << 16):
                frames += self._frames.feed(data)
        return frames

    async def frames(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(10):
            while not enough(found):
                await asyncio.sleep(0)
                found += self.read()
        return found

    def break_off(self) -> None:
        """The spool dies."""
        os.close(self._ends.pop())

    def close(self) -> None:
        self.outlet.close()
        while self._ends:
            self.break_off()


def with_desk(test: Callable[[Desk], Awaitable[None]], **options: int) -> None:
    async def run() -> None:
        desk = Desk(**options)
        try:
            await test(desk)
        finally:
            desk.close()

    asyncio.run(run())


def unpacked(frames: list[Any]) -> list[Any]:
    return [frame[1] for frame in frames if frame is not None and frame[1] is not None]


def as_read(sent: WireExchange) -> Any:
    return next(Frames().feed(frame(pack_wire(sent))))


def test_what_is_offered_arrives_in_order_with_the_numbers_before_it() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        sent = [exchange(number) for number in range(1, 6)]
        assert desk.offer(*sent) == [True] * 5
        frames = await desk.frames(lambda found: len(unpacked(found)) == 5)
        assert unpacked(frames) == [as_read(each) for each in sent]
        assert [told[Count.OFFERED] for told, packed in frames if packed] == [0, 1, 2, 3, 4]
        assert all(len(told) == TOLD for told, _ in frames)
        assert desk.row[Count.QUEUED_BYTES] == 0

    with_desk(run)


def test_an_exchange_may_be_changed_once_it_was_offered() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        sent = exchange()
        kept = as_read(sent)
        desk.offer(sent)
        sent.request.chunks.clear()
        assert unpacked(await desk.frames(lambda found: bool(unpacked(found)))) == [kept]

    with_desk(run)


def test_without_a_pipe_it_queues_up_to_its_limit_and_then_refuses() -> None:
    async def run(desk: Desk) -> None:
        taken = desk.offer(*(exchange(number, 1000) for number in range(1, 50)))
        assert taken == [True] * 10 + [False] * 39
        assert 10_000 < desk.row[Count.QUEUED_BYTES] <= 11_000
        desk.attach()
        assert len(unpacked(await desk.frames(lambda found: len(unpacked(found)) == 10))) == 10
        assert desk.offer(exchange(50, 1000)) == [True]

    with_desk(run, limit_bytes=11_000)


def test_a_pipe_that_nobody_reads_makes_it_refuse_and_never_wait() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        taken = []
        for number in range(1, 200):
            taken += desk.offer(exchange(number, 100_000))
            await asyncio.sleep(0)
        assert taken.count(True) < 199
        assert taken[-1] is False
        frames = await desk.frames(lambda found: len(unpacked(found)) == taken.count(True))
        assert [each[0] for each in unpacked(frames)] == list(range(1, taken.count(True) + 1))

    with_desk(run, limit_bytes=1 << 20)


def test_a_body_larger_than_the_pipe_arrives_whole() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        sent = exchange(1, 8 << 20)
        desk.offer(sent, exchange(2))
        frames = await desk.frames(lambda found: len(unpacked(found)) == 2)
        assert unpacked(frames)[0] == as_read(sent)

    with_desk(run)


def test_the_next_spool_gets_whole_frames_and_everything_that_was_still_queued() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        desk.offer(*(exchange(number, 300_000) for number in range(1, 21)))
        first = unpacked(await desk.frames(lambda found: len(unpacked(found)) >= 3))
        desk.break_off()  # in the middle of a frame, as likely as not
        desk.attach()
        goodbye = asyncio.ensure_future(desk.outlet.goodbye(10))
        rest = await desk.frames(lambda found: bool(found) and found[-1] is None)
        assert await goodbye
        numbers = [each[0] for each in unpacked(rest)]
        assert numbers == list(range(numbers[0], 21))  # none is cut, and none is missing from there on
        assert numbers[0] > len(first)
        assert rest[0][0][Count.OFFERED] == numbers[0] - 1  # so it can be known how many are missing before

    with_desk(run)


def test_a_spool_that_is_gone_is_noticed_and_costs_nothing_that_is_offered_later() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        desk.break_off()
        assert desk.offer(exchange(1), exchange(2)) == [True, True]
        for _ in range(100):
            await asyncio.sleep(0.0002)  # time for it to run into the broken pipe
        desk.attach()
        frames = await desk.frames(lambda found: len(unpacked(found)) == 2)
        assert [each[0] for each in unpacked(frames)] == [1, 2]

    with_desk(run)


def test_goodbye_ends_with_the_last_numbers_and_nil() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        desk.offer(exchange(1))
        desk.row[Count.UNPARSED] += 1
        assert await desk.outlet.goodbye(10)
        frames = desk.read()
        assert frames[-1] is None
        assert frames[-2] == (tuple(desk.row[:TOLD]), None)
        assert desk.offer(exchange(2)) == [False]
        assert os.read(desk._ends[-1], 1) == b""

    with_desk(run)


def test_what_is_in_the_making_at_goodbye_is_told_as_seen_and_shed() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        desk.row[Count.BEGAN] = 3
        assert await desk.outlet.goodbye(10, abandoned=3)
        told = desk.read()[-2][0]
        assert (told[Count.BEGAN], told[Count.SEEN], told[Count.SHED]) == (3, 3, 3)

    with_desk(run)


def test_goodbye_to_a_spool_that_does_not_read_gives_up() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        desk.offer(*(exchange(number, 1 << 20) for number in range(1, 10)))
        assert not await desk.outlet.goodbye(0.01)

    with_desk(run)


def test_when_no_other_pipe_will_come_nothing_is_waited_for() -> None:
    async def run(desk: Desk) -> None:
        async with asyncio.timeout(1):
            desk.offer(exchange(1))
            desk.outlet.no_more_pipes()
            await desk.outlet.goodbye(10)
        assert desk.row[Count.QUEUED_BYTES] == 0

    async def broken(desk: Desk) -> None:
        async with asyncio.timeout(1):
            desk.attach()
            desk.offer(*(exchange(number, 300_000) for number in range(1, 21)))
            desk.outlet.no_more_pipes()
            desk.break_off()
            await desk.outlet.goodbye(10)
        assert desk.row[Count.QUEUED_BYTES] == 0

    with_desk(run)
    with_desk(broken)


def test_goodbye_with_neither_pipe_nor_queue_is_immediate() -> None:
    async def run(desk: Desk) -> None:
        async with asyncio.timeout(0.05):
            assert await desk.outlet.goodbye(10)

    with_desk(run)


@pytest.mark.slow
def test_numbers_that_change_without_an_exchange_are_told_within_a_second_and_once() -> None:
    async def run(desk: Desk) -> None:
        desk.attach()
        assert await desk.frames(lambda found: len(found) == 1) == [((0,) * TOLD, None)]
        desk.row[Count.OWN] = 7
        assert await desk.frames(lambda found: len(found) == 1) == [(tuple(desk.row[:TOLD]), None)]

    with_desk(run)


def test_a_pipe_that_comes_after_goodbye_is_closed() -> None:
    async def run(desk: Desk) -> None:
        desk.outlet.close()
        desk.attach()
        assert os.read(desk._ends[-1], 1) == b""

    with_desk(run)
