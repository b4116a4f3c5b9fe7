"""The payloads of a segment -> columns, heads, chunks and bodies. Pure; raises FrameError and nothing else, whatever the bytes."""

import struct
from collections.abc import Callable, Mapping, Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.batches import are_times, chunks_cover, is_name_column, label_columns
from captures.columns import COLUMNS, HEAD_KEPT, LABEL_DTYPE, Column, Columns, Declared, Head
from captures.frame import CHUNK_SIZE, LIMITS, FrameError
from captures.index import Start
from captures.packed_heads import heads_within, plain_heads
from captures.planes import unpack

_GREAT = 2.0**63


def decode_columns(start: Start, data: bytes, counts: Sequence[int]) -> tuple[Columns, NDArray[np.generic] | None]:
    """Every column of COLUMNS and of the segment's labels over all flushes, and the bytes of each head (None: a segment of version
    1). ``counts``: exchanges of each flush. Raises FrameError.
    """
    found = unpack(start.columns, data, counts) if start.planes else _arrays(start.columns, data, counts)
    total = sum(counts)
    columns: Columns = {}
    labels = [Column(name, LABEL_DTYPE, "label") for name in label_columns(found)]
    for column in (*COLUMNS, *labels):
        if column.name in found:
            columns[column.name] = _as_declared(found[column.name], column.dtype)
        else:
            columns[column.name] = np.full(total, column.absent, dtype=column.dtype)
    if not are_times(columns):
        raise FrameError("a time is before its exchange's arrival, or beyond the limit")
    if not start.planes:
        return columns, None
    if HEAD_KEPT.name not in found:
        raise FrameError("a segment does not say how long its heads are")
    return columns, _as_declared(found[HEAD_KEPT.name], HEAD_KEPT.dtype)


def _arrays(declared: Sequence[Declared], data: bytes, counts: Sequence[int]) -> Columns:
    """Version 1: the columns of a flush are arrays, one after the other. Raises FrameError."""
    dtypes = [(column.name, np.dtype(column.dtype)) for column in declared]
    if len(data) != sum(counts) * sum(dtype.itemsize for _, dtype in dtypes):
        raise FrameError("columns do not fit their exchanges")
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _ in dtypes}
    offset = 0
    for count in counts:
        for name, dtype in dtypes:
            parts[name].append(np.frombuffer(data, dtype, count, offset))
            offset += count * dtype.itemsize
    return {name: _joined(each) for name, each in parts.items()}


def decode_messages(
    data: bytes, columns: Columns, head_kept: NDArray[np.generic], *, bodies: bool
) -> tuple[Sequence[Head], list[bytes]]:
    """Heads, and request and response bodies in turn where ``bodies`` are wanted. Raises FrameError."""
    sizes = np.stack([head_kept, columns["request_kept"], columns["response_kept"]], axis=1).astype(np.int64).ravel()
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    if int(bounds[-1]) != len(data):
        raise FrameError("messages do not fit their exchanges")
    _check_heads(int(head_kept.astype(np.int64).sum()))
    lows, highs = bounds[:-1].reshape(-1, 3), bounds[1:].reshape(-1, 3)
    heads: Sequence[Head] | None = heads_within(data, lows[:, 0], highs[:, 0])
    if heads is None:
        heads = [
            _only_head(data[low:high]) for low, high in zip(lows[:, 0].tolist(), highs[:, 0].tolist(), strict=True)
        ]
    if not bodies:
        return heads, []
    ends = zip(lows[:, 1:].ravel().tolist(), highs[:, 1:].ravel().tolist(), strict=True)
    return heads, [data[low:high] for low, high in ends]


def _check_heads(size: int) -> None:
    """A head takes forty times the memory of its bytes. Raises FrameError."""
    if size > LIMITS["heads"]:
        raise FrameError(f"the heads of a segment are more bytes than the limit ({size})")


def _only_head(data: bytes) -> Head:
    """Raises FrameError."""
    found = _unpack_all(data, _head, 1)
    if len(found) != 1:
        raise FrameError("heads do not fit their exchanges")
    return found[0]


def decode_names(data: bytes, columns: Mapping[str, NDArray[np.generic]]) -> tuple[str, ...]:
    """The name table; checks that no column points outside it. Raises FrameError."""
    name_columns = list(filter(is_name_column, columns))
    names = ("", *_unpack_all(data, _text, len(name_columns) * len(columns["arrival_ns"])))
    for name in name_columns:
        if len(columns[name]) and int(columns[name].astype(np.int64).max()) >= len(names):
            raise FrameError("a column points outside the segment's names")
    return names


def decode_heads(data: bytes, n: int) -> Sequence[Head]:
    """Raises FrameError."""
    _check_heads(len(data))
    packed = plain_heads(data, n)
    if packed is not None:
        return packed
    heads = _unpack_all(data, _head, n)
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
    if not chunks_cover(columns, sizes):
        raise FrameError("the chunks of a body do not add up to it")
    return since_zero(columns, since), sizes


def since_zero(columns: Columns, since_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of chunks from the capture's zero, out of those from their exchange's arrival. Raises FrameError."""
    per_exchange = columns["request_chunks"].astype(np.int64) + columns["response_chunks"].astype(np.int64)
    at_ns = since_ns + np.repeat(columns["arrival_ns"].astype(np.int64), per_exchange)
    if not are_times(columns, at_ns):
        raise FrameError("the time of a chunk is beyond the limit")
    return at_ns


def decode_bodies(data: bytes, columns: Columns) -> list[bytes]:
    """Raises FrameError."""
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel()
    ends = np.cumsum(kept, dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(data):
        raise FrameError("bodies do not fit their exchanges")
    return [data[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]


def _joined(parts: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0)


def _as_declared(values: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
    if values.dtype == np.dtype(dtype):
        return values
    with np.errstate(invalid="ignore"):
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
        converted = values.astype(dtype)
    # What a float becomes that is too great for an integer is the machine's choice.
    integral = values.dtype.kind != "f" or bool(np.all(np.abs(values) < _GREAT))
    if not (integral and np.array_equal(converted, values)):
        raise FrameError("a column holds values outside its type")
    return converted


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


def _unpack_all[T](data: bytes, convert: Callable[[object], T], most: int) -> list[T]:
    """All of them; there are no more than ``most``. Raises FrameError."""
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(data), 1), unicode_errors="surrogatepass")
    unpacker.feed(data)
    found: list[T] = []
    try:
        while unpacker.tell() < len(data):
            if len(found) == most:
                raise FrameError("a segment has more names or heads than its exchanges can have")
            found.append(convert(unpacker.unpack()))
    except (ValueError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise error if isinstance(error, FrameError) else FrameError("a record is not one") from error
    return found
