"""Which rows are due: time is an argument, as bytes are to a parser. Never sleeps.

``due`` hands over every overdue row at once (the open model): a generator that fell behind sends late and says so; it never
forfeits a row and never spreads a delay over the rows that follow.
"""

import numpy as np
from numpy.typing import NDArray


class Pacer:
    """Walks a schedule's ``at_ns`` (sorted, from the run's epoch)."""

    def __init__(self, at_ns: NDArray[np.int64]) -> None:
        self._at_ns = at_ns
        self._next = 0

    def next_at_ns(self) -> int | None:
        """When to look again; None: nothing is left."""
        return int(self._at_ns[self._next]) if self._next < len(self._at_ns) else None

    def due(self, now_ns: int) -> range:
        """Rows whose time has come since the last call: each row exactly once, in order."""
        first = self._next
        self._next = max(first, int(np.searchsorted(self._at_ns, now_ns, side="right")))
        return range(first, self._next)
