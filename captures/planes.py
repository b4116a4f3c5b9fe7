"""Columns as byte planes of differences: what stands in ``columns`` and ``chunks`` payloads from version 2 on. Pure.

Times and sizes vary in their low bytes only, and mostly by little from one row to the next. So each value is stored as a
difference (`Declared.minus`), and of all values first the lowest bytes, then the next: what does not vary becomes runs of zeros,
which cost nothing, and what does is stored at its entropy. As rows of eight-byte numbers the same data takes twice the bytes.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.columns import PREVIOUS, Columns, Declared
from captures.frame import FrameError

BEFORE_THE_FIRST = -1
"""What the first row of a segment is the difference to, where the difference is to the row before."""


type Unsigned = NDArray[np.unsignedinteger[Any]]  # arithmetic wraps around


def pack(
    declared: Sequence[Declared], columns: Mapping[str, NDArray[np.generic]], last: MutableMapping[str, int]
) -> bytes:
    """The payload of a flush. ``last``: the values of the segment's last row, of columns that are differences to it; updated."""
    as_declared = {each.name: columns[each.name].astype(each.dtype, copy=False) for each in declared}
    n = len(columns[declared[0].name])
    planes = np.empty((sum(column.width for column in declared), n), dtype=np.uint8)
    at = 0
    for column in declared:
        values = np.ascontiguousarray(as_declared[column.name]).view(_unsigned(column))
        stored = _differences(column, values, as_declared, last)
        planes[at : at + column.width] = stored.view(np.uint8).reshape(n, column.width).T
        at += column.width
    return planes.tobytes()


def unpack(declared: Sequence[Declared], data: bytes, counts: Sequence[int]) -> Columns:
    """The columns over all flushes of a segment. ``counts``: rows of each flush. Raises FrameError."""
    width, total = sum(column.width for column in declared), sum(counts)
    if len(data) != width * total:
        raise FrameError("columns do not fit their exchanges")
    planes = _planes(data, width, [count for count in counts if count])
    varies = planes.any(axis=1)
    columns: Columns = {}
    at = 0
    for column in declared:
        values = np.zeros(total, dtype=_unsigned(column))
        bytes_ = values.view(np.uint8)
        for plane in np.flatnonzero(varies[at : at + column.width]).tolist():
            bytes_[plane :: column.width] = planes[at + plane]
        columns[column.name] = _sums(column, values, columns).view(column.dtype)
        at += column.width
    return columns


def _planes(data: bytes, width: int, counts: Sequence[int]) -> NDArray[np.uint8]:
    whole = np.frombuffer(data, dtype=np.uint8)
    if len(counts) == 1:
        return whole.reshape(width, counts[0])
    planes = np.empty((width, sum(counts)), dtype=np.uint8)
    row = 0
    for count in counts:
        planes[:, row : row + count] = whole[width * row : width * (row + count)].reshape(width, count)
        row += count
    return planes


def _differences(
    column: Declared,
    values: Unsigned,
    columns: Mapping[str, NDArray[np.generic]],
    last: MutableMapping[str, int],
) -> Unsigned:
    if column.minus == PREVIOUS:
        before = np.empty_like(values)
        before[:1] = _wrapped(last.get(column.name, BEFORE_THE_FIRST), column)
        before[1:] = values[:-1]
        if len(values):
            last[column.name] = int(values[-1])
        return values - before
    if isinstance(column.minus, str):
        return values - _modulo(columns[column.minus], column)
    return values - _wrapped(column.minus, column) if column.minus else values


def _sums(column: Declared, values: Unsigned, columns: Columns) -> Unsigned:
    if column.minus == PREVIOUS:
        return np.cumsum(values, dtype=values.dtype) + _wrapped(BEFORE_THE_FIRST, column)
    if isinstance(column.minus, str):
        return values + _modulo(columns[column.minus], column)
    return values + _wrapped(column.minus, column) if column.minus else values


def _modulo(values: NDArray[np.generic], column: Declared) -> Unsigned:
    """Another column's values, to the width of this one. A float is its bits."""
    integers = values.view(f"<u{values.dtype.itemsize}") if values.dtype.kind == "f" else values
    return integers.astype(_unsigned(column))


def _wrapped(value: int, column: Declared) -> Unsigned:
    return np.array(value % (1 << 8 * column.width), dtype=_unsigned(column))


def _unsigned(column: Declared) -> str:
    return f"<u{column.width}"
