import gzip

import numpy as np
import pytest

from captures.codec_testing import check_codec
from captures.codecs.body import Document, Opaque, Role, Tensors
from captures.codecs.oip_v2 import OipV2
from captures.errors import CodecError
from captures.exchange import Request

REQUESTS = [
    b'{"id":"42","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.50],[null,4]]}]}',
    b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1.0,2,3,4e0]}],"outputs":[{"name":"y"}]}',
    (
        b'{"inputs":[{"data":[5],"name":"a","shape":[1],"datatype":"INT64"},'
        b'{"data":["u\\u00e9","x"],"name":"s","datatype":"BYTES","shape":[2]}]}'
    ),
    (
        b'{"parameters":{"content_type":"pd"},"inputs":[{"name":"age","shape":[1,1],"datatype":"UINT8","data":[255],'
        b'"parameters":{"content_type":"np"}},{"name":"smoker","shape":[1],"datatype":"BOOL","data":[true]}]}'
    ),
    b'{ "inputs" : [ { "name" : "a" , "shape" : [ 1 ] , "datatype" : "FP64" , "data" : [ NaN ] } ] }\n',
    (
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}],'
        b'"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[9],"data":[2]}]}'
    ),
    b'{"inputs":[]}',
    b'{"inputs":[{"name":"e","shape":[0],"datatype":"FP64","data":[]}]}',
    b'{"inputs":[{"name":"i","shape":[1,2,1,1],"datatype":"UINT8","data":[[[[1]],[[2]]]]}]}',
    b'{"inputs":[{"name":"big","shape":[2],"datatype":"UINT64","data":[18446744073709551615,9007199254740993]}]}',
]
RESPONSES = [
    b'{"model_name":"m","model_version":"1","id":"42","outputs":[{"name":"y","shape":[2],"datatype":"INT64","data":[1,0]}]}',
    b'{"outputs":[{"name":"label","shape":[1],"datatype":"BYTES","data":["cat"]}]}',
    b'{"error":"unknown model"}',
]


def read(body: bytes) -> Tensors:
    (decoded,) = OipV2().decode([body], "request")
    assert isinstance(decoded, Tensors)
    return decoded


def with_tensor(datatype: str, shape: str, data: str) -> bytes:
    return f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}'.encode()


def test_it_keeps_the_promises_of_a_codec() -> None:
    check_codec(
        OipV2(),
        requests=REQUESTS,
        responses=RESPONSES,
        claimed=[
            Request(method="POST", target="/v2/models/m/infer"),
            Request(method="GET", target="/v2/models/m/ready"),
        ],
        unclaimed=[
            Request(method="POST", target="/v1/models/m:predict"),
            Request(method="POST", target="/v2/models/m/generate"),
        ],
    )


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP16", "float64"),
        ("FP32", "float64"),
        ("BF16", "float64"),
        ("INT8", "int8"),
        ("UINT64", "uint64"),
        ("BOOL", "bool"),
    ],
)
def test_datatypes_become_numpy_types(datatype: str, dtype: str) -> None:
    (tensor,) = read(with_tensor(datatype, "[2]", "[0,1]")).tensors
    assert (str(tensor.data.dtype), tensor.shape, tensor.role) == (dtype, (2,), Role.FEATURE)


def test_flat_and_nested_data_mean_the_same() -> None:
    flat, nested = (read(with_tensor("FP32", "[2,2]", data)).tensors[0] for data in ("[1,2,3,4]", "[[1,2],[3,4]]"))
    assert np.array_equal(flat.data, nested.data)


def test_null_and_nan_are_missing_values() -> None:
    (tensor,) = read(with_tensor("FP64", "[3]", "[null,NaN,Infinity]")).tensors
    assert np.array_equal(tensor.data, [np.nan, np.nan, np.inf], equal_nan=True)


def test_strings_are_objects() -> None:
    (tensor,) = read(with_tensor("BYTES", "[2,1]", '[["a"],["\\u00e9"]]')).tensors
    assert tensor.data.tolist() == [["a"], ["é"]]


def test_large_integers_are_exact() -> None:
    (tensor,) = read(REQUESTS[-1]).tensors
    assert tensor.data.tolist() == [2**64 - 1, 2**53 + 1]


def test_responses_name_their_model() -> None:
    (decoded, labels, error) = OipV2().decode(RESPONSES, "response")
    assert isinstance(decoded, Tensors)
    assert (decoded.model, decoded.model_version, decoded.tensors[0].role) == ("m", "1", Role.PREDICTION)
    assert isinstance(labels, Tensors)
    assert error == Document({"error": "unknown model"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs":{}}',
        b'{"inputs":[1]}',
        b'{"instances":[[1]]}',
        with_tensor("FP32", "[2]", "[1]"),
        with_tensor("FP32", "[-1]", "[1]"),
        with_tensor("FP32", "[true]", "[1]"),
        with_tensor("FP32", "[1]", '["1"]'),
        with_tensor("FP32", "[2]", "[[1],[1,2]]"),
        with_tensor("FLOAT", "[1]", "[1]"),
        with_tensor("INT8", "[1]", "[128]"),
        with_tensor("INT8", "[1]", "[null]"),
        with_tensor("INT64", "[1]", "[1e300]"),
        with_tensor("INT64", "[1]", "[Infinity]"),
        with_tensor("INT64", "[1]", "[0.5]"),
        with_tensor("BOOL", "[1]", "[2]"),
        with_tensor("BYTES", "[1]", "[1]"),
        with_tensor("FP64", "[1]", "[" + "1" * 400 + "]"),
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}',
    ],
)  # fmt: skip
def test_what_is_no_request_is_a_codec_error(body: bytes) -> None:
    (decoded,) = OipV2().decode([body], "request")
    assert isinstance(decoded, CodecError)


def test_compressed_bodies_stay_opaque() -> None:
    body = gzip.compress(REQUESTS[0], mtime=0)
    assert OipV2().decode([body], "request") == [Opaque("content-encoding", len(body))]


def test_roles_of_a_request() -> None:
    body = (
        b'{"id":"42","parameters":{"sequence_id":7,"note":"x"},"inputs":[{"name":"age","shape":[1],"datatype":"FP32","data":[1]},'
        b'{"name":"t","shape":[1],"datatype":"ODD","data":["x"]},{"name":"i","shape":[1,1,1],"datatype":"UINT8","data":[1]}],"zz":1}'
    )
    roles: dict[tuple[bytes, str], Role] = {
        (body[leaf.start : leaf.stop], leaf.kind): leaf.role for leaf in OipV2().leaves(body, "request")
    }
    expected: dict[tuple[bytes, str], Role] = {
        (b'"42"', "string"): Role.IDENTITY,
        (b'"sequence_id"', "key"): Role.CONTROL,
        (b"7", "number"): Role.IDENTITY,
        (b'"note"', "key"): Role.OTHER,
        (b'"age"', "string"): Role.NAME,
        (b'"FP32"', "string"): Role.CONTROL,
        (b'"ODD"', "string"): Role.OTHER,
        (b'"zz"', "key"): Role.OTHER,
        (b"[1,1,1]", "numbers"): Role.CONTROL,
    }
    assert {key: roles[key] for key in expected} == expected
    data = {
        leaf.name: leaf.role for leaf in OipV2().leaves(body, "request") if "data" in leaf.path and leaf.kind != "key"
    }
    assert data == {"age": Role.FEATURE, "t": Role.TEXT, "i": Role.OTHER}


def test_answers_in_words_are_predictions() -> None:
    leaf = OipV2().leaves(RESPONSES[1], "response")[-1]
    assert (leaf.path, leaf.role, leaf.name) == (("outputs", 0, "data", 0), Role.PREDICTION, "label")


def test_features_are_columns() -> None:
    bodies = [read(body) for body in REQUESTS[:2]]
    columns = OipV2().features(bodies)
    assert columns["x[1]"][0].tolist() == [2.5, 4, 2, 4]
    assert columns["x[1]"][1].tolist() == [0, 0, 1, 1]


def test_only_the_touched_number_differs() -> None:
    new = {"x[0]": [np.array([1, 0.1]), np.empty(0)]}
    assert OipV2().encode_features(REQUESTS[:2], new) == [REQUESTS[0].replace(b"null", b"0.1"), REQUESTS[1]]


def test_the_last_of_repeated_keys_is_the_one_that_counts() -> None:
    assert OipV2().encode_features([REQUESTS[5]], {"x": [np.array([7.0])]}) == [
        REQUESTS[5].replace(b'"data":[2]', b'"data":[7]')
    ]


def test_encoding_into_a_broken_body_is_a_codec_error() -> None:
    with pytest.raises(CodecError):
        OipV2().encode_features([b"{}"], {"x": [np.ones(1)]})
