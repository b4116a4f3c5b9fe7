"""The loop that sends. Open: every row at its time, whatever the target does. Closed: few in flight, in the order given.

Nothing here is awaited per row: ``transport.submit`` returns at once and events fill the `Attempts` in place. A row is
never waited for: at the in-flight cap it is Shed and counted. Rows the run did not reach stay UNSENT.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from captures.exchange import FailureKind
from replayer.attempt import Attempts, Reply
from replayer.breaker import Breaker
from replayer.clock import Clock
from replayer.look_ahead import LookAhead
from replayer.pacer import Pacer
from replayer.transport import Event, OnEvent, Transport, Wire

LEAD_NS = 20_000_000  # between the epoch being set and the first row: the loop is warm when row 0 is due
NEVER_NS = 2**62
STOPPED_DRAIN_NS = 2_000_000_000  # who presses Ctrl-C wants the prompt back
REPLY_BYTES = 16 << 20  # of one answer, kept in memory; what is beyond is counted, not kept

type OnRow = Callable[[int, Mapping[str, Reply]], bool | None]
"""(row, replies by role) on the loop's thread, once all targets of the row have finished; rows shed included, UNSENT ones not.
True: decided, send no more.
"""
type StopReason = Literal["", "interrupted", "aborted", "decided"]


@dataclass(slots=True)
class Stop:
    """Why the run ends before its last row; "" while it goes on. The first reason stays."""

    clock: Clock
    reason: StopReason = ""
    why: str = ""

    def set(self, reason: StopReason, why: str = "") -> None:
        if not self.reason:
            self.reason, self.why = reason, why
            self.clock.wake()

    def __bool__(self) -> bool:
        return bool(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``max_in_flight``: rows per target (open) or rows (closed). ``drain_ns``: how long answers are waited for after the last row,
    the transports' own timeout and a little. ``failing``: statuses that count as failures for the circuit breaker.
    """

    max_in_flight: int
    drain_ns: int
    failing: frozenset[int] = frozenset({429, *range(500, 600)})
    seed: int = 0


class Flight:
    """Rows between ``submit`` and their last event. Fills ``attempts``, one table per role, one transport per role.

    Where ``on_row`` is given, answers are kept in memory until the row's last target has finished.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport],
        attempts: Mapping[str, Attempts],
        *,
        clock: Clock,
        stop: Stop,
        settings: Settings,
        on_row: OnRow | None = None,
    ) -> None:
        self.clock = clock
        self.stop = stop
        self.settings = settings
        self.rows = 0  # rows with at least one target unfinished
        self.waited_for = False  # the driver sleeps until a row finishes
        self.fault: Exception | None = None  # what ``on_row`` raised, for the driver to raise
        self._transports = transports
        self._attempts = attempts
        self._on_row = on_row
        self._in_flight = dict.fromkeys(transports, 0)
        self._unfinished: dict[int, int] = {}
        self._replies: dict[int, dict[str, Reply]] = {}
        self._aborting = False
        self._breaker = Breaker()
        self._listeners = {role: self._listener(role) for role in transports}
        # Who of several targets is asked first is random per row, so that none is favoured by the other's warm caches.
        self._orders = list(itertools.permutations(transports))
        rows = len(next(iter(attempts.values())))
        self._turns = np.random.default_rng(settings.seed).integers(0, len(self._orders), size=rows, dtype=np.uint8)

    def launch(self, row: int, wire: Wire) -> None:
        """Send one row to every target, or shed it where a target's cap is reached."""
        self.rows += 1
        self._unfinished[row] = len(self._transports)
        if self._on_row is not None:
            self._replies[row] = {role: Reply() for role in self._transports}
        for role in self._orders[self._turns[row]]:
            attempts, now_ns = self._attempts[role], self.clock.now_ns()
            if self._in_flight[role] >= self.settings.max_in_flight:
                attempts.failure[row] = FailureKind.SHED
                attempts.done_ns[row] = now_ns
                self._finish(role, row)
            else:
                self._in_flight[role] += 1
                attempts.dispatched_ns[row] = now_ns
                attempts.request_size[row] = len(wire.body)
                self._transports[role].submit(row, wire, self._listeners[role])

    async def drain(self) -> None:
        """Wait for what is in flight, then abort it: after ``drain_ns``, or two seconds where the run was stopped."""
        began_ns = self.clock.now_ns()
        self.waited_for = True
        while self.rows:
            patience_ns = min(self.settings.drain_ns, STOPPED_DRAIN_NS) if self.stop else self.settings.drain_ns
            if self.clock.now_ns() >= began_ns + patience_ns:
                break
            await self.clock.sleep_until(began_ns + patience_ns)
        self._aborting = bool(self.stop)
        for transport in self._transports.values():
            await transport.close()
        if self.fault is not None:
            raise self.fault

    def _listener(self, role: str) -> OnEvent:
        attempts = self._attempts[role]

        def on_event(row: int, event: Event, at_ns: int, value: int, payload: object) -> None:
            if event is Event.CHUNK:
                if attempts.first_chunk_ns[row] < 0:
                    attempts.first_chunk_ns[row] = at_ns
                if self._on_row is not None:
                    assert isinstance(payload, bytes)
                    _keep(self._replies[row][role], at_ns, payload)
            elif event is Event.HEAD:
                attempts.first_byte_ns[row] = at_ns
                attempts.status[row] = value
                if self._on_row is not None:
                    reply = self._replies[row][role]
                    reply.status, reply.headers = value, payload  # type: ignore[assignment]  # HEAD's payload is Headers
            elif event is Event.CONNECTED:
                attempts.connect_ns[row] = value
            else:
                attempts.done_ns[row] = at_ns
                kind = FailureKind.NONE if event is Event.DONE else FailureKind(value)
                if kind is FailureKind.TIMEOUT and self._aborting:
                    kind = FailureKind.CLIENT_DISCONNECT  # we went away; the target did nothing wrong
                attempts.failure[row] = kind
                if event is Event.DONE:
                    attempts.response_size[row] = value
                self._in_flight[role] -= 1
                self._judge(at_ns, kind, int(attempts.status[row]))
                self._finish(role, row)

        return on_event

    def _finish(self, role: str, row: int) -> None:
        left = self._unfinished[row] - 1
        if self._on_row is not None:
            self._replies[row][role].failure = FailureKind(int(self._attempts[role].failure[row]))
        if left:
            self._unfinished[row] = left
            return
        del self._unfinished[row]
        self.rows -= 1
        if self._on_row is not None:
            try:
                if self._on_row(row, self._replies.pop(row)):
                    self.stop.set("decided")
            except Exception as error:  # noqa: BLE001 - raised again by `drain`, where somebody listens
                self.fault = self.fault or error
                self.stop.set("aborted", "judging failed")
        if self.waited_for:
            self.clock.wake()

    def _judge(self, at_ns: int, kind: FailureKind, status: int) -> None:
        failed = kind is not FailureKind.NONE or status in self.settings.failing
        if self._breaker.add(at_ns, failed=failed):
            self.stop.set("aborted", "the circuit breaker: 90 % of the last 200 answers failed, for five seconds")


def _keep(reply: Reply, at_ns: int, data: bytes) -> None:
    room = REPLY_BYTES - reply.size
    reply.size += len(data)
    if room > 0:
        reply.chunks.append((at_ns, data[:room]))


async def drive_open(flight: Flight, wires: LookAhead, at_ns: NDArray[np.int64]) -> None:
    """Send row i at ``at_ns[i]`` after the epoch set here, with ``wires`` in row order.

    Raises CaptureError where a row cannot be materialised; what was in flight then has been aborted.
    """
    clock, stop, pacer = flight.clock, flight.stop, Pacer(at_ns)
    try:
        await wires.fill()
        clock.start(LEAD_NS)
        while not stop and (wake_ns := pacer.next_at_ns()) is not None:
            await clock.sleep_until(wake_ns)
            for row in pacer.due(clock.now_ns()):
                while not wires.ready:
                    await wires.more()
                if stop:
                    break
                flight.launch(row, wires.take())
    finally:
        wires.close()
        await flight.drain()


async def drive_closed(
    flight: Flight, wires: LookAhead, rows: Sequence[int] | NDArray[np.int64], attempts: Mapping[str, Attempts]
) -> None:
    """Send ``rows`` in the order given (that of ``wires``), at most ``max_in_flight`` of them unfinished. A row is intended when
    it is sent: ``intended_ns`` is written here. Ends early where ``on_row`` has decided.
    """
    clock, stop = flight.clock, flight.stop
    flight.waited_for = True
    try:
        await wires.fill()
        clock.start()
        for row in map(int, rows):
            while flight.rows >= flight.settings.max_in_flight and not stop:
                await clock.sleep_until(NEVER_NS)
            while not wires.ready:
                await wires.more()
            if stop:
                break
            now_ns = clock.now_ns()
            for table in attempts.values():
                table.intended_ns[row] = now_ns
            flight.launch(row, wires.take())
    finally:
        wires.close()
        await flight.drain()
