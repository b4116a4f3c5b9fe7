"""The counters of a recording, in memory that its processes share: who writes them may die, the numbers stay.

A board has one row per worker; a row is an array of 64-bit integers, each with one process that writes it and any number that
read it. What a killed relay had counted is still there for the one that takes its place, which goes on counting in the same row.
"""

import mmap
import os
import tempfile
from collections.abc import MutableSequence
from enum import IntEnum, auto


class Count(IntEnum):
    """Places in a row. Totals only grow; gauges are levels."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:  # noqa: ARG004 - its signature
        return count

    # Totals of the relay (or sink). seen = offered + shed + sampled_out + own + filtered + unparsed + hook_errors that cost one.
    BEGAN = auto()  # exchanges that are in the making or over
    SEEN = auto()  # exchanges that are over, recorded or not
    OFFERED = auto()  # queued for the spool
    SHED = auto()
    SAMPLED_OUT = auto()
    OWN = auto()
    FILTERED = auto()
    UNPARSED = auto()  # left out: a connection, or the rest of one, that is not HTTP we can frame
    HOOK_ERRORS = auto()
    RELAYED_IN_BYTES = auto()  # from clients
    RELAYED_OUT_BYTES = auto()  # to clients
    CONNECTIONS = auto()  # accepted
    CONNECT_FAILURES = auto()  # upstream connections that could not be made
    DELAY_SUM_NS = (
        auto()
    )  # what relaying added, as far as the relay itself can tell: from reading bytes to having sent them
    # The relay's gauges.
    OPEN_CONNECTIONS = auto()
    HELD_BYTES = auto()  # of exchanges in the making
    QUEUED_BYTES = auto()  # on their way to the spool
    # Totals of the spool. All it received is kept, shed (SPOOL_SHED), filtered (SPOOL_FILTERED), an error, or pending.
    RECEIVED = auto()
    KEPT = auto()
    SPOOL_SHED = auto()
    SPOOL_FILTERED = auto()
    SPOOL_ERRORS = auto()
    SPOOL_UNPARSED = auto()  # of those kept
    TRUNCATED = auto()  # of those kept
    LOST = auto()  # in the making or in the queue when a relay died; they count as seen and shed
    # What the spool's files confess, as of their last commit: a spool that takes its place goes on from there.
    CONFESSED_SEEN = auto()
    CONFESSED_SHED = auto()
    CONFESSED_SAMPLED_OUT = auto()
    CONFESSED_OWN = auto()
    CONFESSED_TRUNCATED = auto()
    CONFESSED_UNPARSED = auto()
    CONFESSED_HOOK_ERRORS = auto()
    CONFESSED_FILTERED = auto()
    # The spool's gauges.
    DISK_FREE_BYTES = auto()  # -1: unknown
    FILES = auto()
    TAPE_BYTES = auto()
    RECORDING = auto()  # 1: exchanges are written; 0: not (not yet, over, or in trouble)
    # Totals and gauges of the supervisor.
    RELAY_STARTS = auto()
    SPOOL_STARTS = auto()
    RELAY_PID = auto()
    SPOOL_PID = auto()
    POLICY_RELOADS = auto()
    POLICY_REFUSALS = auto()
    DRAINING = auto()  # 1: the port is closed, what is in flight may finish
    # The relay's, too.
    RELAY_BEAT_S = auto()  # monotonic seconds, when its event loop last came round


DELAY_BOUNDS_NS = (
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
)
"""Upper bounds of the buckets of the delay histogram, which follows the counts in a row; one more bucket holds the rest."""

type Row = MutableSequence[int] | memoryview[int]

DELAYS = len(Count)
ROW_SIZE = DELAYS + len(DELAY_BOUNDS_NS) + 1


class Board:
    """``rows[worker][Count.SEEN] += 1``. Pass ``descriptor`` to a child process, which opens it with `Board.of`."""

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self.workers = workers
        self._memory = mmap.mmap(descriptor, workers * ROW_SIZE * 8)
        numbers = memoryview(self._memory).cast("q")
        self.rows = tuple(numbers[worker * ROW_SIZE : (worker + 1) * ROW_SIZE] for worker in range(workers))

    @classmethod
    def new(cls, workers: int) -> "Board":
        size = workers * ROW_SIZE * 8
        if hasattr(os, "memfd_create"):  # no disk that could be full
            descriptor = os.memfd_create("shadowtape-board")
            os.truncate(descriptor, size)
            return cls(descriptor, workers)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return cls(os.dup(file.fileno()), workers)

    def close(self) -> None:
        """Give the descriptor back. The rows stay readable."""
        os.close(self.descriptor)

    def total(self, count: Count) -> int:
        return sum(row[count] for row in self.rows)
