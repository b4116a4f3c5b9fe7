"""The pure half of a recorder: what is kept, what is left out, and the count of everything. Sources call it, it never waits.

A source (the lane, mitmproxy's hooks, the sink) asks for each request whether it is wanted, makes a `WireExchange` of it, and hands
it over when it is over. Nothing here opens, sleeps or reads a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

from recorder.admission import Admission
from recorder.board import Count, Row
from recorder.wire import WireBody, WireExchange

MEMORY_LIMIT = 64 << 20
BODY_LIMIT = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes. ``body``: what is kept of one body, the rest is counted only. ``memory``: body bytes of all exchanges in the
    making; above it whole exchanges are shed.
    """

    body: int = BODY_LIMIT
    memory: int = MEMORY_LIMIT


class Recording:
    """``offer(exchange)`` takes an exchange or refuses, at once. ``row``: a row of a `recorder.board.Board`, or a list as long.
    After `stop` nothing begins; what is in the making may finish.
    """

    def __init__(
        self,
        offer: Callable[[WireExchange], bool],
        row: Row,
        admission: Admission | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.row = row
        self.active = True
        self.limits = limits
        self._offer = offer
        self._admission = admission or Admission()

    @property
    def open(self) -> int:
        """Exchanges in the making."""
        return self.row[Count.BEGAN] - self.row[Count.SEEN]

    def admit(self, head: bytes) -> bool:
        """Whether the exchange of this request head is wanted. If so it has begun, and must end in `keep` or `leave`; if not, it is
        counted already.
        """
        if not self.active:
            return False
        self.row[Count.BEGAN] += 1
        try:
            reason = self._admission.verdict(head)
        except Exception:  # noqa: BLE001 - our own code failed: that costs this exchange, never the traffic
            reason = Count.HOOK_ERRORS
        if reason is None:
            return True
        self._over(reason)
        return False

    def body(self, body: WireBody, at_ns: int, data: bytes) -> bool:
        """Body bytes came. False: no room for them, the exchange is to be given up: `leave` it with Count.SHED.

        Once a body is over the limit nothing more of it is kept, so what is kept is a prefix.
        """
        body.size += len(data)
        if body.truncated:
            return True
        if body.held + len(data) > self.limits.body:
            body.truncated = True
            return True
        body.chunks.append((at_ns, data))
        body.held += len(data)
        self.row[Count.HELD_BYTES] += len(data)
        return self.row[Count.HELD_BYTES] <= self.limits.memory

    def keep(self, exchange: WireExchange) -> None:
        """It is over, whole or failed."""
        self._release(exchange)
        try:
            reason = Count.OFFERED if self._offer(exchange) else Count.SHED
        except Exception:  # noqa: BLE001 - as in admit
            reason = Count.HOOK_ERRORS
        self._over(reason)

    def leave(self, exchange: WireExchange, reason: Count) -> None:
        """It had begun and will not be recorded: UNPARSED, SHED or HOOK_ERRORS."""
        self._release(exchange)
        self._over(reason)

    def unparsed(self) -> None:
        """A connection, or the rest of one, that is relayed as bytes: it counts as one exchange."""
        if self.active:
            self.row[Count.BEGAN] += 1
            self._over(Count.UNPARSED)

    def hook_failed(self) -> None:
        """Our own code failed on an exchange before it had begun, which costs it; failures that cost nothing are not counted."""
        if self.active:
            self.row[Count.BEGAN] += 1
            self._over(Count.HOOK_ERRORS)

    def stop(self) -> None:
        self.active = False

    def _over(self, reason: Count) -> None:
        self.row[Count.SEEN] += 1
        self.row[reason] += 1

    def _release(self, exchange: WireExchange) -> None:
        self.row[Count.HELD_BYTES] -= exchange.request.held + exchange.response.held
