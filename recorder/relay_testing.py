"""For tests: a real relay on a real port, in the test's own event loop. What it records goes into a list: no spool is started."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from captures.exchange import Exchange
from recorder.addon import Recorder
from recorder.admission import Admission
from recorder.board import Board, Count
from recorder.frames import pack_wire
from recorder.modes import Mode, Tls
from recorder.recording import Limits, Recording
from recorder.relay import Relay, relaying
from recorder.service import Seat
from recorder.unpack import unpack_wire
from recorder.wire import WireExchange

WAIT_S = 10
_TOTALS = (Count.OFFERED, Count.SHED, Count.SAMPLED_OUT, Count.OWN, Count.FILTERED, Count.UNPARSED, Count.HOOK_ERRORS)


@dataclass(slots=True)
class Rig:
    """``out``: what was recorded, as a spool would see it."""

    port: int
    relay: Relay
    recorder: Recorder
    recording: Recording
    out: list[Exchange]

    async def exchanges(self, n: int = 1) -> list[Exchange]:
        """Exactly so many, once they are there."""
        await self.until(lambda: len(self.out) >= n)
        assert len(self.out) == n
        return self.out

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():  # noqa: ASYNC110 - counters have no events
                await asyncio.sleep(0)

    @property
    def counts(self) -> dict[str, int]:
        """How exchanges ended that are not zero: ``{"offered": 2, "own": 1}``. They are all that were seen, and none is open."""
        row = self.recording.row
        assert row[Count.BEGAN] == row[Count.SEEN] == sum(row[count] for count in _TOTALS)
        assert row[Count.HELD_BYTES] == 0
        return {count.name.lower(): row[count] for count in _TOTALS if row[count]}


@asynccontextmanager
async def rigged(
    mode: Mode, tls: Tls | None = None, *, limits: Limits | None = None, admission: Admission | None = None
) -> AsyncIterator[Rig]:
    out: list[Exchange] = []

    def offer(exchange: WireExchange) -> bool:
        out.append(unpack_wire(pack_wire(exchange)))
        return True

    board = Board.new(1)
    recording = Recording(offer, board.rows[0], admission, limits or Limits())
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    with listener, ours, theirs:
        port = listener.getsockname()[1]
        relay = relaying(mode, tls or Tls())(Seat(0, 1, listener, theirs, board, time.monotonic_ns()), recording)
        await relay.start()
        try:
            yield Rig(port, relay, relay.recorder, recording, out)
        finally:
            await relay.close()
            board.close()
