"""What a recording lacks, in all: worked out of the counts of a worker's row. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from captures.confessions import Confessions
from recorder.board import Count

TOLD = Count.HOOK_ERRORS + 1
"""The first counts of a row are the relay's, and travel with its frames."""

_LEFT_OUT = (Count.SHED, Count.SAMPLED_OUT, Count.OWN, Count.FILTERED, Count.UNPARSED)
# What a spool's files confess in all, in the order of their counts.
CONFESSED = (
    ("seen", Count.CONFESSED_SEEN),
    ("shed", Count.CONFESSED_SHED),
    ("sampled_out", Count.CONFESSED_SAMPLED_OUT),
    ("own", Count.CONFESSED_OWN),
    ("truncated", Count.CONFESSED_TRUNCATED),
    ("unparsed", Count.CONFESSED_UNPARSED),
    ("hook_errors", Count.CONFESSED_HOOK_ERRORS),
    ("filtered", Count.CONFESSED_FILTERED),
)


def totals(row: Sequence[int], told: Sequence[int], sampling_rate: float, *, pending: int = 0) -> Confessions:
    """Of all there is in a row. ``told``: the relay's counts as they were when the last exchange was received; what it leaves out
    never gets to the spool, what it offers counts when it is received. ``pending``: what was received and is not settled, so
    that it counts as shed; 0 where it is going to be kept.
    """
    return Confessions(
        seen=row[Count.RECEIVED] + left_out(told) + row[Count.LOST],
        shed=told[Count.SHED] + row[Count.SPOOL_SHED] + row[Count.LOST] + pending,
        sampled_out=told[Count.SAMPLED_OUT],
        own=told[Count.OWN],
        truncated=row[Count.TRUNCATED],
        unparsed=told[Count.UNPARSED] + row[Count.SPOOL_UNPARSED],
        hook_errors=told[Count.HOOK_ERRORS] + row[Count.SPOOL_ERRORS],
        filtered=told[Count.FILTERED] + row[Count.SPOOL_FILTERED],
        sampling_rate=sampling_rate,
    )


def left_out(told: Sequence[int]) -> int:
    """What a relay has seen and will never offer: those that hook errors cost are seen, and in no count of their own."""
    counted = sum(told[each] for each in _LEFT_OUT)
    # The counts of a relay that was killed may be one apart.
    return counted + min(max(told[Count.SEEN] - told[Count.OFFERED] - counted, 0), told[Count.HOOK_ERRORS])


def unsettled(row: Sequence[int]) -> int:
    """Exchanges that were received and are neither kept nor in another count: pending, or lost with a spool that died."""
    return row[Count.RECEIVED] - sum(row[each] for each in _SETTLED)


def over(row: Sequence[int], sampling_rate: float) -> Confessions:
    """Of a recording that is over: what is neither kept nor in another count is lost."""
    lost = max(0, row[Count.BEGAN] - left_out(row) - row[Count.RECEIVED] - row[Count.LOST])
    said = totals(row, row[:TOLD], sampling_rate, pending=unsettled(row) + lost)
    return replace(said, seen=said.seen + lost)


def confessed(row: Sequence[int], sampling_rate: float) -> Confessions:
    """What files tell already."""
    return Confessions(**{name: row[count] for name, count in CONFESSED}, sampling_rate=sampling_rate)


_SETTLED = (Count.KEPT, Count.SPOOL_SHED, Count.SPOOL_FILTERED, Count.SPOOL_ERRORS)
