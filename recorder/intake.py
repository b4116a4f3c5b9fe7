"""What the spool does with frames: exchanges -> labelled and pseudonymised exchanges -> tape, and an account of each one.
Never raises.

Pure: the tape, the labeller and the pseudonymiser come in as arguments, and the counts are kept in a row of the board, where they
outlive us. An exchange is *pending* from append until the tape has committed it and *kept* after that; trouble with the tape turns
what is pending, and what follows until there is another tape, into *shed*.
So always: seen = kept + shed + sampled out + own + filtered + unparsed that were left out (by the relay) + hook errors that cost an
exchange.
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
from captures.rotation import confessions_since
from recorder.board import Count, Row
from recorder.totals import CONFESSED, TOLD, confessed, left_out, totals, unsettled
from recorder.unpack import unpack_wire

type Apply = Callable[[Sequence[Exchange]], Sequence[Exchange]]
type Wanted = Callable[[Exchange], bool]

# Plain integers: a Flags costs ten times as much per operation, and there is one per exchange.
_TRUNCATED = int(Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED)
_UNPARSED = int(Flags.UNPARSED)
_OF_KEPT = (Count.KEPT, Count.TRUNCATED, Count.SPOOL_UNPARSED)


class Tape(Protocol):
    """The part of `captures.rotating.RotatingTape` that is needed here. ``committed`` are the first of those appended;
    ``confessed``: what all files tell.
    """

    @property
    def committed(self) -> int: ...
    @property
    def confessed(self) -> Confessions: ...
    @property
    def base(self) -> Confessions: ...
    @property
    def files(self) -> int: ...
    def append(self, batch: Batch) -> object: ...
    def flush(self, confessions: Confessions) -> object: ...
    def seal(self, confessions: Confessions) -> object: ...


class Intake:
    """``trouble`` is why nothing is written just now ("": all is well). ``row``: of a board; what is in it already is an earlier
    spool's. ``apply`` is the pseudonymiser: raw in, kept out; ``label`` comes before it and never raises, ``wanted`` says
    which exchanges are kept at all.
    """

    def __init__(
        self,
        row: Row,
        apply: Apply,
        *,
        label: Apply = lambda raw: raw,
        wanted: Wanted | None = None,
        sampling_rate: float = 1.0,
    ) -> None:
        self.trouble = "not begun"
        self.apply = apply
        self._row = row
        self._label = label
        self._wanted = wanted
        self._rate = sampling_rate
        self._told: Sequence[int] = list(row[:TOLD])
        self._pending: list[int] = []  # flags of each exchange appended and not yet known to be committed
        # What an earlier spool had received and not committed, nobody has any more.
        row[Count.SPOOL_SHED] += max(0, unsettled(row))
        self._start = confessed(row, sampling_rate), row[Count.KEPT]

    def begin(self, tape: Tape) -> None:
        """Write to this tape from now on; what no file has told yet, it will. Its ``base`` is `confessed`."""
        self._tape, self._taken = tape, tape.committed
        self._mark()
        self.trouble = ""

    @property
    def confessed(self) -> Confessions:
        """What the files tell, those of earlier spools included."""
        return confessed(self._row, self._rate)

    def take(self, frames: Sequence[Any]) -> int:
        """Frames as `recorder.frames.Frames` yields them: ``(counts, exchange or None)``, all of them from one worker. How many
        exchanges they were.
        """
        exchanges: list[Exchange] = []
        told: Sequence[int] | None = None
        shed = broken = 0
        writing = not self.trouble
        for received in frames:
            try:
                counts, packed = received
                if packed is not None:
                    if writing:
                        exchanges.append(unpack_wire(packed))
                    else:
                        shed += 1
                told = counts
            except Exception:  # noqa: BLE001 - one bad frame must not cost the others
                broken += 1
        received_in_all = len(exchanges) + shed + broken
        self._row[Count.RECEIVED] += received_in_all
        self._row[Count.SPOOL_SHED] += shed
        self._row[Count.SPOOL_ERRORS] += broken
        if told is not None:
            self._hear(told)
        if self._wanted is not None:
            exchanges = self._chosen(exchanges, self._wanted)
        if exchanges:
            self._take(self._label(exchanges))
        return received_in_all

    def settle(self, counts: Sequence[int], later: int = 0) -> None:
        """A worker is gone. ``counts``: those of its row when it went; ``later``: how many exchanges were received from workers
        that came after it. What it had begun, or queued, and never came is lost.
        """
        row = self._row
        lost = counts[Count.BEGAN] - left_out(counts) - (row[Count.RECEIVED] - later)
        row[Count.LOST] = max(row[Count.LOST], lost)
        self._hear(list(counts[:TOLD]))

    def flush(self) -> bool:
        """Commit what is pending with the current confessions. False: nothing had changed, or there is trouble."""
        if self.trouble:
            return False
        changed = bool(self._pending) or self.confessions() != self.confessed
        # Asked even so: a file may be due to be followed by another.
        return self._commit(self._tape.flush) and changed

    def seal(self) -> bool:
        return not self.trouble and self._commit(self._tape.seal)

    def stop(self, trouble: str) -> None:
        """Seal what there is and write nothing more until `begin`."""
        if self.seal():
            self.trouble = trouble

    def lose(self, trouble: str, *, everything: bool) -> None:
        """The file is gone, or ``everything`` that was ever written: what was kept there is shed."""
        self._give_up(trouble)
        row = self._row
        kept = row[Count.KEPT]
        for count, before in zip(_OF_KEPT, (0, 0, 0) if everything else self._before, strict=True):
            row[count] = before
        row[Count.SPOOL_SHED] += kept - row[Count.KEPT]
        self._note(Confessions(sampling_rate=self._rate) if everything else self._tape.base)

    def confessions(self) -> Confessions:
        """Totals; what is pending counts as if it were kept."""
        row, pending = self._row, self._pending
        if pending:
            row = list(row)
            row[Count.TRUNCATED] += _count(pending, _TRUNCATED)
            row[Count.SPOOL_UNPARSED] += _count(pending, _UNPARSED)
        return totals(row, self._told, self._rate)

    def account(self) -> dict[str, object]:
        """Of this spool; what an earlier one had told is not told again."""
        said, kept = self._start
        since = asdict(confessions_since(self.confessions(), said))
        return {
            "kept": max(0, self._row[Count.KEPT] - kept),
            "confessions": {name: max(0, count) for name, count in since.items()},
        }

    def _hear(self, counts: Sequence[int]) -> None:
        """Of two workers, the later one has counted on from where the earlier one was."""
        if not (isinstance(counts, list | tuple) and len(counts) == TOLD and set(map(type, counts)) == {int}):
            return
        if min(counts) >= 0 and counts[Count.SEEN] >= self._told[Count.SEEN]:
            self._told = counts

    def _chosen(self, exchanges: list[Exchange], wanted: Wanted) -> list[Exchange]:
        chosen = []
        for exchange in exchanges:
            try:
                if wanted(exchange):
                    chosen.append(exchange)
                else:
                    self._row[Count.SPOOL_FILTERED] += 1
            except Exception:  # noqa: BLE001 - as in take
                self._row[Count.SPOOL_ERRORS] += 1
        return chosen

    def _take(self, exchanges: Sequence[Exchange]) -> None:
        """Batches are for speed only: where one fails its rows are tried alone, so one odd exchange costs itself."""
        if self.trouble:
            self._row[Count.SPOOL_SHED] += len(exchanges)
            return
        try:
            kept = self.apply(exchanges)
            batch = batch_of(kept)
        except Exception:  # noqa: BLE001 - a decoder's failure is counted, never fatal; the raw exchange is not written
            self._take_alone(exchanges)
            return
        before = len(self._pending)
        self._pending += batch.columns["flags"].tolist()
        try:
            self._tape.append(batch)
        except ValueError:  # what no capture can hold, and nothing of it was taken
            del self._pending[before:]
            self._take_alone(exchanges)
        except Exception as error:  # noqa: BLE001 - whatever the tape says, the spool goes on draining
            self._fail(error)
        else:
            if self._tape.committed > self._taken:
                self._settle()

    def _take_alone(self, exchanges: Sequence[Exchange]) -> None:
        if len(exchanges) == 1:
            self._row[Count.SPOOL_ERRORS] += 1
            return
        for exchange in exchanges:
            self._take([exchange])

    def _commit(self, write: Callable[[Confessions], object]) -> bool:
        try:
            write(self.confessions())
        except Exception as error:  # noqa: BLE001 - as in _take
            self._fail(error)
            return False
        self._settle()
        if self._tape.files != self._files:
            self._mark()
        return True

    def _fail(self, error: Exception) -> None:
        self._give_up(describe(error))
        with suppress(Exception):  # often there is room for a footer; if not, the file reads without one
            self._tape.seal(self.confessions())
            self._note(self._tape.confessed)

    def _give_up(self, trouble: str) -> None:
        self.trouble = trouble
        self._settle()
        self._row[Count.SPOOL_SHED] += len(self._pending)
        self._pending = []

    def _settle(self) -> None:
        """Pending exchanges that the tape has committed are kept; a full segment commits itself, so that may be a part."""
        count, row = self._tape.committed - self._taken, self._row
        settled, self._pending, self._taken = self._pending[:count], self._pending[count:], self._taken + count
        row[Count.KEPT] += count
        row[Count.TRUNCATED] += _count(settled, _TRUNCATED)
        row[Count.SPOOL_UNPARSED] += _count(settled, _UNPARSED)
        self._note(self._tape.confessed)

    def _note(self, said: Confessions) -> None:
        for name, count in CONFESSED:
            self._row[count] = getattr(said, name)

    def _mark(self) -> None:
        """A file begins: what is kept by now is in others."""
        self._before, self._files = [self._row[count] for count in _OF_KEPT], self._tape.files


def _count(exchanges: Sequence[int], wanted: int) -> int:
    return sum(1 for flags in exchanges if flags & wanted)


def describe(error: Exception) -> str:
    """For the operator. Only what the operating system or we said: other messages might quote traffic."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write: {error.strerror}"
    if isinstance(error, ShadowtapeError):
        return f"cannot write: {error}"
    return f"cannot write: {type(error).__name__}"
