from dataclasses import replace

import numpy as np
import pytest

from transforms.fresh_ids import FreshIds
from transforms.schedule import DTYPES, Schedule


def schedule(at_ns: list[int]) -> Schedule:
    n = len(at_ns)
    return Schedule(
        np.array(at_ns, dtype=np.int64),
        np.arange(n, dtype=np.int64),
        np.zeros(n, dtype=np.uint32),
        np.zeros(n, dtype=np.uint64),
    )


@pytest.mark.parametrize("at_ns", [[1, 0], [-1, 0], [0, 5, 4]])
def test_times_are_sorted_and_not_negative(at_ns: list[int]) -> None:
    with pytest.raises(ValueError, match="sorted and >= 0"):
        schedule(at_ns)


def test_columns_have_equal_length() -> None:
    with pytest.raises(ValueError, match="equal length"):
        replace(schedule([0, 1]), source=np.zeros(1, dtype=np.int64))


def test_the_empty_schedule_takes_no_time() -> None:
    assert len(Schedule.empty()) == Schedule.empty().duration_ns == 0


def test_the_busiest_second_may_begin_anywhere() -> None:
    assert schedule([at * 1_000_000 for at in (0, 900, 950, 1000, 1850, 5000)]).peak_rps == 4
    assert Schedule.empty().peak_rps == 0


@pytest.mark.parametrize("column", list(DTYPES))
def test_the_digest_covers_every_column(column: str) -> None:
    one = schedule([0, 1, 2])
    other = replace(one, **{column: getattr(one, column) + np.array([0, 0, 1], dtype=DTYPES[column])})

    assert one.digest == schedule([0, 1, 2]).digest != other.digest


def test_the_digest_covers_the_rewrites_and_their_order() -> None:
    one = schedule([0, 1])
    chains = [(), (FreshIds(1),), (FreshIds(2),), (FreshIds(1), FreshIds(2)), (FreshIds(2), FreshIds(1))]

    assert len({replace(one, rewrites=chain).digest for chain in chains}) == len(chains)


def test_the_digest_says_where_one_column_ends() -> None:
    assert schedule([]).digest != schedule([0]).digest != schedule([0, 0]).digest
