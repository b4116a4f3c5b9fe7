"""Exchanges to columns and back, and through a whole file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.batches import batch_of, concat, exchanges_of, full_columns, take
from captures.columns import COLUMNS
from captures.exchange import NO_FLAGS, Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges

TEXT = st.text(st.characters(max_codepoint=255), max_size=8)
ARRIVAL = st.integers(0, 2**61)
SINCE = st.integers(0, 2**40)
HEADERS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    at = draw(ARRIVAL)
    later = st.one_of(st.just(-1), SINCE.map(lambda since: at + since))
    # Chunks may come before the arrival: a clock may step between a producer's two sources.
    chunks = st.lists(st.builds(Chunk, st.integers(0, 2**62 - 1), st.binary(max_size=20)), max_size=3).map(tuple)
    request = st.builds(
        Request,
        method=TEXT,
        target=TEXT,
        headers=HEADERS,
        chunks=chunks,
        end_ns=later,
        size=st.integers(0, 2**63),
        http_version=TEXT,
    )
    response = st.builds(
        Response,
        status=st.integers(1, 999),
        headers=HEADERS,
        chunks=chunks,
        first_ns=later,
        end_ns=later,
        size=st.integers(0, 2**63),
        reason=TEXT,
    )
    failure = st.builds(Failure, st.sampled_from([kind for kind in FailureKind if kind]), later, TEXT)
    origin = st.builds(
        Origin,
        row=st.integers(0, 2**40),
        source=st.integers(0, 2**40),
        variant=st.integers(0, 2**32 - 1),
        target=TEXT,
        attempt=st.integers(1, 255),
        intended_ns=ARRIVAL,
    )
    return Exchange(
        arrival_ns=at,
        request=draw(request),
        response=draw(st.none() | response),
        failure=draw(st.none() | failure),
        route=draw(TEXT),
        codec=draw(TEXT),
        model=draw(TEXT),
        session=draw(st.integers(0, 2**64 - 1)),
        connection=draw(st.integers(0, 2**32 - 1)),
        flags=draw(st.sampled_from([NO_FLAGS, *Flags, Flags.REPLAYABLE | Flags.STREAM])),
        origin=draw(st.none() | origin),
    )


@settings(max_examples=30)
@given(st.lists(exchanges(), max_size=4))
def test_a_batch_gives_back_its_exchanges(given_exchanges: list[Exchange]) -> None:
    assert exchanges_of(batch_of(given_exchanges)) == given_exchanges


@settings(max_examples=20)
@given(st.lists(st.lists(exchanges(), max_size=3), max_size=3), st.booleans())
def test_a_file_gives_back_its_exchanges(flushes: list[list[Exchange]], sealed: bool) -> None:
    capture = capture_of(capture_bytes(flushes, seal=sealed))

    assert list(capture.exchanges()) == [exchange for flush in flushes for exchange in flush]
    assert capture.damage == ()


def test_a_batch_holds_every_declared_column() -> None:
    columns = batch_of(example_exchanges(2)).columns

    assert {name: values.dtype.str for name, values in columns.items()} == {
        column.name: np.dtype(column.dtype).str for column in COLUMNS
    }


def test_an_empty_batch_is_a_batch() -> None:
    assert len(batch_of([])) == 0
    assert exchanges_of(batch_of([])) == []
    assert len(concat([])) == 0


def test_concat_merges_names() -> None:
    first, second = example_exchange(model="a"), example_exchange(model="b", route="GET /x")

    both = concat([batch_of([first]), batch_of([second, first])])

    assert exchanges_of(both) == [first, second, first]
    assert len(set(both.names)) == len(both.names)


def test_take_gives_rows_in_the_order_asked() -> None:
    given_exchanges = example_exchanges(4)

    taken = take(batch_of(given_exchanges), np.array([3, 0, 0]))

    assert exchanges_of(taken) == [given_exchanges[3], given_exchanges[0], given_exchanges[0]]


@pytest.mark.parametrize(
    "change",
    [
        {"request": Request(method="GET", target="/", end_ns=4)},
        {"response": Response(status=200, first_ns=4)},
        {"response": Response(status=0)},
        {"failure": Failure(FailureKind.RESET, 4)},
    ],
)
def test_what_columns_cannot_say_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"arrival|status"):
        batch_of([example_exchange(arrival_ns=5, **change)])


def test_missing_columns_are_filled_and_wrong_ones_refused() -> None:
    batch = batch_of(example_exchanges(2))
    few = type(batch)({"arrival_ns": np.array([1, 2])}, (), [], batch.chunk_at_ns[:0], batch.chunk_bytes[:0], [])

    assert full_columns(few)["row"].tolist() == [-1, -1]
    for wrong in ({"nonsense": np.zeros(2)}, {"status": np.zeros(3)}, {"route": np.array([0, 99])}):
        with pytest.raises(ValueError, match=r"column"):
            full_columns(
                type(batch)(dict(batch.columns) | wrong, batch.names, [], few.chunk_at_ns, few.chunk_bytes, [])
            )


def test_a_failure_of_a_later_version_is_still_a_failure() -> None:
    batch = batch_of([example_exchange(failure=Failure(FailureKind.RESET, 2_000_000))])
    columns = dict(batch.columns) | {"failure": np.array([200], dtype="u1")}

    (found,) = exchanges_of(
        type(batch)(columns, batch.names, batch.heads, batch.chunk_at_ns, batch.chunk_bytes, batch.bodies)
    )

    assert found.failure == Failure(FailureKind.INTERNAL, 2_000_000)
