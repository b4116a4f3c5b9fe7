"""The layout inside segments: what is tolerated, and what is damage."""

from dataclasses import replace

import numpy as np
import pytest

from captures.batches import batch_of
from captures.columns import COLUMNS, HEAD_KEPT, PREVIOUS, Batch, Columns, Declared
from captures.frame import LIMITS, FrameError
from captures.index import Start
from captures.planes import pack
from captures.segment_decoding import (
    decode_bodies,
    decode_chunks,
    decode_columns,
    decode_heads,
    decode_messages,
    decode_names,
    since_zero,
)
from captures.segment_encoding import prepare
from captures.testing import example_exchange, example_exchanges

ARRIVAL = Declared("arrival_ns", "<i8")
VERSIONS = pytest.mark.parametrize("planes", [True, False], ids=["version 2", "version 1"])


def decoded(declared: list[Declared], *flushes: list[list[float]], planes: bool) -> Columns:
    """What is read of columns (values of each column, for each flush), written as the version does."""
    last: dict[str, int] = {}
    start = Start(0, 0, (*declared, HEAD_KEPT) if planes else tuple(declared), planes)
    data, counts = b"", [len(flush[0]) for flush in flushes]
    for flush, count in zip(flushes, counts, strict=True):
        columns = {each.name: np.array(values, each.dtype) for each, values in zip(declared, flush, strict=True)}
        if planes:
            data += pack(start.columns, columns | {HEAD_KEPT.name: np.full(count, 3, "<u4")}, last)
        else:
            data += b"".join(values.tobytes() for values in columns.values())
    found, head_kept = decode_columns(start, data, counts)
    assert (head_kept.tolist() if head_kept is not None else None) == ([3] * sum(counts) if planes else None)
    return found


@VERSIONS
def test_a_column_of_a_later_version_is_ignored_and_a_missing_one_is_filled(planes: bool) -> None:
    columns = decoded([ARRIVAL, Declared("mood", "<f4", PREVIOUS)], [[5, 6], [1, 2]], planes=planes)

    assert columns["arrival_ns"].tolist() == [5, 6]
    assert columns["row"].tolist() == [-1, -1]
    assert set(columns) == {column.name for column in COLUMNS}


@VERSIONS
@pytest.mark.parametrize(
    ("name", "dtype", "good", "bad"),
    [
        ("status", "<u4", 404, 70_000),
        ("status", "<i2", 404, -1),
        ("session", "<i8", 7, -1),
        ("session", "<f8", 2.0**62, 2.0**64),
        ("row", "<u8", 7, 2**63),
        ("row", "<f8", -1, 2.0**63),
        ("row", "<f4", 7, 7.5),
        ("row", "<f2", 7, float("nan")),
        ("row", "<f8", 7, float("-inf")),
        ("label.tier", "i1", 7, -1),
    ],
)
def test_a_column_of_another_type_is_converted_or_is_damage(
    name: str, dtype: str, good: float, bad: float, planes: bool
) -> None:
    declared = [ARRIVAL, Declared(name, dtype, "arrival_ns")]

    found = decoded(declared, [[1], [good]], planes=planes)[name]
    assert (found.tolist(), found.dtype.kind in "iu") == ([good], True)
    with pytest.raises(FrameError, match="outside its type"):
        decoded(declared, [[1], [bad]], planes=planes)


@VERSIONS
def test_columns_of_several_flushes_are_joined(planes: bool) -> None:
    declared = [Declared("arrival_ns", "<i8", PREVIOUS), Declared("request_ns", "<i8", -1)]

    columns = decoded(declared, [[1, 2], [10, 20]], [[], []], [[3], [30]], planes=planes)

    assert (columns["arrival_ns"].tolist(), columns["request_ns"].tolist()) == ([1, 2, 3], [10, 20, 30])


@VERSIONS
def test_columns_that_do_not_fit_are_damage(planes: bool) -> None:
    with pytest.raises(FrameError, match="fit"):
        decode_columns(Start(0, 0, (ARRIVAL,), planes), bytes(15), [2])


@pytest.mark.parametrize("declared", [(), (ARRIVAL,)])
def test_a_segment_that_does_not_say_how_long_its_heads_are_is_damage(declared: tuple[Declared, ...]) -> None:
    for count in (0, 2):
        with pytest.raises(FrameError, match="how long its heads"):
            decode_columns(Start(0, 0, declared), bytes(8 * count * len(declared)), [count])


@pytest.mark.parametrize(("dtype", "value"), [("<i8", -1), ("<u8", 2**32), ("<f4", 0.5)])
def test_heads_of_impossible_lengths_are_damage(dtype: str, value: float) -> None:
    start = Start(0, 0, (Declared("head_kept", dtype),))

    with pytest.raises(FrameError, match="outside its type"):
        decode_columns(start, np.array([value], dtype).tobytes(), [1])


MOST = LIMITS["time"] - 1


@VERSIONS
@pytest.mark.parametrize(
    ("name", "arrival_ns", "value"),
    [
        *((name, 5, -2) for name in ("request_ns", "first_byte_ns", "last_byte_ns", "failure_ns")),
        *((name, MOST, 1) for name in ("request_ns", "first_byte_ns", "last_byte_ns", "failure_ns")),
        ("request_ns", 2**63 - 1, 1),
        ("failure_ns", -5, MOST + 1),
        ("intended_ns", 0, MOST + 1),
        ("intended_ns", 0, -(2**63)),
        ("status", MOST + 1, 200),
        ("status", -(2**63), 200),
    ],
)
def test_times_that_cannot_be_are_damage(name: str, arrival_ns: int, value: int, planes: bool) -> None:
    """Nobody who adds two of them need think of overflow, and no exchange ends before it begins."""
    dtype = next(column.dtype for column in COLUMNS if column.name == name)

    with pytest.raises(FrameError, match="time"):
        decoded([ARRIVAL, Declared(name, dtype)], [[arrival_ns], [value]], planes=planes)


@VERSIONS
def test_the_greatest_times_are_read(planes: bool) -> None:
    declared = [ARRIVAL, Declared("request_ns", "<i8"), Declared("intended_ns", "<i8")]

    columns = decoded(declared, [[-MOST, MOST], [MOST, -1], [MOST, -MOST]], planes=planes)

    assert columns["request_ns"].tolist() == [MOST, -1]


@pytest.mark.parametrize("since", [MOST + 6, -MOST - 6, -(2**63), 2**63 - 1])
def test_the_time_of_a_chunk_that_cannot_be_is_damage(since: int) -> None:
    columns = columns_for(arrival_ns=[-5, 5], request_chunks=[1, 1])

    assert since_zero(columns, np.array([1, -7])).tolist() == [-4, -2]  # chunks may come before the arrival
    with pytest.raises(FrameError, match="time of a chunk"):
        since_zero(columns, np.array([since, since]))


def columns_for(**values: list[int]) -> dict[str, np.ndarray]:
    n = len(next(iter(values.values())))
    return {c.name: np.array(values.get(c.name, [c.absent] * n), dtype=c.dtype) for c in COLUMNS}


def test_a_column_outside_the_names_is_damage() -> None:
    assert decode_names(b"\xa1a", columns_for(route=[1, 0])) == ("", "a")
    with pytest.raises(FrameError, match="names"):
        decode_names(b"\xa1a", columns_for(route=[2]))


@pytest.mark.parametrize("data", [b"\x01", b"\xc4\x01a", b"\xa5abc", b"\xc1"])
def test_names_that_are_no_strings_are_damage(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_names(data, columns_for(route=[0]))


@pytest.mark.parametrize(
    ("data", "n"),
    [
        (b"", 1),
        (b"\x01", 1),
        (b"\x93\xa0\xa0\x90", 1),
        (b"\x96\xa0\xa0\x91\xa1a\xa0\x90\xa0", 1),  # an odd number of header strings
        (b"\x96\xa0\xa0\x92\xa1a\x01\xa0\x90\xa0", 1),  # a header value that is no string
        (b"\x96\xa0\xa0\x90\xa0\x90\x01", 1),
        (b"\x96\xa0\xa0\x90\xa0\x90\xa0", 2),
        (b"\x96\xa0\xa0\x90\xa0", 1),
    ],
)
def test_heads_of_the_wrong_shape_are_damage(data: bytes, n: int) -> None:
    with pytest.raises(FrameError):
        decode_heads(data, n)


def test_chunks_and_bodies_that_do_not_fit_are_damage() -> None:
    columns = columns_for(request_chunks=[1], request_kept=[3])
    chunk = np.array([7], "<i8").tobytes() + np.array([3], "<u4").tobytes()

    assert [part.tolist() for part in decode_chunks(chunk, columns, [1])] == [[7], [3]]
    with pytest.raises(FrameError, match="fit"):
        decode_chunks(chunk + b"x", columns, [1])
    with pytest.raises(FrameError, match="add up"):
        decode_chunks(chunk[:-4] + np.array([4], "<u4").tobytes(), columns, [1])
    with pytest.raises(FrameError, match="fit"):
        decode_bodies(b"1234", columns)
    assert decode_bodies(b"123", columns) == [b"123", b""]


HEAD = b"\x96\xa0\xa0\x90\xa0\x90\xa0"
ODD_HEAD = b"\x96\xa2\xc3\xa9\xa0\x90\xa0\x90\xa0"  # not ASCII


def messages(data: bytes, kept: list[int], *, bodies: bool = True) -> list[bytes]:
    """The bodies in messages. ``kept``: of each exchange head, request and response."""
    columns = columns_for(request_kept=kept[1::3], response_kept=kept[2::3])
    heads, found = decode_messages(data, columns, np.array(kept[::3], "<u4"), bodies=bodies)
    assert len(list(heads)) == len(kept) // 3
    return found


@pytest.mark.parametrize("head", [HEAD, ODD_HEAD])
def test_messages_are_cut_where_the_columns_say(head: bytes) -> None:
    n = len(head)

    assert messages(head + b"abc" + head + b"d", [n, 1, 2, n, 0, 1]) == [b"a", b"bc", b"", b"d"]
    assert messages(head + b"abc", [n, 1, 2], bodies=False) == []
    assert messages(b"", []) == []


@pytest.mark.parametrize("head", [HEAD, ODD_HEAD])
@pytest.mark.parametrize("bodies", [True, False])
def test_messages_that_do_not_fit_are_damage(head: bytes, bodies: bool) -> None:
    n, two = len(head), head + head
    for data, kept in (
        (head, [n, 0, 1]),
        (head + b"a", [n, 0, 0]),
        (b"", [n, 0, 0]),
        (head, [n, 2**32 - 1, 2**32 - 1]),
        (head, []),
        (two, [n - 1, 0, 0, n + 1, 0, 0]),  # together they are two heads
        (two, [2 * n, 0, 0, 0, 0, 0]),
        (two, [0, 0, 0, 2 * n, 0, 0]),
        (two, [2 * n, 0, 0]),
        (head, [n - 1, 1, 0]),
        (head, [0, n, 0]),
    ):
        with pytest.raises(FrameError):
            messages(data, kept, bodies=bodies)


def broken(batch: Batch, **columns: int) -> Batch:
    changed = {name: np.full(len(batch), value, batch.columns[name].dtype) for name, value in columns.items()}
    return replace(batch, columns=dict(batch.columns) | changed)


def test_a_batch_that_contradicts_itself_is_refused() -> None:
    batch = batch_of(example_exchanges(2))

    prepare(batch)
    for wrong in (
        replace(batch, heads=batch.heads[:1]),
        replace(batch, bodies=batch.bodies[:3]),
        replace(batch, bodies=[]),
        replace(batch, chunk_bytes=batch.chunk_bytes[:1]),
        replace(batch, chunk_bytes=batch.chunk_bytes + np.uint32(1)),
        broken(batch, request_kept=1),
        broken(batch, response_chunks=0),
        broken(batch, arrival_ns=MOST + 1),
        broken(batch, first_byte_ns=-2),
        broken(batch, intended_ns=MOST + 1),
        replace(batch, chunk_at_ns=batch.chunk_at_ns - MOST - 10**9),
    ):
        with pytest.raises(ValueError, match=r"head|bod|chunk|time"):
            prepare(wrong)


def test_a_label_that_was_not_declared_is_refused_by_its_name() -> None:
    batch = batch_of([example_exchange(labels=(("region", "eu"), ("tier", "gold")))])

    assert prepare(batch, ("label.region", "label.tier")).columns["label.tier"].tolist() == [batch.names.index("gold")]
    with pytest.raises(ValueError, match=r"the header does not declare: region$"):
        prepare(batch, ("label.tier",))


def test_a_declared_label_that_nobody_carries_is_empty() -> None:
    columns = prepare(batch_of(example_exchanges(2)), ("label.region",)).columns

    assert columns["label.region"].tolist() == [0, 0]


@pytest.mark.parametrize("fields", [1, 63, 64, 500])
def test_heads_keep_every_field_in_its_order_and_lone_surrogates(fields: int) -> None:
    headers = (*((f"name {i}", f"value {i}") for i in range(fields)), ("odd", "\udcff"), ("\xe9", ""))
    exchange = example_exchange(request=replace(example_exchange().request, headers=headers, target="/\udc80"))
    packed = prepare(batch_of([exchange, example_exchange()])).heads

    heads = decode_heads(b"".join(packed), 2)

    assert (heads[0].target, heads[0].request_headers) == ("/\udc80", headers)
    assert heads[1].response_headers == example_exchange().response.headers  # type: ignore[union-attr]  # it has one


def test_sizes_are_what_heads_chunks_and_bodies_take() -> None:
    batch = batch_of([example_exchange(), replace(example_exchange(), response=None)])
    prepared = prepare(batch)

    for i, chunks in ((0, 2), (1, 1)):
        bodies = sum(map(len, batch.bodies[2 * i : 2 * i + 2]))
        assert prepared.sizes[i] == len(prepared.heads[i]) + bodies + 12 * chunks


def test_a_batch_without_heads_chunks_and_bodies_is_fine_where_nothing_is_kept() -> None:
    batch = batch_of([example_exchange(request=replace(example_exchange().request, chunks=()), response=None)])

    prepare(replace(batch, heads=[], bodies=[]))


def test_more_names_or_heads_than_exchanges_can_have_are_damage_before_they_are_made() -> None:
    batch = prepare(batch_of(example_exchanges(1)))

    assert len(decode_names(b"\xa1a" * 5, batch.columns)) == 6
    with pytest.raises(FrameError, match="more names or heads"):
        decode_names(b"\xa1a" * 6, batch.columns)
    with pytest.raises(FrameError, match="more names or heads"):
        decode_heads(b"\x96\xa0\xa0\x90\xa0\x90\xa2\xc3\xa9" * 2, 1)


def test_heads_above_the_limit_are_damage_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = prepare(batch_of(example_exchanges(2)))
    head_kept = np.array([len(head) for head in batch.heads], "<u4")
    kept = {name: np.zeros(2, "<u4") for name in ("request_kept", "response_kept")}
    heads = b"".join(batch.heads)
    monkeypatch.setitem(LIMITS, "heads", len(heads))
    assert (
        len(decode_heads(heads, 2))
        == len(decode_messages(heads, {**batch.columns, **kept}, head_kept, bodies=False)[0])
        == 2
    )

    monkeypatch.setitem(LIMITS, "heads", len(heads) - 1)

    with pytest.raises(FrameError, match="than the limit"):
        decode_heads(heads, 2)
    with pytest.raises(FrameError, match="than the limit"):
        decode_messages(heads, {**batch.columns, **kept}, head_kept, bodies=False)
