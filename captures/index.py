"""The small records of a capture: how a segment starts, what a flush commits, where the segments are.

`Commit` is one table: its fields, in order, are the elements of a commit piece.
"""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import msgpack

from captures.columns import COLUMNS, LABEL_DTYPE
from captures.confessions import Confessions
from captures.frame import FrameError

DIGEST_SIZE = 16
_DTYPE = re.compile(r"[<|]?([iu][1248]|f[248])")
_COUNTS = ("seen", "shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors")


_DECLARED = tuple((column.name, column.dtype) for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a flush. The first four fields are about this flush, the rest are running totals of the file."""

    exchanges: int = 0
    pieces: int = 0  # of this flush, the commit not counted
    min_arrival_ns: int = 0
    max_arrival_ns: int = -1
    total_exchanges: int = 0
    total_replayable: int = 0
    total_recorded_valid: int = 0
    seen: int = 0
    shed: int = 0
    sampled_out: int = 0
    own: int = 0
    truncated: int = 0
    unparsed: int = 0
    hook_errors: int = 0
    sampling_rate: float = 1.0

    @property
    def confessions(self) -> Confessions:
        counts = {name: getattr(self, name) for name in _COUNTS}
        return Confessions(**counts, sampling_rate=self.sampling_rate)

    def confessing(self, confessions: Confessions) -> "Commit":
        counts = {name: getattr(confessions, name) for name in _COUNTS}
        return replace(self, **counts, sampling_rate=confessions.sampling_rate)


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a segment. ``columns``: (name, dtype) in the order of its columns pieces."""

    number: int
    before: int  # exchanges committed to the file before this segment
    columns: tuple[tuple[str, str], ...] = _DECLARED


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment in the index."""

    offset: int
    length: int
    exchanges: int
    min_arrival_ns: int
    max_arrival_ns: int


@dataclass(frozen=True, slots=True)
class Index:
    segments: tuple[Entry, ...]
    commit: Commit
    digest: bytes


def pack_commit(commit: Commit) -> bytes:
    *counts, rate = astuple(commit)
    return _pack((*counts, int(rate) if rate == int(rate) else rate))  # 1 instead of 9 bytes, every second


def unpack_commit(payload: bytes) -> Commit:
    """Raises FrameError."""
    return _commit(_unpack(payload, "commit"))


def pack_start(start: Start) -> bytes:
    return _pack({"number": start.number, "before": start.before, "columns": start.columns})


def start_of(number: int, before: int, label_columns: Sequence[str]) -> Start:
    """The start of a segment of this version, with its label columns."""
    return Start(number, before, (*_DECLARED, *((name, LABEL_DTYPE) for name in label_columns)))


def unpack_start(payload: bytes) -> Start:
    """Raises FrameError."""
    record = _unpack(payload, "start")
    try:
        columns = tuple((str(name), str(dtype)) for name, dtype in record["columns"])
        number, before = record["number"], record["before"]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise FrameError("a start record is not one") from error
    if not _counts((number, before)):
        raise FrameError("a start record is not one")
    if len(dict(columns)) != len(columns) or not all(_DTYPE.fullmatch(dtype) for _, dtype in columns):
        raise FrameError("a segment declares impossible columns")
    return Start(number, before, columns)


def pack_index(index: Index) -> bytes:
    segments = [astuple(entry) for entry in index.segments]
    return _pack({"segments": segments, "commit": astuple(index.commit), "digest": index.digest})


def unpack_index(payload: bytes) -> Index:
    """Raises FrameError."""
    record = _unpack(payload, "index")
    try:
        rows = [row[:5] for row in record["segments"]]
        digest = record["digest"]
        commit = _commit(record["commit"])
    except (TypeError, KeyError) as error:
        raise FrameError("the index record is not one") from error
    well_formed = all(len(row) == 5 and _integers(row) and _counts(row[:3]) for row in rows)
    if not (well_formed and isinstance(digest, bytes) and len(digest) == DIGEST_SIZE):
        raise FrameError("the index record is not one")
    return Index(tuple(Entry(*row) for row in rows), commit, digest)


def _commit(record: object) -> Commit:
    size = len(fields(Commit))
    if not (isinstance(record, list) and len(record) >= size):
        raise FrameError("a commit record is not one")
    values = record[:size]
    arrivals, counts = values[2:4], values[:2] + values[4:-1]
    if not (_counts(counts) and _integers(arrivals) and isinstance(values[-1], int | float)):
        raise FrameError("a commit record is not one")
    return replace(Commit(*values), sampling_rate=float(values[-1]))


def _integers(values: Sequence[object]) -> bool:
    return all(type(value) is int for value in values)


def _counts(values: Sequence[object]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _pack(record: object) -> bytes:
    packed: bytes = msgpack.packb(record)
    return packed


def _unpack(payload: bytes, what: str) -> Any:
    try:
        return msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a {what} record is not one") from error
