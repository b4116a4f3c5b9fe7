"""KServe V1 and TensorFlow Serving REST: rows (``instances`` -> ``predictions``) or columns (``inputs`` -> ``outputs``).

Rows are objects, lists or scalars. There are no datatypes: a column whose numbers are all written as integers is INT64, any other
numeric one FP64. What is neither numbers nor strings (``{"b64": …}``, ragged lists) is a BYTES tensor of JSON text.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.codecs.arrays import feature_columns, numeric, object_array
from captures.codecs.body import Body, Document, Role, Tensor, Tensors
from captures.codecs.cells import Cells, with_features
from captures.codecs.codec import Claim, Leaf, Side
from captures.codecs.json_body import decoded
from captures.codecs.json_spans import Path, Span, load, numbers_in, scan
from captures.codecs.routes import Route, claim_path
from captures.errors import CodecError
from captures.exchange import Request

_VERBS = ("predict", "classify", "regress", "explain")
ROUTES = (
    *(Route(f"/v1/models/{{model}}:{verb}", inference=True) for verb in _VERBS),
    *(Route(f"/v1/models/{{model}}/versions/{{version}}:{verb}", inference=True) for verb in _VERBS),
    *(Route(f"/v1/models/{{model}}/labels/{{label}}:{verb}", inference=True) for verb in _VERBS),
    Route("/v1/models"),
    Route("/v1/models/{model}"),
    Route("/v1/models/{model}/metadata"),
    Route("/v1/models/{model}/versions/{version}"),
    Route("/v1/models/{model}/versions/{version}/metadata"),
    Route("/v1/models/{model}/labels/{label}"),
    Route("/v1/models/{model}/labels/{label}/metadata"),
)

# TensorFlow Serving documents `result` and sends `results`.
_ROWS: Mapping[Side, tuple[str, ...]] = {
    "request": ("instances", "examples"),
    "response": ("predictions", "results", "result"),
}
_COLUMNS: Mapping[Side, str] = {"request": "inputs", "response": "outputs"}
_OTHERS: Mapping[Side, Mapping[str, Role]] = {
    "request": {"signature_name": Role.NAME, "context": Role.OTHER, "id": Role.IDENTITY},
    "response": {"error": Role.TEXT, "model_name": Role.NAME, "model_version": Role.NAME, "id": Role.IDENTITY},
}
_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}


class KServeV1:
    name = "kserve-v1"
    control_words = frozenset[str]()

    def claims(self, request: Request) -> Claim | None:
        return claim_path(self.name, ROUTES, request.method, request.target)

    def decode(self, bodies: Sequence[bytes], side: Side) -> list[Body | Exception]:
        return [decoded(body, side, _document) for body in bodies]

    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        spans = scan(body)
        known = {*_ROWS[side], _COLUMNS[side]} | ({"error"} if side == "response" else set())
        if not any(path[0] in known for path, *_, kind in spans if kind == "key" and len(path) == 1):
            raise CodecError(f"none of {', '.join(sorted(known))}")
        return [_leaf(span, side) for span in spans]

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
    form = _form(value, side)
    if form is None:
        if side == "response" and "error" in value:
            return Document(value)
        raise CodecError(f"neither {' nor '.join(_ROWS[side])} nor {_COLUMNS[side]}")
    model, version = value.get("model_name", ""), value.get("model_version", "")
    return Tensors(
        tuple(_tensors(form, value[form], side)),
        model if isinstance(model, str) else "",
        version if isinstance(version, str) else "",
    )


def _form(value: Mapping[str, object], side: Side) -> str | None:
    """The key that holds the data: rows before columns."""
    return next((key for key in (*_ROWS[side], _COLUMNS[side]) if key in value), None)


def _tensors(form: str, data: object, side: Side) -> list[Tensor]:
    role = Role.FEATURE if side == "request" else Role.PREDICTION
    unnamed = "" if side == "request" else form
    if form == _COLUMNS[side] and isinstance(data, dict):
        return [_tensor(name, values if isinstance(values, list) else [values], role) for name, values in data.items()]
    if not isinstance(data, list):
        data = [data]
    rows = [row for row in data if isinstance(row, dict)]
    if rows and len(rows) == len(data):
        names = dict.fromkeys(name for row in rows for name in row)
        return [_tensor(name, [row.get(name) for row in rows], role) for name in names]
    return [_tensor(unnamed, data, role)]


def _tensor(name: str, values: list[object], role: Role) -> Tensor:
    if not values:
        return Tensor(name, "FP64", (0,), np.empty(0), role)
    array = numeric(values)
    if array is not None:
        return Tensor(name, _DATATYPES[array.dtype.kind], array.shape, array, role)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return Tensor(name, "BYTES", (len(texts),), object_array(texts, (len(texts),)), role)


# -- leaves


def _leaf(span: Span, side: Side) -> Leaf:
    path, start, stop, kind = span
    if not path:
        return Leaf(path, start, stop, kind, Role.OTHER)
    name = next(
        (part for part in reversed(path[1:]) if isinstance(part, str)), "" if side == "request" else str(path[0])
    )
    rows = path[0] in _ROWS[side]
    if len(path) == 1 and path[0] in _OTHERS[side]:
        role = Role.CONTROL if kind == "key" else _OTHERS[side][str(path[0])]
        return Leaf(path, start, stop, kind, role, str(path[0]))
    if not rows and path[0] != _COLUMNS[side]:
        return Leaf(path, start, stop, kind, Role.OTHER, name)
    if kind == "key":
        return Leaf(path, start, stop, kind, _key_role(path, rows), name)
    return Leaf(path, start, stop, kind, _value_role(path, kind, side, rows), name)


def _key_role(path: Path, rows: bool) -> Role:
    if len(path) == 1 or path[-1] == "b64":
        return Role.CONTROL
    named = (isinstance(path[1], int) and len(path) == 3) if rows else len(path) == 2
    return Role.NAME if named else Role.OTHER


def _value_role(path: Path, kind: str, side: Side, rows: bool) -> Role:
    """Values inside a nested object belong to no feature we know."""
    if any(isinstance(part, str) for part in path[3 if rows else 2 :]):
        return Role.OTHER
    if side == "response":
        return Role.PREDICTION
    return Role.TEXT if kind == "string" else Role.FEATURE


# -- encoding


def _cells(body: bytes) -> list[Cells]:
    """The cells of every feature. A repeated key counts in its last place, as it does for a decoder."""
    value = load(body)
    meant = _document(value, "request")
    assert isinstance(meant, Tensors)
    assert isinstance(value, dict)
    form = _form(value, "request")
    spans: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for path, start, stop, kind in scan(body):
        if not path or path[0] != form:
            continue
        if kind == "key" and len(path) == 1:
            spans.clear()
            continue
        name = next((part for part in path[1:] if isinstance(part, str)), "")
        row = path[1] if len(path) > 1 and isinstance(path[1], int) and name else 0
        if kind == "key":
            spans[name, row] = []
        elif kind == "numbers":
            spans.setdefault((name, row), []).extend(numbers_in(body, start, stop))
        else:
            spans.setdefault((name, row), []).append((start, stop))
    return [Cells(tensor, _in_rows(tensor, spans)) for tensor in meant.tensors]


def _in_rows(tensor: Tensor, spans: Mapping[tuple[str, int], list[tuple[int, int]]]) -> list[tuple[int, int] | None]:
    """Spans in row-major order; a row without the value has none."""
    whole = spans.get((tensor.name, 0), [])
    if len(whole) == tensor.data.size:
        return list(whole)
    absent = [None] * (tensor.data.size // max(tensor.batch, 1))
    rows: list[tuple[int, int] | None] = []
    for row in range(tensor.batch):
        rows += spans.get((tensor.name, row)) or absent
    return rows
