import gzip

import numpy as np
import pytest

from captures.codec_testing import check_codec
from captures.codecs.body import Document, Opaque, Role, Tensors
from captures.codecs.codec import Side
from captures.codecs.kserve_v1 import KServeV1
from captures.errors import CodecError
from captures.exchange import Request

REQUESTS = [
    b'{"instances":[{"age":41,"income":8.3252,"city":"Oslo"},{"age":42,"income":null,"city":"Rome"}]}',
    b'{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3, 4.5, 1.6]]}',
    b'{"instances":[1,2.5]}',
    b'{"signature_name":"s","instances":[{"v":[1,2],"ok":true},{"v":[3,4.5],"ok":false}]}',
    b'{"inputs":{"tag":["foo"],"signal":[[1,2]]}}',
    b'{"inputs":[[1,2],[3,4]]}',
    b'{"instances":[{"a":1},{"b":2}]}',
    b'{"instances":[{"image":{"b64":"aGk="}}]}',
    b'{"examples":[{"f":1.5}],"context":{"g":2}}',
    b'{"instances":[]}',
    b'{"instances":[{"a":NaN}]}',
    b'{"instances":[{"a":1,"a":2}],"instances":[{"a":3,"a":4}]}',
    b'{"instances":[[1,[2]]]}',
    b'{"inputs":{"x":3}}',
]
RESPONSES = [
    b'{"predictions":[0.25,1]}',
    b'{"predictions":[[0.1,0.9],[0.8,0.2]]}',
    b'{"predictions":[{"label":"cat","score":0.5}],"model_name":"m","model_version":"2"}',
    b'{"outputs":{"o1":[1],"o2":[[2,3]]}}',
    b'{"results":[[["cat",0.9],["dog",0.1]]]}',
    b'{"predictions":"cat"}',
    b'{"error":"no such model"}',
]


def features(body: bytes) -> dict[str, list[float]]:
    (decoded,) = KServeV1().decode([body], "request")
    assert isinstance(decoded, Tensors)
    return {name: values.tolist() for name, (values, _) in KServeV1().features([decoded]).items()}


def test_it_keeps_the_promises_of_a_codec() -> None:
    check_codec(
        KServeV1(),
        requests=REQUESTS,
        responses=RESPONSES,
        claimed=[
            Request(method="POST", target="/v1/models/m:predict"),
            Request(method="POST", target="/v1/models/m:explain"),
        ],
        unclaimed=[
            Request(method="POST", target="/v2/models/m/infer"),
            Request(method="POST", target="/v1/completions"),
        ],
    )


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        (b'{"instances":[{"a":1,"b":2.5},{"a":3}]}', {"a": [1, 3], "b": [2.5, np.nan]}),
        (b'{"instances":[[1,2],[3,4]]}', {"[0]": [1, 3], "[1]": [2, 4]}),
        (b'{"instances":[1,2]}', {"[0]": [1, 2]}),
        (b'{"instances":[{"v":[1,2]},{"v":[3,4]}]}', {"v[0]": [1, 3], "v[1]": [2, 4]}),
        (b'{"inputs":{"a":[1,2],"b":[[1],[2]]}}', {"a": [1, 2], "b": [1, 2]}),
        (b'{"inputs":[[1,2]]}', {"[0]": [1], "[1]": [2]}),
        (b'{"instances":[{"s":"x","n":1}]}', {"n": [1]}),
        (b'{"instances":[{"n":{"deep":1}}]}', {}),
    ],
)
def test_features_are_named_by_key_or_place(body: bytes, columns: dict[str, list[float]]) -> None:
    assert repr(features(body)) == repr({name: [float(value) for value in values] for name, values in columns.items()})


def test_datatypes_follow_how_numbers_are_written() -> None:
    (decoded,) = KServeV1().decode([REQUESTS[0]], "request")
    assert isinstance(decoded, Tensors)
    assert {tensor.name: tensor.datatype for tensor in decoded.tensors} == {
        "age": "INT64",
        "income": "FP64",
        "city": "BYTES",
    }


def test_predictions_take_the_name_of_their_key() -> None:
    decoded = [body for body in KServeV1().decode(RESPONSES[:4], "response") if isinstance(body, Tensors)]
    assert [[(tensor.name, tensor.shape) for tensor in body.tensors] for body in decoded] == [
        [("predictions", (2,))],
        [("predictions", (2, 2))],
        [("label", (1,)), ("score", (1,))],
        [("o1", (1,)), ("o2", (1, 2))],
    ]
    assert all(tensor.role is Role.PREDICTION for body in decoded for tensor in body.tensors)
    assert (decoded[2].model, decoded[2].model_version) == ("m", "2")


def test_an_error_is_a_document() -> None:
    assert KServeV1().decode([RESPONSES[-1]], "response") == [Document({"error": "no such model"})]


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"a":1}', b"x"])
def test_what_is_neither_rows_nor_columns_is_a_codec_error(body: bytes, side: Side) -> None:
    (decoded,) = KServeV1().decode([body], side)
    assert isinstance(decoded, CodecError)
    with pytest.raises(CodecError):
        KServeV1().leaves(body, side)


def test_compressed_bodies_stay_opaque() -> None:
    body = gzip.compress(REQUESTS[0], mtime=0)
    assert KServeV1().decode([body], "request") == [Opaque("content-encoding", len(body))]


def test_roles_of_a_request() -> None:
    body = b'{"signature_name":"s","id":"x","instances":[{"age":41,"city":"Oslo","deep":{"k":5},"img":{"b64":"aGk="}}],"zz":[1]}'
    roles = {(body[leaf.start : leaf.stop], leaf.kind): leaf.role for leaf in KServeV1().leaves(body, "request")}
    assert roles == {
        (b'"signature_name"', "key"): Role.CONTROL,
        (b'"s"', "string"): Role.NAME,
        (b'"id"', "key"): Role.CONTROL,
        (b'"x"', "string"): Role.IDENTITY,
        (b'"instances"', "key"): Role.CONTROL,
        (b'"age"', "key"): Role.NAME,
        (b"41", "number"): Role.FEATURE,
        (b'"city"', "key"): Role.NAME,
        (b'"Oslo"', "string"): Role.TEXT,
        (b'"deep"', "key"): Role.NAME,
        (b'"k"', "key"): Role.OTHER,
        (b"5", "number"): Role.OTHER,
        (b'"img"', "key"): Role.NAME,
        (b'"b64"', "key"): Role.CONTROL,
        (b'"aGk="', "string"): Role.OTHER,
        (b'"zz"', "key"): Role.OTHER,
        (b"[1]", "numbers"): Role.OTHER,
    }


@pytest.mark.parametrize(
    ("body", "name", "values", "after"),
    [
        (REQUESTS[0], "age", [41, 50.6], REQUESTS[0].replace(b"42", b"51")),
        (REQUESTS[0], "income", [8.3252, 1.0], REQUESTS[0].replace(b"null", b"1.0")),
        (REQUESTS[1], "[1]", [2.8, 0.5], REQUESTS[1].replace(b" 3,", b" 0.5,")),
        (REQUESTS[2], "[0]", [7, 2.5], REQUESTS[2].replace(b"1,", b"7,")),
        (REQUESTS[3], "v[1]", [2, 9], REQUESTS[3].replace(b"4.5", b"9.0")),
        (REQUESTS[3], "ok", [1, 1], REQUESTS[3].replace(b"false", b"true")),
        (REQUESTS[4], "signal[1]", [5], REQUESTS[4].replace(b"[1,2]", b"[1,5]")),
        (REQUESTS[10], "a", [1.5], REQUESTS[10].replace(b"NaN", b"1.5")),
        (REQUESTS[11], "a", [8], REQUESTS[11].replace(b"4", b"8")),
        (REQUESTS[13], "x", [4], REQUESTS[13].replace(b"3", b"4")),
    ],
)
def test_only_the_touched_numbers_differ(body: bytes, name: str, values: list[float], after: bytes) -> None:
    assert KServeV1().encode_features([body], {name: [np.array(values, dtype=float)]}) == [after]


def test_a_row_that_lacks_the_key_keeps_lacking_it() -> None:
    assert KServeV1().encode_features([REQUESTS[6]], {"a": [np.array([5, np.nan])]}) == [
        REQUESTS[6].replace(b":1", b":5")
    ]
    with pytest.raises(CodecError, match="row 1"):
        KServeV1().encode_features([REQUESTS[6]], {"a": [np.array([5.0, 6.0])]})


def test_a_missing_value_is_spelled_as_the_body_spells_it() -> None:
    body = b'{"instances":[{"a":NaN},{"a":1.5}]}'
    assert KServeV1().encode_features([body], {"a": [np.array([np.nan, np.nan])]}) == [body.replace(b"1.5", b"NaN")]
