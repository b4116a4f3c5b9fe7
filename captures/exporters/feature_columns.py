"""Decoded tensors as columns of a table: one per feature of a request and per prediction of a response. Pure; knows no file format.

Names: ``request.MedInc`` is the feature MedInc, ``response.score`` the prediction score. Column i of a tensor of shape [n, f] is
``request.x[i]``, of a tensor without a name ``request[i]``. Routes with other features have other columns; a row has null in those
of the others. Where every request has one row, a cell is a value, else a list of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Role, Tensor, Tensors
from captures.codecs.codec import Side
from captures.codecs.registry import codec_named
from captures.columns import Batch
from captures.exchange import Flags

MOST_COLUMNS = 2_000
_SIDES: tuple[tuple[Side, Role], ...] = (("request", Role.FEATURE), ("response", Role.PREDICTION))
_GONE: Mapping[Side, Flags] = {
    "request": Flags.REQUEST_DROPPED | Flags.REQUEST_TRUNCATED,
    "response": Flags.RESPONSE_DROPPED | Flags.RESPONSE_TRUNCATED,
}


class Kind(StrEnum):
    BOOL = "bool"
    INT = "int64"
    UINT = "uint64"
    FLOAT = "float64"
    TEXT = "string"


_KINDS = {"b": Kind.BOOL, "i": Kind.INT, "u": Kind.UINT, "f": Kind.FLOAT}
_WIDER = {  # what holds both
    frozenset((Kind.BOOL, Kind.INT)): Kind.INT,
    frozenset((Kind.BOOL, Kind.UINT)): Kind.UINT,
    frozenset((Kind.BOOL, Kind.FLOAT)): Kind.FLOAT,
    frozenset((Kind.INT, Kind.UINT)): Kind.FLOAT,
    frozenset((Kind.INT, Kind.FLOAT)): Kind.FLOAT,
    frozenset((Kind.UINT, Kind.FLOAT)): Kind.FLOAT,
}


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """``many``: a cell is a list of values."""

    kind: Kind
    many: bool


@dataclass(slots=True)
class Survey:
    """What columns there are, found in a first pass. ``left_out``: exchanges with a column beyond MOST_COLUMNS."""

    columns: dict[str, FeatureColumn] = field(default_factory=dict)
    left_out: int = 0

    def add(self, batch: Batch) -> None:
        lost: set[int] = set()
        for name, row, values in _cells(batch, set()):
            known = self.columns.get(name)
            if known is None and len(self.columns) >= MOST_COLUMNS:
                lost.add(row)
                continue
            kind = _KINDS.get(values.dtype.kind, Kind.TEXT)
            many = len(values) != 1
            if known is not None:
                many = many or known.many
                kind = kind if kind == known.kind else _WIDER.get(frozenset((kind, known.kind)), Kind.TEXT)
            self.columns[name] = FeatureColumn(kind, many)
        self.left_out += len(lost)


def cells(batch: Batch, columns: Mapping[str, FeatureColumn]) -> tuple[dict[str, list[object]], int]:
    """The cells of each column, None where an exchange has none, and of how many exchanges a kept body was not decoded."""
    found: dict[str, list[object]] = {name: [None] * len(batch) for name in columns}
    undecoded: set[int] = set()
    for name, row, values in _cells(batch, undecoded):
        column = columns.get(name)
        if column is not None:
            plain = _plain(values, column.kind)
            found[name][row] = plain if column.many else plain[0]
    return found, len(undecoded)


def _plain(values: NDArray[np.generic], kind: Kind) -> list[object]:
    if kind is Kind.TEXT:
        return [_text(str(value)) for value in values.tolist()]
    listed: list[object] = values.astype(kind.value).tolist()
    return listed


def _text(text: str) -> str:
    """JSON may hold lone surrogates and NUL; other formats may not."""
    return text.replace("\0", "?").encode(errors="replace").decode()


def _cells(batch: Batch, undecoded: set[int]) -> Iterator[tuple[str, int, NDArray[np.generic]]]:
    """(column, row, values) of every tensor that is a table of at most two dimensions; a name counts once per body."""
    flags = batch.columns["flags"].tolist()
    for codec_name, rows in _by_codec(batch):
        codec = codec_named(codec_name)
        for position, (side, role) in enumerate(_SIDES):
            kept = [row for row in rows if batch.bodies[2 * row + position]]
            whole = [row for row in kept if codec is not None and not flags[row] & _GONE[side]]
            undecoded.update(set(kept).difference(whole))
            bodies = codec.decode([batch.bodies[2 * row + position] for row in whole], side) if codec and whole else []
            for row, body in zip(whole, bodies, strict=True):
                if not isinstance(body, Tensors):
                    undecoded.add(row)
                    continue
                seen: set[str] = set()
                for tensor in body.tensors:
                    if tensor.role is role and len(tensor.shape) <= 2:
                        yield from ((name, row, values) for name, values in _named(side, tensor, seen))
                    else:
                        undecoded.add(row)


def _by_codec(batch: Batch) -> Iterable[tuple[str, Sequence[int]]]:
    codec = batch.columns["codec"]
    for index in np.unique(codec).tolist():
        yield batch.names[index], np.flatnonzero(codec == index).tolist()


def _named(side: str, tensor: Tensor, seen: set[str]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    width = tensor.shape[1] if len(tensor.shape) > 1 else 1
    prefix = f"{side}.{_text(tensor.name)}" if tensor.name else side
    if not tensor.data.size:
        return
    table = tensor.data.reshape(-1, width)
    for index in range(width):
        name = prefix if tensor.name and width == 1 else f"{prefix}[{index}]"
        if name not in seen:
            seen.add(name)
            yield name, table[:, index]
