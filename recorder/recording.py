"""The pure half of a recorder: what is kept, what is left out, and the count of everything. Sources call it, it never waits.

A source (the mitmproxy addon; later the lane and the sink) reports events under a key of its own; complete exchanges go
to ``offer``, which takes them or refuses at once. Nothing here opens, sleeps or reads a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

from captures.exchange import RUN_HEADER, Exchange, FailureKind, Headers
from recorder.assembler import Assembler
from recorder.sample import kept

MEMORY_LIMIT = 64 << 20  # body bytes of exchanges in the making; above it whole exchanges are shed
_RUN_HEADER = RUN_HEADER.lower()


@dataclass(slots=True)
class Counts:
    """Running totals of the relay's side, as in `captures.confessions.Confessions`. One thread writes, any may read."""

    seen: int = 0
    shed: int = 0
    sampled_out: int = 0
    own: int = 0
    unparsed: int = 0
    hook_errors: int = 0

    def snapshot(self) -> tuple[int, ...]:
        return (self.seen, self.shed, self.sampled_out, self.own, self.unparsed, self.hook_errors)


class Recording:
    """``offer(exchange)`` returns False where the exchange had to be shed."""

    def __init__(
        self,
        offer: Callable[[Exchange], bool],
        counts: Counts,
        *,
        rate: float = 1.0,
        seed: int = 0,
        memory_limit: int = MEMORY_LIMIT,
        assembler: Assembler | None = None,
    ) -> None:
        self.counts = counts
        self.active = True
        self._offer = offer
        self._rate = rate
        self._seed = seed
        self._memory_limit = memory_limit
        self._assembler = assembler or Assembler()
        self._arrived = 0

    @property
    def open(self) -> int:
        """Exchanges in the making."""
        return len(self._assembler)

    def has(self, key: str) -> bool:
        """Whether this exchange is in the making."""
        return key in self._assembler

    def request_head(
        self, key: str, at_ns: int, connection: int, method: str, target: str, headers: Headers, http_version: str
    ) -> bool:
        """Whether this exchange is recorded; if not, it is counted already and its other events need not be told."""
        if not self.active:
            return False
        if any(name.lower() == _RUN_HEADER for name, _ in headers):
            self.counts.seen += 1
            self.counts.own += 1
            return False
        self._arrived += 1
        if self._rate < 1 and not kept(self._seed, self._arrived, self._rate):
            self.counts.seen += 1
            self.counts.sampled_out += 1
            return False
        self._assembler.request_head(key, at_ns, connection, method, target, headers, http_version)
        return True

    def request_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        self._assembler.request_chunk(key, at_ns, data)
        self._bound_memory(key)

    def request_end(self, key: str, at_ns: int) -> None:
        self._keep(self._assembler.request_end(key, at_ns))

    def response_head(self, key: str, at_ns: int, status: int, reason: str, headers: Headers) -> None:
        """101 leaves HTTP (WebSocket, h2c): what follows is relayed, not recorded, and counted as unparsed."""
        if status == 101:
            if self._assembler.drop(key):
                self.counts.seen += 1
                self.counts.unparsed += 1
            return
        self._assembler.response_head(key, at_ns, status, reason, headers)

    def response_chunk(self, key: str, at_ns: int, data: bytes) -> None:
        self._assembler.response_chunk(key, at_ns, data)
        self._bound_memory(key)

    def response_end(self, key: str, at_ns: int) -> None:
        self._keep(self._assembler.response_end(key, at_ns))

    def failed(self, key: str, at_ns: int, kind: FailureKind, detail: str = "") -> None:
        self._keep(self._assembler.failed(key, at_ns, kind, detail))

    def gone(self, connection: int, at_ns: int) -> None:
        for exchange in self._assembler.gone(connection, at_ns):
            self._keep(exchange)

    def not_http(self) -> None:
        """A connection that never spoke HTTP/1: relayed as it is."""
        if self.active:
            self.counts.seen += 1
            self.counts.unparsed += 1

    def hook_failed(self, key: str) -> None:
        """Our own code failed on this exchange; it is dropped and counted, the traffic goes on."""
        self.counts.hook_errors += 1
        if self._assembler.drop(key):
            self.counts.seen += 1

    def stop(self) -> None:
        """No new exchanges; those in the making may finish."""
        self.active = False

    def abandon(self, at_ns: int, detail: str) -> None:
        self.active = False
        for exchange in self._assembler.abandon(at_ns, detail):
            self._keep(exchange)

    def _keep(self, exchange: Exchange | None) -> None:
        if exchange is None:
            return
        self.counts.seen += 1
        if not self._offer(exchange):
            self.counts.shed += 1

    def _bound_memory(self, key: str) -> None:
        if self._assembler.held > self._memory_limit and self._assembler.drop(key):
            self.counts.seen += 1
            self.counts.shed += 1
