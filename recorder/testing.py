"""For tests: a tape in memory, exchanges as they stand on the wire, and frames as a worker sends them."""

from collections.abc import Sequence

from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import Exchange
from recorder.board import ROW_SIZE, Count
from recorder.frames import pack_wire
from recorder.totals import TOLD
from recorder.wire import WireBody, WireExchange


class FakeTape:
    """Takes what `recorder.intake.Tape` takes. ``error`` is raised instead of committing; ``early`` of the exchanges are committed
    before that, as when a segment fills up.
    """

    def __init__(self, base: Confessions | None = None) -> None:
        self.rows = 0
        self.committed = 0
        self.files = 1
        self.base = self.confessed = base or Confessions()
        self.commits: list[Confessions] = []
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
        self.confessed = confessions
        self.commits.append(confessions)

    def seal(self, confessions: Confessions) -> None:
        self.flush(confessions)
        self.sealed = True


def as_they_are(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    """A pseudonymiser that replaces nothing."""
    return exchanges


def new_row(**counts: int) -> list[int]:
    """A row of a board; ``seen=5`` and so on."""
    row = [0] * ROW_SIZE
    for name, count in counts.items():
        row[Count[name.upper()]] = count
    return row


def told(offered: int, **left_out: int) -> list[int]:
    """The counts of a worker that has queued so many exchanges, and left out others: ``shed=2``."""
    over = offered + sum(left_out.values())
    return new_row(**({"began": over, "seen": over, "offered": offered} | left_out))[:TOLD]


def wire_exchange(
    arrival_ns: int = 0,
    *,
    status: int = 200,
    body: bytes = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.5]}]}',
    target: str = "/v2/models/house/infer",
    headers: str = "",
) -> WireExchange:
    """``headers``: lines of the request's head, each with its line end."""
    answer = b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP64", "data": [2.5]}]}'
    lines = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}\r\n"
    return WireExchange(
        arrival_ns,
        1,
        lines.encode("latin-1"),
        WireBody([(arrival_ns, body)], len(body), len(body), arrival_ns + 10),
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n\r\n".encode(),
        arrival_ns + 20,
        WireBody([(arrival_ns + 20, answer)], len(answer), len(answer), arrival_ns + 30),
    )


def frames(n: int, *, offered: int | None = None, **left_out: int) -> list[tuple[list[int], object]]:
    """As many exchanges, each with the counts of its worker, which has queued ``offered`` (these, if nothing is said)."""
    counts = told(n if offered is None else offered, **left_out)
    return [(counts, pack_wire(wire_exchange(i * 1000))) for i in range(n)]
