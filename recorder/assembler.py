"""Events of a source that frames for itself -> `WireExchange`, sans-IO: each call comes with its time and the source's key.

The rules (the lane keeps the same ones for the bytes it frames):

1. An exchange is over exactly once: when request and response have both ended, or when it failed.
2. A response may end before its request has (an early 413). The exchange then waits for the rest of the request,
   or for the client to go away; the response is complete either way and there is no failure.
3. A failure after a partial response keeps the part that came; its ``end_ns`` stays -1.
4. Events of an exchange that is over, left out or never began are ignored: sources repeat themselves when connections die.
"""

from collections.abc import Iterable

from captures.exchange import FailureKind
from recorder.board import Count
from recorder.recording import Recording
from recorder.wire import WireBody, WireExchange


class Assembler:
    """Exchanges in the making, by the key their source gave them. Those that are over go to the recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._open: dict[str, WireExchange] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def request_head(self, key: str, at_ns: int, connection: int, head: bytes) -> bool:
        """Whether this exchange is recorded; if not, it is counted already and its other events need not be told."""
        self.leave(key, Count.UNPARSED)  # a source that repeats a head means the later one
        if not self._recording.admit(head):
            return False
        self._open[key] = WireExchange(at_ns, connection, head)
        return True

    def request_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        if (exchange := self._open.get(key)) is not None:
            self._body(key, exchange.request, at_ns, data)

    def request_end(self, key: str, at_ns: int) -> None:
        if (exchange := self._open.get(key)) is not None:
            exchange.request.end_ns = at_ns
            self._over_if_both_ended(key, exchange)

    def response_head(self, key: str, at_ns: int, status: int, head: bytes) -> None:
        """101 leaves HTTP (WebSocket): what follows is relayed, not recorded, and counted as unparsed."""
        if (exchange := self._open.get(key)) is None:
            return
        if status == 101:
            self.leave(key, Count.UNPARSED)
            return
        exchange.response_head, exchange.first_ns = head, at_ns

    def response_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        if (exchange := self._open.get(key)) is not None:
            self._body(key, exchange.response, at_ns, data)

    def response_trailers(self, key: str, lines: bytes) -> None:
        """What came behind the body and is to be known of the answer: it joins the head. ``lines`` each have their line end."""
        if (exchange := self._open.get(key)) is not None and exchange.response_head:
            exchange.response_head = exchange.response_head[:-2] + lines + b"\r\n"

    def response_end(self, key: str, at_ns: int) -> None:
        if (exchange := self._open.get(key)) is not None:
            exchange.response.end_ns = at_ns
            self._over_if_both_ended(key, exchange)

    def failed(self, key: str, at_ns: int, kind: FailureKind) -> None:
        if (exchange := self._open.pop(key, None)) is None:
            return
        if exchange.response.end_ns < 0:
            exchange.failure, exchange.failed_ns = kind, at_ns
        self._recording.keep(exchange)

    def gone(self, connection: int, at_ns: int) -> None:
        """The client closed its connection: whatever it still had open is over."""
        self._fail_all(self._of(connection), at_ns, FailureKind.CLIENT_DISCONNECT)

    def abandon(self, at_ns: int) -> None:
        """The recording ends: whatever is still open is over, through no fault of client or server."""
        self._fail_all(list(self._open), at_ns, FailureKind.INTERNAL)

    def leave(self, key: str, reason: Count) -> bool:
        """It will not be recorded. False: it was not open."""
        if (exchange := self._open.pop(key, None)) is None:
            return False
        self._recording.leave(exchange, reason)
        return True

    def leave_all(self, connection: int, reason: Count) -> None:
        for key in self._of(connection):
            self.leave(key, reason)

    def _of(self, connection: int) -> list[str]:
        return [key for key, exchange in self._open.items() if exchange.connection == connection]

    def _body(self, key: str, body: WireBody, at_ns: int, data: bytes) -> None:
        if not self._recording.body(body, at_ns, data):
            self.leave(key, Count.SHED)

    def _over_if_both_ended(self, key: str, exchange: WireExchange) -> None:
        if exchange.request.end_ns >= 0 and exchange.response.end_ns >= 0:
            del self._open[key]
            self._recording.keep(exchange)

    def _fail_all(self, keys: Iterable[str], at_ns: int, kind: FailureKind) -> None:
        for key in keys:
            self.failed(key, at_ns, kind)
