"""More of the same: every row several times, as more users would send it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from captures.amounts import Number, duration_ns, exact
from captures.errors import UsageError
from transforms.fresh_ids import FreshIds
from transforms.random_rows import bits, row_key, uniform
from transforms.schedule import Schedule
from transforms.view import View

MOST_ROWS = 100_000_000
"""A schedule is held in memory: this many rows take some 10 GB while they are made."""

# Draws of one group (see `groups`), by their k.
GROUP, JITTER, EXTRA, SESSION = range(4)


@dataclass(frozen=True, slots=True)
class Amplify:
    """``copies`` in all: 3 sends every row three times, 2.5 twice and half of the sessions a third time.

    Copies of a session move together, by one draw from [0, ``jitter``) per (session, copy), so that its turns stay in order;
    rows without a session move each on their own. The row itself stays where it is. Copies get fresh ids, so that no
    cache in front of the model takes them for the request they copy.
    """

    name: ClassVar[str] = "amplify"
    copies: Number
    jitter: str = "50ms"

    def __post_init__(self) -> None:
        if exact(self.copies, "copies") < 1:
            raise ValueError(f"copies is {self.copies}; it counts all copies, the row itself included, so 1 or more")
        duration_ns(self.jitter, "jitter")

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:  # noqa: ARG002 - reads no contents
        key, fresh = row_key(rng), FreshIds(row_key(rng))
        copies, jitter = exact(self.copies, "copies"), duration_ns(self.jitter, "jitter")
        if len(schedule) * copies > MOST_ROWS:
            raise UsageError(
                f"amplify: {self.copies} copies of {len(schedule):,} rows are more than {MOST_ROWS:,} rows"
            )
        whole, part = divmod(copies, 1)
        # Copies of copies must not share a variant: each copy has a block of its own.
        block = int(schedule.variant.max(initial=0)) + 1
        group = groups(schedule, key)
        extra = uniform(key, group, 0, EXTRA) < float(part)

        rows = np.arange(len(schedule))
        parts = [_copy(schedule, rows, group, key, block, copy, jitter) for copy in range(int(whole))]
        if part:
            parts.append(_copy(schedule, rows[extra], group[extra], key, block, int(whole), jitter))
        at_ns, source, variant, session = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(at_ns, kind="stable")
        return replace(
            schedule,
            at_ns=at_ns[order],
            source=source[order],
            variant=variant[order],
            session=session[order],
            rewrites=(*schedule.rewrites, fresh),
        )


def groups(schedule: Schedule, key: int) -> NDArray[np.uint64]:
    """What moves together: the session, or the row itself where there is none."""
    alone = bits(key, schedule.source, schedule.variant, GROUP)
    return np.where(schedule.session != 0, schedule.session, alone)


type Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint64]]


def _copy(
    schedule: Schedule,
    rows: NDArray[np.int64],
    group: NDArray[np.uint64],
    key: int,
    block: int,
    copy: int,
    jitter: int,
) -> Columns:
    at_ns, session = schedule.at_ns[rows], schedule.session[rows]
    if copy:
        at_ns = at_ns + (uniform(key, group, copy, JITTER) * jitter).astype(np.int64)
        session = np.where(session != 0, bits(0, session, copy, SESSION) | np.uint64(1), session)
    variant = schedule.variant[rows] + np.uint32(copy * block)
    return at_ns, schedule.source[rows], variant.astype(np.uint32), session
