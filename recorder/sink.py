"""Takes copies of traffic: a server that says 200 to every request, and records it. A copy must never hold up what it is a copy of.

The answer goes out when the last byte of a request has come, in front of everything else that is done with it. Not sooner: a proxy
that is answered before it has sent its body stops sending (Envoy resets the stream, nginx gives the connection up).
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import cast

from captures.exchange import FailureKind
from recorder.board import Count
from recorder.cloud_events import may_hold_events
from recorder.copy_parser import CopyParser, End, Head
from recorder.pairing import Pairing
from recorder.recording import Recording
from recorder.service import Seat
from recorder.wire import WireExchange

# 200 and not 204: KServe's logger writes "error" into its log for every event that is answered by anything else.
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_STAYING = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
_LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

SWEEP_S = 1.0
STALLED_NS = 60 * 10**9
"""A request that does not go on for so long will not: its connection is closed, so that dead peers cannot fill the memory."""
_BACKLOG = 4096
_POLL_S = 0.02

_HOST = b"\r\nhost:"
_SHADOW = re.compile(rb"[ \t]*+[^\r\n]*?(-shadow)(?::[0-9]++)?[ \t]*+\r\n")


def without_suffix(head: bytes) -> bytes:
    """Envoy appends "-shadow" to the host of a copy; what was asked is recorded."""
    if b"-shadow" not in head:
        return head
    host = head.lower().find(_HOST)
    found = _SHADOW.match(head, host + len(_HOST)) if host >= 0 else None
    return head if found is None else head[: found.start(1)] + head[found.end(1) :]


class Sink:
    """A `recorder.service.Service`. ``now_ns``: time since the seat's zero."""

    def __init__(self, seat: Seat, recording: Recording, pairing: Pairing, now_ns: Callable[[], int]) -> None:
        self.recording = recording
        self.pairing = pairing
        self.now_ns = now_ns
        self.row = seat.board.rows[seat.worker]
        self.connections: set[_Connection] = set()
        self.draining = False
        self._seat = seat
        self._over: list[tuple[WireExchange, bool]] = []
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accepted, sock=self._seat.listener, backlog=_BACKLOG)
        self._sweeping = loop.call_later(SWEEP_S, self._sweep)

    async def drain(self, timeout_s: float) -> None:
        self.draining = True
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)  # what has come meanwhile is read first
        for connection in list(self.connections):
            connection.rest()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.connections:  # noqa: ASYNC110 - a poll at the end of a life is cheaper than an event per connection
                    await asyncio.sleep(_POLL_S)
        self._finish()

    async def close(self) -> None:
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.cut()
        while self.connections:  # noqa: ASYNC110 - as in drain
            await asyncio.sleep(0)
        self._finish()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def over(self, exchange: WireExchange, *, event: bool) -> None:
        """It is answered; what is left to do waits until this round of the loop has answered everybody."""
        if not self._over:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._over.append((exchange, event))

    def _accepted(self) -> "_Connection":
        self.row[Count.CONNECTIONS] += 1
        return _Connection(self, self._seat.connection(self.row[Count.CONNECTIONS]))

    def _hand_over(self) -> None:
        over, self._over = self._over, []
        for exchange, event in over:
            if event:
                self._pair(exchange)
            else:
                self.recording.keep(exchange)

    def _pair(self, exchange: WireExchange) -> None:
        try:
            self.pairing.take(exchange, exchange.request.end_ns)
        except Exception:  # noqa: BLE001 - an error of ours about one event must not cost the others
            self.recording.hook_failed()

    def _finish(self) -> None:
        self._hand_over()
        self.pairing.finish()

    def _sweep(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        now_ns = self.now_ns()
        self.pairing.expire(now_ns)
        for connection in [each for each in self.connections if each.stalled(now_ns)]:
            connection.cut()


class _Connection(asyncio.Protocol):
    """One sender. ``_exchange``: what its request becomes; None where it is not recorded, or shed."""

    __slots__ = (
        "_event",
        "_exchange",
        "_head",
        "_last_ns",
        "_number",
        "_over",
        "_parser",
        "_since_ns",
        "_sink",
        "_transport",
    )

    def __init__(self, sink: Sink, number: int) -> None:
        self._sink = sink
        self._number = number
        self._parser = CopyParser()
        self._head: Head | None = None
        self._exchange: WireExchange | None = None
        self._event = False
        self._over = False  # its last request is answered: what follows was not asked of us
        self._since_ns = self._last_ns = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only
        self._sink.connections.add(self)
        self._sink.row[Count.OPEN_CONNECTIONS] += 1

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._last_ns = self._sink.now_ns()
        self._sink.row[Count.RELAYED_IN_BYTES] += len(data)
        if self._parser.idle:
            self._since_ns = self._last_ns
        for event in self._parser.feed(data):
            if isinstance(event, Head):
                self._begin(event)
            elif isinstance(event, bytes):
                self._body(event)
            elif event is End.WHOLE:
                if not self._end():
                    return
            else:
                self._broken()

    def pause_writing(self) -> None:
        """It does not read its answers: then nothing more is read from it."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        sink, exchange = self._sink, self._exchange
        sink.connections.discard(self)
        sink.row[Count.OPEN_CONNECTIONS] -= 1
        if exchange is not None and not self._event:
            exchange.failure, exchange.failed_ns = FailureKind.CLIENT_DISCONNECT, sink.now_ns()
            sink.recording.keep(exchange)
        elif exchange is not None:
            self._drop(exchange)
            sink.recording.unparsed()
        elif self._head is None and not self._parser.idle and not self._over:
            sink.recording.unparsed()
        self._exchange = None

    def rest(self) -> None:
        """The sink is draining: go, unless a request is on its way."""
        if self._parser.idle:
            self._transport.close()

    def cut(self) -> None:
        self._transport.abort()

    def stalled(self, now_ns: int) -> bool:
        return now_ns - self._last_ns > STALLED_NS and not self._parser.idle

    def _begin(self, head: Head) -> None:
        self._head = head
        self._event = may_hold_events(head.data)
        asked = head.data if self._event else without_suffix(head.data)
        if self._event or self._sink.recording.admit(asked):
            self._exchange = WireExchange(self._since_ns, self._number, asked)
        self._since_ns = self._last_ns  # of the next one in the same bytes
        if head.waits:
            self._transport.write(_CONTINUE)

    def _body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or self._sink.recording.body(exchange.request, self._last_ns, data):
            return
        self._exchange = None
        if not self._event or self._sink.recording.admit(exchange.request_head):
            self._sink.recording.leave(exchange, Count.SHED)
        else:
            self._drop(exchange)

    def _end(self) -> bool:
        """False: the connection is over."""
        head, exchange = self._head, self._exchange
        assert head is not None
        last = head.last or self._sink.draining
        answer = _LAST if last else _STAYING if head.stays else _ANSWER
        self._transport.write(answer)
        self._sink.row[Count.RELAYED_OUT_BYTES] += len(answer)
        self._head = self._exchange = None
        if exchange is not None:
            exchange.request.end_ns = self._last_ns
            self._sink.over(exchange, event=self._event)
        if last:
            self._over = True
            self._transport.close()
        return not last

    def _broken(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not self._event:
            self._sink.recording.leave(exchange, Count.UNPARSED)
        else:
            if exchange is not None:
                self._drop(exchange)
            self._sink.recording.unparsed()
        self._transport.write(_REFUSED)
        self._transport.close()

    def _drop(self, exchange: WireExchange) -> None:
        """Its body was held, but it has not begun."""
        self._sink.row[Count.HELD_BYTES] -= exchange.request.held
