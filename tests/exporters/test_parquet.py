"""What is written is read back by DuckDB and by pandas, and compared with the columns of the capture."""

import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd  # type: ignore[import-untyped] # it has no stubs here
import pyarrow.parquet as pq  # type: ignore[import-untyped] # it has no stubs
import pytest

from captures.batches import batch_of
from captures.columns import COLUMNS, NAME_COLUMNS, Batch
from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.exporters import feature_columns, parquet
from captures.exporters.parquet import FLAG_COLUMNS, ParquetExporter
from captures.reader import Capture
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges, example_header

WALL_NS = example_header().wall_ns


def exchange(
    request: str | bytes = b"{}",
    response: str | bytes = b"{}",
    *,
    codec: str = "oip-v2",
    at_ns: int = 0,
    **changes: Any,
) -> Exchange:
    sent = request.encode() if isinstance(request, str) else request
    got = response.encode() if isinstance(response, str) else response
    plain = example_exchange(arrival_ns=at_ns, codec=codec, **changes)
    assert plain.response is not None
    return replace(
        plain,
        request=replace(plain.request, chunks=(Chunk(at_ns + 100_000, sent),), size=len(sent)),
        response=replace(plain.response, chunks=(Chunk(at_ns + 5_000_000, got),), size=len(got)),
    )


def tensor(name: str, data: object, shape: list[int], datatype: str = "FP64") -> dict[str, object]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def inputs(*tensors: dict[str, object]) -> str:
    return json.dumps({"inputs": tensors})


def outputs(*tensors: dict[str, object]) -> str:
    return json.dumps({"outputs": tensors})


def written(capture: Capture, exporter: ParquetExporter | None = None) -> tuple[bytes, dict[str, int]]:
    losses: dict[str, int] = {}
    return b"".join((exporter or ParquetExporter()).write_capture(capture, losses)), losses


def table(exchanges: list[Exchange], exporter: ParquetExporter | None = None, **header: Any) -> pd.DataFrame:
    with capture_of(capture_bytes([exchanges], **header)) as capture:
        return pd.read_parquet(io.BytesIO(written(capture, exporter)[0]))


ODD = [
    example_exchange(arrival_ns=5, labels=(("region", "eu"), ("tier", "gold"))),
    example_exchange(
        arrival_ns=9, response=None, failure=Failure(FailureKind.TIMEOUT, 20), session=2**64 - 1, flags=Flags.STREAM
    ),
    Exchange(arrival_ns=2**40, request=Request(method="GET", target="/v2/health/live", end_ns=2**40)),
    replace(
        example_exchange(arrival_ns=11, labels=(("region", "us"),)),
        origin=Origin(row=3, source=1, variant=2, target="candidate", attempt=2, intended_ns=8),
        route="POST /predict",
        codec="other",
        model="",
        flags=Flags(0xFFF),
    ),
]


@cache
def data_of_many_segments() -> bytes:
    return capture_bytes([ODD, example_exchanges(40)], segment_bytes=1, labels=("region", "tier"))


@pytest.fixture
def capture() -> Iterator[Capture]:
    with capture_of(data_of_many_segments()) as found:
        yield found


def expected(batch: Batch, name: str) -> list[object]:
    """What a cell should be, by the rules in docs/importing.md and not by the code."""
    values: list[Any] = batch.columns[name].tolist()
    absent = {column.name: column.absent for column in COLUMNS}
    if name in NAME_COLUMNS or name.startswith("label."):
        return [batch.names[value] or None for value in values]
    if name == "failure":
        return [FailureKind(value).name.lower() if value else None for value in values]
    if absent[name] == -1:
        return [None if value == -1 else value for value in values]
    return [value or None for value in values] if name in ("status", "connection") else values


def test_duckdb_reads_every_column_as_the_capture_has_it(capture: Capture, tmp_path: Path) -> None:
    file = tmp_path / "columns.parquet"
    file.write_bytes(written(capture)[0])
    batch = capture.columns()

    for name in [*(column.name for column in COLUMNS), "label.region", "label.tier"]:
        with duckdb.connect() as connection:
            found = connection.execute(f"select \"{name}\" from '{file}' order by ordinal").fetchall()
        assert [row[0] for row in found] == expected(batch, name), name


def test_pandas_reads_every_column_as_the_capture_has_it(capture: Capture) -> None:
    frame = pd.read_parquet(io.BytesIO(written(capture)[0]))
    batch = capture.columns()

    for name in [*(column.name for column in COLUMNS), "label.region", "label.tier"]:
        found = [None if pd.isna(value) else value for value in frame[name].tolist()]
        assert found == expected(batch, name), name


def test_sessions_keep_all_their_bits_in_pandas(capture: Capture) -> None:
    frame = pd.read_parquet(io.BytesIO(written(capture)[0]))

    assert frame["session"].dtype == np.uint64
    assert frame["session"][1] == 2**64 - 1


def test_arrival_is_a_time_of_the_wall_clock(capture: Capture) -> None:
    frame = pd.read_parquet(io.BytesIO(written(capture)[0]))

    assert str(frame["arrival"].dtype) == "datetime64[ns, UTC]"
    assert frame["arrival"].astype("int64").tolist() == (capture.columns().columns["arrival_ns"] + WALL_NS).tolist()


def test_ordinals_are_those_of_the_capture(capture: Capture) -> None:
    frame = pd.read_parquet(io.BytesIO(written(capture)[0]))

    assert frame["ordinal"].tolist() == list(range(len(capture)))


def test_each_flag_is_a_column(capture: Capture) -> None:
    frame = pd.read_parquet(io.BytesIO(written(capture)[0]))
    flags = capture.columns().columns["flags"].astype(np.int64)

    assert set(FLAG_COLUMNS) == {str(flag.name).lower() for flag in Flags}
    for name, flag in FLAG_COLUMNS.items():
        assert frame[name].tolist() == ((flags & int(flag)) != 0).tolist()


def test_no_two_columns_share_a_name() -> None:
    names = list(
        table(example_exchanges(1), ParquetExporter(tensors=True, bodies=True), labels=("stream", "status")).columns
    )

    assert len(names) == len({name.lower() for name in names})


def test_names_are_dictionaries_in_the_file(capture: Capture) -> None:
    schema = pq.read_schema(io.BytesIO(written(capture)[0]))

    assert {str(schema.field(name).type) for name in (*NAME_COLUMNS, "failure", "label.region")} == {
        "dictionary<values=string, indices=int32, ordered=0>"
    }


def test_the_file_says_which_recording_it_is(capture: Capture) -> None:
    about = json.loads(pq.read_schema(io.BytesIO(written(capture)[0])).metadata[b"shadowtape"])

    assert about["recording_id"] == capture.header.recording_id.hex()
    assert about["wall_ns"] == WALL_NS


def test_the_general_door_writes_the_same_table(capture: Capture) -> None:
    losses: dict[str, int] = {}
    pieces = ParquetExporter().write(capture.header, capture.exchanges(), losses)

    pd.testing.assert_frame_equal(
        pd.read_parquet(io.BytesIO(b"".join(pieces))), pd.read_parquet(io.BytesIO(written(capture)[0]))
    )
    assert losses == written(capture)[1]


def test_what_is_lost_is_counted(capture: Capture) -> None:
    streamed = example_exchange()
    assert streamed.response is not None
    chunks = (Chunk(2_000_000, b"a"), Chunk(3_000_000, b"b"))
    streamed = replace(streamed, response=replace(streamed.response, chunks=chunks, size=2))
    with capture_of(capture_bytes([[streamed, ODD[2]]])) as small:
        assert written(small)[1] == {"heads": 2, "bodies": 1, "chunk_times": 1}
        assert written(small, ParquetExporter(bodies=True))[1] == {"heads": 2, "chunk_times": 1}


def test_bodies_are_bytes_on_request_only(capture: Capture) -> None:
    labels = ("region", "tier")
    plain, full = table(ODD, labels=labels), table(ODD, ParquetExporter(bodies=True), labels=labels)

    assert "request_body" not in plain
    assert full["request_body"][0] == ODD[0].request.body
    assert full["response_body"].isna().tolist() == [False, True, True, False]


def test_features_and_predictions_are_columns() -> None:
    frame = table(
        [
            exchange(
                inputs(
                    tensor("MedInc", [1.5], [1]),
                    tensor("Age", [41], [1, 1], "INT64"),
                    tensor("new", [True], [1], "BOOL"),
                ),
                outputs(tensor("score", [0.25], [1]), tensor("label", ["yes"], [1], "BYTES")),
                at_ns=each,
            )
            for each in range(2)
        ],
        ParquetExporter(tensors=True),
    )

    columns = frame.filter(regex=r"^(request|response)\.")
    assert columns.iloc[1].to_dict() == {
        "request.MedInc": 1.5,
        "request.Age": 41,
        "request.new": True,
        "response.score": 0.25,
        "response.label": "yes",
    }
    assert [str(kind) for kind in columns.dtypes] == ["float64", "int64", "bool", "float64", "object"]


def test_a_matrix_is_a_column_per_feature_and_batches_are_lists(tmp_path: Path) -> None:
    frame = table(
        [
            exchange(inputs(tensor("x", [1.0, 2.0, 3.0, 4.0], [2, 2]))),
            exchange(inputs(tensor("x", [5.0, 6.0], [1, 2])), at_ns=1),
        ],
        ParquetExporter(tensors=True),
    )

    assert [list(cell) for cell in frame["request.x[0]"]] == [[1.0, 3.0], [5.0]]
    assert [list(cell) for cell in frame["request.x[1]"]] == [[2.0, 4.0], [6.0]]


def test_duckdb_computes_on_lists_and_values(tmp_path: Path) -> None:
    both = [
        exchange(inputs(tensor("x", [1.0, 2.0], [2])), outputs(tensor("y", [each], [1])), at_ns=each)
        for each in range(4)
    ]
    with capture_of(capture_bytes([both])) as capture:
        (tmp_path / "t.parquet").write_bytes(written(capture, ParquetExporter(tensors=True))[0])
    with duckdb.connect() as connection:
        found = connection.execute(
            f'select list_sum("request.x"), "response.y" from \'{tmp_path / "t.parquet"}\' order by arrival'
        ).fetchall()

    assert found == [(3.0, 0.0), (3.0, 1.0), (3.0, 2.0), (3.0, 3.0)]


def test_routes_with_other_features_have_nulls_in_each_others_columns() -> None:
    frame = table(
        [
            exchange(inputs(tensor("a", [1], [1], "INT64"))),
            exchange(b'{"instances":[{"b":2}]}', b'{"predictions":[3]}', codec="kserve-v1", at_ns=1),
            exchange(b"what", b"ever", codec="opaque", at_ns=2),
            exchange(b"what", b"ever", codec="of a machine with more plugins", at_ns=3),
        ],
        ParquetExporter(tensors=True),
    )

    assert frame["request.a"].isna().tolist() == [False, True, True, True]
    assert frame["request.b"].isna().tolist() == [True, False, True, True]
    assert frame.filter(regex=r"^response[.[]").iloc[1].tolist() == [3]


@pytest.mark.parametrize(
    ("one", "other", "kind", "cells"),
    [
        (tensor("x", [1], [1], "INT64"), tensor("x", [0.5], [1]), "double", [1.0, 0.5]),
        (tensor("x", [True], [1], "BOOL"), tensor("x", [2], [1], "INT8"), "int64", [1, 2]),
        (tensor("x", [2**64 - 1], [1], "UINT64"), tensor("x", [7], [1], "UINT8"), "uint64", [2**64 - 1, 7]),
        (tensor("x", [1], [1], "UINT8"), tensor("x", [-1], [1], "INT8"), "double", [1.0, -1.0]),
        (tensor("x", [1], [1], "INT64"), tensor("x", ["a"], [1], "BYTES"), "string", ["1", "a"]),
    ],
)
def test_a_column_takes_the_type_that_holds_all_its_values(
    one: dict[str, object], other: dict[str, object], kind: str, cells: list[object]
) -> None:
    with capture_of(capture_bytes([[exchange(inputs(one)), exchange(inputs(other), at_ns=1)]])) as capture:
        found = pq.read_table(io.BytesIO(written(capture, ParquetExporter(tensors=True))[0]))

    assert str(found.schema.field("request.x").type) == kind
    assert found.column("request.x").to_pylist() == cells


def test_bodies_that_were_not_decoded_are_counted() -> None:
    image = inputs(tensor("image", [1.0], [1, 1, 1]))
    given = [
        exchange(inputs(tensor("x", [1.0], [1])), outputs(tensor("y", [1.0], [1]))),
        exchange(b"not JSON", outputs(tensor("y", [1.0], [1])), at_ns=1),
        exchange(image, outputs(tensor("y", [1.0], [1])), at_ns=2),
        exchange(
            inputs(tensor("x", [1.0], [1])), outputs(tensor("y", [1.0], [1])), flags=Flags.REQUEST_TRUNCATED, at_ns=3
        ),
    ]
    with capture_of(capture_bytes([given])) as capture:
        data, losses = written(capture, ParquetExporter(tensors=True))

    assert losses["bodies"] == 3
    assert pd.read_parquet(io.BytesIO(data))["request.x"].isna().tolist() == [False, True, True, True]


def test_empty_tensors_odd_names_and_surrogates_are_no_trouble() -> None:
    frame = table(
        [
            exchange(inputs(tensor("x", [], [0, 3]), tensor("\udc80\0", [1.0], [1]), tensor("", [float("nan")], [1]))),
            exchange(inputs(tensor("x", ["\ud800"], [1], "BYTES"), tensor("x", [float("nan")], [1])), at_ns=1),
        ],
        ParquetExporter(tensors=True),
    )

    assert sorted(frame.filter(regex="^request[.[]").columns) == ["request.??", "request.x", "request[0]"]
    assert frame["request.x"].tolist() == [None, "?"]


def test_columns_beyond_the_most_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_columns, "MOST_COLUMNS", 2)
    wide = [exchange(inputs(tensor("x", [1.0, 2.0, 3.0], [1, 3])), at_ns=each) for each in range(5)]
    with capture_of(capture_bytes([wide])) as capture:
        data, losses = written(capture, ParquetExporter(tensors=True))

    assert losses["tensor_columns"] == 5
    assert list(pd.read_parquet(io.BytesIO(data)).filter(regex="^request").columns[-2:]) == [
        "request.x[0]",
        "request.x[1]",
    ]


def test_tensors_need_a_capture_that_can_be_read_twice() -> None:
    with pytest.raises(ValueError, match="write_capture"):
        ParquetExporter(tensors=True).write(example_header(), [], {})


def test_an_empty_capture_is_an_empty_table() -> None:
    frame = table([], ParquetExporter(tensors=True, bodies=True), labels=("region",))

    assert len(frame) == 0
    assert {"arrival", "label.region", "request_body"} <= set(frame.columns)


@pytest.mark.parametrize("wall_ns", [2**62 - 1, 1 - 2**62])
def test_the_first_and_the_last_clock_a_header_may_have_give_arrivals(wall_ns: int) -> None:
    losses: dict[str, int] = {}
    header = replace(example_header(), wall_ns=wall_ns)
    data = b"".join(ParquetExporter().write(header, example_exchanges(2), losses))

    frame = pd.read_parquet(io.BytesIO(data))
    assert frame["arrival"].astype("int64").tolist() == [wall_ns, wall_ns + 1_000_000]
    assert "arrivals" not in losses


def test_it_is_written_in_row_groups_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 100)
    monkeypatch.setattr(parquet, "_TOGETHER", 10)
    pieces = list(ParquetExporter().write(example_header(), example_exchanges(350), {}))
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))

    assert len(pieces) == 4
    assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [100, 100, 100, 50]


def test_small_segments_make_one_table(capture: Capture) -> None:
    assert len(capture.segments) > 10
    assert pq.ParquetFile(io.BytesIO(written(capture)[0])).metadata.num_row_groups == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow's own memory is not traced: it is asked."""
    import pyarrow as pa

    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 1_000)
    body = inputs(tensor("x", [1.0] * 500, [500]))
    one = exchange(body)

    def peak(count: int) -> int:
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        most = 0
        try:
            for _ in ParquetExporter().write(example_header(), (one for _ in range(count)), {}):
                most = max(most, pa.total_allocated_bytes() - before)
            return tracemalloc.get_traced_memory()[1] + most
        finally:
            tracemalloc.stop()

    assert peak(20_000) < 2 * peak(4_000)


def test_missing_pyarrow_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UsageError, match=r"pip install 'shadowtape\[parquet\]'") as error:
        ParquetExporter().write(example_header(), [], {})
    assert "\n" not in str(error.value)


def test_every_response_status_and_size_survives() -> None:
    """A batch is not made from exchanges where columns are at hand: both ways give one table."""
    batch = batch_of([example_exchange(response=Response(status=503, end_ns=2_000_000))])

    assert (
        table([example_exchange(response=Response(status=503, end_ns=2_000_000))])["status"].tolist()
        == batch.columns["status"].tolist()
    )
