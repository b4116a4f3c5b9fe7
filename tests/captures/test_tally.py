"""A tally does not care how its batches were cut."""

from hypothesis import given, settings
from hypothesis import strategies as st

from captures.batches import batch_of
from captures.exchange import Exchange, Failure, FailureKind, Flags, Response
from captures.tally import Tally
from captures.testing import example_exchange


def exchange(i: int) -> Exchange:
    return example_exchange(
        arrival_ns=(i * 7919 % 97) * 100_000_000,
        model=("house", "fraud", "")[i % 3],
        session=i % 4,
        connection=i % 5,
        flags=Flags.STREAM if i % 6 == 0 else Flags.REPLAYABLE,
        labels=(("tier", "gold"),) if i % 2 else (),
    )


@settings(deadline=None)  # slow machines are no finding
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_any_cut_gives_the_same_facts(lengths: list[int]) -> None:
    exchanges = [exchange(i) for i in range(sum(lengths))]
    at_once, in_parts = Tally(), Tally()
    at_once.add(batch_of(exchanges))
    start = 0
    for length in lengths:
        in_parts.add(batch_of(exchanges[start : start + length]))
        start += length

    assert in_parts.facts() == at_once.facts()
    assert (in_parts.first_ns, in_parts.last_ns, in_parts.n) == (at_once.first_ns, at_once.last_ns, at_once.n)


def test_nothing_is_counted_as_nothing() -> None:
    tally = Tally()
    tally.add(batch_of([]))

    found = tally.facts()

    assert (found["exchanges"], found["routes"], found["models"], found["labels"]) == (0, [], [], {})
    assert (found["duration_s"], found["percentile_error"]) == (0.0, 0.0)


def test_what_nobody_answered_is_no_error_and_a_time_of_zero_no_measurement() -> None:
    def answered(status: int, after_ns: int) -> Response:
        return Response(status=status, first_ns=after_ns, end_ns=after_ns)

    tally = Tally()
    tally.add(
        batch_of([
            example_exchange(arrival_ns=0, response=answered(200, 5_000_000)),
            example_exchange(arrival_ns=0, response=answered(200, 0)),
            example_exchange(arrival_ns=0, response=answered(404, 0)),
            example_exchange(arrival_ns=0, response=None),
            example_exchange(arrival_ns=0, response=None, failure=Failure(FailureKind.RESET, 10)),
        ])
    )  # fmt: skip

    found = tally.facts()

    assert (found["responses"], found["unanswered"], found["untimed"]) == (3, 1, 2)
    for group in (found["routes"][0], found["models"][0]):
        assert (group["errors"], group["unanswered"], group["service_ms"]["n"]) == (2, 1, 1)
    assert [found["service_ms"][name]["n"] for name in ("first_byte", "last_byte")] == [1, 1]
