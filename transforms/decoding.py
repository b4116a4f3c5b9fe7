"""Bodies to columns of numbers: what codecs read from many exchanges, laid end to end.

Pure, and bounded: exchanges stream past, the columns stay.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Role, Tensor, Tensors
from captures.codecs.codec import Codec
from captures.exchange import Exchange, Flags

DECODED_TOGETHER = (
    512  # exchanges handed to the codecs at once: enough to spread the cost of a call, few enough to hold
)


class FeatureColumn(NamedTuple):
    """Value k belongs to source ``owner[k]``; a body of batch b owns b consecutive values. ``owner`` is sorted."""

    values: NDArray[np.float64]
    owner: NDArray[np.int64]


type Columns = dict[str, FeatureColumn]
type Codecs = Callable[[str], Codec | None]


def by_route(exchanges: Iterable[Exchange]) -> dict[tuple[str, str], list[int]]:
    """Positions of exchanges that may be handed to a codec together: (codec, route) -> positions."""
    groups: dict[tuple[str, str], list[int]] = {}
    for at, exchange in enumerate(exchanges):
        groups.setdefault((exchange.codec, exchange.route), []).append(at)
    return groups


def feature_columns(codec: Codec, bodies: Sequence[bytes]) -> Columns:
    """The numeric features of request bodies of one route; an unreadable body has none. ``owner``: position in ``bodies``."""
    readable = [
        (at, body) for at, body in enumerate(codec.decode(bodies, "request")) if not isinstance(body, Exception)
    ]
    places = np.array([at for at, _ in readable], dtype=np.int64)
    columns = codec.features([body for _, body in readable])
    return {name: FeatureColumn(values, places[owner]) for name, (values, owner) in columns.items()}


def prediction_columns(codec: Codec, bodies: Sequence[bytes]) -> Columns:
    """As `feature_columns`, of the numeric predictions of response bodies: ``name``, or ``name[i]`` where a row has several."""
    found: dict[str, tuple[list[NDArray[np.float64]], list[int]]] = {}
    for at, body in enumerate(codec.decode(bodies, "response")):
        for name, values in _predictions(body):
            pieces, owners = found.setdefault(name, ([], []))
            pieces.append(values)
            owners.extend([at] * len(values))
    return {
        name: FeatureColumn(np.concatenate(pieces), np.array(at, dtype=np.int64))
        for name, (pieces, at) in found.items()
    }


def _predictions(body: Body | Exception) -> Iterator[tuple[str, NDArray[np.float64]]]:
    if isinstance(body, Tensors):
        for tensor in body.tensors:
            if tensor.role is Role.PREDICTION and tensor.data.dtype.kind in "fiub" and tensor.data.size:
                yield from _rows_of(tensor)


def _rows_of(tensor: Tensor) -> Iterator[tuple[str, NDArray[np.float64]]]:
    table = tensor.data.astype(np.float64).reshape(tensor.batch, -1)
    if table.shape[1] == 1:
        yield tensor.name, table[:, 0]
    else:
        yield from ((f"{tensor.name}[{i}]", table[:, i]) for i in range(table.shape[1]))


def request_features(numbered: Iterable[tuple[int, Exchange]], codecs: Codecs) -> Columns:
    """The features of all replayable requests, by their ordinals."""

    def wanted(exchange: Exchange) -> bytes | None:
        return exchange.request.body if Flags.REPLAYABLE in exchange.flags else None

    return _streamed(numbered, codecs, wanted, feature_columns)


def response_predictions(numbered: Iterable[tuple[int, Exchange]], codecs: Codecs) -> Columns:
    """The predictions of all responses that are as the server sent them, by their ordinals."""

    def wanted(exchange: Exchange) -> bytes | None:
        valid = Flags.RECORDED_VALID in exchange.flags and Flags.RESPONSE_DROPPED not in exchange.flags
        return exchange.response.body if valid and exchange.response and exchange.response.status < 300 else None

    return _streamed(numbered, codecs, wanted, prediction_columns)


def _streamed(
    numbered: Iterable[tuple[int, Exchange]],
    codecs: Codecs,
    wanted: Callable[[Exchange], bytes | None],
    columns_of: Callable[[Codec, Sequence[bytes]], Columns],
) -> Columns:
    parts: list[tuple[int, Columns]] = []
    for together in batched(numbered, DECODED_TOGETHER, strict=False):
        for (name, _route), places in by_route(exchange for _, exchange in together).items():
            codec = codecs(name)
            bodies = [(together[at][0], body) for at in places if (body := wanted(together[at][1])) is not None]
            if codec is not None and bodies:
                ordinals = np.array([ordinal for ordinal, _ in bodies], dtype=np.int64)
                columns = columns_of(codec, [body for _, body in bodies])
                parts.append((0, {key: FeatureColumn(values, ordinals[at]) for key, (values, at) in columns.items()}))
    return joined(parts)


def joined(parts: Sequence[tuple[int, Columns]]) -> Columns:
    """The columns of all parts, each part's owners moved by its start, in order of owner."""
    names = dict.fromkeys(name for _, columns in parts for name in columns)
    all_columns: Columns = {}
    for name in names:
        having = [(start, columns[name]) for start, columns in parts if name in columns]
        values = np.concatenate([column.values for _, column in having])
        owner = np.concatenate([column.owner + start for start, column in having])
        if np.any(np.diff(owner) < 0):  # several routes carry the feature
            order = np.argsort(owner, kind="stable")
            values, owner = values[order], owner[order]
        all_columns[name] = FeatureColumn(values, owner)
    return all_columns
