"""The layout inside segments: what is tolerated, and what is damage."""

from dataclasses import replace

import numpy as np
import pytest

from captures.batches import batch_of
from captures.columns import COLUMNS, Batch
from captures.frame import FrameError
from captures.segment_decoding import decode_bodies, decode_chunks, decode_columns, decode_heads, decode_names
from captures.segment_encoding import prepare
from captures.testing import example_exchange, example_exchanges


def test_a_column_of_a_later_version_is_ignored_and_a_missing_one_is_filled() -> None:
    data = np.array([5, 6], "<i8").tobytes() + np.array([1, 2], "<f4").tobytes()

    columns = decode_columns([("arrival_ns", "<i8"), ("mood", "<f4")], data, [2])

    assert columns["arrival_ns"].tolist() == [5, 6]
    assert columns["row"].tolist() == [-1, -1]
    assert set(columns) == {column.name for column in COLUMNS}


def test_a_column_of_another_width_is_converted_or_is_damage() -> None:
    declared = [("arrival_ns", "<i8"), ("status", "<u4")]
    arrivals = np.array([1], "<i8").tobytes()

    assert decode_columns(declared, arrivals + np.array([404], "<u4").tobytes(), [1])["status"].dtype == np.dtype("<u2")
    with pytest.raises(FrameError, match="outside its type"):
        decode_columns(declared, arrivals + np.array([70_000], "<u4").tobytes(), [1])


def test_columns_of_several_flushes_are_joined() -> None:
    data = b"".join(np.array(part, "<i8").tobytes() for part in ([1, 2], [10, 20], [3], [30]))

    columns = decode_columns([("arrival_ns", "<i8"), ("request_ns", "<i8")], data, [2, 1])

    assert (columns["arrival_ns"].tolist(), columns["request_ns"].tolist()) == ([1, 2, 3], [10, 20, 30])


def test_columns_that_do_not_fit_are_damage() -> None:
    with pytest.raises(FrameError, match="fit"):
        decode_columns([("arrival_ns", "<i8")], bytes(15), [2])


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
    ):
        with pytest.raises(ValueError, match=r"head|bod|chunk"):
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
