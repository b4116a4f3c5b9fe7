"""Every unit that an importer gives is written or dropped, and the sums say so."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import RUN_HEADER, Exchange, Flags
from captures.importers import account as module
from captures.importers.account import Account, batches
from captures.importers.importer import Dropped
from captures.testing import example_exchange, example_exchanges


class FakeTape:
    """Refuses exchanges of connection 13, as a writer does what no segment can hold."""

    def __init__(self) -> None:
        self.appended = 0

    def append(self, batch: Batch) -> None:
        if 13 in batch.columns["connection"].tolist():
            raise ValueError("above the limit")
        self.appended += len(batch)


def same(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    return exchanges


def fails_for_connection_5(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    if any(exchange.connection == 5 for exchange in exchanges):
        raise RuntimeError("a decoder that fails")
    return exchanges


def test_what_was_read_is_written_or_dropped() -> None:
    account, tape = Account(), FakeTape()
    items: list[Exchange | Dropped] = [
        *example_exchanges(2),
        Dropped("damaged", "x line 1", 3),
        example_exchange(),
        Dropped("damaged", "later"),
    ]

    account.write(tape, list(account.exchanges(items)), 0, same)

    account.check(tape.appended)
    assert (account.read, account.written, account.dropped) == (7, 3, {"damaged": 4})
    assert account.where == {"damaged": "x line 1"}
    assert account.confessions() == Confessions(seen=7, shed=4)


def test_one_odd_exchange_costs_itself() -> None:
    account, tape = Account(), FakeTape()
    found = [example_exchange(connection=number) for number in range(20)]

    account.write(tape, list(account.exchanges(found)), 0, fails_for_connection_5)

    assert account.dropped == {"impossible": 2}
    assert account.written == tape.appended == 18


def test_our_own_runs_are_left_out_of_what_is_raw() -> None:
    plain = example_exchange()
    own = replace(plain, request=replace(plain.request, headers=((RUN_HEADER.lower(), "x"),)))
    raw, exported = Account(), Account()
    for account, apply in ((raw, same), (exported, None)):
        account.write(FakeTape(), list(account.exchanges([own, plain])), 0, apply)

    assert (raw.written, raw.dropped) == (1, {"own_run": 1})
    assert raw.confessions() == Confessions(seen=2, own=1)
    assert (exported.written, exported.dropped) == (2, {})


def test_flags_are_counted() -> None:
    flags = [Flags.REQUEST_TRUNCATED, Flags.UNPARSED, Flags.SYNTHETIC, Flags.RESPONSE_TRUNCATED]
    account = Account()
    account.write(FakeTape(), list(account.exchanges(example_exchange(flags=flag) for flag in flags)), 0, same)

    assert (account.truncated, account.unparsed, account.synthetic) == (2, 1, 1)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Confessions(seen=10, shed=1, sampled_out=5), Confessions(seen=10, shed=3, sampled_out=5)),
        (Confessions(seen=3, sampling_rate=0.5), Confessions(seen=4, shed=2, sampling_rate=0.5)),
    ],
)
def test_an_export_confesses_what_its_capture_did_and_what_is_missing(told: Confessions, expected: Confessions) -> None:
    account = Account(told=told)
    items: list[Exchange | Dropped] = [*example_exchanges(2), Dropped("missing", "", 2)]
    account.write(FakeTape(), list(account.exchanges(items)), 0, None)

    assert account.confessions() == expected


def test_accounts_that_do_not_add_up_are_our_fault() -> None:
    with pytest.raises(AssertionError, match="2 exchanges were given to a capture that holds 1"):
        Account(read=2, written=2).check(1)
    with pytest.raises(AssertionError, match="read 3, wrote 2, dropped 0"):
        Account(read=3, written=2).check(2)


def test_batches_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "BATCH_BYTES", 300)

    found = list(batches(example_exchanges(7)))

    assert [len(batch) for batch in found] == [2, 2, 2, 1]
    assert [exchange for batch in found for exchange in batch] == example_exchanges(7)
