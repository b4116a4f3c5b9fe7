"""The lane: a light mitmproxy layer that relays HTTP/1.1 as bytes, untouched, and frames both directions on the side.

It belongs in the `next_layer` hook of a reverse proxy, above whatever TLS mitmproxy has ended. Bytes are handed on first; what the
framer makes of them, or fails to, cannot hold them up. One upstream connection per client connection, opened at the client's first
bytes; when one side goes, the other sees of it what it would have seen without us: the end of a stream, or a reset.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import asyncio
import contextlib
import socket
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context

from recorder.board import DELAY_BOUNDS_NS, DELAYS, Count
from recorder.framer import Framer
from recorder.recording import Recording
from recorder.tap import Taken, Tap, hear_out

type Commands = layer.CommandGenerator[None]

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_LINGER_S = (
    1.0  # for a client that is still sending when its 502 is there: closing at once could take the answer from it
)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Lane(layer.Layer):
    """``now_ns``: time since the zero of the recording. ``draining()``: close connections as soon as nothing is in flight."""

    def __init__(
        self,
        context: Context,
        recording: Recording,
        now_ns: Callable[[], int],
        connection_number: int,
        draining: Callable[[], bool],
    ) -> None:
        super().__init__(context)
        self._client: Connection = context.client
        self._server: Connection = context.server
        self._framer = Framer(recording, connection_number)
        self._row = recording.row
        self._now_ns = now_ns
        self._draining = draining
        self._open = False  # both connections are there, or were
        self._failed = False
        self._over = False  # nothing is to come from either
        self._connected = asyncio.Event()  # or never will be
        self._cut: set[Connection] = set()  # those that ended by a reset or the like
        if (handler := self._handler()) is not None:
            handler.drain_writers = self._drain
        self._hear_out(self._client)
        self._delay_ns = -1  # of the last bytes of a request; -1: it has been counted

    @property
    def busy(self) -> bool:
        """Something is in flight, or may be: of a connection that is no HTTP any more nobody knows."""
        return not self._over and (self._framer.pending or self._framer.lost)

    def abandon(self) -> None:
        """The recording ends; the relaying goes on."""
        with self._guard():
            self._framer.abandon(self._now_ns())

    def gone(self) -> None:
        """The client is not there any more. Mostly that has been heard as an event; a TLS layer between may have kept it."""
        self._over = True
        with self._guard():
            self._framer.client_closed()
            self._framer.server_closed(self._now_ns(), whole=False)

    def handle_event(self, event: events.Event) -> Commands:
        """The one inherited wraps every event in another generator, for layers that wait; once open, this one never does."""
        if self._open and self._paused is None:
            return self._handle_event(event)
        return super().handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        kind = type(event)
        if kind is events.DataReceived:
            assert isinstance(event, events.DataReceived)
            if event.connection is not self._client:
                return self._from_server(event.data)
            return self._from_client(event.data) if self._open else self._first(event.data)
        if kind is events.ConnectionClosed:
            assert isinstance(event, events.ConnectionClosed)
            return self._client_closed() if event.connection is self._client else self._server_closed()
        if kind is events.Wakeup:
            return self._end()
        return _nothing()

    def _first(self, data: bytes) -> Commands:
        arrival_ns = self._now_ns()
        if not self._over and not self._server.connected:
            error = yield commands.OpenConnection(self._server)
            if error:
                yield from self._refused(data, arrival_ns)
                return
        self._open = not self._over
        self._connected.set()
        if self._open:
            self._hear_out(self._server)
            self._take_over()
            yield from self._from_client(data, arrival_ns)

    def _from_client(self, data: bytes, arrival_ns: int = -1) -> Commands:
        """``arrival_ns``: where it was before; then the upstream had to be connected to, which is no delay of ours."""
        now_ns = self._now_ns()
        yield commands.SendData(self._server, data)
        self._seen_from_client(data, now_ns, now_ns if arrival_ns < 0 else arrival_ns)

    def _seen_from_client(self, data: bytes, now_ns: int, arrival_ns: int) -> None:
        self._delay_ns = self._now_ns() - now_ns
        self._row[Count.RELAYED_IN_BYTES] += len(data)
        try:
            self._framer.from_client(data, arrival_ns)
        except Exception:  # noqa: BLE001 - the firewall between recording and traffic
            self._give_up()

    def _from_server(self, data: bytes) -> Commands:
        now_ns = self._now_ns()
        yield commands.SendData(self._client, data)
        self._seen_from_server(data, now_ns)
        heard_out = not self._client.state & ConnectionState.CAN_READ and self._server.tls
        if (heard_out or self._draining()) and not self.busy:
            yield from self._end()

    def _seen_from_server(self, data: bytes, now_ns: int) -> None:
        row = self._row
        if self._delay_ns >= 0:
            delay_ns = self._delay_ns + self._now_ns() - now_ns
            self._delay_ns = -1
            row[Count.DELAY_SUM_NS] += delay_ns
            row[DELAYS + bisect_left(DELAY_BOUNDS_NS, delay_ns)] += 1
        row[Count.RELAYED_OUT_BYTES] += len(data)
        try:
            self._framer.from_server(data, now_ns)
        except Exception:  # noqa: BLE001 - nothing of ours may reach the traffic
            self._give_up()

    def _take_over(self) -> None:
        """Without TLS the bytes on both connections are the ones to hand on: from here on they are taken where they are read.

        Bytes that were read before are on their way as events, in the same tasks, so none overtakes another.
        """
        handler = self._handler()
        if handler is None or self._client.tls or self._server.tls:
            return
        client, server = handler.transports.get(self._client), handler.transports.get(self._server)
        if client is None or server is None or not isinstance(client.reader, Tap):
            return
        waited: Callable[[], Taken] = handler.drain_writers
        to_client, to_server, from_server = client.writer, server.writer, server.reader
        if not isinstance(from_server, asyncio.StreamReader):
            return

        def take_from_client(data: bytes) -> Taken:
            if self._over or to_server.is_closing():
                return False
            now_ns = self._now_ns()
            to_server.write(data)
            self._seen_from_client(data, now_ns, now_ns)
            return waited() if to_server.transport.get_write_buffer_size() else True

        def take_from_server(data: bytes) -> Taken:
            if self._over or to_client.is_closing():
                return False
            now_ns = self._now_ns()
            to_client.write(data)
            self._seen_from_server(data, now_ns)
            handler.timeout_watchdog.register_activity()
            if self._draining() and not self.busy:
                ending: Taken = handler.server_event(events.Wakeup(commands.RequestWakeup(0)))
                return ending
            return waited() if to_client.transport.get_write_buffer_size() else True

        client.reader.take = take_from_client
        server.reader = Tap(from_server, take_from_server)

    def _client_closed(self) -> Commands:
        cut = self._was_cut(self._client)
        with self._guard():
            self._framer.client_closed()
        if cut:
            self._reset_on_close(self._server)
        if cut or not (self._open and self.busy and self._server.connected):
            yield from self._end()
        elif (
            self._framer.lost or not self._server.tls
        ):  # servers take half a close of TLS for the end: that of HTTP waits
            yield commands.CloseTcpConnection(self._server, half_close=True)

    def _server_closed(self) -> Commands:
        cut, client_gone = self._was_cut(self._server), self._client.timestamp_end is not None
        bytes_only = self._framer.lost
        with self._guard():
            self._framer.server_closed(self._now_ns(), whole=not cut and not client_gone)
        if cut:
            self._reset_on_close(self._client)
        sending = bytes_only or self._framer.pending
        if sending and not cut and self._client.state is ConnectionState.OPEN:
            yield commands.CloseTcpConnection(self._client, half_close=True)
        else:
            yield from self._end()

    def _refused(self, data: bytes, arrival_ns: int) -> Commands:
        """There is no upstream."""
        now_ns = self._now_ns()
        with self._guard():
            self._framer.from_client(data, arrival_ns)
        answer, sending = self._framer.pending, self._framer.reading
        with self._guard():
            self._framer.connect_failed(now_ns)
        self._over = True
        self._connected.set()
        if not answer or not self._client.state & ConnectionState.CAN_WRITE:
            yield from self._end()
            return
        yield commands.SendData(self._client, BAD_GATEWAY)
        if sending and self._client.state is ConnectionState.OPEN:
            yield commands.CloseTcpConnection(self._client, half_close=True)
            yield commands.RequestWakeup(_LINGER_S)
        else:
            yield from self._end()

    def _end(self) -> Commands:
        """Nothing more is to be relayed."""
        now_ns = self._now_ns()
        with self._guard():
            self._framer.client_closed()
            self._framer.server_closed(now_ns, whole=False)
        self._over = True
        self._connected.set()
        for connection in (self._server, self._client):
            if connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(connection)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # noqa: BLE001 - nothing of ours may reach the traffic
            self._give_up()

    def _give_up(self) -> None:
        """Our own code failed. Whatever it was, the traffic goes on."""
        if self._failed:
            return
        self._failed = True
        with contextlib.suppress(Exception):
            self._framer.give_up()

    async def _drain(self) -> None:
        """In the place of mitmproxy's, which waits for both sides after bytes of either: a client that reads only when it has sent
        everything could then never finish. And it would go on reading while the upstream is being connected to.

        Where writing fails, mitmproxy stops reading too. What the other side said before it went is still to come.
        """
        task, handler = asyncio.current_task(), self._handler()
        if handler is None:
            return
        for connection, io in list(handler.transports.items()):
            if io.handler is task or not isinstance(io.writer, asyncio.StreamWriter):
                continue
            try:
                await io.writer.drain()
            except OSError:
                if io.handler is not None and not connection.state & ConnectionState.CAN_READ:
                    io.handler.cancel("cannot be written to")
        if (client := handler.transports.get(self._client)) is not None and client.handler is task:
            await self._connected.wait()

    def _hear_out(self, connection: Connection) -> None:
        if (stream := self._stream(connection)) is not None:
            hear_out(*stream, lambda: self._cut.add(connection))

    def _was_cut(self, connection: Connection) -> bool:
        """Of mitmproxy a layer hears only that a connection ended."""
        stream = self._stream(connection)
        return connection in self._cut or (stream is not None and stream[0].exception() is not None)

    def _reset_on_close(self, connection: Connection) -> None:
        """Whoever is at the other end must not take this for the end of a message."""
        stream = self._stream(connection)
        if stream is not None and (own := stream[1].get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _stream(self, connection: Connection) -> tuple[asyncio.StreamReader | Tap, asyncio.StreamWriter] | None:
        handler = self._handler()
        io = handler.transports.get(connection) if handler is not None else None
        if (
            io is None
            or not isinstance(io.reader, asyncio.StreamReader | Tap)
            or not isinstance(io.writer, asyncio.StreamWriter)
        ):
            return None
        return io.reader, io.writer

    def _handler(self) -> Any:
        servers = ctx.master.addons.get("proxyserver")
        return servers.connections.get(self._client.id) if servers is not None else None


def _nothing() -> Commands:
    yield from ()
