"""Replace single numbers inside a JSON body and leave every other byte alone.

A cell is the span of one number of a feature tensor, in row-major order. A number whose new value equals the old one keeps its
spelling too (``1.50`` stays ``1.50``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.codecs.arrays import columns_of
from captures.codecs.body import Tensor
from captures.errors import CodecError

type Edit = tuple[int, int, bytes]  # start, stop, what stands there afterwards

INTEGER_RANGE = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)} | {
    f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)
}
# Type and largest value. BF16 has no numpy type and is written in full.
_NARROW = {"FP16": (np.float16, 65504.0), "FP32": (np.float32, float(np.finfo(np.float32).max))}
_EXACT = 2**53  # integers a double holds exactly


@dataclass(frozen=True, slots=True)
class Cells:
    """Where the numbers of ``tensor`` stand; None where a row does not have the value."""

    tensor: Tensor
    spans: Sequence[tuple[int, int] | None]


def replaced(body: bytes, edits: Sequence[Edit]) -> bytes:
    """``body`` with each edit made. Edits are in order of start and do not overlap."""
    parts: list[bytes] = []
    position = 0
    for start, stop, text in edits:
        parts += (body[position:start], text)
        position = stop
    parts.append(body[position:])
    return b"".join(parts)


def with_features(
    bodies: Sequence[bytes],
    columns: Mapping[str, Sequence[NDArray[np.float64]]],
    cells_of: Callable[[bytes], Sequence[Cells]],
) -> list[bytes]:
    """`codec.Codec.encode_features` for a codec that can say where its cells are. Raises CodecError."""
    result = []
    for position, body in enumerate(bodies):
        wanted = {name: column[position] for name, column in columns.items() if len(column[position])}
        result.append(with_columns(body, cells_of(body), wanted) if wanted else body)
    return result


def with_columns(body: bytes, cells: Sequence[Cells], wanted: Mapping[str, NDArray[np.float64]]) -> bytes:
    """``body`` with the named columns set to ``wanted``, each of the batch's length.

    Raises `CodecError`: a column the body does not have or whose length differs, a row without the value, NaN for an integer.
    """
    spans = {id(cell.tensor): cell.spans for cell in cells}
    missing = "NaN" if b"NaN" in body else "null"
    edits: list[Edit] = []
    found = set()
    for column in columns_of([cell.tensor for cell in cells]):
        new = wanted.get(column.name)
        if new is None:
            continue
        found.add(column.name)
        old = column.values
        if len(new) != len(old):
            raise CodecError(f"{len(new)} values for a batch of {len(old)}")
        for row in np.flatnonzero((new != old) & ~(np.isnan(new) & np.isnan(old))).tolist():
            span = spans[id(column.tensor)][row * column.width + column.index]
            if span is None:
                raise CodecError(f"row {row} has no such value to replace")
            text = spelled(float(new[row]), body[span[0] : span[1]], column.tensor.datatype, missing)
            edits.append((*span, text.encode()))
    if found != set(wanted):
        raise CodecError("no such numeric feature in the body")
    return replaced(body, sorted(edits))


def spelled(value: float, original: bytes, datatype: str, missing: str) -> str:
    """How ``value`` is written in the place of ``original``: integers stay integers, floats are as short as their type allows."""
    if datatype == "BOOL":
        on = value >= 0.5
        return str(on).lower() if original.isalpha() else str(int(on))
    if limits := INTEGER_RANGE.get(datatype):
        if math.isnan(value):
            raise CodecError("an integer tensor cannot hold a missing value")
        low, high = limits
        return str(low if value <= low else high if value >= high else round(value))
    if math.isnan(value):
        return missing
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if (
        value.is_integer()
        and abs(value) < _EXACT
        and original.lstrip(b"-").isdigit()
        and (value or original[:1] != b"-")
    ):
        return str(int(value))
    if narrow := _NARROW.get(datatype):
        limit = narrow[1]
        value = float(str(narrow[0](min(max(value, -limit), limit))))
    return repr(value)
