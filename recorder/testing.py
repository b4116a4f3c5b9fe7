"""For tests: a tape in memory, and frames as a relay sends them."""

from collections.abc import Sequence

from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import Exchange
from captures.testing import example_exchange
from recorder.frames import pack_exchange


class FakeTape:
    """Takes what `recorder.intake.Tape` takes. ``error`` is raised instead of committing; ``early`` of the exchanges are committed
    before that, as when a segment fills up.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.committed = 0
        self.confessed: list[Confessions] = []
        self.sealed = False
        self.error: Exception | None = None
        self.early = 0

    def append(self, batch: Batch) -> None:
        self.rows += len(batch)

    def flush(self, confessions: Confessions) -> None:
        if self.error:
            self.committed, self.rows, self.early = self.committed + self.early, self.committed + self.early, 0
            raise self.error
        self.committed = self.rows
        self.confessed.append(confessions)

    def seal(self, confessions: Confessions) -> None:
        self.flush(confessions)
        self.sealed = True


def as_they_are(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    """A pseudonymiser that replaces nothing."""
    return exchanges


def frames(n: int, **counts: int) -> list[tuple[tuple[int, ...], object]]:
    """As many exchanges, each with the relay's totals."""
    relay = (
        counts.get("seen", n),
        counts.get("shed", 0),
        0,
        0,
        counts.get("unparsed", 0),
        counts.get("hook_errors", 0),
    )
    return [(relay, pack_exchange(example_exchange(arrival_ns=i))) for i in range(n)]
