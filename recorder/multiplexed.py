"""Mitmproxy's HTTP layer for a client of HTTP/2, where a relay must do better.

- An upstream that is leaving (GOAWAY without an error: a rolling restart, a gRPC connection of a certain age) goes on with the
  streams it has. Mitmproxy takes it for the end of all of them.
- Mitmproxy lets either side send as fast as it can, and keeps what the other one does not read. Here who sends is told to go on
  when that has been handed over, so that a stream never has more than WINDOW waiting in either direction.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import contextlib
from collections import Counter
from functools import partial
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Connection, StreamState

WINDOW = 1 << 20  # bytes


class MultiplexedLayer(HttpLayer):
    """For one client. New streams get another upstream connection where the one they would have used is leaving."""

    def __init__(self, context: Context, mode: HTTPMode) -> None:
        super().__init__(context, mode)
        self._upstreams: dict[Connection, Http2Client] = {}
        self._leaving: set[Connection] = set()
        self._owed: Counter[tuple[Http2Connection, int]] = (
            Counter()
        )  # bytes that a stream of this side was not told to go on for

    @property
    def _client(self) -> Http2Connection:
        side = self.connections[self.context.client]
        assert isinstance(side, Http2Connection)
        return side

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        yield from super()._handle_event(event)
        if isinstance(event, events.Start):
            self._watch(self._client)
            yield commands.SendData(self._client.conn, self._client.h2_conn.data_to_send())
        elif self._owed:
            yield from self._pay()

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        for each, below in self.connections.items():
            last = below.context.layers[-1]
            if each not in self._upstreams and isinstance(last, Http2Client):
                self._upstreams[each] = last
                self._watch(last)
                last.h2_conn._frame_dispatch_table[GoAwayFrame] = partial(self._goes, last)  # noqa: SLF001 - no other way in
        if self._leaving:
            # The first that fits is used, whatever its state: those that stay come first.
            self.connections = dict(sorted(self.connections.items(), key=lambda item: item[0] in self._leaving))
            reuse = reuse and any(
                event.connection_spec_matches(each) and (each in self.waiting_for_establishment or each.connected)
                for each in self.connections
                if each not in self._leaving
            )
        yield from super().get_connection(event, reuse=reuse)

    def _goes(self, client: Http2Client, frame: GoAwayFrame) -> tuple[list[Any], list[h2.events.Event]]:
        """In the place of h2's, which allows no frame after this one. Streams that the upstream will not look at have failed."""
        if frame.error_code != h2.errors.ErrorCodes.NO_ERROR:
            closed: tuple[list[Any], list[h2.events.Event]] = client.h2_conn._receive_goaway_frame(frame)  # noqa: SLF001 - h2's own
            return closed
        self._leaving.add(client.conn)
        refused = [stream for stream in client.streams if stream > frame.last_stream_id]
        if client.h2_conn.get_next_available_stream_id() > frame.last_stream_id:
            for stream in client.stream_queue:  # too many for the upstream so far: they have no number there yet
                client.our_stream_id[stream], client.their_stream_id[-stream] = -stream, stream
                client.streams[-stream] = StreamState.EXPECTING_HEADERS
                refused.append(-stream)
            client.stream_queue.clear()
        reset = partial(h2.events.StreamReset, error_code=h2.errors.ErrorCodes.REFUSED_STREAM)
        return [], [reset(stream_id=stream) for stream in refused]

    def _watch(self, side: Http2Connection) -> None:
        """Its settings go out with the next bytes to it."""
        side.h2_conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        acknowledge = side.h2_conn.acknowledge_received_data

        def owe(acknowledged_size: int, stream_id: int) -> None:
            if self._waits(side, stream_id):
                self._owed[side, stream_id] += acknowledged_size
            else:
                acknowledge(acknowledged_size, stream_id)

        side.h2_conn.acknowledge_received_data = owe  # type: ignore[method-assign]  # it is asked by code that is not ours

    def _waits(self, side: Http2Connection, stream: int) -> bool:
        """Whether bytes of a stream of this side have not been handed to the other side."""
        if isinstance(side, Http2Client):
            return bool(self._client.h2_conn.stream_buffers.get(side.their_stream_id[stream]))
        if self.waiting_for_establishment and stream in self.streams:
            return True
        for upstream in self._upstreams.values():
            if stream in upstream.stream_queue:
                return True
            if upstream.h2_conn.stream_buffers.get(upstream.our_stream_id.get(stream, 0)):
                return True
        return False

    def _pay(self) -> layer.CommandGenerator[None]:
        for side, stream in [each for each in self._owed if not self._waits(*each)]:
            size = self._owed.pop((side, stream))
            with contextlib.suppress(h2.exceptions.ProtocolError):  # its connection is over
                side.h2_conn.acknowledge_received_data(size, stream)
            if (data := side.h2_conn.data_to_send()) and side.conn.state & ConnectionState.CAN_WRITE:
                yield commands.SendData(side.conn, data)
