"""Batches -> the pieces of a segment. Pure: how columns, names, heads, chunks and bodies are laid out (docs/format.md, "Flush"),
and nothing of where pieces stand in a file.
"""

from collections.abc import Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.batches import EMPTY_HEAD, chunk_counts, chunks_cover, full_columns, is_name_column
from captures.columns import COLUMNS, Batch, Columns, Head
from captures.compression import Stream
from captures.frame import CHUNK_SIZE, STREAM_KINDS, Kind, pack_piece


class SegmentEncoder:
    """The streams and the name table of the segment being written. ``size``: raw bytes of heads, chunks and bodies so far."""

    def __init__(self, level: int, labels: Sequence[str] = ()) -> None:
        """``labels``: the label columns this segment declares, as they are named in its start."""
        self._labels = tuple(labels)
        self._streams = {kind: Stream(level) for kind in STREAM_KINDS}
        self._names: dict[str, int] = {"": 0}
        self._columns: list[Columns] = []
        self._chunks: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.exchanges = 0

    def add(self, batch: Batch) -> Columns:
        """The columns as they will be written, names mapped. The batch has passed `check_batch`."""
        columns = full_columns(batch, self._labels)
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
        for name in (*(column.name for column in COLUMNS), *self._labels):
            for columns in self._columns:
                self._streams[Kind.COLUMNS].add(columns[name].tobytes())
        for side in (0, 1):
            self._streams[Kind.CHUNKS].add(b"".join(chunks[side] for chunks in self._chunks))
        self._columns, self._chunks = [], []
        cuts = [(kind, *stream.cut()) for kind, stream in self._streams.items()]
        return [pack_piece(kind, stored, raw=raw) for kind, stored, raw in cuts if raw]

    def _map_names(self, names: Sequence[str], columns: Columns) -> Columns:
        # Only names that this batch uses: a slice of a long batch does not drag the others along.
        used = np.unique(np.concatenate([columns[name] for name in columns if is_name_column(name)]))
        table = np.zeros(max(len(names), 1), dtype="<u4")
        for index in used.tolist():
            name = names[index] if names else ""
            if name not in self._names:
                self._names[name] = len(self._names)
                self._streams[Kind.NAMES].add(msgpack.packb(name, unicode_errors="surrogatepass"))
            table[index] = self._names[name]
        return columns | {name: table[values] for name, values in columns.items() if is_name_column(name)}


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
    if not chunks_cover(columns, batch.chunk_bytes):
        raise ValueError("the chunks of a body do not add up to it")


def sizes(batch: Batch) -> NDArray[np.int64]:
    """Raw bytes of each exchange's bodies, chunks and, roughly, head: what segments are cut by."""
    columns = full_columns(batch)
    total: NDArray[np.int64] = columns["request_kept"].astype(np.int64) + columns["response_kept"].astype(np.int64)
    total += CHUNK_SIZE * chunk_counts(batch)
    if batch.heads:
        total += np.array([_head_size(head) for head in batch.heads], dtype=np.int64)
    return total


def _pack_head(head: Head) -> bytes:
    request = [text for pair in head.request_headers for text in pair]
    response = [text for pair in head.response_headers for text in pair]
    record = (head.target, head.http_version, request, head.reason, response, head.failure_detail)
    packed: bytes = msgpack.packb(record, unicode_errors="surrogatepass")
    return packed


def _head_size(head: Head) -> int:
    headers = head.request_headers + head.response_headers
    return len(head.target) + sum(len(name) + len(value) + 2 for name, value in headers) + 16
