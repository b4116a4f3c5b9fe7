import json
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from captures.codecs.codec import Codec, Side
from captures.codecs.kserve_v1 import KServeV1
from captures.codecs.oip_v2 import OipV2
from captures.codecs.opaque import OpaqueCodec
from captures.privacy import leaves
from captures.privacy.leaves import Bodies, Kept
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates

SURROGATES = Surrogates(b"k" * 32)


def bodies(fields: Mapping[str, object] = MappingProxyType({}), *, derived: bool = False) -> Bodies:
    return Bodies(Policy.from_data(fields), SURROGATES, derived=derived)


def keep(
    body: str | bytes,
    codec: Codec | None = None,
    side: Side = "request",
    fields: Mapping[str, object] = MappingProxyType({}),
) -> Kept:
    raw = body if isinstance(body, bytes) else body.encode()
    return bodies(fields).keep(codec or KServeV1(), raw, side)


def token(domain: str, text: str) -> str:
    return SURROGATES.token(domain, text)


def test_a_body_of_numeric_features_is_kept_byte_for_byte() -> None:
    body = b'{ "instances" : [ {"MedInc": 8.3252, "AveRooms":1e0, "ok":true, "gone":null, "v":[1,2.50]} ] }\n'
    assert keep(body) == Kept(body)


def test_strings_become_tokens_of_their_domain() -> None:
    kept = keep('{"id":"a-1","instances":[{"city":"Oslo","user_id":"u-1","note":""}]}')
    assert json.loads(kept.body) == {
        "id": token("identity", "a-1"),
        "instances": [{"city": token("text", "Oslo"), "user_id": token("identity", "u-1"), "note": ""}],
    }
    assert (kept.altered, kept.visible) == (True, True)


def test_an_id_alone_is_nothing_a_model_sees() -> None:
    kept = keep('{"id":"a-1","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}', OipV2())
    assert (kept.altered, kept.visible) == (True, False)


def test_equal_text_in_different_escapes_joins() -> None:
    one, other = (keep(f'{{"instances":["{text}"]}}').body for text in ("\u00e9", "\\u00e9"))
    assert one == other


def test_predictions_in_words_are_kept_where_the_policy_lists_them() -> None:
    body = '{"predictions":["cat","ada"]}'
    kept = keep(body, side="response", fields={"labels": ["cat"]})
    assert json.loads(kept.body) == {"predictions": ["cat", token("text", "ada")]}
    assert json.loads(keep('{"instances":["cat"]}', fields={"labels": ["cat"]}).body) == {
        "instances": [token("text", "cat")]
    }


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, ["age", "zip", "pixel"]),
        ({"features_replaced": ["z*"]}, ["age", "pixel"]),
        ({"features_kept": ["age"]}, ["age", "pixel"]),
        ({"features_kept": ["*", "user_id"]}, ["age", "zip", "user_id", "pixel"]),
        ({"features_kept": ["*"], "features_replaced": ["*"]}, []),
    ],
)
def test_features_are_kept_by_name(fields: dict[str, object], kept: list[str]) -> None:
    row = {"age": 4123, "zip": 9021, "user_id": 7777}
    after = json.loads(keep(json.dumps({"instances": [row]}), fields=fields).body)["instances"][0]
    assert [name for name in row if after[name] == row[name]] == [name for name in kept if name in row]


def test_images_and_other_high_ranks_are_content() -> None:
    image = '{"inputs":[{"name":"x","shape":[1,1,2,1],"datatype":"UINT8","data":[12,34]}]}'
    table = image.replace("[1,1,2,1]", "[1,2]")
    several = bodies()
    assert several.keep(OipV2(), table.encode(), "request") == Kept(table.encode())
    assert several.keep(OipV2(), image.encode(), "request").visible
    assert several.keep(OipV2(), table.encode(), "request") == Kept(table.encode())


def test_a_codec_that_cannot_read_leaves_json_without_a_word() -> None:
    kept = keep('{"user":["ada",{"ada":12345}],"n":[1.25,3],"ok":true}')
    assert kept.unparsed
    assert kept.visible
    assert "ada" not in kept.body.decode()
    assert list(json.loads(kept.body)) == [token("name", "user"), token("name", "n"), token("name", "ok")]
    assert b"12345" not in kept.body
    assert b"1.25" not in kept.body


@pytest.mark.parametrize(
    "body", ["", "ada", '"ada"', "1234", "user=ada", '{"a":1', '{"a":"\x01"}', "[" * 200, b'{"a":"\xff"}']
)
def test_what_is_not_a_json_document_is_dropped(body: str | bytes) -> None:
    assert keep(body, OpaqueCodec()) == Kept(b"", visible=True, dropped=True)
    assert keep(body) == Kept(b"", visible=True, dropped=True, unparsed=True)


def test_tokens_stay_where_the_source_was_a_recording() -> None:
    once = keep('{"id":"a","instances":[{"city":"Oslo","b c":1}]}')
    assert bodies(derived=True).keep(KServeV1(), once.body, "request") == Kept(once.body)
    assert keep(once.body).altered


SAME_SHAPE = [
    '{"id":"a","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}',
    '{"id":"b","inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1.5,123456789]}]}',
    '{"id":"x","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    '{"id":"","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    '{"id":"c","inputs":[{"name":"user_id","shape":[1],"datatype":"FP32","data":[7]}]}',
    '{"id":"c","inputs":[{"name":"ada@x","shape":[1],"datatype":"FP32","data":[7]}]}',
    '{"id":"c","inputs":[{"name":"user id","shape":[1],"datatype":"FP32","data":[7]}]}',
    '{"id":"c","inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["x"]}]}',
    '{"id":"c","inputs":[{"name":"x","shape":[1,1,1],"datatype":"FP32","data":[7]}]}',
    '{"id":"c","inputs":[{"name":"user_id","shape":[1],"datatype":"BOOL","data":[true]}]}',
    '{"id":"c","inputs":[{"name":"user_id","shape":[1],"datatype":"BOOL","data":[false]}]}',
    '{"id":"c","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[01]}]}',
    '{"id":"c,"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    '{"id":"c\\","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    '{"id":"FP32","inputs":[{"name":"id","shape":[1],"datatype":"FP32","data":[1],"parameters":{"user":5}}]}',
    '{"id":"FP32","inputs":[{"name":"id","shape":[1],"datatype":"FP32","data":[1],"parameters":{"content_type":"ada"}}]}',
]


@pytest.mark.parametrize("order", [SAME_SHAPE, SAME_SHAPE[::-1], SAME_SHAPE * 2])
def test_bodies_of_one_shape_are_treated_as_each_would_be_alone(order: list[str]) -> None:
    together = bodies()
    for body in order:
        assert together.keep(OipV2(), body.encode(), "request") == keep(body, OipV2())


def test_plans_are_limited_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_MOST_PIECES_KEPT", 100)
    several = bodies()
    for count in range(30):
        several.keep(KServeV1(), json.dumps({"instances": [{f"f{count}": 1}]}).encode(), "request")
    assert 0 < len(several._plans) < 30
