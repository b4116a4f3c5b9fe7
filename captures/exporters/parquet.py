"""Captures as Parquet tables, one row per exchange, for DuckDB, pandas and whatever else reads columns. Needs pyarrow.

Every column of a capture under its own name, and ``arrival`` as a UTC time; what is absent is null, names are dictionaries of
strings, flags a column each. On request the numbers inside the bodies (see feature_columns.py), or the bodies themselves. Memory is
bounded by a segment and a row group.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import batched, count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captures.batches import batch_of, concat, full_columns, is_name_column
from captures.columns import COLUMNS, LABEL_PREFIX, Batch
from captures.errors import UsageError
from captures.exchange import Exchange, FailureKind, Flags
from captures.exporters.feature_columns import FeatureColumn, Kind, Survey, cells
from captures.header import Header

if TYPE_CHECKING:
    from captures.reader import Capture

ROWS_PER_GROUP = 1 << 16
ROWS_PER_GROUP_WITH_BODIES = 1 << 12
FLAG_COLUMNS: Mapping[str, Flags] = {str(flag.name).lower(): flag for flag in Flags}
BODY_COLUMNS = ("request_body", "response_body")
_TOGETHER = 1 << 10  # exchanges made into columns at a time
_BYTES_TOGETHER = 8 << 20  # of bodies
_NONE_IS_ZERO = ("status", "connection")


@dataclass(frozen=True, slots=True)
class ParquetExporter:
    """``tensors``: features and predictions of decoded bodies are columns too. ``bodies``: so are the bodies, as bytes.

    ``losses``: heads (request-target, headers, reason phrase), chunk_times, bodies (kept ones that are in no column, or not all of
    them is), tensor_columns (beyond the largest number of columns).
    """

    tensors: bool = False
    bodies: bool = False
    name: str = "parquet"
    suffixes: tuple[str, ...] = (".parquet",)

    def write(self, header: Header, exchanges: Iterable[Exchange], losses: dict[str, int]) -> Iterator[bytes]:
        """As every exporter; ``ordinal`` counts the exchanges given. Decoded tensors take two passes: `write_capture`.

        Raises UsageError: pyarrow is missing; ValueError: with ``tensors``.
        """
        if self.tensors:
            raise ValueError("the columns of tensors are not known before all of them were seen: use write_capture")
        _pyarrow()
        runs = batched(exchanges, _TOGETHER, strict=False)
        parts = ((i * _TOGETHER, batch_of(run)) for i, run in zip(count(), runs, strict=False))
        return self._table(header, parts, Survey(), losses)

    def write_capture(self, capture: "Capture", losses: dict[str, int]) -> Iterator[bytes]:
        """The same out of a capture that can be read twice, and much faster: without tensors and bodies it reads columns only.
        ``ordinal`` is that of the capture. Raises UsageError: pyarrow is missing.
        """
        _pyarrow()
        return self._both_passes(capture, losses)

    def _both_passes(self, capture: "Capture", losses: dict[str, int]) -> Iterator[bytes]:
        survey = Survey()
        if self.tensors:
            for _, batch in capture.batches():
                survey.add(batch)
        parts = capture.batches() if self.tensors or self.bodies else capture.parts()
        yield from self._table(capture.header, parts, survey, losses)

    def _table(
        self, header: Header, parts: Iterable[tuple[int, Batch]], survey: Survey, losses: dict[str, int]
    ) -> Iterator[bytes]:
        pa, pq = _pyarrow()
        shape = _Shape(pa, header, survey.columns, self.bodies)
        rows = ROWS_PER_GROUP_WITH_BODIES if self.bodies or self.tensors else ROWS_PER_GROUP
        _count(losses, "tensor_columns", survey.left_out)
        sink = _Sink()
        with pq.ParquetWriter(sink, shape.schema, compression="zstd") as writer:
            waiting: list[Any] = []
            for ordinals, batch in _together(parts):
                waiting.append(shape.table(ordinals, batch, losses))
                if sum(len(table) for table in waiting) >= rows:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
                    waiting = []
                    yield sink.take()
            if waiting:
                writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
        yield sink.take()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, for this format only; no stubs
        import pyarrow.parquet as pq  # type: ignore[import-untyped] # noqa: PLC0415 - of the same extra; no stubs
    except ImportError:
        raise UsageError("parquet needs pyarrow, which is not installed: pip install 'shadowtape[parquet]'") from None
    return pa, pq


def _together(parts: Iterable[tuple[int, Batch]]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(ordinals, exchanges) of parts that are worth the cost of a table: segments may be small and many."""
    ordinals: list[NDArray[np.int64]] = []
    waiting: list[Batch] = []
    rows = size = 0
    for first, batch in parts:
        ordinals.append(np.arange(first, first + len(batch), dtype=np.int64))
        waiting.append(batch)
        rows += len(batch)
        size += sum(map(len, batch.bodies))
        if rows >= _TOGETHER or size >= _BYTES_TOGETHER:
            yield np.concatenate(ordinals), concat(waiting)
            ordinals, waiting, rows, size = [], [], 0, 0
    if waiting:
        yield np.concatenate(ordinals), concat(waiting)


def _count(losses: dict[str, int], what: str, exchanges: int) -> None:
    if exchanges:
        losses[what] = losses.get(what, 0) + exchanges


@dataclass(slots=True)
class _Sink:
    """What pyarrow takes for a file; whoever writes the real one takes its bytes away as they come."""

    pieces: list[bytes] = field(default_factory=list)
    position: int = 0
    closed: bool = False

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.pieces.append(piece)
        self.position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


class _Shape:
    """The schema of a capture's table, and its rows."""

    def __init__(self, pa: Any, header: Header, features: Mapping[str, FeatureColumn], bodies: bool) -> None:
        self._pa, self._wall_ns, self._features, self._bodies = pa, header.wall_ns, features, bodies
        self._labels = [LABEL_PREFIX + label for label in header.labels]
        name = pa.dictionary(pa.int32(), pa.string())
        fields = [pa.field("ordinal", pa.int64(), False), pa.field("arrival", pa.timestamp("ns", tz="UTC"))]
        for column in COLUMNS:
            plain = pa.from_numpy_dtype(np.dtype(column.dtype))
            named = is_name_column(column.name) or column.name == "failure"
            fields.append(pa.field(column.name, name if named else plain))
        fields += [pa.field(flag, pa.bool_(), False) for flag in FLAG_COLUMNS]
        fields += [pa.field(label, name) for label in self._labels]
        fields += [pa.field(each, pa.binary()) for each in BODY_COLUMNS if bodies]
        fields += [pa.field(each, self._feature_type(column)) for each, column in features.items()]
        about = {
            "recording_id": header.recording_id.hex(),
            "wall_ns": header.wall_ns,
            "kind": header.kind,
            "producer": header.producer,
            "sampling_rate": header.sampling_rate,
            "policy_digest": header.policy_digest,
        }
        self.schema = pa.schema(fields, metadata={"shadowtape": json.dumps(about)})

    def table(self, ordinals: NDArray[np.int64], batch: Batch, losses: dict[str, int]) -> Any:
        pa, n = self._pa, len(batch)
        columns: Mapping[str, NDArray[Any]] = full_columns(batch)
        arrays = [pa.array(ordinals), self._arrival(columns["arrival_ns"])]
        arrays += [self._column(each.name, each.absent, columns[each.name], batch.names) for each in COLUMNS]
        arrays += [pa.array((columns["flags"] & int(flag)) != 0) for flag in FLAG_COLUMNS.values()]
        unlabelled = np.zeros(n, dtype=np.uint32)
        arrays += [self._names(columns.get(label, unlabelled), batch.names) for label in self._labels]
        lost = int(((columns["request_kept"] > 0) | (columns["response_kept"] > 0)).sum())
        if self._bodies:
            arrays += [pa.array([body or None for body in batch.bodies[side::2]], pa.binary()) for side in (0, 1)]
            lost = 0
        if self._features:
            found, undecoded = cells(batch, self._features)
            arrays += [pa.array(found[name], self._feature_type(column)) for name, column in self._features.items()]
            lost = min(lost, undecoded)
        _count(losses, "bodies", lost)
        _count(losses, "heads", n)
        _count(losses, "chunk_times", int(((columns["request_chunks"] > 1) | (columns["response_chunks"] > 1)).sum()))
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _arrival(self, arrival_ns: NDArray[Any]) -> Any:
        """Captures hold no time and no clock beyond 2^62 ns, so that their sum fits."""
        return self._pa.array(arrival_ns + self._wall_ns, self._pa.timestamp("ns", tz="UTC"))

    def _column(self, name: str, absent: int, values: NDArray[Any], names: tuple[str, ...]) -> Any:
        if is_name_column(name):
            return self._names(values, names)
        if name == "failure":
            kinds = tuple(FailureKind(i).name.lower() if i in FailureKind else f"failure_{i}" for i in range(256))
            return self._names(values, ("", *kinds[1:]))
        mask = values == absent if absent == -1 or name in _NONE_IS_ZERO else None
        return self._pa.array(values, mask=mask)

    def _names(self, values: NDArray[Any], names: tuple[str, ...]) -> Any:
        """The text of each index; null for "". The dictionary holds what occurs."""
        pa = self._pa
        used, indices = np.unique(values, return_inverse=True)
        texts = [names[index].encode(errors="replace").decode() for index in used.tolist()]
        empty = np.array([not text for text in texts], dtype=np.bool_)
        places = (np.cumsum(~empty) - 1).astype(np.int32)[indices]
        known = [text for text in texts if text]
        return pa.DictionaryArray.from_arrays(pa.array(places, mask=empty[indices]), pa.array(known, pa.string()))

    def _feature_type(self, column: FeatureColumn) -> Any:
        plain = self._pa.bool_() if column.kind is Kind.BOOL else getattr(self._pa, column.kind.value)()
        return self._pa.list_(plain) if column.many else plain
