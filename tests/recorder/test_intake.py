"""The spool's account: every exchange is pending, kept, shed, filtered or an error, whatever tape and decoder do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.exchange import Exchange, Flags
from recorder.board import Count
from recorder.intake import Apply, Intake, describe
from recorder.testing import FakeTape, as_they_are, frames, new_row, told
from recorder.totals import TOLD, over, unsettled


class Rig:
    """An intake that writes, its tape and its row."""

    def __init__(self, apply: Apply = as_they_are, row: list[int] | None = None, **more: Any) -> None:
        self.row = new_row() if row is None else row
        self.intake = Intake(self.row, apply, **more)
        self.tape = FakeTape(self.intake.confessed)
        self.intake.begin(self.tape)

    @property
    def kept(self) -> int:
        return self.row[Count.KEPT]

    def counted(self) -> tuple[int, int, int, int, int]:
        """Received, and what became of it: kept, shed, filtered, error."""
        counts = (Count.RECEIVED, Count.KEPT, Count.SPOOL_SHED, Count.SPOOL_FILTERED, Count.SPOOL_ERRORS)
        return tuple(self.row[count] for count in counts)  # type: ignore[return-value]  # five


def flagged(flags: Flags) -> Apply:
    return lambda exchanges: [replace(exchange, flags=flags) for exchange in exchanges]


def test_exchanges_are_kept_when_they_are_flushed() -> None:
    rig = Rig()
    assert rig.intake.take(frames(3, shed=2)) == 3
    assert (rig.kept, rig.tape.rows) == (0, 3)
    assert rig.intake.flush()
    assert rig.counted() == (3, 3, 0, 0, 0)
    assert rig.tape.commits == [Confessions(seen=5, shed=2)]
    assert rig.intake.confessed == Confessions(seen=5, shed=2)


def test_all_that_the_relay_leaves_out_is_confessed() -> None:
    rig = Rig()
    rig.intake.take(frames(1, shed=2, sampled_out=3, own=4, filtered=5, unparsed=6, hook_errors=7))
    rig.intake.flush()
    assert rig.tape.commits == [
        Confessions(seen=28, shed=2, sampled_out=3, own=4, filtered=5, unparsed=6, hook_errors=7)
    ]


def test_hook_errors_that_cost_no_exchange_are_not_seen() -> None:
    rig = Rig()
    counts = told(4)
    counts[Count.HOOK_ERRORS] = 9
    rig.intake.take([(counts, None)])
    rig.intake.flush()
    assert rig.tape.commits == [Confessions(hook_errors=9)]


def test_what_is_still_in_the_pipe_is_not_confessed() -> None:
    """A relay counts what it offers before the spool has it."""
    rig = Rig()
    rig.intake.take(frames(2, offered=50, shed=1))
    rig.intake.flush()
    assert rig.tape.commits == [Confessions(seen=3, shed=1)]


def test_a_relay_that_was_killed_while_it_counted_makes_no_exchange_up() -> None:
    rig = Rig()
    counts = told(2)
    counts[Count.BEGAN] += 1
    counts[Count.SEEN] += 1  # and then it was killed, before it could say what became of it
    rig.intake.settle(counts)
    assert rig.intake.confessions() == Confessions(seen=3, shed=3)


def test_nothing_is_flushed_twice() -> None:
    rig = Rig()
    assert not rig.intake.flush()
    rig.intake.take(frames(1))
    assert rig.intake.flush()
    assert not rig.intake.flush()
    rig.intake.take([(told(1, shed=8), None)])  # only the counts moved
    assert rig.intake.flush()
    assert rig.tape.commits[-1] == Confessions(seen=9, shed=8)


def test_a_full_disk_sheds_what_was_pending_and_all_that_follows_and_keeps_what_was_kept() -> None:
    rig = Rig()
    rig.intake.take(frames(2))
    rig.intake.flush()
    rig.tape.error = OSError(28, "No space left on device")
    rig.intake.take(frames(3))
    assert not rig.intake.flush()
    assert rig.intake.trouble == "cannot write: No space left on device"
    rig.intake.take(frames(4))
    assert not rig.intake.seal()
    assert rig.counted() == (9, 2, 7, 0, 0)
    assert rig.intake.confessions() == Confessions(seen=9, shed=7)
    assert rig.intake.confessed == Confessions(seen=2)


def test_another_tape_goes_on_where_the_first_one_stopped() -> None:
    rig = Rig()
    rig.intake.take(frames(2))
    rig.intake.flush()
    rig.tape.error = OSError(28, "No space left on device")
    rig.intake.take(frames(3))
    rig.intake.flush()
    tape = FakeTape(rig.intake.confessed)
    rig.intake.begin(tape)
    rig.intake.take(frames(4, offered=9))
    assert rig.intake.seal()
    assert rig.counted() == (9, 6, 3, 0, 0)
    assert (tape.base, tape.commits) == (Confessions(seen=2), [Confessions(seen=9, shed=3)])


def test_a_file_that_is_gone_loses_what_was_kept_in_it() -> None:
    rig = Rig(flagged(Flags.UNPARSED | Flags.REQUEST_TRUNCATED))
    rig.intake.take(frames(2))
    rig.tape.files = 2  # that flush began another file
    rig.intake.flush()
    rig.tape.base = rig.tape.confessed
    rig.intake.take(frames(3))
    rig.intake.flush()
    rig.intake.take(frames(4))
    rig.intake.lose("gone", everything=False)
    assert rig.counted() == (9, 2, 7, 0, 0)
    assert rig.intake.confessions() == Confessions(seen=9, shed=7, truncated=2, unparsed=2)
    assert rig.intake.confessed == Confessions(seen=2, truncated=2, unparsed=2)


def test_a_folder_that_is_gone_loses_everything() -> None:
    rig = Rig(flagged(Flags.UNPARSED), row=new_row(received=5, kept=5, spool_unparsed=1, confessed_seen=5))
    rig.intake.take(frames(2))
    rig.intake.flush()
    rig.intake.lose("gone", everything=True)
    assert rig.counted() == (7, 0, 7, 0, 0)
    assert rig.intake.confessions() == Confessions(seen=7, shed=7)
    assert rig.intake.confessed == Confessions()
    assert rig.intake.account() == {"kept": 0, "confessions": {**ZERO, "seen": 2, "shed": 7}}


ZERO = {
    **dict.fromkeys(("seen", "shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors", "filtered"), 0),
    "sampling_rate": 1.0,
}


def test_what_is_shed_is_counted_as_nothing_else() -> None:
    rig = Rig(flagged(Flags.UNPARSED | Flags.REQUEST_TRUNCATED))
    rig.intake.take(frames(3))
    rig.intake.flush()
    rig.intake.take(frames(4))
    rig.tape.error, rig.tape.early = OSError(28, "No space left on device"), 1
    rig.intake.flush()
    rig.intake.take(frames(5))
    said = rig.intake.confessions()
    assert rig.kept == 4
    assert (said.seen, said.shed, said.unparsed, said.truncated) == (12, 8, 4, 4)


def test_a_full_segment_that_commits_itself_is_known_at_once() -> None:
    rig = Rig()
    append = rig.tape.append

    def committing(batch: Any) -> None:
        append(batch)
        rig.tape.committed += 2
        rig.tape.confessed = Confessions(seen=2)

    rig.tape.append = committing  # type: ignore[method-assign]  # a segment is full
    rig.intake.take(frames(3))
    assert (rig.kept, rig.intake.confessed) == (2, Confessions(seen=2))


def test_a_full_disk_may_still_take_a_footer() -> None:
    rig = Rig()
    rig.intake.take(frames(3))
    rig.intake.flush()
    rig.intake.take(frames(2))
    rig.tape.error = OSError(28, "No space left on device")

    def seal(confessions: Confessions) -> None:
        rig.tape.confessed = confessions
        rig.tape.sealed = True

    rig.tape.seal = seal  # type: ignore[method-assign]  # the footer fits where the flush did not
    assert not rig.intake.flush()
    assert (rig.tape.sealed, rig.intake.confessed) == (True, Confessions(seen=5, shed=2))


def test_an_idle_recording_still_asks_whether_a_file_is_due() -> None:
    rig = Rig()
    assert not rig.intake.flush()
    assert len(rig.tape.commits) == 1


def test_stopping_seals_and_sheds_what_follows() -> None:
    rig = Rig()
    rig.intake.take(frames(2))
    rig.intake.stop("the operator's reason")
    assert (rig.tape.sealed, rig.kept, rig.intake.trouble) == (True, 2, "the operator's reason")
    rig.intake.take(frames(3, own=1))
    assert not rig.intake.seal()
    assert rig.intake.confessions() == Confessions(seen=6, shed=3, own=1)


def test_labels_come_before_the_policy_and_filters_before_both() -> None:
    order: list[str] = []

    def noting(what: str) -> Apply:
        def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
            order.append(f"{what} {len(exchanges)}")
            return exchanges

        return apply

    rig = Rig(noting("apply"), label=noting("label"), wanted=lambda exchange: exchange.arrival_ns > 0)
    rig.intake.take(frames(3))
    rig.intake.flush()
    assert order == ["label 2", "apply 2"]
    assert rig.counted() == (3, 2, 0, 1, 0)
    assert rig.tape.commits == [Confessions(seen=3, filtered=1)]


def test_a_filter_that_fails_costs_the_exchange() -> None:
    def fails(exchange: Exchange) -> bool:
        raise RuntimeError("a bug of ours")

    rig = Rig(wanted=fails)
    rig.intake.take(frames(2))
    assert rig.counted() == (2, 0, 0, 0, 2)


def test_a_decoder_that_fails_on_one_exchange_costs_that_one() -> None:
    def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        if any(exchange.arrival_ns == 1000 for exchange in exchanges):
            raise RuntimeError("a bug of ours")
        return exchanges

    rig = Rig(apply)
    rig.intake.take(frames(4))
    rig.intake.flush()
    assert (rig.kept, rig.tape.rows) == (3, 3)
    assert rig.intake.confessions() == Confessions(seen=4, hook_errors=1)


def test_an_exchange_that_no_capture_can_hold_costs_itself() -> None:
    rig = Rig()
    append = rig.tape.append

    def refusing(batch: Any) -> None:
        if 1000 in batch.columns["arrival_ns"].tolist():
            raise ValueError("above the limit")
        append(batch)

    rig.tape.append = refusing  # type: ignore[method-assign]  # as a writer refuses, before it takes any of it
    rig.intake.take(frames(4))
    rig.intake.flush()
    assert (rig.intake.trouble, rig.counted()) == ("", (4, 3, 0, 0, 1))


@pytest.mark.parametrize("broken", [(), (told(1),), (told(1), ("not", "an", "exchange")), 7])
def test_a_frame_that_is_not_one_is_counted(broken: object) -> None:
    rig = Rig()
    assert rig.intake.take([broken, *frames(1)]) == 2
    rig.intake.flush()
    assert rig.counted() == (2, 1, 0, 0, 1)
    assert rig.intake.confessions() == Confessions(seen=2, hook_errors=1)


@pytest.mark.parametrize("counts", [[], [1, 2], None, 5, [-1] * TOLD, ["many"] * TOLD, [True] * TOLD, b"x" * TOLD])
def test_counts_that_are_none_change_nothing(counts: Any) -> None:
    rig = Rig()
    rig.intake.take(frames(1, own=3))
    rig.intake.take([(counts, None)])
    assert rig.intake.confessions() == Confessions(seen=4, own=3)


def test_counts_of_an_earlier_worker_do_not_go_back() -> None:
    """Its pipe may still be read when the one after it has counted on."""
    rig = Rig()
    rig.intake.take(frames(1, own=3))
    rig.intake.take(frames(1, own=2))
    assert rig.intake.confessions() == Confessions(seen=5, own=3)


def test_what_a_dead_worker_had_begun_or_queued_is_lost() -> None:
    rig = Rig()
    rig.intake.take(frames(3, shed=1))
    counts = told(5, shed=2)
    counts[Count.BEGAN] += 4
    rig.intake.settle(counts)
    assert rig.row[Count.LOST] == 2 + 4
    assert rig.intake.confessions() == Confessions(seen=3 + 2 + 6, shed=2 + 6)
    rig.intake.settle(counts)
    assert rig.row[Count.LOST] == 6


def test_what_came_from_the_next_worker_is_not_taken_for_what_the_dead_one_had_queued() -> None:
    rig = Rig()
    rig.intake.take(frames(3, offered=5))
    rig.intake.take(frames(2, offered=7))
    rig.intake.settle(told(5), later=2)
    assert rig.row[Count.LOST] == 2


def test_a_spool_goes_on_where_a_dead_one_was_and_confesses_what_that_one_lost() -> None:
    first = Rig()
    first.intake.take(frames(3, shed=1))
    first.intake.flush()
    first.intake.take(frames(2, offered=5, shed=2))  # and dies
    second = Rig(row=first.row)
    assert second.counted() == (5, 3, 2, 0, 0)
    assert second.intake.confessed == second.tape.base == Confessions(seen=4, shed=1)
    second.intake.take(frames(1, offered=6, shed=2))
    second.intake.seal()
    assert second.tape.commits == [Confessions(seen=8, shed=4)]
    assert second.intake.account() == {"kept": 1, "confessions": {**ZERO, "seen": 4, "shed": 3}}


def test_what_the_board_says_of_a_recording_that_is_over_adds_up() -> None:
    rig = Rig(flagged(Flags.RESPONSE_TRUNCATED), wanted=lambda exchange: exchange.arrival_ns > 0)
    rig.intake.take(frames(4, shed=1))
    rig.intake.flush()
    rig.intake.take(frames(3, offered=7, shed=1))  # and dies; two more are in the pipe, one is in the making
    rig.row[: len(told(0))] = told(9, shed=1)
    rig.row[Count.BEGAN] += 1
    assert unsettled(rig.row) == 2
    assert over(rig.row, 1.0) == Confessions(seen=11, shed=1 + 2 + 2 + 1, filtered=2, truncated=3)


def test_flags_are_counted() -> None:
    rig = Rig(flagged(Flags.UNPARSED | Flags.RESPONSE_TRUNCATED), sampling_rate=0.5)
    rig.intake.take(frames(2))
    assert rig.intake.confessions() == Confessions(seen=2, truncated=2, unparsed=2, sampling_rate=0.5)


def test_trouble_is_told_in_the_words_of_the_operating_system_or_ours_only() -> None:
    assert describe(OSError(27, "File too large")) == "cannot write: File too large"
    assert describe(UsageError("x.tape: exists already")) == "cannot write: x.tape: exists already"
    assert describe(ValueError("secret")) == "cannot write: ValueError"
