"""A template decides what the leaves decide, and nothing else: the same bodies, seen for the first time and for the hundredth."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.codecs.kserve_v1 import KServeV1
from captures.codecs.oip_v2 import OipV2
from captures.codecs.opaque import OpaqueCodec
from captures.privacy.leaves import Bodies
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates

KEY = b"k" * 32
POLICY = Policy(labels=("cat", "dog"), features_replaced=("secret*",))
TEXTS = st.sampled_from(["cat", "dog", "ada@example.com", "x", "FP64", "r-1", "", 'a"b', "é"])
NUMBERS = st.sampled_from([0, 1, -2.5, 12345, 123456789, 1e21, 0.1, True, None, 4111111111111111])
ROWS = st.lists(NUMBERS, min_size=1, max_size=6)
PARAMETERS = st.dictionaries(
    st.sampled_from(["sequence_id", "who", "content_type", "names"]),
    st.one_of(NUMBERS, TEXTS, st.sampled_from(["pd", "np", "FP64", "p\\u0064"]), st.lists(TEXTS, max_size=3)),
    max_size=3,
)


@st.composite
def tensors(draw: st.DrawFn, key: str) -> dict[str, object]:
    tensor = {
        "name": draw(st.sampled_from(["x", "secret_x", "user_id"])),
        "shape": [1, 2],
        "datatype": draw(st.sampled_from(["FP64", "BYTES"])),
        "data": draw(st.one_of(ROWS, st.lists(ROWS, min_size=1, max_size=3), st.lists(TEXTS, min_size=1, max_size=2))),
    }
    return {
        "id": draw(TEXTS),
        key: [tensor],
        "parameters": {draw(st.sampled_from(["sequence_id", "who"])): draw(NUMBERS)},
    }


def written(value: object, indent: int | None) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False).encode()


@given(st.lists(tensors("inputs"), min_size=1, max_size=8), st.sampled_from([None, 1]))
@settings(max_examples=150, deadline=None)
def test_a_body_is_kept_alike_whatever_came_before_it(values: list[dict[str, object]], indent: int | None) -> None:
    codec = OipV2()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for body in [written(value, indent) for value in values] * 3:
        trained.keep(codec, body, "request", "POST /x")
        fresh = Bodies(POLICY, Surrogates(KEY), derived=False)

        assert trained.keep(codec, body, "request", "POST /x") == fresh.keep(codec, body, "request")


@given(st.lists(st.dictionaries(TEXTS, st.one_of(TEXTS, NUMBERS, ROWS), max_size=4), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_so_is_what_no_codec_knows(values: list[dict[str, object]]) -> None:
    codec = OpaqueCodec()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for body in [written(value, None) for value in values] * 3:
        fresh = Bodies(POLICY, Surrogates(KEY), derived=False)

        assert trained.keep(codec, body, "request", "a") == fresh.keep(codec, body, "request")


@given(st.lists(tensors("outputs"), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_so_is_an_answer(values: list[dict[str, object]]) -> None:
    codec = OipV2()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for body in [written(value, None) for value in values] * 3:
        fresh = Bodies(POLICY, Surrogates(KEY), derived=False)

        assert trained.keep(codec, body, "response", "a") == fresh.keep(codec, body, "response")


@pytest.mark.parametrize(
    "later",
    [
        b'{"instances": [{"a": 1.5, "b": 2}]}',
        b'{"instances": [{"a": 1.5, "b": 123456789}]}',
        b'{"instances": [{"a": 1e9, "b": 2}]}',
        b'{"instances": [{"a": 01, "b": 2}]}',
        b'{"instances": [{"a": 1.5, "b": 2}]',
        b'{"instances": [{"a": 1.5, "b": null}]}',
        b'{"instances": [{"a": 1.5, "b": 2}]} ',
        b'{"instances": [{"a": 1.5, "a": 2}]}',
        b'{"instances": [{"a": 1.5, "b": "2"}]}',
        b'{"instances": [{"a": 1.5, "b": 2, "c": 3}]}',
        b'{"instances": [{"a": 1.5, "b": \xff}]}',
    ],
)
def test_what_only_looks_like_a_known_body_is_looked_at(later: bytes) -> None:
    codec = KServeV1()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for number in range(4):
        trained.keep(codec, b'{"instances": [{"a": 0.5, "b": %d}]}' % number, "request", "p")

    assert trained.keep(codec, later, "request", "p") == Bodies(POLICY, Surrogates(KEY), derived=False).keep(
        codec, later, "request"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", '\\"\n', '\\"', ""])
@pytest.mark.parametrize("said", ["", "s", "secret"])
def test_a_string_that_does_not_end_is_no_string(said: str, end: str) -> None:
    body = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["ab"\n]}]}'
    cut = body.replace(b'"ab"\n', f'"{said}{end}'.encode())
    codec = OipV2()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for _ in range(3):
        trained.keep(codec, body, "request", "p")

    kept = trained.keep(codec, cut, "request", "p")

    assert kept.body == b""
    assert kept == Bodies(POLICY, Surrogates(KEY), derived=False).keep(codec, cut, "request")


@pytest.mark.parametrize("label", ["caf\\u00e9", "caf\u00e9", "\\u0063at", "\\ud83d\\ude00", "cow"])
def test_a_label_is_one_however_it_is_spelled_and_whatever_came_before_it(label: str) -> None:
    policy = Policy(labels=("cat", "caf\u00e9", "\U0001f600"))
    codec = KServeV1()
    trained = Bodies(policy, Surrogates(KEY), derived=False)
    for text in (b"owl", b"cat", b"bee"):
        trained.keep(codec, b'{"predictions": ["%s"]}' % text, "response", "p")

    body = f'{{"predictions": ["{label}"]}}'.encode()
    for _ in range(3):
        kept = trained.keep(codec, body, "response", "p")

        assert kept == Bodies(policy, Surrogates(KEY), derived=False).keep(codec, body, "response")
        assert kept.altered == (label == "cow")


@pytest.mark.parametrize("said", ["base64", "\\u0062ase64", "str", "INT8", "zebra"])
@pytest.mark.parametrize("key", ["content_type", "who"])
def test_a_word_of_the_protocol_is_one_in_its_place_only(key: str, said: str) -> None:
    head = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}], "parameters": {'
    bodies = [f'{head}"{key}": "{text}"}}}}'.encode() for text in ("np", "yak", said, "gnu", said, said)]
    codec = OipV2()
    trained = Bodies(POLICY, Surrogates(KEY), derived=False)
    for body in bodies:
        kept = trained.keep(codec, body, "request", "p")

        assert kept == Bodies(POLICY, Surrogates(KEY), derived=False).keep(codec, body, "request")
    assert (said.encode() in kept.body) == (key == "content_type" and said != "zebra")


def test_long_texts_are_not_remembered() -> None:
    codec = KServeV1()
    bodies = Bodies(POLICY, Surrogates(KEY), derived=False)
    for number in range(8):
        bodies.keep(codec, b'{"instances": ["%s %d"]}' % (b"word " * 100, number), "request", "p")

    ((made, *_),) = bodies._templates.values()
    assert [known for _, _, known in made.actions] == [{}]


def test_maps_keyed_by_ids_do_not_grow_without_end() -> None:
    codec = KServeV1()
    bodies = Bodies(POLICY, Surrogates(KEY), derived=False)
    for number in range(3000):
        kept = bodies.keep(codec, b'{"instances": [{"user-%06d": 1.5}]}' % number, "request", "p")

        assert b"user" not in kept.body
    assert len(bodies._words) < 2_100
