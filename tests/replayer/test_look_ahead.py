import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from captures.errors import CaptureError
from replayer import look_ahead
from replayer.look_ahead import LookAhead
from replayer.testing import Inline
from replayer.transport import Wire


def wires_of(rows: NDArray[np.int64]) -> list[Wire]:
    return [Wire("POST", f"/{row}", (), b"x" * 100) for row in rows.tolist()]


def ahead_of(n: int, asked: list[int], size: int = 100) -> LookAhead:
    def materialise(rows: NDArray[np.int64]) -> Sequence[Wire]:
        asked.append(len(rows))
        return wires_of(rows)

    return LookAhead(materialise, np.arange(n), np.full(n, size, dtype=np.int64), Inline())


async def everything(ahead: LookAhead, n: int) -> list[str]:
    await ahead.fill()
    taken = []
    for _ in range(n):
        while not ahead.ready:
            await ahead.more()
        taken.append(ahead.take().target)
    return taken


def test_rows_come_in_order_each_once() -> None:
    asked: list[int] = []

    taken = asyncio.run(everything(ahead_of(20_000, asked), 20_000))

    assert taken == [f"/{row}" for row in range(20_000)]
    assert sum(asked) == 20_000
    # Batches stay batches: no trickle of single rows once the bound is reached.
    assert len(asked) <= 20_000 / look_ahead.CHUNK_ROWS + 1


def test_no_more_than_the_bound_is_held() -> None:
    asked: list[int] = []

    asyncio.run(ahead_of(100_000, asked).fill())

    assert sum(asked) <= look_ahead.AHEAD_ROWS


def test_large_bodies_are_bounded_by_bytes_yet_one_always_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ahead, "AHEAD_BYTES", 250)
    asked: list[int] = []

    taken = asyncio.run(everything(ahead_of(10, asked), 10))

    assert taken == [f"/{row}" for row in range(10)]
    assert max(asked) <= 2
    asked.clear()
    assert len(asyncio.run(everything(ahead_of(10, asked, size=1000), 10))) == 10


def test_a_failure_is_raised_where_somebody_waits() -> None:
    def materialise(rows: NDArray[np.int64]) -> Sequence[Wire]:
        raise CaptureError("damaged")

    ahead = LookAhead(materialise, np.arange(3), np.ones(3, dtype=np.int64), Inline())

    with pytest.raises(CaptureError, match="damaged"):
        asyncio.run(ahead.fill())


def test_it_can_be_closed_at_any_moment() -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            ahead = LookAhead(wires_of, np.arange(1000), np.ones(1000, dtype=np.int64), executor)
            await ahead.more()
            ahead.close()
            ahead.close()

    asyncio.run(main())
