"""Materialising ahead of the driver: bounded, in order, in a thread, so that the event loop never waits for a segment to decode.

Knows nothing of captures or sockets. A row that is due before it is ready is sent late, and its lateness says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from replayer.transport import Wire

type Materialise = Callable[[NDArray[np.int64]], Sequence[Wire]]
"""Rows of the schedule -> their wires, in the same order. May raise CaptureError."""

CHUNK_ROWS = 128
"""Small enough that the thread gives the interpreter back soon, large enough that a batch of one route is worth its name."""
AHEAD_ROWS = 4096
AHEAD_BYTES = 32 << 20


class LookAhead:
    """The wires of ``rows``, in that order. ``sizes``: body bytes of each, which bound what is held at once."""

    def __init__(
        self,
        materialise: Materialise,
        rows: NDArray[np.int64],
        sizes: NDArray[np.int64],
        executor: Executor,
    ) -> None:
        self._materialise = materialise
        self._rows = rows
        self._sizes = sizes
        self._executor = executor
        self._wires: deque[Wire] = deque()
        self._bytes = 0
        self._next = 0
        self._loading: asyncio.Future[Sequence[Wire]] | None = None

    @property
    def ready(self) -> bool:
        return bool(self._wires)

    def take(self) -> Wire:
        """The next row's wire. Only where `ready`."""
        wire = self._wires.popleft()
        self._bytes -= len(wire.body)
        if self._loading is None:
            self._load()
        return wire

    async def fill(self) -> None:
        """Hold as much as the bounds allow: before the clock starts."""
        self._load()
        while self._loading is not None:
            await self.more()

    async def more(self) -> None:
        """Wait for the next chunk. Raises what materialising raised."""
        if self._loading is None:
            self._load()
        loading = self._loading
        if loading is not None:
            await asyncio.wait([loading])
            if self._loading is loading:  # `_loaded` left it here because it failed
                loading.result()

    def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None

    def _load(self) -> None:
        room = min(CHUNK_ROWS, len(self._rows) - self._next)
        if not room or len(self._wires) + room > AHEAD_ROWS or self._bytes >= AHEAD_BYTES:
            return
        ahead = np.cumsum(self._sizes[self._next : self._next + room])
        count = max(1, int(np.searchsorted(ahead, AHEAD_BYTES - self._bytes, side="right")))
        rows = self._rows[self._next : self._next + count]
        self._next += count
        self._loading = asyncio.get_running_loop().run_in_executor(self._executor, self._materialise, rows)
        self._loading.add_done_callback(self._loaded)

    def _loaded(self, future: asyncio.Future[Sequence[Wire]]) -> None:
        if self._loading is not future or future.cancelled():
            return
        if future.exception() is not None:
            return  # stays the future at hand, so that `more` raises it where somebody listens
        self._loading = None
        wires = future.result()
        self._wires.extend(wires)
        self._bytes += sum(len(wire.body) for wire in wires)
        self._load()
