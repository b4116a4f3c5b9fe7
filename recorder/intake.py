"""What the spool does with frames: exchanges -> labelled and pseudonymised exchanges -> tape, and an account of each one.
Never raises.

Pure: the tape, the labeller and the pseudonymiser come in as arguments. An exchange is *pending* from append until the tape
has committed it and *kept* after that; trouble with the tape turns what is pending, and everything that follows, into *shed*.
So always: seen = kept + shed + sampled out + own + unparsed that were left out (by the relay) + hook errors that cost an exchange.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol

from captures.batches import batch_of
from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import ShadowtapeError
from captures.exchange import Exchange, Flags
from recorder.frames import unpack_exchange

type Apply = Callable[[Sequence[Exchange]], Sequence[Exchange]]

# Plain integers: a Flags costs ten times as much per operation, and there is one per exchange.
_TRUNCATED = int(Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED)
_UNPARSED = int(Flags.UNPARSED)


class Tape(Protocol):
    """The part of `captures.rotating.RotatingTape` that is needed here. ``committed`` are the first of those appended."""

    @property
    def committed(self) -> int: ...
    def append(self, batch: Batch) -> object: ...
    def flush(self, confessions: Confessions) -> object: ...
    def seal(self, confessions: Confessions) -> object: ...


class Intake:
    """``trouble`` is why nothing more is written ("": all is well); ``kept``: exchanges on the tape. ``apply`` is the
    pseudonymiser: raw in, kept out; ``label`` comes before it and never raises.
    """

    def __init__(self, tape: Tape, apply: Apply, *, label: Apply = lambda raw: raw, sampling_rate: float = 1.0) -> None:
        self.trouble = ""
        self.kept = 0
        self._tape = tape
        self._label = label
        self._apply = apply
        self._sampling_rate = sampling_rate
        self._pending: list[int] = []  # flags of each exchange appended and not yet known to be committed
        self._relay: tuple[int, ...] = (0, 0, 0, 0, 0, 0)  # the relay's totals, as in recording.Counts.snapshot
        self._shed = 0
        self._truncated = 0  # of those kept, as is _unparsed
        self._unparsed = 0
        self._errors = 0
        self._flushed = Confessions(sampling_rate=sampling_rate)

    def take(self, frames: Sequence[Any]) -> None:
        """Frames as `recorder.frames.Frames` yields them: ``(counts, exchange or None)``."""
        exchanges = []
        for received in frames:
            try:
                counts, packed = received
                self._relay = counts
                if packed is not None:
                    exchanges.append(unpack_exchange(packed))
            except Exception:  # noqa: BLE001 - one bad frame must not cost the others
                self._errors += 1
        if exchanges:
            self._take(exchanges if self.trouble else self._label(exchanges))

    def flush(self) -> bool:
        """Commit what is pending with the current confessions. False: nothing had changed, or there is trouble."""
        changed = bool(self._pending) or self.confessions() != self._flushed
        # Asked even so: a file may be due to be followed by another.
        return not self.trouble and self._commit(self._tape.flush) and changed

    def seal(self) -> bool:
        return not self.trouble and self._commit(self._tape.seal)

    def stop(self, trouble: str) -> None:
        """Seal what there is and write nothing more."""
        if self.seal():
            self.trouble = trouble

    def fail(self, trouble: str, *, left: int | None = None) -> None:
        """Write nothing more; what is pending is shed. ``left``: that many of the exchanges kept can still be found."""
        self.trouble = trouble
        self._settle()
        self._shed += len(self._pending)
        self._pending = []
        if left is not None:
            self._shed += self.kept - left
            self.kept = left
            # Which of the others were truncated or unparsed is not known any more; it is said of none.
            self._truncated = self._unparsed = 0

    def confessions(self) -> Confessions:
        """Totals; what is pending counts as if it were kept."""
        seen, shed, sampled_out, own, unparsed, hook_errors = self._relay
        return Confessions(
            seen=seen,
            shed=shed + self._shed,
            sampled_out=sampled_out,
            own=own,
            truncated=self._truncated + _count(self._pending, _TRUNCATED),
            unparsed=unparsed + self._unparsed + _count(self._pending, _UNPARSED),
            hook_errors=hook_errors + self._errors,
            sampling_rate=self._sampling_rate,
        )

    def account(self) -> dict[str, object]:
        return {"kept": self.kept, "confessions": asdict(self.confessions())}

    def _take(self, exchanges: Sequence[Exchange]) -> None:
        """Batches are for speed only: where one fails its rows are tried alone, so one odd exchange costs itself."""
        if self.trouble:
            self._shed += len(exchanges)
            return
        try:
            kept = self._apply(exchanges)
            batch = batch_of(kept)
        except Exception:  # noqa: BLE001 - a decoder's failure is counted, never fatal; the raw exchange is not written
            if len(exchanges) == 1:
                self._errors += 1
                return
            for exchange in exchanges:
                self._take([exchange])
            return
        self._append(kept, batch)

    def _append(self, kept: Sequence[Exchange], batch: Batch) -> None:
        self._pending += [int(exchange.flags) for exchange in kept]
        try:
            self._tape.append(batch)
        except Exception as error:  # noqa: BLE001 - whatever the tape says, the spool goes on draining
            self._fail(error)

    def _commit(self, write: Callable[[Confessions], object]) -> bool:
        confessions = self.confessions()
        try:
            write(confessions)
        except Exception as error:  # noqa: BLE001 - as in _append
            self._fail(error)
            return False
        self._settle()
        self._flushed = confessions
        return True

    def _fail(self, error: Exception) -> None:
        self.fail(describe(error))
        with suppress(Exception):  # often there is room for a footer; if not, the file reads without one
            self._tape.seal(self.confessions())

    def _settle(self) -> None:
        """Pending exchanges that the tape has committed are kept; a full segment commits itself, so that may be a part."""
        settled = self._pending[: self._tape.committed - self.kept]
        self.kept += len(settled)
        self._truncated += _count(settled, _TRUNCATED)
        self._unparsed += _count(settled, _UNPARSED)
        del self._pending[: len(settled)]


def _count(exchanges: Sequence[int], wanted: int) -> int:
    return sum(1 for flags in exchanges if flags & wanted)


def describe(error: Exception) -> str:
    """For the operator. Only what the operating system or we said: other messages might quote traffic."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write: {error.strerror}"
    if isinstance(error, ShadowtapeError):
        return f"cannot write: {error}"
    return f"cannot write: {type(error).__name__}"
