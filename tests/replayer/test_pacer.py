import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from replayer.pacer import Pacer


def test_an_empty_schedule_has_nothing_to_wait_for() -> None:
    pacer = Pacer(np.zeros(0, dtype=np.int64))

    assert pacer.next_at_ns() is None
    assert list(pacer.due(10**18)) == []


def test_all_overdue_rows_come_at_once_and_rows_of_the_same_instant_together() -> None:
    pacer = Pacer(np.array([0, 5, 5, 9, 20]))

    assert list(pacer.due(-1)) == []
    assert list(pacer.due(5)) == [0, 1, 2]
    assert pacer.next_at_ns() == 9
    assert list(pacer.due(100)) == [3, 4]
    assert pacer.next_at_ns() is None


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(-5, 60)))
def test_every_row_is_due_exactly_once_in_order_and_never_early(times: list[int], looks: list[int]) -> None:
    at_ns = np.array(sorted(times), dtype=np.int64)
    pacer = Pacer(at_ns)

    seen: list[int] = []
    for now_ns in [*looks, 60]:  # a clock may even be asked out of order
        due = list(pacer.due(now_ns))
        assert all(at_ns[row] <= now_ns for row in due)
        seen += due

    assert seen == list(range(len(times)))
