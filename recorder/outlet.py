"""A worker's end of the pipe to its spool: exchanges are packed at once and written when the pipe takes them. Nothing waits here.

What was written to a spool that died is lost and found out by its successor, by the numbers in the frames; what is still queued
goes to the successor, whole frames only.
"""

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from itertools import islice

import msgpack

from recorder.board import Count, Row
from recorder.frames import frame, pack_wire
from recorder.wire import WireExchange

QUEUE_BYTES = 64 << 20
TOLD = Count.HOOK_ERRORS + 1  # numbers of the row that travel with every frame: BEGAN to HOOK_ERRORS
TELL_S = 1.0  # how often the spool hears of counts that changed without an exchange
PIPE_BYTES = 1 << 20  # what an unprivileged process may ask for, where the system lets it
_GATHER_S = 0.005  # a write per exchange would wake the spool as often
_GATHER_BYTES = 128 << 10
_OVERHEAD = 64  # bytes of a frame beside heads and bodies, about
_AT_ONCE = 512  # frames of one write; the system takes 1024


class Outlet:
    """Belongs to one event loop. ``row``: the worker's row of the board, or a list as long. ``limit_bytes``: what may be queued."""

    def __init__(self, row: Row, limit_bytes: int = QUEUE_BYTES) -> None:
        self._row = row
        self._limit = limit_bytes
        self._frames: deque[bytes] = deque()
        self._queued = 0
        self._sent = 0  # bytes of the first frame that are in the pipe
        self._fd = -1  # -1: no spool just now
        self._waiting = False  # the pipe is full
        self._flushing: asyncio.TimerHandle | asyncio.Handle | None = None
        self._told: list[int] = []
        self._telling: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._last = False  # no other pipe will come
        self._packer = msgpack.Packer()
        row[Count.QUEUED_BYTES] = 0

    def offer(self, exchange: WireExchange) -> bool:
        """Queue it; False where it does not fit. The exchange may be forgotten after that."""
        size = exchange.request.held + exchange.response.held + len(exchange.request_head) + len(exchange.response_head)
        if self._closed or self._queued + size + _OVERHEAD > self._limit:
            return False
        self._told = list(self._row[:TOLD])
        body = self._packer.pack((self._told, pack_wire(exchange)))
        self._put(len(body).to_bytes(4, "little") + body)
        if self._flushing is None and not self._waiting and self._fd >= 0:
            self._flushing = asyncio.get_running_loop().call_later(_GATHER_S, self._flush)
        elif self._queued > _GATHER_BYTES and isinstance(self._flushing, asyncio.TimerHandle):
            self._flushing.cancel()
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        return True

    def attach(self, fd: int) -> None:
        """From now on into this pipe, which belongs to the outlet. A pipe it had is closed."""
        self._detach()
        if self._closed:
            os.close(fd)
            return
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._fd = fd
        self._told = []
        if self._telling is None:
            self._tell()
        self._flush()

    async def goodbye(self, timeout_s: float, abandoned: int = 0) -> bool:
        """Nothing more is taken; what is queued is written, goodbye is said, the pipe closed. False: not within ``timeout_s``; the
        spool finds out what was left. ``abandoned``: exchanges in the making, which are told as seen and shed.
        """
        if self._closed:
            return not self._frames
        self._closed = True
        if self._telling is not None:
            self._telling.cancel()
        told = list(self._row[:TOLD])
        told[Count.SEEN] += abandoned
        told[Count.SHED] += abandoned
        if self._fd < 0 and not self._frames:
            return True  # there is no recording any more
        self._put(frame((told, None)) + frame(None))
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._frames:
                    self._changed.clear()
                    await self._changed.wait()
        self._detach()
        return not self._frames

    def no_more_pipes(self) -> None:
        """No spool will take the place of the one there is: without it, nothing is worth waiting for."""
        self._last = True
        if self._fd < 0:
            self._drop()

    def close(self) -> None:
        """Without a goodbye: the spool takes it for a death."""
        self._closed = True
        if self._telling is not None:
            self._telling.cancel()
        self._detach()

    def _put(self, packed: bytes) -> None:
        self._frames.append(packed)
        self._queued += len(packed)
        self._row[Count.QUEUED_BYTES] = self._queued

    def _tell(self) -> None:
        self._telling = asyncio.get_running_loop().call_later(TELL_S, self._tell)
        now = list(self._row[:TOLD])
        if now != self._told and self._fd >= 0 and not self._waiting:
            self._told = now
            self._put(frame((now, None)))
            self._flush()

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._fd < 0 or self._waiting:
            return
        self._write()
        if self._frames and self._fd >= 0:
            self._waiting = True
            asyncio.get_running_loop().add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        self._write()
        if not self._frames and self._waiting:
            self._waiting = False
            asyncio.get_running_loop().remove_writer(self._fd)

    def _write(self) -> None:
        """As much as the pipe takes now, but no more than a bite: other callbacks are waiting."""
        parts: list[bytes | memoryview] = list(islice(self._frames, _AT_ONCE))
        if not parts:
            return
        if self._sent:
            parts[0] = memoryview(parts[0])[self._sent :]
        try:
            written = os.writev(self._fd, parts)
        except BlockingIOError:
            return
        except OSError:  # the spool is gone; another one may be on its way
            self._detach()
            if self._last:
                self._drop()
            return
        written += self._sent
        while self._frames and written >= len(self._frames[0]):
            gone = len(self._frames.popleft())
            written -= gone
            self._queued -= gone
        self._sent = written
        self._row[Count.QUEUED_BYTES] = self._queued
        self._changed.set()

    def _drop(self) -> None:
        self._frames.clear()
        self._queued = self._row[Count.QUEUED_BYTES] = 0
        self._changed.set()

    def _detach(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._fd < 0:
            return
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._fd)
            self._waiting = False
        os.close(self._fd)
        self._fd = -1
        self._sent = 0
