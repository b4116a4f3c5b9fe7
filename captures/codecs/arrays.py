"""JSON lists <-> numpy arrays, and tensors -> feature columns: what the JSON codecs share.

A column is a list of numbers, one per row of a batch: a tensor of shape [n] or [n, 1] is the column ``name``, one of shape
[n, f] the columns ``name[0]`` … ``name[f-1]``, a nameless one ``[0]`` … ``[f-1]``. Higher ranks (images, sequences) have none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Role, Tensor
from captures.codecs.body import Tensors as TensorsBody


@dataclass(frozen=True, slots=True)
class Column:
    """Column ``index`` of ``width`` in ``tensor``: its values are ``tensor.data.reshape(-1, width)[:, index]``."""

    name: str
    tensor: Tensor
    index: int
    width: int

    @property
    def values(self) -> NDArray[np.float64]:
        return self.tensor.data.reshape(-1, self.width)[:, self.index].astype(np.float64)


def numeric(values: object) -> NDArray[np.generic] | None:
    """A bool, int64, uint64 or float64 array of a number or a nested list of numbers; null is NaN. None: something else is in it,
    or the nesting is ragged.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    kind = array.dtype.kind
    if kind in "bu" or (kind == "i" and array.dtype == np.int64) or array.dtype == np.float64:
        return array
    if kind != "O":
        return None
    flat = array.ravel().tolist()
    if not all(item is None or isinstance(item, (int, float)) for item in flat):
        return None
    try:
        return np.array([np.nan if item is None else float(item) for item in flat]).reshape(array.shape)
    except OverflowError:  # an integer beyond every float
        return None


def flat_list(values: object) -> list[object]:
    """The leaves of a nested list, row-major; what is not a list is a leaf. Iterative: depth costs no stack."""
    flat: list[object] = []
    pending = [values]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(reversed(item))
        else:
            flat.append(item)
    return flat


def object_array(items: Sequence[object], shape: Sequence[int]) -> NDArray[np.object_]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def columns_of(tensors: Sequence[Tensor]) -> Iterator[Column]:
    """The numeric feature columns, each name once. The batch is that of the first numeric feature; tensors of another batch have no
    columns.
    """
    seen: set[str] = set()
    batch = -1
    for tensor in tensors:
        if tensor.role is not Role.FEATURE or tensor.data.dtype.kind not in "biuf" or not 1 <= len(tensor.shape) <= 2:
            continue
        batch = tensor.batch if batch < 0 else batch
        if tensor.batch != batch:
            continue
        width = tensor.shape[1] if len(tensor.shape) > 1 else 1
        for index in range(width):
            name = tensor.name if tensor.name and width == 1 else f"{tensor.name}[{index}]"
            if name not in seen:
                seen.add(name)
                yield Column(name, tensor, index, width)


def feature_columns(bodies: Sequence[Body]) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """`Codec.features` for bodies of tensors."""
    values: dict[str, list[NDArray[np.float64]]] = {}
    owners: dict[str, list[int]] = {}
    for position, body in enumerate(bodies):
        if isinstance(body, TensorsBody):
            for column in columns_of(body.tensors):
                values.setdefault(column.name, []).append(column.values)
                owners.setdefault(column.name, []).append(position)
    return {
        name: (np.concatenate(parts), np.repeat(np.array(owners[name], dtype=np.int64), [len(part) for part in parts]))
        for name, parts in values.items()
    }
