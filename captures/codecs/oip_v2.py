"""Open Inference Protocol V2, JSON over HTTP: tensors with name, shape, datatype and data, nested or flat.

Tensors in the binary extension are not read yet (`CodecError`). ``null`` in a floating-point tensor is NaN. Tensors of rank three
and more hold content (images, audio), not features: their numbers have role OTHER.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.codecs.arrays import feature_columns, flat_list, numeric, object_array
from captures.codecs.body import Body, Document, Role, Tensor, Tensors
from captures.codecs.cells import INTEGER_RANGE, Cells, with_features
from captures.codecs.codec import Claim, Leaf, Side
from captures.codecs.json_body import decoded
from captures.codecs.json_spans import Path, Span, load, numbers_in, scan, text_of
from captures.codecs.routes import Route, claim_path
from captures.errors import CodecError
from captures.exchange import Request

ROUTES = (
    Route("/v2/models/{model}/infer", inference=True),
    Route("/v2/models/{model}/versions/{version}/infer", inference=True),
    Route("/v2"),
    Route("/v2/health/live"),
    Route("/v2/health/ready"),
    Route("/v2/models"),
    Route("/v2/models/{model}"),
    Route("/v2/models/{model}/ready"),
    Route("/v2/models/{model}/config"),
    Route("/v2/models/{model}/stats"),
    Route("/v2/models/{model}/versions/{version}"),
    Route("/v2/models/{model}/versions/{version}/ready"),
    Route("/v2/repository/index"),
    Route("/v2/repository/models/{model}/load"),
    Route("/v2/repository/models/{model}/unload"),
)

FLOATS = frozenset(("FP16", "FP32", "FP64", "BF16"))
DATATYPES = FLOATS | frozenset(INTEGER_RANGE) | {"BOOL", "BYTES"}
CONTENT_TYPES = frozenset(("np", "pd", "str", "base64", "datetime", "raw", "pd_json", "hg-json", "hg-conversational"))

# What the protocol's own keys are, by where they stand. "*" is any index.
_KEYS: Mapping[Side, frozenset[Path]] = {
    "request": frozenset(
        [("id",), ("parameters",), ("inputs",), ("outputs",)]
        + [("inputs", "*", key) for key in ("name", "shape", "datatype", "parameters", "data")]
        + [("outputs", "*", key) for key in ("name", "parameters")]
    ),
    "response": frozenset(
        [(key,) for key in ("id", "parameters", "outputs", "model_name", "model_version", "error")]
        + [("outputs", "*", key) for key in ("name", "shape", "datatype", "parameters", "data")]
    ),
}
_VALUES: Mapping[Path, Role] = {
    ("id",): Role.IDENTITY,
    ("model_name",): Role.NAME,
    ("model_version",): Role.NAME,
    ("error",): Role.TEXT,
    ("inputs", "*", "name"): Role.NAME,
    ("outputs", "*", "name"): Role.NAME,
    ("inputs", "*", "shape"): Role.CONTROL,
    ("outputs", "*", "shape"): Role.CONTROL,
    ("inputs", "*", "datatype"): Role.CONTROL,
    ("outputs", "*", "datatype"): Role.CONTROL,
}
_PARAMETERS: Mapping[str, Role] = {
    "content_type": Role.CONTROL,
    "binary_data": Role.CONTROL,
    "binary_data_output": Role.CONTROL,
    "binary_data_size": Role.CONTROL,
    "classification": Role.CONTROL,
    "sequence_id": Role.IDENTITY,
    "sequence_start": Role.CONTROL,
    "sequence_end": Role.CONTROL,
    "priority": Role.CONTROL,
    "timeout": Role.CONTROL,
}
_HIGHEST_FEATURE_RANK = 2


class OipV2:
    name = "oip-v2"
    control_words = DATATYPES | CONTENT_TYPES

    def claims(self, request: Request) -> Claim | None:
        return claim_path(self.name, ROUTES, request.method, request.target)

    def decode(self, bodies: Sequence[bytes], side: Side) -> list[Body | Exception]:
        return [decoded(body, side, _document) for body in bodies]

    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        spans = scan(body)
        wanted = {("inputs",)} if side == "request" else {("outputs",), ("error",)}
        if not any(path in wanted for path, *_, kind in spans if kind == "key" and len(path) == 1):
            raise CodecError("no inputs" if side == "request" else "neither outputs nor an error")
        names = _names(body, spans)
        ranks = _ranks(body, spans)
        return [_leaf(body, span, side, names, ranks) for span in spans]

    def features(self, bodies: Sequence[Body]) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
        return feature_columns(bodies)

    def encode_features(
        self, bodies: Sequence[bytes], columns: Mapping[str, Sequence[NDArray[np.float64]]]
    ) -> list[bytes]:
        return with_features(bodies, columns, _cells)


# -- decoding


def _document(value: object, side: Side) -> Body:
    if not isinstance(value, dict):
        raise CodecError("not an object")
    entries = value.get("inputs" if side == "request" else "outputs")
    if entries is None and side == "response" and "error" in value:
        return Document(value)
    if not isinstance(entries, list):
        raise CodecError("no inputs" if side == "request" else "neither outputs nor an error")
    role = Role.FEATURE if side == "request" else Role.PREDICTION
    model, version = value.get("model_name", ""), value.get("model_version", "")
    return Tensors(
        tuple(_tensor(entry, role) for entry in entries),
        model if isinstance(model, str) else "",
        version if isinstance(version, str) else "",
    )


def _tensor(entry: object, role: Role) -> Tensor:
    if not isinstance(entry, dict):
        raise CodecError("a tensor that is not an object")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in DATATYPES:
        raise CodecError("a tensor without name or known datatype")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise CodecError("a tensor without shape")
    if "data" not in entry:
        raise CodecError("a tensor without data (binary tensors are not read yet)")
    count = math.prod(shape)
    data = _strings(entry["data"]) if datatype == "BYTES" else _numbers(entry["data"], datatype)
    if data.size != count:
        raise CodecError(f"{data.size} values for a shape of {count}")
    return Tensor(name, datatype, tuple(shape), data.reshape(shape), role)


def _strings(data: object) -> NDArray[np.object_]:
    items = flat_list(data)
    if not all(isinstance(item, str) for item in items):
        raise CodecError("a BYTES tensor holding something else than strings")
    return object_array(items, (len(items),))


def _numbers(data: object, datatype: str) -> NDArray[np.generic]:
    array = numeric(data)
    if array is None:
        raise CodecError(f"a tensor of {datatype} holding something else")
    if datatype in FLOATS:
        return array.astype(np.float64)
    if datatype == "BOOL":
        if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
            raise CodecError("a tensor of BOOL holding something else")
        return array.astype(np.bool_)
    low, high = INTEGER_RANGE[datatype]
    # A float array may be integers too large for int64 next to others: the list still has them exactly.
    items = flat_list(data) if array.dtype.kind == "f" else array.ravel().tolist()
    numbers = [int(item) for item in items if isinstance(item, int) or (isinstance(item, float) and item.is_integer())]
    if len(numbers) < len(items):
        raise CodecError(f"a tensor of {datatype} holding something else")
    if numbers and not low <= min(numbers) <= max(numbers) <= high:
        raise CodecError(f"a tensor of {datatype} holding a value out of range")
    return np.array(numbers, dtype=datatype.lower()).reshape(array.shape)


# -- leaves


def _starred(path: Path) -> Path:
    return tuple("*" if isinstance(part, int) else part for part in path)


def _names(body: bytes, spans: Sequence[Span]) -> dict[Path, str]:
    """Tensor path -> name."""
    return {
        path[:2]: text_of(body[start:stop])
        for path, start, stop, kind in spans
        if kind == "string" and len(path) == 3 and path[2] == "name"
    }


def _ranks(body: bytes, spans: Sequence[Span]) -> dict[Path, int]:
    """Tensor path -> rank, up to 4: all that a role may depend on."""
    return {
        path[:2]: min(body.count(b",", start, stop), 3) + 1
        for path, start, stop, kind in spans
        if kind == "numbers" and len(path) == 3 and path[2] == "shape"
    }


def _leaf(body: bytes, span: Span, side: Side, names: Mapping[Path, str], ranks: Mapping[Path, int]) -> Leaf:
    path, start, stop, kind = span
    place = _starred(path)
    data = ("inputs", "*", "data") if side == "request" else ("outputs", "*", "data")
    name = str(path[-1])
    if kind == "key":
        own = place in _KEYS[side] or (_in_parameters(place) and path[-1] in _PARAMETERS)
        return Leaf(path, start, stop, kind, Role.CONTROL if own else Role.OTHER, name)
    if place[:3] == data:
        return Leaf(path, start, stop, kind, _data_role(kind, side, ranks.get(path[:2], 1)), names.get(path[:2], ""))
    role = _VALUES.get(place, Role.OTHER)
    if _in_parameters(place):
        role = _PARAMETERS.get(name, Role.OTHER)
    if role is Role.CONTROL and kind == "string" and text_of(body[start:stop]) not in OipV2.control_words:
        role = Role.OTHER
    return Leaf(path, start, stop, kind, role, name)


def _in_parameters(place: Path) -> bool:
    return place[:-1] in {("parameters",), ("inputs", "*", "parameters"), ("outputs", "*", "parameters")}


def _data_role(kind: str, side: Side, rank: int) -> Role:
    if kind == "string":
        return Role.TEXT if side == "request" else Role.PREDICTION
    if rank > _HIGHEST_FEATURE_RANK:
        return Role.OTHER
    return Role.FEATURE if side == "request" else Role.PREDICTION


# -- encoding


def _cells(body: bytes) -> list[Cells]:
    """The cells of every input. A repeated key counts in its last place, as it does for a decoder."""
    meant = _document(load(body), "request")
    assert isinstance(meant, Tensors)
    spans: dict[int, list[tuple[int, int] | None]] = {}
    for path, start, stop, kind in scan(body):
        if kind == "key" and path == ("inputs",):
            spans.clear()
        elif len(path) > 2 and path[0] == "inputs" and path[2] == "data" and isinstance(path[1], int):
            if kind == "key":
                spans[path[1]] = []
            elif kind == "numbers":
                spans[path[1]].extend(numbers_in(body, start, stop))
            else:
                spans[path[1]].append((start, stop))
    return [Cells(tensor, spans.get(index, [])) for index, tensor in enumerate(meant.tensors)]
