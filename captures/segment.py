"""The contents of a segment: batches -> pieces, and payloads -> batches.

Pure. Knows how columns, names, heads, chunks and bodies are laid out (docs/format.md, "Flush"), and nothing of where pieces stand
in a file. Decoding raises FrameError and nothing else, whatever the bytes.
"""

import struct
from collections.abc import Callable, Mapping, Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.batches import EMPTY_HEAD, chunk_counts, full_columns
from captures.columns import COLUMNS, NAME_COLUMNS, Batch, Head
from captures.compression import Stream
from captures.frame import STREAM_KINDS, FrameError, Kind, pack_piece

CHUNK_SIZE = 12  # <i8 time, <u4 bytes

type Columns = dict[str, NDArray[np.generic]]


class SegmentEncoder:
    """The streams and the name table of the segment being written. ``size``: raw bytes of heads, chunks and bodies so far."""

    def __init__(self, level: int) -> None:
        self._streams = {kind: Stream(level) for kind in STREAM_KINDS}
        self._names: dict[str, int] = {"": 0}
        self._columns: list[Columns] = []
        self._chunks: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.exchanges = 0

    def add(self, batch: Batch) -> Columns:
        """The columns as they will be written, names mapped. The batch has passed `check_batch`."""
        columns = full_columns(batch)
        mapped = self._map_names(batch.names, columns)
        heads = b"".join(map(_pack_head, batch.heads)) if batch.heads else _pack_head(EMPTY_HEAD) * len(batch)
        bodies = b"".join(batch.bodies)
        arrivals = np.repeat(columns["arrival_ns"].astype(np.int64), chunk_counts(batch))
        times = batch.chunk_at_ns.astype("<i8") - arrivals
        self._streams[Kind.HEADS].add(heads)
        self._streams[Kind.BODIES].add(bodies)
        self._chunks.append((times.astype("<i8").tobytes(), batch.chunk_bytes.astype("<u4").tobytes()))
        self._columns.append(mapped)
        self.size += len(heads) + len(bodies) + CHUNK_SIZE * len(batch.chunk_at_ns)
        self.exchanges += len(batch)
        return mapped

    def cut(self) -> list[bytes]:
        """The pieces of a flush, without its commit."""
        for column in COLUMNS:
            for columns in self._columns:
                self._streams[Kind.COLUMNS].add(columns[column.name].tobytes())
        for side in (0, 1):
            self._streams[Kind.CHUNKS].add(b"".join(chunks[side] for chunks in self._chunks))
        self._columns, self._chunks = [], []
        cuts = [(kind, *stream.cut()) for kind, stream in self._streams.items()]
        return [pack_piece(kind, stored, raw=raw) for kind, stored, raw in cuts if raw]

    def _map_names(self, names: Sequence[str], columns: Columns) -> Columns:
        # Only names that this batch uses: a slice of a long batch does not drag the others along.
        used = np.unique(np.concatenate([columns[name] for name in NAME_COLUMNS]))
        table = np.zeros(max(len(names), 1), dtype="<u4")
        for index in used.tolist():
            name = names[index] if names else ""
            if name not in self._names:
                self._names[name] = len(self._names)
                self._streams[Kind.NAMES].add(msgpack.packb(name, unicode_errors="surrogatepass"))
            table[index] = self._names[name]
        return columns | {name: table[columns[name]] for name in NAME_COLUMNS}


def check_batch(batch: Batch) -> None:
    """Raises ValueError where a batch contradicts itself, before anything of it is written."""
    columns = full_columns(batch)
    n = len(batch)
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel()
    if batch.heads and len(batch.heads) != n:
        raise ValueError("a batch has a head per exchange, or none")
    if (list(map(len, batch.bodies)) or [0] * (2 * n)) != kept.tolist():
        raise ValueError("bodies and the columns request_kept and response_kept differ")
    if not len(batch.chunk_at_ns) == len(batch.chunk_bytes) == int(chunk_counts(batch).sum()):
        raise ValueError("chunks and the columns request_chunks and response_chunks differ")
    if not _chunks_cover(columns, batch.chunk_bytes):
        raise ValueError("the chunks of a body do not add up to it")


def sizes(batch: Batch) -> NDArray[np.int64]:
    """Raw bytes of each exchange's bodies, chunks and, roughly, head: what segments are cut by."""
    columns = full_columns(batch)
    total: NDArray[np.int64] = columns["request_kept"].astype(np.int64) + columns["response_kept"].astype(np.int64)
    total += CHUNK_SIZE * chunk_counts(batch)
    if batch.heads:
        total += np.array([_head_size(head) for head in batch.heads], dtype=np.int64)
    return total


def decode_columns(declared: Sequence[tuple[str, str]], data: bytes, counts: Sequence[int]) -> Columns:
    """Every column of COLUMNS over all flushes. ``counts``: exchanges of each flush. Raises FrameError."""
    dtypes = [(name, np.dtype(dtype)) for name, dtype in declared]
    if len(data) != sum(counts) * sum(dtype.itemsize for _, dtype in dtypes):
        raise FrameError("columns do not fit their exchanges")
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _ in dtypes}
    offset = 0
    for count in counts:
        for name, dtype in dtypes:
            parts[name].append(np.frombuffer(data, dtype, count, offset))
            offset += count * dtype.itemsize
    total = sum(counts)
    columns: Columns = {}
    for column in COLUMNS:
        if column.name in parts:
            columns[column.name] = _as_declared(
                np.concatenate(parts[column.name]) if counts else np.zeros(0), column.dtype
            )
        else:
            columns[column.name] = np.full(total, column.absent, dtype=column.dtype)
    return columns


def decode_names(data: bytes, columns: Mapping[str, NDArray[np.generic]]) -> tuple[str, ...]:
    """The name table; checks that no column points outside it. Raises FrameError."""
    names = ("", *_unpack_all(data, _text))
    for name in NAME_COLUMNS:
        if len(columns[name]) and int(columns[name].astype(np.int64).max()) >= len(names):
            raise FrameError("a column points outside the segment's names")
    return names


def decode_heads(data: bytes, n: int) -> list[Head]:
    """Raises FrameError."""
    heads = _unpack_all(data, _head)
    if len(heads) != n:
        raise FrameError("heads do not fit their exchanges")
    return heads


def decode_chunks(data: bytes, columns: Columns, counts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Times from the capture's zero, and bytes, of all chunks. Raises FrameError."""
    per_exchange = columns["request_chunks"].astype(np.int64) + columns["response_chunks"].astype(np.int64)
    if len(data) != CHUNK_SIZE * int(per_exchange.sum()):
        raise FrameError("chunks do not fit their exchanges")
    times, lengths, offset, row = [], [], 0, 0
    for count in counts:
        chunks = int(per_exchange[row : row + count].sum())
        times.append(np.frombuffer(data, "<i8", chunks, offset))
        lengths.append(np.frombuffer(data, "<u4", chunks, offset + 8 * chunks))
        offset, row = offset + CHUNK_SIZE * chunks, row + count
    since = np.concatenate([np.zeros(0, dtype=np.int64), *times])
    sizes = np.concatenate([np.zeros(0, dtype=np.uint32), *lengths])
    if not _chunks_cover(columns, sizes):
        raise FrameError("the chunks of a body do not add up to it")
    return since + np.repeat(columns["arrival_ns"].astype(np.int64), per_exchange), sizes


def decode_bodies(data: bytes, columns: Columns) -> list[bytes]:
    """Raises FrameError."""
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel().tolist()
    if sum(kept) != len(data):
        raise FrameError("bodies do not fit their exchanges")
    bodies, start = [], 0
    for size in kept:
        bodies.append(data[start : start + size])
        start += size
    return bodies


def _chunks_cover(columns: Columns, chunk_bytes: NDArray[np.uint32]) -> bool:
    """Whether the chunks of each side add up to what was kept of it; a side without chunks keeps nothing."""
    counts = np.stack([columns["request_chunks"], columns["response_chunks"]], axis=1).ravel().astype(np.int64)
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel().astype(np.int64)
    running = np.concatenate(([0], np.cumsum(chunk_bytes.astype(np.int64))))
    ends = np.cumsum(counts)
    return bool(np.array_equal(running[ends] - running[ends - counts], kept))


def _as_declared(values: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
    if values.dtype == np.dtype(dtype):
        return values
    with np.errstate(invalid="ignore"):
        converted = values.astype(dtype)
    if not np.array_equal(converted, values):
        raise FrameError("a column holds values outside its type")
    return converted


def _pack_head(head: Head) -> bytes:
    request = [text for pair in head.request_headers for text in pair]
    response = [text for pair in head.response_headers for text in pair]
    record = (head.target, head.http_version, request, head.reason, response, head.failure_detail)
    packed: bytes = msgpack.packb(record, unicode_errors="surrogatepass")
    return packed


def _head(record: object) -> Head:
    if not (isinstance(record, list) and len(record) >= 6):
        raise FrameError("a head is not one")
    target, version, request, reason, response, detail = record[:6]
    return Head(_text(target), _text(version), _pairs(request), _text(reason), _pairs(response), _text(detail))


def _pairs(flat: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(flat, list) or len(flat) % 2 or not all(type(text) is str for text in flat):
        raise FrameError("headers are not pairs of strings")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _text(item: object) -> str:
    if not isinstance(item, str):
        raise FrameError("a string is not one")
    return item


def _head_size(head: Head) -> int:
    headers = head.request_headers + head.response_headers
    return len(head.target) + sum(len(name) + len(value) + 2 for name, value in headers) + 16


def _unpack_all[T](data: bytes, convert: Callable[[object], T]) -> list[T]:
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(data), 1), unicode_errors="surrogatepass")
    unpacker.feed(data)
    found = []
    try:
        while unpacker.tell() < len(data):
            found.append(convert(unpacker.unpack()))
    except (ValueError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise error if isinstance(error, FrameError) else FrameError("a record is not one") from error
    return found
