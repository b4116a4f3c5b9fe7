"""Byte planes of differences: every value comes back, and what does not fit is a FrameError."""

import itertools
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from captures.columns import PREVIOUS, Columns, Declared
from captures.frame import FrameError
from captures.planes import pack, unpack

DTYPES = [sign + str(width) for sign in "iu" for width in (1, 2, 4, 8)] + ["f2", "f4", "f8"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Declared], list[Columns]]:
    """Columns with any minus there may be, and the rows of each flush."""
    declared: list[Declared] = []
    for i, dtype in enumerate(draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=5))):
        others = [st.sampled_from([each.name for each in declared])] if declared else []
        minus = draw(st.one_of(st.integers(-(2**65), 2**65), st.just(PREVIOUS), *others))
        declared.append(Declared(f"c{i}", draw(st.sampled_from(["<", ""])) + dtype, minus))
    counts = draw(st.lists(st.integers(0, 5), max_size=4))
    return declared, [{each.name: draw(_values(each, n)) for each in declared} for n in counts]


def _values(column: Declared, n: int) -> st.SearchStrategy[np.ndarray]:
    """Any bits, as often as not repeated: that is what planes are made for."""
    width = np.dtype(column.dtype).itemsize
    bits = hnp.arrays(f"<u{width}", n, elements=st.one_of(st.just(0), st.integers(0, 2 ** (8 * width) - 1)))
    return bits.map(lambda values: values.view(column.dtype))


def packed(declared: Sequence[Declared], flushes: Sequence[Columns]) -> bytes:
    last: dict[str, int] = {}
    return b"".join(pack(declared, flush, last) for flush in flushes)


def same_bits(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()


@given(tables())
def test_any_values_of_any_width_come_back_over_any_flushes(table: tuple[list[Declared], list[Columns]]) -> None:
    declared, flushes = table

    found = unpack(declared, packed(declared, flushes), [len(flush["c0"]) for flush in flushes])

    assert list(found) == [each.name for each in declared]
    for each in declared:
        joined = np.concatenate([np.zeros(0, each.dtype), *(flush[each.name] for flush in flushes)])
        assert same_bits(found[each.name], joined.astype(each.dtype)), each


@given(tables(), st.integers(1, 40))
def test_a_length_that_does_not_fit_is_damage(table: tuple[list[Declared], list[Columns]], off: int) -> None:
    declared, flushes = table
    data, counts = packed(declared, flushes), [len(flush["c0"]) for flush in flushes]

    for wrong in (data + bytes(off), data[:-off] if len(data) >= off else b"x" + data):
        with pytest.raises(FrameError, match="fit"):
            unpack(declared, wrong, counts)
    with pytest.raises(FrameError, match="fit"):
        unpack(declared, data, [*counts, off])


@given(tables(), st.data())
def test_any_bytes_of_the_right_length_are_values(
    table: tuple[list[Declared], list[Columns]], data: st.DataObject
) -> None:
    """And these values are stored as those bytes: there is one way to say anything."""
    declared, flushes = table
    counts = [len(flush["c0"]) for flush in flushes]
    size = sum(counts) * sum(each.width for each in declared)
    payload = data.draw(st.binary(min_size=size, max_size=size))

    found = unpack(declared, payload, counts)

    ends = np.cumsum([0, *counts]).tolist()
    again = [{name: values[low:high] for name, values in found.items()} for low, high in itertools.pairwise(ends)]
    assert packed(declared, again) == payload


def test_what_is_stored_is_the_difference_byte_by_byte() -> None:
    declared = [Declared("a", "<u2", 1), Declared("b", "<i4", PREVIOUS), Declared("c", "u1", "b")]
    columns = {"a": [1, 0x0203], "b": [-1, 0x01000000], "c": [0xFF, 7]}

    data = pack(declared, {each.name: np.array(columns[each.name]).astype(each.dtype) for each in declared}, {})

    # a: 0 and 0x0202; b: -1 - -1 and 0x01000000 - -1; c: 0xFF - 0xFF and 7 - 0, each as a column of low bytes, then the next.
    assert data == bytes([0, 2, 0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0, 7])


def test_the_row_before_the_first_of_a_flush_is_the_last_of_the_flush_before() -> None:
    declared, last = [Declared("a", "u1", PREVIOUS)], dict[str, int]()

    first, none, second = (pack(declared, {"a": np.array(each, "u1")}, last) for each in ([5, 7], [], [8]))

    assert (first, none, second) == (bytes([6, 2]), b"", bytes([1]))


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [("<i8", -2, 1), ("i1", -2, 1), ("u1", 0xFE, 0xFFFFFF01), ("<f4", np.float32(1.0), 0xFFFFFFFF - 0x3F800000)],
)
def test_a_column_of_another_width_is_subtracted_modulo_the_width_of_this_one(
    dtype: str, value: float, stored: int
) -> None:
    declared = [Declared("other", dtype), Declared("mine", "<u4", "other")]
    columns = {"other": np.array([value], dtype), "mine": np.array([0xFFFFFFFF], "<u4")}

    data = pack(declared, columns, {})

    assert data[-4:] == stored.to_bytes(4, "little")
    assert unpack(declared, data, [1])["mine"].tolist() == [0xFFFFFFFF]


def test_columns_lie_as_they_may_before_they_are_packed() -> None:
    every_second = np.arange(10, dtype="<i8")[::2]

    assert pack([Declared("a", "<i8")], {"a": every_second}, {}) == pack(
        [Declared("a", "<i8")], {"a": every_second.copy()}, {}
    )


def test_nothing_is_declared_of_any_number_of_exchanges() -> None:
    assert unpack([], b"", [3, 0, 2]) == {}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=3), st.binary(max_size=100))
def test_counts_that_promise_the_world_allocate_nothing(counts: list[int], data: bytes) -> None:
    declared = [Declared("a", "<i8", PREVIOUS), Declared("b", "<u4", "a")]
    if sum(counts) * 12 == len(data):
        counts = [*counts, 2**50]
    tracemalloc.start()
    with pytest.raises(FrameError, match="fit"):
        unpack(declared, data, counts)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1 << 20


def test_unpacking_takes_a_few_times_what_there_is() -> None:
    declared = [Declared("a", "<i8", PREVIOUS), Declared("b", "<u8", "a")]
    data = bytes(16 * 65_536)
    tracemalloc.start()
    unpack(declared, data, [1_000, 0, 64_536])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 5 * len(data)
