"""The small records of a capture: how a segment starts, what a flush commits, where the segments are.

`Commit` is one table: its fields, in order, are the elements of a commit piece.
"""

import re
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, overload

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.columns import COLUMNS, HEAD_KEPT, LABEL_DTYPE, LABEL_PREFIX, PREVIOUS, Declared
from captures.confessions import Confessions
from captures.frame import LIMITS, FrameError

DIGEST_SIZE = 16
_DTYPE = re.compile(r"[<|]?([iu][1248]|f[248])")
_MOST_SEGMENTS = 0xFFFFFFFF
MOST_CONTAINERS = 1 << 16  # in a record that is not an index
_COUNTS = ("seen", "shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors", "filtered")


_DECLARED = (
    *(Declared(each.name, each.dtype, each.absent if each.minus is None else each.minus) for each in COLUMNS),
    HEAD_KEPT,
)


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
    filtered: int = 0  # the last element, and left out where it is 0: files are older than it

    @property
    def confessions(self) -> Confessions:
        counts = {name: getattr(self, name) for name in _COUNTS}
        return Confessions(**counts, sampling_rate=self.sampling_rate)

    def confessing(self, confessions: Confessions) -> "Commit":
        counts = {name: getattr(confessions, name) for name in _COUNTS}
        return replace(self, **counts, sampling_rate=confessions.sampling_rate)


_COMMIT_SIZE = len(fields(Commit)) - 1  # without `filtered`


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a segment. ``columns``: in the order of its columns pieces. ``planes``: they are byte planes of differences, and
    heads and bodies are messages; False: a segment of version 1.
    """

    number: int
    before: int  # exchanges committed to the file before this segment
    columns: tuple[Declared, ...] = _DECLARED
    planes: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment in the index."""

    offset: int
    length: int
    exchanges: int
    min_arrival_ns: int
    max_arrival_ns: int


class Entries(Sequence[Entry]):
    """The segments of an index. ``rows``: one per segment, the fields of `Entry`."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> "Entries": ...
    def __getitem__(self, at: int | slice) -> "Entry | Entries":
        return Entries(self.rows[at]) if isinstance(at, slice) else Entry(*self.rows[at].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # compares by its contents


@dataclass(frozen=True, slots=True)
class Index:
    segments: Sequence[Entry]
    commit: Commit
    digest: bytes


def rows_of(index: Index) -> NDArray[np.int64]:
    """One row per segment, the fields of `Entry`."""
    if isinstance(index.segments, Entries):
        return index.segments.rows
    return np.array([astuple(entry) for entry in index.segments], dtype=np.int64).reshape(-1, 5)


def pack_commit(commit: Commit) -> bytes:
    rate = commit.sampling_rate
    # 1 instead of 9 bytes, every second
    return _pack(_elements(replace(commit, sampling_rate=int(rate)) if rate == int(rate) else commit))


def _elements(commit: Commit) -> tuple[int | float, ...]:
    elements: tuple[int | float, ...] = astuple(commit)
    return elements if commit.filtered else elements[:_COMMIT_SIZE]


def unpack_commit(payload: bytes) -> Commit:
    """Raises FrameError."""
    return _commit(unpack_record(payload, "commit"))


def pack_start(start: Start) -> bytes:
    columns = [(each.name, each.dtype, each.minus)[: 3 if start.planes else 2] for each in start.columns]
    return _pack({"number": start.number, "before": start.before, "columns": columns})


def start_of(number: int, before: int, label_columns: Sequence[str]) -> Start:
    """The start of a segment of this version, with its label columns."""
    return Start(number, before, (*_DECLARED, *(Declared(name, LABEL_DTYPE) for name in label_columns)))


def unpack_start(payload: bytes) -> Start:
    """Raises FrameError."""
    record = unpack_record(payload, "start")
    try:
        number, before, declared = record["number"], record["before"], record["columns"]
    except (TypeError, KeyError) as error:
        raise FrameError("a start record is not one") from error
    if not (_counts((number, before)) and number < _MOST_SEGMENTS and isinstance(declared, list)):
        raise FrameError("a start record is not one")
    if len(declared) > LIMITS["columns"]:
        raise FrameError(f"a segment declares more columns than the limit ({len(declared)})")
    if not _are_possible(declared):
        raise FrameError("a segment declares impossible columns")
    columns = tuple(Declared(*each[:3]) for each in declared)
    return Start(number, before, columns, planes=all(len(each) > 2 for each in declared))


def _are_possible(columns: Sequence[object]) -> bool:
    """Whether each is a name of its own, a dtype, and a minus that can be known by then; or none has a minus (version 1)."""
    before = {PREVIOUS}
    for column in columns:
        if not (isinstance(column, list) and len(column) >= 2 and all(isinstance(each, str) for each in column[:2])):
            return False
        name, dtype, *minus = column[:3]
        if name in before or name == LABEL_PREFIX or not _DTYPE.fullmatch(dtype):
            return False
        if minus and type(minus[0]) is not int and not (isinstance(minus[0], str) and minus[0] in before):
            return False
        before.add(name)
    return len({len(column) > 2 for column in columns if isinstance(column, list)}) < 2


def pack_index(index: Index) -> bytes:
    segments = [astuple(entry) for entry in index.segments]
    return _pack({"segments": segments, "commit": _elements(index.commit), "digest": index.digest})


def unpack_index(payload: bytes) -> Index:
    """Row by row: an index may be long. Raises FrameError."""
    rows, found = array("q"), dict[object, Any]()
    # A row takes six bytes at the least.
    few = few_containers(len(payload) // 6 + 2)
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(payload), 1), strict_map_key=False, **few)
    unpacker.feed(payload)
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key == "segments":
                del rows[:]
                for _ in range(unpacker.read_array_header()):
                    row = unpacker.unpack()[:5]
                    if not (len(row) == 5 and _counts(row[:3]) and _times(row[3:])):
                        raise FrameError("the index record is not one")
                    rows.extend(row)
                found[key] = True
            elif key in ("commit", "digest"):
                found[key] = unpacker.unpack()
            else:
                unpacker.skip()
        digest, commit, whole = found["digest"], _commit(found["commit"]), "segments" in found
    except (TypeError, KeyError, ValueError, OverflowError, struct.error, msgpack.UnpackException) as error:
        raise error if isinstance(error, FrameError) else FrameError("the index record is not one") from error
    if not (whole and unpacker.tell() == len(payload) and isinstance(digest, bytes) and len(digest) == DIGEST_SIZE):
        raise FrameError("the index record is not one")
    return Index(Entries(np.array(rows, dtype=np.int64).reshape(-1, 5)), commit, digest)


def _commit(record: object) -> Commit:
    if not (isinstance(record, list) and len(record) >= _COMMIT_SIZE):
        raise FrameError("a commit record is not one")
    *counts, rate = record[:_COMMIT_SIZE]
    filtered = record[_COMMIT_SIZE : _COMMIT_SIZE + 1]
    if not (_times(counts[2:4]) and _counts(counts[:2] + counts[4:] + filtered) and isinstance(rate, int | float)):
        raise FrameError("a commit record is not one")
    return Commit(*[*counts, float(rate), *filtered])


def _times(values: Sequence[object]) -> bool:
    return all(type(value) is int and abs(value) < LIMITS["time"] for value in values)


def _counts(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int} and min(values) >= 0


def _pack(record: object) -> bytes:
    packed: bytes = msgpack.packb(record, unicode_errors="surrogatepass")
    return packed


def unpack_record(payload: bytes, what: str) -> Any:
    """A msgpack record of a few kilobytes. Raises FrameError."""
    try:
        return msgpack.unpackb(
            payload, strict_map_key=False, unicode_errors="surrogatepass", **few_containers(MOST_CONTAINERS)
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:  # TypeError: a map as the key of a map
        raise FrameError(f"a {what} record is not one") from error


def few_containers(most: int) -> dict[str, Callable[[Any], Any]]:
    """For msgpack: an array of arrays may take sixty times the memory of its bytes, so that there are so many and no more."""
    left = most

    def count(container: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise FrameError("a record has too many arrays and maps")
        return container

    return {"list_hook": count, "object_hook": count}
