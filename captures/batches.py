"""Between frozen nouns and columns: `batch_of` and `exchanges_of`, and what can be done to a `Batch` as a whole.

Pure and total for what the nouns promise; a batch that contradicts itself is a ``ValueError``.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.columns import COLUMNS, LABEL_DTYPE, LABEL_PREFIX, NAME_COLUMNS, Batch, Columns, Head
from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Labels, Origin, Request, Response
from captures.frame import LIMITS
from captures.makers import make_head

_NO_RESPONSE = Response(status=0)
_NO_ORIGIN = Origin(row=-1, source=-1, variant=0, target="", attempt=0, intended_ns=-1)
_NO_FAILURE = Failure(FailureKind.NONE, -1)
EMPTY_HEAD = Head("", "HTTP/1.1", (), "", (), "")


def batch_of(exchanges: Sequence[Exchange]) -> Batch:
    """Raises ValueError: a time before its exchange's arrival, a response without a status."""
    names: dict[str, int] = {"": 0}
    rows: list[tuple[int, ...]] = []
    heads: list[Head] = []
    bodies: list[bytes] = []
    chunks: list[Chunk] = []
    for exchange in exchanges:
        request, response = exchange.request, exchange.response or _NO_RESPONSE
        sent, got = _joined(request.chunks), _joined(response.chunks)
        rows.append(_row(exchange, request, response, len(sent), len(got), names))
        heads.append(_head(exchange, request, response))
        bodies.append(sent)
        bodies.append(got)
        chunks += request.chunks
        chunks += response.chunks
    columns = {
        column.name: np.array(values, dtype=column.dtype)
        for column, values in zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True)
    }
    labels = [dict(exchange.labels) for exchange in exchanges]
    for label in sorted({label for each in labels for label in each}):
        values = [names.setdefault(each.get(label, ""), len(names)) for each in labels]
        columns[LABEL_PREFIX + label] = np.array(values, dtype=LABEL_DTYPE)
    return Batch(
        columns=columns,
        names=tuple(names),
        heads=heads,
        chunk_at_ns=np.array([chunk.at_ns for chunk in chunks], dtype=np.int64),
        chunk_bytes=np.array([len(chunk.data) for chunk in chunks], dtype=np.uint32),
        bodies=bodies,
    )


def exchanges_of(batch: Batch) -> list[Exchange]:
    """The exchanges of a batch. Where it was read without bodies, chunks keep their times and have no data."""
    n = len(batch)
    columns = {name: values.tolist() for name, values in batch.columns.items()}
    rows = zip(*(columns.get(column.name, [column.absent] * n) for column in COLUMNS), strict=True)
    labels = [(name.removeprefix(LABEL_PREFIX), columns[name]) for name in label_columns(batch.columns)]
    heads = batch.heads or [EMPTY_HEAD] * n
    at_ns, sizes = batch.chunk_at_ns.tolist(), batch.chunk_bytes.tolist()
    found, chunk = [], 0
    for i, (row, head) in enumerate(zip(rows, heads, strict=True)):
        cell = dict(zip(_COLUMN_NAMES, row, strict=True))
        sides = []
        for side, count in enumerate((cell["request_chunks"], cell["response_chunks"]) if at_ns else (0, 0)):
            body = batch.bodies[2 * i + side] if batch.bodies else b""
            sides.append(_cut(body, at_ns[chunk : chunk + count], sizes[chunk : chunk + count]))
            chunk += count
        labelled = tuple((name, batch.names[values[i]]) for name, values in labels if values[i])
        found.append(_exchange(cell, head, sides[0], sides[1], batch.names, labelled))
    return found


def take(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    """The named rows of a batch, in the order asked."""
    counts = chunk_counts(batch)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    chunks = [np.arange(offsets[row], offsets[row + 1]) for row in rows] if len(batch.chunk_at_ns) else []
    wanted = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int64)
    indices = rows.tolist()
    return Batch(
        columns={name: values[rows] for name, values in batch.columns.items()},
        names=batch.names,
        heads=[batch.heads[row] for row in indices] if batch.heads else [],
        chunk_at_ns=batch.chunk_at_ns[wanted],
        chunk_bytes=batch.chunk_bytes[wanted],
        bodies=[batch.bodies[2 * row + side] for row in indices for side in (0, 1)] if batch.bodies else [],
    )


def concat(batches: Sequence[Batch]) -> Batch:
    """One batch out of many, with their names merged. All of them hold the same parts (heads, chunks, bodies) or are empty."""
    names: dict[str, int] = {"": 0}
    labels = sorted({name for batch in batches for name in label_columns(batch.columns)})
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in (*_COLUMN_NAMES, *labels)}
    for batch in batches:
        mapped = np.array([names.setdefault(name, len(names)) for name in batch.names or ("",)], dtype="<u4")
        for name, values in full_columns(batch, labels).items():
            columns[name].append(mapped[values] if is_name_column(name) else values)
    return Batch(
        columns={name: np.concatenate(parts) if parts else _absent(name, 0) for name, parts in columns.items()},
        names=tuple(names),
        heads=[head for batch in batches for head in batch.heads],
        chunk_at_ns=np.concatenate([np.zeros(0, dtype=np.int64), *(batch.chunk_at_ns for batch in batches)]),
        chunk_bytes=np.concatenate([np.zeros(0, dtype=np.uint32), *(batch.chunk_bytes for batch in batches)]),
        bodies=[body for batch in batches for body in batch.bodies],
    )


def label_columns(names: Iterable[str]) -> list[str]:
    """Those of the columns that are labels ("label.region"), sorted."""
    return sorted(name for name in names if name.startswith(LABEL_PREFIX))


def is_name_column(name: str) -> bool:
    """Whether a column holds indices into the names."""
    return name in NAME_COLUMNS or name.startswith(LABEL_PREFIX)


def full_columns(batch: Batch, labels: Iterable[str] | None = None) -> Columns:
    """Every column of COLUMNS in its dtype, then the label columns: ``labels``, or those the batch has. A column the batch lacks
    is filled with its absent value.

    Raises ValueError: unequal lengths, an unknown column, a label that is not among ``labels``, a name that is not in the table.
    """
    wanted = [*_COLUMN_NAMES, *(label_columns(batch.columns) if labels is None else labels)]
    unknown = set(batch.columns) - set(wanted)
    if unknown:
        raise ValueError(f"unknown columns: {', '.join(sorted(unknown))}")
    n = len(batch)
    columns: Columns = {}
    for name in wanted:
        values = batch.columns.get(name)
        columns[name] = (
            _absent(name, n) if values is None else np.asarray(values).astype(column_dtype(name), copy=False)
        )
        if len(columns[name]) != n:
            raise ValueError(f"column {name} has another length than the others")
    for name in filter(is_name_column, wanted):
        if n and int(columns[name].max()) >= max(len(batch.names), 1):
            raise ValueError(f"column {name} points outside the names")
    return columns


def chunk_counts(batch: Batch) -> NDArray[np.int64]:
    """Chunks of each exchange, both sides."""
    n = len(batch)
    total = np.zeros(n, dtype=np.int64)
    for name in ("request_chunks", "response_chunks"):
        if name in batch.columns:
            total += batch.columns[name].astype(np.int64)
    return total


def chunks_cover(columns: Columns, chunk_bytes: NDArray[np.uint32]) -> bool:
    """Whether the chunks of each side add up to what was kept of it; a side without chunks keeps nothing."""
    counts = np.stack([columns["request_chunks"], columns["response_chunks"]], axis=1).ravel().astype(np.int64)
    kept = np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel().astype(np.int64)
    running = np.concatenate(([0], np.cumsum(chunk_bytes.astype(np.int64))))
    ends = np.cumsum(counts)
    return bool(np.array_equal(running[ends] - running[ends - counts], kept))


def are_times(columns: Columns, chunk_at_ns: NDArray[np.int64] | None = None) -> bool:
    """Whether every time can be: none before its exchange's arrival (but for chunks', and -1), none beyond the limit."""
    arrival_ns, most = columns["arrival_ns"].astype(np.int64), LIMITS["time"]
    from_zero = [arrival_ns, columns["intended_ns"].astype(np.int64), *([] if chunk_at_ns is None else [chunk_at_ns])]
    if not all(-most < each.min(initial=0) and each.max(initial=0) < most for each in from_zero):
        return False
    durations = [columns[name].astype(np.int64) for name in _FROM_ARRIVAL]
    return all(
        each.min(initial=0) >= -1 and each.max(initial=0) < most and (arrival_ns + each).max(initial=0) < most
        for each in durations
    )


def column_dtype(name: str) -> str:
    """Raises KeyError: neither a column nor a label."""
    return LABEL_DTYPE if name.startswith(LABEL_PREFIX) else _BY_NAME[name].dtype


def absent_value(name: str) -> int:
    """What stands in a column where an exchange lacks it; 0 for a label."""
    return _BY_NAME[name].absent if name in _BY_NAME else 0


def _absent(name: str, n: int) -> NDArray[np.generic]:
    """A column of n exchanges that lack it."""
    return np.full(n, absent_value(name), dtype=column_dtype(name))


def _since(arrival_ns: int, at_ns: int, what: str) -> int:
    if at_ns < arrival_ns:
        raise ValueError(f"{what} is before the exchange's arrival")
    return at_ns - arrival_ns


def _row(
    exchange: Exchange, request: Request, response: Response, sent: int, got: int, names: dict[str, int]
) -> tuple[int, ...]:
    """The cells of an exchange, in the order of COLUMNS. ``sent``, ``got``: bytes kept."""
    at, name = exchange.arrival_ns, names.setdefault
    failure, origin = exchange.failure or _NO_FAILURE, exchange.origin or _NO_ORIGIN
    if response.status <= 0 and exchange.response is not None:
        raise ValueError("a response has a status")
    return (
        at,
        -1 if request.end_ns == -1 else _since(at, request.end_ns, "the request's end"),
        -1 if response.first_ns == -1 else _since(at, response.first_ns, "the response's first byte"),
        -1 if response.end_ns == -1 else _since(at, response.end_ns, "the response's last byte"),
        response.status,
        failure.kind,
        -1 if failure.at_ns == -1 else _since(at, failure.at_ns, "the failure"),
        exchange.flags._value_,  # an enum costs six times as much in an array
        name(request.method, len(names)),
        name(exchange.route, len(names)),
        name(exchange.codec, len(names)),
        name(exchange.model, len(names)),
        exchange.session,
        exchange.connection,
        request.size,
        response.size,
        sent,
        got,
        len(request.chunks),
        len(response.chunks),
        origin.row,
        origin.source,
        origin.variant,
        name(origin.target, len(names)),
        origin.attempt,
        origin.intended_ns,
    )


def _exchange(
    cell: Mapping[str, int],
    head: Head,
    request: tuple[Chunk, ...],
    response: tuple[Chunk, ...],
    names: Sequence[str],
    labels: Labels,
) -> Exchange:
    at = cell["arrival_ns"]

    def absolute(name: str) -> int:
        return -1 if cell[name] == -1 else at + cell[name]

    return Exchange(
        arrival_ns=at,
        request=Request(
            method=names[cell["method"]],
            target=head.target,
            headers=head.request_headers,
            chunks=request,
            end_ns=absolute("request_ns"),
            size=cell["request_size"],
            http_version=head.http_version,
        ),
        response=None
        if not cell["status"]
        else Response(
            status=cell["status"],
            headers=head.response_headers,
            chunks=response,
            first_ns=absolute("first_byte_ns"),
            end_ns=absolute("last_byte_ns"),
            size=cell["response_size"],
            reason=head.reason,
        ),
        failure=None
        if not cell["failure"]
        else Failure(_failure_kind(cell["failure"]), absolute("failure_ns"), head.failure_detail),
        route=names[cell["route"]],
        codec=names[cell["codec"]],
        model=names[cell["model"]],
        session=cell["session"],
        connection=cell["connection"],
        flags=Flags(cell["flags"]),
        labels=labels,
        origin=None
        if cell["row"] == -1
        else Origin(
            row=cell["row"],
            source=cell["source"],
            variant=cell["variant"],
            target=names[cell["target"]],
            attempt=cell["attempt"],
            intended_ns=cell["intended_ns"],
        ),
    )


def _failure_kind(number: int) -> FailureKind:
    # A kind that a later version added is still a failure.
    return FailureKind(number) if number in FailureKind else FailureKind.INTERNAL


def _cut(body: bytes, at_ns: Sequence[int], sizes: Sequence[int]) -> tuple[Chunk, ...]:
    if len(at_ns) == 1:
        return (Chunk(at_ns[0], body),)
    chunks, start = [], 0
    for at, size in zip(at_ns, sizes, strict=True):
        chunks.append(Chunk(at, body[start : start + size]))
        start += size
    return tuple(chunks)


def _joined(chunks: tuple[Chunk, ...]) -> bytes:
    return chunks[0].data if len(chunks) == 1 else b"".join([chunk.data for chunk in chunks])


def _head(exchange: Exchange, request: Request, response: Response) -> Head:
    detail = exchange.failure.detail if exchange.failure else ""
    return make_head(request.target, request.http_version, request.headers, response.reason, response.headers, detail)


_FROM_ARRIVAL = ("request_ns", "first_byte_ns", "last_byte_ns", "failure_ns")
_BY_NAME = {column.name: column for column in COLUMNS}
_COLUMN_NAMES = tuple(_BY_NAME)
