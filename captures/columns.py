"""The columns of exchanges: planning, inspecting and time-scaling read these and never a body.

One table (`COLUMNS`) is the truth: docs/format.md repeats it and a test compares the two. A `Batch` is a run of
exchanges as struct of arrays, the seam that writers, transforms and replayers share; `batch_of` and
`exchanges_of` convert from and to the frozen nouns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class Declared:
    """A column of a segment. ``dtype``: numpy, little-endian. ``minus``: what is subtracted from each value before it is stored,
    modulo the width of the column: a constant, PREVIOUS (the value of the row before), or the name of a column declared before.
    """

    name: str
    dtype: str
    minus: int | str = 0

    @property
    def width(self) -> int:
        return np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    dtype: str  # numpy, little-endian
    meaning: str
    absent: int = 0
    minus: int | str | None = None  # as `Declared.minus`; None: the absent value


# "name" columns hold an index into Batch.names (per segment in a file, merged by the reader); 0 is always "".
COLUMNS: tuple[Column, ...] = (
    Column("arrival_ns", "<i8", "first byte of the request, from the capture's zero", minus=PREVIOUS),
    Column("request_ns", "<i8", "arrival to last byte of the request", -1),
    Column("first_byte_ns", "<i8", "arrival to first byte of the response", -1),
    Column("last_byte_ns", "<i8", "arrival to last byte of the response", -1, "first_byte_ns"),
    Column("status", "<u2", "HTTP status; 0: no response"),
    Column("failure", "u1", "FailureKind"),
    Column("failure_ns", "<i8", "arrival to the failure", -1),
    Column("flags", "<u4", "Flags"),
    Column("method", "<u4", "name: request method"),
    Column("route", "<u4", "name: method and path template"),
    Column("codec", "<u4", "name: codec"),
    Column("model", "<u4", "name: model"),
    Column("session", "<u8", "keyed hash of the session key"),
    Column("connection", "<u4", "client connection, counted from 1"),
    Column("request_size", "<u8", "request body bytes on the wire"),
    Column("response_size", "<u8", "response body bytes on the wire"),
    Column("request_kept", "<u4", "request body bytes in this file", minus="request_size"),
    Column("response_kept", "<u4", "response body bytes in this file", minus="response_size"),
    Column("request_chunks", "<u4", "chunks of the request body"),
    Column("response_chunks", "<u4", "chunks of the response body"),
    # Origin; row is -1 where the exchange was not made by a run.
    Column("row", "<i8", "row of the schedule", -1, PREVIOUS),
    Column("source", "<i8", "ordinal over the run's ordered inputs", -1, PREVIOUS),
    Column("variant", "<u4", "derived copy; 0 is the exchange as recorded"),
    Column("target", "<u4", "name: role of the target"),
    Column("attempt", "u1", "try, counted from 1"),
    Column("intended_ns", "<i8", "when the schedule wanted it sent", -1, PREVIOUS),
)
NAME_COLUMNS = ("method", "route", "codec", "model", "target")
LABEL_PREFIX = "label."  # a label is a name column of its own: "label.region"; which ones a file has says its header
LABEL_DTYPE = "<u4"
HEAD_KEPT = Declared("head_kept", "<u4")
"""Bytes of the exchange's head in this file: a column of files, not of batches."""


type Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Head:
    """What is neither a column nor a body. ``request_headers`` and ``response_headers`` as in `exchange.Headers`."""

    target: str
    http_version: str
    request_headers: tuple[tuple[str, str], ...]
    reason: str
    response_headers: tuple[tuple[str, str], ...]
    failure_detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """n exchanges. ``chunk_at_ns`` and ``chunk_bytes`` run through all chunks, each exchange's request chunks before
    its response chunks; ``bodies`` holds 2n entries: request body, response body, request body, …
    ``columns`` has those of COLUMNS and one "label.<name>" per label.

    A reader that was asked for less leaves ``heads``, ``chunk_*`` or ``bodies`` empty.
    """

    columns: Mapping[str, NDArray[np.generic]]
    names: tuple[str, ...]
    heads: Sequence[Head]
    chunk_at_ns: NDArray[np.int64]
    chunk_bytes: NDArray[np.uint32]
    bodies: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.columns["arrival_ns"])
