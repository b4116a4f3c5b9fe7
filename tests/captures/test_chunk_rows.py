"""Chunks as differences: every mixture of sides comes back, and contradictions are FrameErrors."""

import tracemalloc
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.chunk_rows import CHUNK_ROW, pack_chunks, unpack_chunks
from captures.columns import Columns
from captures.frame import FrameError
from captures.planes import pack, unpack

type Side = tuple[int, list[tuple[int, int]]]
"""When it ends, and (time, bytes) of its chunks; both from the exchange's arrival."""

TIMES = st.one_of(st.just(-1), st.integers(0, 1000), st.integers(-(2**63), 2**63 - 1))
CHUNKS = st.lists(st.tuples(TIMES, st.one_of(st.just(0), st.integers(0, 2**30))), max_size=3)
SIDE: st.SearchStrategy[Side] = st.tuples(TIMES, CHUNKS)
FLUSHES = st.lists(st.lists(st.tuples(SIDE, SIDE), max_size=3), max_size=3)


def columns_of(exchanges: Sequence[tuple[Side, Side]]) -> Columns:
    columns: Columns = {}
    for i, (end, chunks, kept) in enumerate(
        [("request_ns", "request_chunks", "request_kept"), ("last_byte_ns", "response_chunks", "response_kept")]
    ):
        sides = [exchange[i] for exchange in exchanges]
        columns[end] = np.array([side[0] for side in sides], "<i8")
        columns[chunks] = np.array([len(side[1]) for side in sides], "<u4")
        columns[kept] = np.array([sum(size for _, size in side[1]) for side in sides], "<u4")
    return columns


def chunks_of(exchanges: Sequence[tuple[Side, Side]]) -> tuple[np.ndarray, np.ndarray]:
    found = [chunk for exchange in exchanges for _, chunks in exchange for chunk in chunks]
    return np.array([at for at, _ in found], np.int64), np.array([size for _, size in found], np.uint32)


@given(FLUSHES)
def test_any_mixture_of_sides_comes_back_over_any_flushes(flushes: list[list[tuple[Side, Side]]]) -> None:
    whole = [exchange for flush in flushes for exchange in flush]
    data = b"".join(pack_chunks(columns_of(flush), *chunks_of(flush)) for flush in flushes)

    times, sizes = unpack_chunks(data, columns_of(whole), [len(flush) for flush in flushes])

    wanted = chunks_of(whole)
    assert (times.dtype.str, sizes.dtype.str) == ("<i8", "<u4")
    assert (times.tolist(), sizes.tolist()) == (wanted[0].tolist(), wanted[1].tolist())


def test_a_body_that_is_one_chunk_at_its_end_is_nothing_but_zeros() -> None:
    exchanges: list[tuple[Side, Side]] = [((100, [(100, 7)]), (5000, [(5000, 9)]))] * 3

    assert pack_chunks(columns_of(exchanges), *chunks_of(exchanges)) == bytes(6 * 12)


def test_what_is_missing_is_missing_to_the_next_of_the_same_side() -> None:
    """An absent end counts as -1; the chunks of the other side, and of the next exchange, have no part in it."""
    exchanges: list[tuple[Side, Side]] = [((-1, [(10, 1), (30, 2)]), (50, [(40, 5)])), ((3, []), (9, [(2, 0), (2, 4)]))]

    rows = unpack(CHUNK_ROW, pack_chunks(columns_of(exchanges), *chunks_of(exchanges)), [5])

    assert rows["time"].tolist() == [20, -31, 10, 0, 7]
    assert rows["bytes"].tolist() == [1, 0, 0, 0, 0]


def rows(times: list[int], sizes: list[int]) -> bytes:
    return pack(CHUNK_ROW, {"time": np.array(times, "<i8"), "bytes": np.array(sizes, "<u4")}, {})


def kept(chunks: tuple[int, int], request: int, response: int) -> Columns:
    """One exchange that kept so many bytes, in so many chunks."""
    columns = columns_of([((5, []), (6, []))])
    columns["request_chunks"][0], columns["response_chunks"][0] = chunks
    columns["request_kept"][0], columns["response_kept"][0] = request, response
    return columns


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        pytest.param(rows([0, 0], [4, 0]), kept((2, 0), 3, 0), id="more than there is"),
        pytest.param(rows([0, 0, 0], [2**32 - 1, 1, 0]), kept((3, 0), 0, 0), id="as much as there is, modulo 2**32"),
        pytest.param(rows([0, 0], [1, 2]), kept((2, 0), 3, 0), id="the last one says how much it is"),
        pytest.param(rows([0], [3]), kept((1, 0), 3, 0), id="the only one says how much it is"),
        pytest.param(rows([0, 0], [0, 1]), kept((1, 1), 5, 6), id="the last one of the other side says how much it is"),
        pytest.param(b"", kept((0, 0), 3, 0), id="a body without chunks"),
        pytest.param(rows([0], [0]), kept((1, 0), 3, 4), id="a body without chunks, beside one with"),
    ],
)
def test_contradictions_are_damage(data: bytes, columns: Columns) -> None:
    with pytest.raises(FrameError, match="add up"):
        unpack_chunks(data, columns, [1])


@pytest.mark.parametrize("chunks", [(0, 0), (1, 0), (2, 1), (2**32 - 1, 2**32 - 1)])
def test_chunks_that_are_not_there_are_damage(chunks: tuple[int, int]) -> None:
    for size in (0, 1, 11, 12, 13, 24, 35, 37):
        if size != 12 * sum(chunks):
            with pytest.raises(FrameError, match="fit"):
                unpack_chunks(bytes(size), kept(chunks, 1, 1), [1])


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(*[st.one_of(st.integers(0, 2), st.sampled_from([2**31, 2**32 - 1]))] * 4, TIMES, TIMES), max_size=4
    ),
    st.data(),
)
def test_any_bytes_are_chunks_that_add_up_or_damage(
    claims: list[tuple[int, int, int, int, int, int]], data: st.DataObject
) -> None:
    names = ("request_chunks", "response_chunks", "request_kept", "response_kept", "request_ns", "last_byte_ns")
    columns: Columns = {
        name: np.array([claim[i] for claim in claims], "<u4" if i < 4 else "<i8") for i, name in enumerate(names)
    }
    per_side = list(chain.from_iterable(claim[:2] for claim in claims))
    fitting = min(12 * sum(per_side), 120)
    cut = data.draw(st.integers(0, len(claims)))
    payload = data.draw(st.one_of(st.binary(max_size=100), st.binary(min_size=fitting, max_size=fitting)))
    tracemalloc.start()
    try:
        _, sizes = unpack_chunks(payload, columns, [cut, len(claims) - cut])
    except FrameError:
        sizes = None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1 << 20
    if sizes is not None:
        sums = [int(sizes[low:high].sum()) for low, high in pairwise(np.cumsum([0, *per_side]).tolist())]
        assert sums == list(chain.from_iterable(claim[2:4] for claim in claims))


def test_times_wrap_around_and_raise_nothing() -> None:
    columns = kept((3, 0), 0, 0)
    columns["request_ns"][0] = 2**63 - 1

    times, _ = unpack_chunks(rows([-(2**63), 2**63 - 1, -1], [0, 0, 0]), columns, [1])

    assert [time % 2**64 for time in times.tolist()] == [(2**63 + 1) % 2**64, 1, 2**63]


def test_unpacking_takes_a_few_times_what_there_is() -> None:
    n = 200_000
    columns = kept((n, 0), 0, 0)
    tracemalloc.start()
    unpack_chunks(bytes(12 * n), columns, [1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 6 * 12 * n
