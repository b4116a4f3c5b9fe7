"""The spool's account: every exchange is pending, kept, shed or an error, whatever tape and decoder do."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.exchange import Exchange, Flags
from recorder.intake import Intake, describe
from recorder.testing import FakeTape, as_they_are, frames

NOTHING = (0, 0, 0, 0, 0, 0)


def test_exchanges_are_kept_when_they_are_flushed() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    intake.take(frames(3, seen=5, shed=2))
    assert (intake.kept, tape.rows) == (0, 3)
    assert intake.flush()
    assert intake.kept == 3
    assert tape.confessed == [Confessions(seen=5, shed=2)]


def test_nothing_is_flushed_twice() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    assert not intake.flush()
    intake.take(frames(1))
    assert intake.flush()
    assert not intake.flush()
    intake.take([((9, 8, 0, 0, 0, 0), None)])  # only the counts moved
    assert intake.flush()
    assert tape.confessed[-1] == Confessions(seen=9, shed=8)


def test_a_full_disk_sheds_what_was_pending_and_all_that_follows_and_keeps_what_was_kept() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    intake.take(frames(2))
    intake.flush()
    tape.error = OSError(28, "No space left on device")
    intake.take(frames(3))
    assert not intake.flush()
    assert intake.trouble == "cannot write: No space left on device"
    intake.take(frames(4))
    assert not intake.seal()
    assert (intake.kept, intake.confessions().shed) == (2, 7)


def test_a_file_that_is_gone_loses_what_was_kept() -> None:
    intake = Intake(FakeTape(), as_they_are)
    intake.take(frames(2))
    intake.flush()
    intake.fail("gone", left=0)
    assert (intake.kept, intake.confessions().shed) == (0, 2)


def test_what_is_shed_is_counted_as_nothing_else() -> None:
    def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        return [replace(exchange, flags=Flags.UNPARSED | Flags.REQUEST_TRUNCATED) for exchange in exchanges]

    tape = FakeTape()
    intake = Intake(tape, apply)
    intake.take(frames(3))
    intake.flush()
    intake.take(frames(4, seen=7))
    tape.error, tape.early = OSError(28, "No space left on device"), 1
    intake.flush()
    intake.take(frames(5, seen=12))
    said = intake.confessions()
    assert intake.kept == 4
    assert (said.seen, said.shed, said.unparsed, said.truncated) == (12, 8, 4, 4)


def test_a_full_disk_may_still_take_a_footer() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    intake.take(frames(3))
    intake.flush()
    intake.take(frames(2, seen=5))
    tape.error = OSError(28, "No space left on device")
    fits = [Confessions(seen=5, shed=2)]

    def seal(confessions: Confessions) -> None:
        tape.confessed.append(confessions)
        tape.sealed = True

    tape.seal = seal  # type: ignore[method-assign]  # the footer fits where the flush did not
    assert not intake.flush()
    assert (tape.sealed, tape.confessed[1:]) == (True, fits)


def test_an_idle_recording_still_asks_whether_a_file_is_due() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    assert not intake.flush()
    assert len(tape.confessed) == 1


def test_stopping_seals_and_sheds_what_follows() -> None:
    tape = FakeTape()
    intake = Intake(tape, as_they_are)
    intake.take(frames(2))
    intake.stop("the operator's reason")
    assert (tape.sealed, intake.kept, intake.trouble) == (True, 2, "the operator's reason")
    intake.take(frames(3, seen=5))
    assert not intake.seal()
    assert intake.confessions() == Confessions(seen=5, shed=3)


def test_labels_come_before_the_policy() -> None:
    order: list[str] = []

    def label(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        order.append("label")
        return exchanges

    def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        order.append("apply")
        return exchanges

    Intake(FakeTape(), apply, label=label).take(frames(2))
    assert order == ["label", "apply"]


def test_a_decoder_that_fails_on_one_exchange_costs_that_one() -> None:
    def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        if any(exchange.arrival_ns == 1 for exchange in exchanges):
            raise RuntimeError("a bug of ours")
        return exchanges

    tape = FakeTape()
    intake = Intake(tape, apply)
    intake.take(frames(4, seen=4))
    intake.flush()
    assert (intake.kept, tape.rows) == (3, 3)
    assert intake.confessions() == Confessions(seen=4, hook_errors=1)


@pytest.mark.parametrize("broken", [None, (NOTHING,), (NOTHING, ("not", "an", "exchange")), 7])
def test_a_frame_that_is_not_one_is_counted(broken: object) -> None:
    intake = Intake(FakeTape(), as_they_are)
    intake.take([broken, *frames(1)])
    intake.flush()
    assert intake.kept == 1
    assert intake.confessions().hook_errors == 1


def test_flags_are_counted() -> None:
    def apply(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        return [replace(exchange, flags=Flags.UNPARSED | Flags.RESPONSE_TRUNCATED) for exchange in exchanges]

    intake = Intake(FakeTape(), apply, sampling_rate=0.5)
    intake.take(frames(2))
    assert intake.confessions() == Confessions(seen=2, truncated=2, unparsed=2, sampling_rate=0.5)


def test_trouble_is_told_in_the_words_of_the_operating_system_or_ours_only() -> None:
    assert describe(OSError(27, "File too large")) == "cannot write: File too large"
    assert describe(UsageError("x.tape: exists already")) == "cannot write: x.tape: exists already"
    assert describe(ValueError("secret")) == "cannot write: ValueError"
