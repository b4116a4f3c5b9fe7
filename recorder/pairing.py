"""Halves of exchanges that wait for each other: a logger sends requests and answers apart, in any order, perhaps one only. Pure.

A request whose answer does not come in time is kept alone: KServe logs no answer but a 200. An answer without its request is left
out and counted as unparsed. What an event does not say is made up as `captures.importers.kserve` does.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from captures.importers.importer import PENDING_LIMIT, Dropped
from captures.importers.kserve import path_for
from captures.importers.path_templates import target_of
from recorder.admission import head_of, response_head_of
from recorder.board import Count
from recorder.cloud_events import UNKNOWN, Half, halves_in
from recorder.recording import Recording
from recorder.wire import WireBody, WireExchange

PAIR_NS = 60 * 10**9
_ANSWERED = response_head_of(200, "OK", (), "HTTP/1.1")


@dataclass(slots=True)
class _Waiting:
    """``exchange``: of a request. ``answer``: came first. Neither: a request that is not recorded, whose answer is none either."""

    since_ns: int
    at_ns: int  # by the clock of whoever logged it; -1: unknown
    exchange: WireExchange | None = None
    answer: WireBody | None = None

    @property
    def held(self) -> int:
        return (self.exchange.request.held if self.exchange else 0) + (self.answer.held if self.answer else 0)


@dataclass(slots=True)
class Pairing:
    """``path_template`` and ``model``: as for an import. ``wait_ns``: how long halves wait. What waits may take half the memory of
    the recording.
    """

    recording: Recording
    path_template: str = ""
    model: str = ""
    wait_ns: int = PAIR_NS
    _waiting: OrderedDict[tuple[str, ...], _Waiting] = field(default_factory=OrderedDict)
    _held: int = 0

    def take(self, copy: WireExchange, now_ns: int) -> None:
        """A request that may hold events; it has not begun, but its body is held. Where it holds none it is a copy like any."""
        self._release(copy.request.held)
        found = halves_in(copy.request_head, copy.request)
        if all(isinstance(half, Dropped) and half.reason == UNKNOWN for half in found):
            self._as_copy(copy)
            return
        for half in found:
            if isinstance(half, Dropped):
                self.recording.unparsed()
            elif half.event.side == "request":
                self._request(half, copy, now_ns)
            else:
                self._answer(half, now_ns)
        while len(self._waiting) > PENDING_LIMIT or self._held > self.recording.limits.memory // 2:
            self._alone(next(iter(self._waiting)))

    def expire(self, now_ns: int) -> None:
        """Whoever has waited long enough goes alone; everybody, where the recording is over."""
        while self._waiting:
            oldest = next(iter(self._waiting))
            if self.recording.active and now_ns - self._waiting[oldest].since_ns < self.wait_ns:
                break
            self._alone(oldest)

    def finish(self) -> None:
        while self._waiting:
            self._alone(next(iter(self._waiting)))

    def _as_copy(self, copy: WireExchange) -> None:
        if self.recording.admit(copy.request_head):
            self._hold(copy.request)
            self.recording.keep(copy)

    def _request(self, half: Half, copy: WireExchange, now_ns: int) -> None:
        other = self._waiting.get(half.event.key)
        if other is not None and other.answer is None:  # an id that is used twice
            self._alone(half.event.key)
            other = None
        exchange = self._begun(half, copy)
        if other is None:
            self._wait(half, _Waiting(now_ns, half.event.at_ns, exchange=exchange))
            return
        assert other.answer is not None
        self._taken(half.event.key)
        if exchange is None:
            self._release(other.answer.held)
        else:
            self._paired(exchange, other.answer, other.answer.end_ns)

    def _answer(self, half: Half, now_ns: int) -> None:
        other = self._waiting.get(half.event.key)
        if other is not None and other.answer is not None:
            self._alone(half.event.key)
            other = None
        if other is None:
            self._hold(half.body)
            self._wait(half, _Waiting(now_ns, half.event.at_ns, answer=half.body))
            return
        self._taken(half.event.key)
        if other.exchange is None:
            return
        self._hold(half.body)
        took_ns = half.event.at_ns - other.at_ns if min(half.event.at_ns, other.at_ns) >= 0 else now_ns - other.since_ns
        self._paired(other.exchange, half.body, other.exchange.request.end_ns + max(0, took_ns))

    def _begun(self, half: Half, copy: WireExchange) -> WireExchange | None:
        """None: it is not recorded, and counted."""
        template = self.path_template or path_for(b"".join(piece for _, piece in half.body.chunks))
        model = self.model or half.event.service
        if not template or (not model and "{model}" in template):
            self.recording.unparsed()
            return None
        head = head_of("POST", target_of(template, model), half.event.headers, "HTTP/1.1")
        if not self.recording.admit(head):
            return None
        self._hold(half.body)
        return WireExchange(copy.arrival_ns, copy.connection, head, half.body)

    def _paired(self, exchange: WireExchange, answer: WireBody, at_ns: int) -> None:
        """The answer came whole, at this time: when its first byte did is not known."""
        at_ns = max(at_ns, exchange.request.end_ns)
        answer.chunks = [(at_ns, piece) for _, piece in answer.chunks]
        answer.end_ns = at_ns
        exchange.response_head, exchange.response = _ANSWERED, answer
        self.recording.keep(exchange)

    def _alone(self, key: tuple[str, ...]) -> None:
        waiting = self._taken(key)
        if waiting.exchange is not None:
            self.recording.keep(waiting.exchange)
        elif waiting.answer is not None:
            self._release(waiting.answer.held)
            self.recording.unparsed()

    def _wait(self, half: Half, waiting: _Waiting) -> None:
        self._waiting[half.event.key] = waiting
        self._held += waiting.held

    def _taken(self, key: tuple[str, ...]) -> _Waiting:
        waiting = self._waiting.pop(key)
        self._held -= waiting.held
        return waiting

    def _hold(self, body: WireBody) -> None:
        self.recording.row[Count.HELD_BYTES] += body.held

    def _release(self, held: int) -> None:
        self.recording.row[Count.HELD_BYTES] -= held
