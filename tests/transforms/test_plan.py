from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from captures.batches import batch_of
from captures.columns import Batch
from captures.exchange import Exchange, Flags
from transforms import plan
from transforms.plan import schedule_of
from transforms.schedule_files import Scratch
from transforms.testing import MemoryCapture, example_exchange
from transforms.view import View


def exchange(arrival_ns: int, flags: Flags = Flags.REPLAYABLE, session: int = 0) -> Exchange:
    held = example_exchange(0)
    return replace(
        held,
        arrival_ns=arrival_ns,
        request=replace(held.request, chunks=(), end_ns=-1),
        response=None,
        flags=flags,
        session=session,
    )


def capture(*exchanges: Exchange, recording: int = 0, wall_ns: int = 0) -> MemoryCapture:
    plain = MemoryCapture(exchanges)
    return replace(plain, header=replace(plain.header, recording_id=bytes([recording] * 16), wall_ns=wall_ns))


def test_rows_stand_in_order_of_arrival_and_the_first_is_at_zero() -> None:
    schedule, dropped = schedule_of([capture(exchange(30), exchange(10), exchange(20))])

    assert schedule.source.tolist() == [1, 2, 0]
    assert schedule.at_ns.tolist() == [0, 10, 20]
    assert dropped == {}


def test_simultaneous_arrivals_keep_their_order() -> None:
    schedule, _ = schedule_of([capture(*(exchange(5) for _ in range(50)))])

    assert schedule.source.tolist() == list(range(50))


def test_what_cannot_be_sent_again_is_left_out_and_counted_once() -> None:
    left_out = [
        Flags.REQUEST_TRUNCATED,
        Flags.REQUEST_TRUNCATED | Flags.REQUEST_DROPPED,
        Flags.REQUEST_DROPPED,
        Flags(0),
        Flags.RECORDED_VALID,
    ]
    schedule, dropped = schedule_of([capture(exchange(1), *(exchange(2, flags) for flags in left_out))])

    assert schedule.source.tolist() == [0]
    assert dropped == {"request_truncated": 2, "request_dropped": 1, "request_incomplete": 2}


def test_everything_can_be_asked_for() -> None:
    schedule, dropped = schedule_of([capture(exchange(1), exchange(2, Flags(0)))], only_replayable=False)

    assert len(schedule) == 2
    assert dropped == {}


def test_what_is_damaged_is_left_out_where_it_is_known() -> None:
    lost = [np.array([False, True, True])]
    schedule, dropped = schedule_of([capture(exchange(1), exchange(2), exchange(3, Flags(0)))], lost=lost)

    assert schedule.source.tolist() == [0]
    assert dropped == {"damaged": 2}


def test_ordinals_run_through_all_captures_laid_end_to_end() -> None:
    schedule, _ = schedule_of(
        [capture(exchange(10), exchange(40), recording=1), capture(exchange(20), exchange(30), recording=2)]
    )

    assert schedule.source.tolist() == [0, 2, 3, 1]
    assert schedule.at_ns.tolist() == [0, 10, 20, 30]


def test_recordings_are_laid_over_each_other_whenever_they_were_made() -> None:
    schedule, _ = schedule_of(
        [capture(exchange(0), recording=1, wall_ns=0), capture(exchange(0), recording=2, wall_ns=10**18)]
    )

    assert schedule.at_ns.tolist() == [0, 0]


def test_files_of_one_recording_keep_their_distance() -> None:
    schedule, _ = schedule_of([capture(exchange(5), wall_ns=2_000), capture(exchange(5), wall_ns=1_000)])

    assert schedule.source.tolist() == [1, 0]
    assert schedule.at_ns.tolist() == [0, 1_000]


@pytest.mark.parametrize("captures", [[], [capture()], [capture(exchange(1, Flags(0)))]])
def test_nothing_to_send_is_an_empty_schedule(captures: list[MemoryCapture]) -> None:
    assert len(schedule_of(captures)[0]) == 0


def test_sessions_are_the_recorded_ones() -> None:
    schedule, _ = schedule_of([capture(exchange(2, session=2**64 - 1), exchange(1))])

    assert schedule.session.tolist() == [0, 2**64 - 1]
    assert schedule.variant.tolist() == [0, 0]


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 1000])
def test_a_plan_that_is_sorted_in_groups_is_the_plan_that_is_sorted_at_once(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    flags = [Flags.REPLAYABLE, Flags.REQUEST_TRUNCATED]
    captures = [
        capture(
            *(exchange(int(at), flags[int(at) % 5 == 0], session=n) for n, at in enumerate(rng.integers(0, 60, 90)))
        )
        for _ in range(3)
    ]
    whole, dropped = schedule_of(captures)
    monkeypatch.setattr(plan, "SORTED_ROWS", rows_at_once)

    grouped, dropped_too = schedule_of(captures)

    assert grouped.digest == whole.digest
    assert dropped_too == dropped


def test_a_window_has_its_own_rows_only_and_starts_at_zero() -> None:
    whole = capture(*(exchange(at) for at in (50, 10, 20, 30, 40)))

    schedule, dropped = schedule_of([whole], within=(20, 40))

    assert schedule.source.tolist() == [2, 3]
    assert schedule.at_ns.tolist() == [0, 10]
    assert dropped == {}


def test_long_columns_of_a_plan_lie_on_disk_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.schedule_files.MAPPED_BYTES", 16)
    held = capture(*(exchange(at) for at in (5, 3, 9, 1)))

    with Scratch() as scratch:
        schedule, _ = schedule_of([held], allocate=scratch.array)

        assert isinstance(schedule.at_ns, np.memmap)
        assert schedule.digest == schedule_of([held])[0].digest


@dataclass(frozen=True, slots=True)
class Damaged(MemoryCapture):
    """The columns of every third exchange cannot be read."""

    def parts(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, Batch]]:
        for at, held in enumerate(self.held):
            if at % 3:
                yield at, batch_of([held])


def test_what_has_no_columns_is_damaged_and_not_made_up() -> None:
    held = Damaged([exchange(at) for at in range(7)])

    schedule, dropped = schedule_of([held])
    view = View([held])

    assert schedule.source.tolist() == [1, 2, 4, 5]
    assert dropped == {"damaged": 3}
    assert view.column("flags").tolist() == [0, 1, 1, 0, 1, 1, 0]
    assert view.column("intended_ns").tolist() == [-1] * 7
