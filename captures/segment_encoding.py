"""Batches -> the payloads of a segment. Pure: how columns, names, heads, chunks and bodies are laid out (docs/format.md, "Flush"),
and nothing of where pieces stand in a file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.batches import (
    EMPTY_HEAD,
    are_times,
    chunk_counts,
    chunks_cover,
    full_columns,
    is_name_column,
    label_columns,
)
from captures.chunk_rows import pack_chunks
from captures.columns import HEAD_KEPT, LABEL_PREFIX, Batch, Columns, Head
from captures.compression import Stream, stream
from captures.frame import CHUNK_SIZE, Kind
from captures.index import start_of
from captures.planes import pack

# A header of few fields is flattened fastest by adding its pairs up; the cost grows with the square of their number.
_FEW_FIELDS = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as it will be written, but for its names. ``chunk_ends``: where each exchange's chunks end, from 0. ``sizes``: raw
    bytes of each exchange's head, chunks and bodies, what segments are cut by.
    """

    columns: Columns
    names: Sequence[str]
    heads: Sequence[bytes]
    bodies: Sequence[bytes]
    chunk_at_ns: NDArray[np.int64]  # from the exchange's arrival
    chunk_bytes: NDArray[np.uint32]
    chunk_ends: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)


def prepare(batch: Batch, labels: Sequence[str] = ()) -> Prepared:
    """``labels``: the label columns that may be written. Raises ValueError where the batch contradicts itself or has another label,
    before anything of it is written.
    """
    undeclared = set(label_columns(batch.columns)) - set(labels)
    if undeclared:
        names = ", ".join(sorted(name.removeprefix(LABEL_PREFIX) for name in undeclared))
        raise ValueError(f"labels that the header does not declare: {names}")
    columns = full_columns(batch, labels)
    counts = chunk_counts(batch)
    _check(batch, columns, counts)
    heads = _pack_heads(batch.heads) if batch.heads else _pack_heads([EMPTY_HEAD]) * len(batch)
    sizes = columns["request_kept"].astype(np.int64) + columns["response_kept"].astype(np.int64) + CHUNK_SIZE * counts
    sizes += np.fromiter(map(len, heads), np.int64, len(heads))
    return Prepared(
        columns=columns,
        names=batch.names or ("",),
        heads=heads,
        bodies=batch.bodies,
        chunk_at_ns=batch.chunk_at_ns - np.repeat(columns["arrival_ns"].astype(np.int64), counts),
        chunk_bytes=batch.chunk_bytes,
        chunk_ends=np.concatenate(([0], np.cumsum(counts))),
        sizes=sizes,
    )


class SegmentEncoder:
    """What was taken since the last cut, the streams and the name table of the segment being written. ``size``: raw bytes of heads,
    chunks and bodies so far.
    """

    def __init__(self, labels: Sequence[str] = ()) -> None:
        """``labels``: the label columns this segment declares, as they are named in its start."""
        self._streams: dict[Kind, Stream] = {}
        self._names: dict[str, int] = {"": 0}
        self._new_names: list[str] = []
        self._declared = start_of(0, 0, labels).columns
        self._last: dict[str, int] = {}  # values of the last row, see `planes.pack`
        self._columns: list[Columns] = []
        self._heads: list[bytes] = []
        self._chunks: list[tuple[NDArray[np.int64], NDArray[np.uint32]]] = []
        self._bodies: list[bytes] = []
        self.size = 0
        self.exchanges = 0

    def add(self, batch: Prepared, start: int, stop: int) -> None:
        """Take these rows of a batch that is not empty."""
        columns = {name: values[start:stop] for name, values in batch.columns.items()}
        self._columns.append(columns | self._map_names(batch.names, columns))
        self._heads += batch.heads[start:stop]
        self._bodies += batch.bodies[2 * start : 2 * stop]
        chunks = slice(batch.chunk_ends[start], batch.chunk_ends[stop])
        self._chunks.append((batch.chunk_at_ns[chunks], batch.chunk_bytes[chunks]))
        self.size += int(batch.sizes[start:stop].sum())
        self.exchanges += stop - start

    def cut(self, *, small: bool) -> list[tuple[Kind, bytes, int]]:
        """The pieces of a flush, without its commit: kind, payload, raw length. ``small``: whether bytes matter more than time, in
        the streams that begin now.
        """
        parts: dict[Kind, bytes] = {}
        if self._columns:
            columns = {name: np.concatenate([each[name] for each in self._columns]) for name in self._columns[0]}
            columns[HEAD_KEPT.name] = np.fromiter(map(len, self._heads), np.uint32, len(self._heads))
            times, sizes = (np.concatenate(side) for side in zip(*self._chunks, strict=True))
            parts = {
                Kind.COLUMNS: pack(self._declared, columns, self._last),
                Kind.NAMES: b"".join(msgpack.packb(name, unicode_errors="surrogatepass") for name in self._new_names),
                Kind.CHUNKS: pack_chunks(columns, times, sizes),
                Kind.MESSAGES: b"".join(_messages(self._heads, self._bodies)),
            }
        self._new_names, self._columns, self._heads, self._chunks, self._bodies = [], [], [], [], []
        cuts = []
        for kind, data in parts.items():
            if data:
                if kind not in self._streams:
                    self._streams[kind] = stream(kind, small=small)
                cuts.append((kind, self._streams[kind].cut(data), len(data)))
        return cuts

    def _map_names(self, names: Sequence[str], columns: Columns) -> Columns:
        # Only names that this batch uses: a slice of a long batch does not drag the others along.
        cells = {name: values.astype(np.int64) for name, values in columns.items() if is_name_column(name)}
        table = np.zeros(len(names), dtype="<u4")
        for index in np.flatnonzero(np.bincount(np.concatenate(list(cells.values())))).tolist():
            name = names[index]
            if name not in self._names:
                self._names[name] = len(self._names)
                self._new_names.append(name)
            table[index] = self._names[name]
        return {name: table[values] for name, values in cells.items()}


def _messages(heads: Sequence[bytes], bodies: Sequence[bytes]) -> Iterator[bytes]:
    """Head, request body, response body of each exchange: what shares ids stands together."""
    return chain.from_iterable(zip(heads, bodies[::2], bodies[1::2], strict=True)) if bodies else iter(heads)


def _check(batch: Batch, columns: Columns, counts: NDArray[np.int64]) -> None:
    """Raises ValueError."""
    n = len(batch)
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel()
    if batch.heads and len(batch.heads) != n:
        raise ValueError("a batch has a head per exchange, or none")
    if (list(map(len, batch.bodies)) or [0] * (2 * n)) != kept.tolist():
        raise ValueError("bodies and the columns request_kept and response_kept differ")
    if not len(batch.chunk_at_ns) == len(batch.chunk_bytes) == int(counts.sum()):
        raise ValueError("chunks and the columns request_chunks and response_chunks differ")
    if not chunks_cover(columns, batch.chunk_bytes):
        raise ValueError("the chunks of a body do not add up to it")
    if not are_times(columns, batch.chunk_at_ns):
        raise ValueError("a time is before its exchange's arrival, or beyond the limit")


def _pack_heads(heads: Sequence[Head]) -> list[bytes]:
    records = [_record(head) for head in heads]
    try:
        return list(map(msgpack.Packer().pack, records))
    except UnicodeEncodeError:  # a lone surrogate somewhere; to allow for it costs every string a copy
        return list(map(msgpack.Packer(unicode_errors="surrogatepass").pack, records))


def _record(head: Head) -> tuple[object, ...]:
    request, response = _flat(head.request_headers), _flat(head.response_headers)
    return head.target, head.http_version, request, head.reason, response, head.failure_detail


def _flat(headers: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    if len(headers) < _FEW_FIELDS:
        empty: tuple[str, ...] = ()
        return sum(headers, empty)
    return tuple(chain.from_iterable(headers))
