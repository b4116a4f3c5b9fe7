"""What becomes of everything an importer gives: written, or dropped with a reason. Pure: tape and policy come in as arguments."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from captures.batches import batch_of
from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import RUN_HEADER, Exchange, Flags, header
from captures.importers.importer import Dropped, Provenance
from captures.importers.moved import moved

BATCH = 256  # exchanges that are pseudonymised at a time
BATCH_BYTES = 8 << 20
OWN = "own_run"
IMPOSSIBLE = "impossible"
"""A value that no capture can hold: a time before the arrival, a number above 64 bits, a body above the limit."""

_TRUNCATED = Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED

type Apply = Callable[[Sequence[Exchange]], Sequence[Exchange]]


class Tape(Protocol):
    """The part of `captures.store.TapeFile` that is needed here."""

    def append(self, batch: Batch) -> object: ...


@dataclass(slots=True)
class Account:
    """``read`` = ``written`` + what was ``dropped`` by reason. ``where``: the first of each reason. ``told``: the confessions of
    the capture that an export was made of.
    """

    told: Confessions | None = None
    read: int = 0
    written: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    truncated: int = 0
    unparsed: int = 0
    synthetic: int = 0

    def exchanges(self, items: Iterable[Exchange | Dropped | Provenance]) -> Iterator[Exchange]:
        """The exchanges among them; the rest is counted."""
        for item in items:
            if isinstance(item, Exchange):
                self.read += 1
                yield item
            elif isinstance(item, Dropped):
                self.take_dropped(item)

    def take_dropped(self, dropped: Dropped) -> None:
        self.read += dropped.count
        self.drop(dropped)

    def drop(self, dropped: Dropped) -> None:
        """What was read, and counted, before."""
        self.dropped[dropped.reason] = self.dropped.get(dropped.reason, 0) + dropped.count
        self.where.setdefault(dropped.reason, dropped.where)

    def write(self, tape: Tape, exchanges: Sequence[Exchange], zero_ns: int, apply: Apply | None) -> None:
        """``exchanges`` have unix times. ``apply``: the pseudonymiser, raw in, kept out; None: they are pseudonymised already.

        Raises OSError.
        """
        if apply is None:
            self._write(tape, exchanges, zero_ns, lambda kept: kept)
            return
        raw = [exchange for exchange in exchanges if header(exchange.request.headers, RUN_HEADER) is None]
        if own := len(exchanges) - len(raw):
            self.drop(Dropped(OWN, "", own))
        self._write(tape, [replace(exchange, origin=None, labels=()) for exchange in raw], zero_ns, apply)

    def _write(self, tape: Tape, exchanges: Sequence[Exchange], zero_ns: int, apply: Apply) -> None:
        """Batches are for speed only: where one fails its rows are tried alone, so one odd exchange costs itself."""
        if not exchanges:
            return
        try:
            kept = apply([moved(exchange, -zero_ns) for exchange in exchanges])
            batch = batch_of(kept)
        except Exception:  # noqa: BLE001 - whatever it is, the raw exchange is not written, and its words may be traffic
            self._write_alone(tape, exchanges, zero_ns, apply)
            return
        try:
            tape.append(batch)
        except ValueError:  # nothing of it was taken
            self._write_alone(tape, exchanges, zero_ns, apply)
            return
        self.written += len(kept)
        self.truncated += sum(1 for exchange in kept if exchange.flags & _TRUNCATED)
        self.unparsed += sum(1 for exchange in kept if exchange.flags & Flags.UNPARSED)
        self.synthetic += sum(1 for exchange in kept if exchange.flags & Flags.SYNTHETIC)

    def _write_alone(self, tape: Tape, exchanges: Sequence[Exchange], zero_ns: int, apply: Apply) -> None:
        if len(exchanges) == 1:
            self.drop(Dropped(IMPOSSIBLE))
            return
        for exchange in exchanges:
            self._write(tape, [exchange], zero_ns, apply)

    def confessions(self) -> Confessions:
        lost, own = sum(self.dropped.values()), self.dropped.get(OWN, 0)
        if self.told is None:
            return Confessions(
                seen=self.read, shed=lost - own, own=own, truncated=self.truncated, unparsed=self.unparsed
            )
        told = replace(self.told, shed=self.told.shed + lost)
        left_out = told.shed + told.sampled_out + told.own + told.filtered
        return replace(told, seen=max(told.seen, self.written + left_out))

    def check(self, committed: int) -> None:
        """Raises AssertionError: the fault is ours."""
        lost = sum(self.dropped.values())
        assert committed == self.written, f"{self.written} exchanges were given to a capture that holds {committed}"
        assert self.read == self.written + lost, f"read {self.read}, wrote {self.written}, dropped {lost}"


def batches(exchanges: Iterable[Exchange]) -> Iterator[list[Exchange]]:
    """Runs of at most BATCH exchanges and about BATCH_BYTES."""
    batch: list[Exchange] = []
    size = 0
    for exchange in exchanges:
        batch.append(exchange)
        size += len(exchange.request.body) + (len(exchange.response.body) if exchange.response else 0)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
