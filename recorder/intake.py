"""What the spool does with frames: exchanges -> pseudonymised exchanges -> tape, and an account of each one. Never raises.

Pure: the tape and the pseudonymiser come in as arguments. An exchange is *pending* from append to the next flush and
*kept* after it; trouble with the tape turns what is pending, and everything that follows, into *shed*.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from captures.batches import batch_of
from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import Exchange, Flags
from recorder.frames import unpack_exchange

type Apply = Callable[[Sequence[Exchange]], Sequence[Exchange]]


class Tape(Protocol):
    """The part of `captures.store.TapeFile` that is needed here."""

    def append(self, batch: Batch) -> object: ...
    def flush(self, confessions: Confessions) -> object: ...
    def seal(self, confessions: Confessions) -> object: ...


class Intake:
    """``trouble`` is why nothing more is written ("": all is well); ``apply`` is the pseudonymiser: raw in, kept out."""

    def __init__(self, tape: Tape, apply: Apply, *, sampling_rate: float = 1.0) -> None:
        self.trouble = ""
        self.kept = 0
        self._tape = tape
        self._apply = apply
        self._sampling_rate = sampling_rate
        self._pending = 0
        self._relay: tuple[int, ...] = (0, 0, 0, 0, 0, 0)  # the relay's totals, as in recording.Counts.snapshot
        self._shed = 0
        self._truncated = 0
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
            self._take(exchanges)

    def flush(self) -> bool:
        """Commit what is pending with the current confessions. False: nothing had changed, or there is trouble."""
        if self.trouble or (not self._pending and self.confessions() == self._flushed):
            return False
        return self._commit(self._tape.flush)

    def seal(self) -> bool:
        return not self.trouble and self._commit(self._tape.seal)

    def fail(self, trouble: str, *, all_lost: bool = False) -> None:
        """Stop writing. ``all_lost``: nobody will find the file again, so what was kept is shed too."""
        self.trouble = trouble
        self._shed += self._pending + (self.kept if all_lost else 0)
        self.kept = 0 if all_lost else self.kept
        self._pending = 0

    def confessions(self) -> Confessions:
        seen, shed, sampled_out, own, unparsed, hook_errors = self._relay
        return Confessions(
            seen=seen,
            shed=shed + self._shed,
            sampled_out=sampled_out,
            own=own,
            truncated=self._truncated,
            unparsed=unparsed + self._unparsed,
            hook_errors=hook_errors + self._errors,
            sampling_rate=self._sampling_rate,
        )

    def account(self) -> dict[str, object]:
        return {"kept": self.kept, "confessions": asdict(self.confessions())}

    def _take(self, exchanges: list[Exchange]) -> None:
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
        self._pending += len(kept)
        try:
            self._tape.append(batch)
        except Exception as error:  # noqa: BLE001 - whatever the tape says, the spool goes on draining
            self.fail(describe(error))
            return
        truncated = Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED
        self._truncated += sum(1 for exchange in kept if exchange.flags & truncated)
        self._unparsed += sum(1 for exchange in kept if exchange.flags & Flags.UNPARSED)

    def _commit(self, write: Callable[[Confessions], object]) -> bool:
        confessions = self.confessions()
        try:
            write(confessions)
        except Exception as error:  # noqa: BLE001 - as in _append
            self.fail(describe(error))
            return False
        self.kept += self._pending
        self._pending = 0
        self._flushed = confessions
        return True


def describe(error: Exception) -> str:
    """For the operator. Only what the operating system said: other messages might quote traffic."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write: {error.strerror}"
    return f"cannot write: {type(error).__name__}"
