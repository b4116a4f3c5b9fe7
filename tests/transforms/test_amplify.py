from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from transforms.amplify import Amplify
from transforms.fresh_ids import FreshIds
from transforms.schedule import Schedule
from transforms.testing import UntouchableView, check_transform

MS = 1_000_000


VIEW = UntouchableView()


def schedule(sessions: list[int], every_ns: int = 10 * MS) -> Schedule:
    n = len(sessions)
    return Schedule(
        np.arange(n, dtype=np.int64) * every_ns,
        np.arange(n, dtype=np.int64),
        np.zeros(n, dtype=np.uint32),
        np.array(sessions, dtype=np.uint64),
    )


def amplified(plan: Schedule, copies: Any, jitter: str = "50ms", seed: int = 1) -> Schedule:
    return Amplify(copies, jitter)(plan, VIEW, np.random.default_rng(seed))


@pytest.mark.parametrize("copies", [1, 3, "2.5"])
def test_amplify_keeps_every_promise_of_a_transform(copies: Any) -> None:
    check_transform(Amplify(copies))


def test_three_copies_are_three_in_all() -> None:
    plan = amplified(schedule([0] * 20), 3)

    assert np.bincount(plan.source).tolist() == [3] * 20
    assert sorted(set(zip(plan.source.tolist(), plan.variant.tolist(), strict=True))) == [
        (source, variant) for source in range(20) for variant in range(3)
    ]


def test_the_row_itself_stays_where_it_is() -> None:
    before = schedule([0, 5, 5, 0])
    plan = amplified(before, 4)
    itself = plan.variant == 0

    assert plan.at_ns[itself].tolist() == before.at_ns.tolist()
    assert plan.session[itself].tolist() == before.session.tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(2, 5), st.integers(0, 2**32))
def test_copies_of_a_session_move_together_and_keep_their_order(sessions: list[int], copies: int, seed: int) -> None:
    before = schedule(sessions, every_ns=MS)
    plan = amplified(before, copies, seed=seed)
    shift = plan.at_ns - before.at_ns[plan.source]

    assert shift.min() >= 0
    assert shift.max() < 50 * MS
    for session in set(plan.session.tolist()) - {0}:
        rows = plan.session == session
        assert len(set(shift[rows].tolist())) == 1
        assert len(set(plan.variant[rows].tolist())) == 1
        assert (np.diff(plan.source[rows]) > 0).all()


def test_each_copy_of_a_session_is_a_session_of_its_own() -> None:
    plan = amplified(schedule([7, 7, 9, 0]), 3)

    assert len(set(plan.session.tolist())) == 1 + 2 * 3
    assert (plan.session[plan.source == 3] == 0).all()


def test_rows_without_a_session_move_each_on_their_own() -> None:
    before = schedule([0] * 50)
    plan = amplified(before, 2)
    shift = (plan.at_ns - before.at_ns[plan.source])[plan.variant == 1]

    assert len(set(shift.tolist())) == 50


def test_no_jitter_sends_copies_together() -> None:
    plan = amplified(schedule([0, 1]), 2, jitter="0")

    assert plan.at_ns.tolist() == [0, 0, 10 * MS, 10 * MS]


def test_half_a_copy_goes_to_half_of_the_sessions_whole() -> None:
    sessions = np.repeat(np.arange(1, 1001), 3).tolist()
    plan = amplified(schedule(sessions), "2.5")
    extra = plan.source[plan.variant == 2] // 3

    assert set(np.bincount(extra, minlength=1000).tolist()) == {0, 3}
    assert 450 < len(set(extra.tolist())) < 550


def test_copies_of_copies_are_all_different() -> None:
    plan = amplified(amplified(schedule([0, 0, 3, 3]), 2), 3)
    rows = set(zip(plan.source.tolist(), plan.variant.tolist(), strict=True))

    assert len(rows) == len(plan) == 4 * 6


def test_copies_get_fresh_ids_and_the_answers_stay_right() -> None:
    (rewrite,) = amplified(schedule([0, 0]), 2).rewrites

    assert isinstance(rewrite, FreshIds)
    assert rewrite.kind == "identity"


def test_other_seeds_jitter_otherwise() -> None:
    plans = [amplified(schedule([0] * 10), 2, seed=seed).at_ns.tolist() for seed in (1, 1, 2)]

    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize("options", [{"copies": 0.5}, {"copies": 0}, {"copies": 2, "jitter": "50"}, {"copies": "many"}])
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"copies is|jitter is"):
        Amplify(**options)


def test_more_copies_than_memory_holds_are_refused_before_they_are_made() -> None:
    schedule = Schedule(np.zeros(3, np.int64), np.arange(3), np.zeros(3, np.uint32), np.zeros(3, np.uint64))
    with pytest.raises(UsageError, match="1e12 copies of 3 rows are more than 100,000,000 rows"):
        Amplify(copies="1e12")(schedule, None, np.random.default_rng(0))  # type: ignore[arg-type]  # never looked at
