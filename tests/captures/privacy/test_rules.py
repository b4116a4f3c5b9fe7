import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.codecs.body import Role
from captures.codecs.codec import Codec, Side
from captures.codecs.kserve_v1 import KServeV1
from captures.codecs.oip_v2 import OipV2
from captures.codecs.opaque import OpaqueCodec
from captures.privacy import rules
from captures.privacy.heads import Heads
from captures.privacy.leaves import Bodies, Kept
from captures.privacy.patterns import pattern_of, template_of
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates, is_token

KEY = Surrogates(b"k" * 32)


def policy(*written: dict[str, object], **fields: object) -> Policy:
    return Policy.from_data({**fields, "rules": list(written)})


def keep(body: object, codec: Codec, chosen: Policy, side: Side = "request") -> Kept:
    return Bodies(chosen, KEY, derived=False).keep(codec, json.dumps(body).encode(), side)


def value_of(
    body: object, codec: Codec, *written: dict[str, object], side: Side = "request", **fields: object
) -> object:
    return json.loads(keep(body, codec, policy(*written, **fields), side).body)


def heads(*written: dict[str, object], **fields: object) -> Heads:
    return Heads(policy(*written, **fields), KEY, derived=False)


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "path", "depth"),
    [
        ("$", ("a", 0), 0),
        ("$.inputs[*].data", ("inputs", 3, "data", 5), 3),
        ("$.inputs[*].data", ("inputs", "x", "data"), None),
        ("$.inputs[1]", ("inputs", 1), 2),
        ("$.inputs[1]", ("inputs", 11), None),
        ("$.*.b", ("a", "b"), 2),
        ("$.*.b", (0, "b"), 2),
        ("$..user_id", ("a", 0, "user_id", "x"), 3),
        ("$..user_id", ("user_id",), 1),
        ("$..user_id", ("user_id2",), None),
        ("$..a..b", ("a", "x", "a", "y", "b"), 5),
        ("$..*", ("a",), 1),
        ("$..*", (), None),
        ("$..[0]", ("a", 0), 2),
        ("$['a b'].c", ("a b", "c"), 2),
        ('$..["a.b"]', ("x", "a.b"), 2),
    ],
)
def test_a_pattern_matches_a_value_and_everything_inside_it(
    pattern: str, path: Sequence[str | int], depth: int | None
) -> None:
    assert pattern_of(pattern).depth(path) == depth


@pytest.mark.parametrize("text", ["", "a", "$a", "$.", "$..", "$.a[", "$.a[-1]", "$.a[x]", "$.a b", "$..['']", "$.a.."])
def test_what_is_no_pattern_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        pattern_of(text)


@given(st.lists(st.sampled_from([".a", ".*", "[*]", "[0]", "..a", "..*", "['b c']"]), max_size=5), st.data())
@settings(deadline=None)
def test_patterns_agree_with_their_definition(steps: list[str], data: st.DataObject) -> None:
    """Against the slowest way to say it: every split of the path."""
    path: tuple[str | int, ...] = tuple(data.draw(st.lists(st.sampled_from(["a", "b c", 0, 1]), max_size=5)))
    pattern = pattern_of("$" + "".join(steps))

    def ends(at: int, left: int) -> set[int]:
        if left == len(pattern.steps):
            return {at}
        step = pattern.steps[left]
        starts = range(at, len(path)) if step.deep else range(at, min(at + 1, len(path)))
        return {end for here in starts if step.fits(path[here]) for end in ends(here + 1, left + 1)}

    assert pattern.depth(path) == min(ends(0, 0), default=None)


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("/users/{user}/*", "/users/ada/orders", True),
        ("/users/{user}/*", "/users/ada", False),
        ("/users/{user}/**", "/users/ada/orders/7", True),
        ("/users/{user}/**", "/users/ada", True),
        ("/users/{user}", "/user/ada", False),
    ],
)
def test_a_template_fits_whole_paths(template: str, path: str, fits: bool) -> None:
    assert template_of(template).fits(path.split("/")[1:]) is fits


@pytest.mark.parametrize("text", ["/users/*", "/users/{user", "/users/x{user}", "/a/**/{b}"])
def test_what_is_no_template_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="segment"):
        template_of(text)


# -- which rule decides


def test_the_first_rule_that_matches_decides() -> None:
    compiled = rules.compile(policy({"path": "$.a", "do": "keep"}, {"path": "$..*", "do": "redact"}))
    one, other = compiled.leaf("request", ("a", "b"), Role.OTHER), compiled.leaf("request", ("c",), Role.OTHER)

    assert one is not None
    assert other is not None
    assert (one.action, one.why, other.action, other.why) == ("keep", "rule 1", "redact", "rule 2")
    assert compiled.leaf("request", (), Role.OTHER) is None


def test_a_rule_may_be_about_one_side() -> None:
    compiled = rules.compile(
        policy({"path": "$.a", "side": "response", "do": "keep"}, {"header": "x-a", "side": "request", "do": "drop"})
    )

    assert compiled.leaf("request", ("a",), Role.OTHER) is None
    assert compiled.leaf("response", ("a",), Role.OTHER) is not None
    assert compiled.header("request", "x-a") is not None
    assert compiled.header("response", "x-a") is None


V1 = {
    "instances": [{"user_id": 12345, "city": "Oslo", "age": 41, "seen": [1.5, 2.5]}, {"user_id": 12345, "city": "Rome"}]
}


def test_a_kept_feature_leaves_the_recorded_answer_valid_and_a_replaced_one_does_not() -> None:
    everything = policy({"role": "text", "do": "keep"}, {"path": "$..user_id", "do": "keep"})
    kept = keep(V1, KServeV1(), everything)

    assert json.loads(kept.body) == V1
    assert not kept.altered
    assert not kept.visible
    assert keep(V1, KServeV1(), policy({"role": "text", "do": "keep"})).visible


def test_rules_by_path_role_and_default_side_by_side() -> None:
    found = value_of(
        V1,
        KServeV1(),
        {"path": "$.instances[*].user_id", "do": "surrogate", "domain": "user"},
        {"path": "$.instances[1].city", "do": "mask", "keep_first": 1},
        {"role": "text", "do": "redact"},
        {"path": "$..age", "do": "generalise", "step": 10},
    )
    user = int(KEY.integer("user", "12345"))

    assert found == {
        "instances": [
            {"user_id": user, "city": "redacted", "age": 40, "seen": [1.5, 2.5]},
            {"user_id": user, "city": "R***"},
        ]
    }


def test_single_numbers_of_an_array_have_rules_of_their_own() -> None:
    body = {"instances": [[41, 12345, 1.5], [52, 123456789, 2.5]], "id": "a"}
    found = value_of(
        body,
        KServeV1(),
        {"path": "$.instances[*][0]", "do": "generalise", "step": 10},
        {"path": "$.instances[1][2]", "do": "drop"},
    )

    assert found["instances"] == [[40, 12345, 1.5], [50, int(KEY.integer("identity", "123456789")), None]]  # type: ignore[index]  # JSON


def test_an_array_keeps_its_size_and_shape_whatever_is_done() -> None:
    body = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "INT64", "data": [[1, 22], [333, -4444]]}]}
    for action in ("token", "surrogate", "redact", "mask", "blur", "drop", "shift-time"):
        (tensor,) = value_of(body, OipV2(), {"path": "$.inputs[*].data", "do": action})["inputs"]  # type: ignore[index]  # JSON

        assert [[type(cell) for cell in row] for row in tensor["data"]] == (
            [[type(None)] * 2] * 2 if action == "drop" else [[int] * 2] * 2
        )


CHAT = {"model": "m", "user": "ada@x.org", "messages": [{"role": "user", "content": "Dear Ada, how are you?"}], "n": 1}


def test_json_without_a_codec_keeps_the_keys_that_rules_spell_out() -> None:
    found = value_of(
        CHAT,
        OpaqueCodec(),
        {"path": "$.messages[*].role", "do": "keep"},
        {"path": "$.messages[*].content", "do": "words"},
        {"path": "$.user", "do": "token", "domain": "user"},
        {"path": "$.model", "do": "keep"},
    )

    assert isinstance(found, dict)
    message = found["messages"][0]
    assert (found["model"], found["user"], message["role"]) == ("m", KEY.token("user", "ada@x.org"), "user")
    assert len(message["content"].split()) == 5
    assert "Ada" not in message["content"]
    assert [key for key in found if is_token(key)] == [KEY.token("name", "n")]


def test_a_kept_object_keeps_its_keys() -> None:
    found = value_of(
        {"config": {"ada lovelace": {"x": "y"}}, "z": 1}, OpaqueCodec(), {"path": "$.config", "do": "keep"}
    )

    assert found == {"config": {"ada lovelace": {"x": "y"}}, KEY.token("name", "z"): 1}


def test_rules_about_names_keep_or_replace_keys() -> None:
    body = {"instances": [{"Median Income": 1.5, "age": 2}]}

    assert value_of(body, KServeV1(), {"role": "name", "do": "keep"}) == body
    replaced = value_of(body, KServeV1(), {"role": "name", "do": "redact"})
    assert replaced == {"instances": [{KEY.token("name", "Median Income"): 1.5, KEY.token("name", "age"): 2}]}


def test_a_dropped_string_becomes_null() -> None:
    assert value_of(V1, KServeV1(), {"path": "$..city", "do": "drop"})["instances"][1]["city"] is None  # type: ignore[index]  # JSON


# -- texts

TEXTS = {"inputs": [{"name": "prompt", "shape": [2], "datatype": "BYTES", "data": ["Dear Ada, hello!", "ada@x.org"]}]}


@pytest.mark.parametrize("chosen", ["words", "token", "scrub", "redact"])
def test_texts_of_several_words_are_what_the_policy_says_and_single_words_tokens(chosen: str) -> None:
    (tensor,) = value_of(TEXTS, OipV2(), text=chosen)["inputs"]  # type: ignore[index]  # JSON
    text, word = tensor["data"]

    assert is_token(word)
    assert {
        "words": len(text.split()) == 3 and "Ada" not in text,
        "token": is_token(text),
        "scrub": text == "Dear Ada, hello!",
        "redact": text == "redacted",
    }[chosen]


def test_answers_are_tokens_so_that_equal_ones_can_be_told() -> None:
    body = {"predictions": ["one two three"]}

    assert is_token(value_of(body, KServeV1(), side="response")["predictions"][0])  # type: ignore[index]  # JSON


# -- plans: what was decided for one body holds for the next


RULED = policy(
    {"path": "$..user_id", "do": "surrogate", "domain": "user"},
    {"path": "$.instances[*].city", "do": "keep"},
    {"path": "$.instances[0].note", "do": "words"},
    {"path": "$.instances[*].row[1]", "do": "redact"},
    {"path": "$.instances[*].gone", "do": "drop"},
    {"role": "text", "side": "request", "do": "mask", "keep_last": 1},
    labels=["cat"],
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.integers(0, 10**12) | st.sampled_from(["ada", "cat", ""]),
        "city": st.sampled_from(["Oslo", "cat", "note", "x y", ""]),
        "note": st.sampled_from(["how are you", "Oslo", "cat"]),
        "row": st.lists(st.integers(0, 999_999_999_999), max_size=4),
        "gone": st.sampled_from(["a", 1, None, True]),
        "a b": st.floats(-10, 10),
    },
)


@given(st.lists(st.lists(rows, min_size=1, max_size=2), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_body_is_ruled_alike_whatever_came_before_it(values: list[list[dict[str, object]]]) -> None:
    trained = Bodies(RULED, KEY, derived=False)
    for instances in values * 3:
        body = json.dumps({"instances": instances}).encode()
        fresh = Bodies(RULED, KEY, derived=False)

        assert trained.keep(KServeV1(), body, "request", "p") == fresh.keep(KServeV1(), body, "request")


# -- heads


def test_headers_have_rules_and_keep_their_defaults() -> None:
    ruled = heads(
        {"header": "x-user", "do": "token", "domain": "user"},
        {"header": "x-forwarded-*", "do": "truncate-ip"},
        {"header": "x_odd_name", "do": "keep"},
        {"header": "x-trace*", "do": "drop"},
    )
    headers = (
        ("X-User", "ada"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X_Odd_Name", "v"),
        ("X-Trace-Id", "t"),
        ("Host", "m"),
    )

    assert ruled.headers(headers).entries == [
        ("X-User", KEY.token("user", "ada")),
        ("X-Forwarded-For", "203.0.113.0"),
        ("X_Odd_Name", "v"),
        ("Host", KEY.token("identity", "m")),
    ]


def test_credentials_are_never_swept_up_by_a_glob() -> None:
    ruled = heads({"header": "x-vault-*", "do": "keep"}, {"header": "x-my-token", "do": "keep"})
    headers = (("X-Vault-Token", "s"), ("X-Vault-Zone", "eu"), ("X-My-Token", "named in full"), ("Authorization", "s"))

    assert ruled.headers(headers).entries == [
        ("X-Vault-Token", "redacted"),
        ("X-Vault-Zone", "eu"),
        ("X-My-Token", "named in full"),
        ("Authorization", "redacted"),
    ]


def test_a_credential_may_become_a_token_where_somebody_asks_for_it() -> None:
    ruled = heads({"header": "authorization", "do": "token", "domain": "client"})

    assert ruled.headers((("Authorization", "Bearer x"),)).entries == [
        ("Authorization", KEY.token("client", "Bearer x"))
    ]


def test_sides_of_headers_are_told_apart() -> None:
    ruled = heads({"header": "x-a", "side": "response", "do": "keep"})

    assert ruled.headers((("X-A", "ada"),), "request").entries == [("X-A", KEY.token("identity", "ada"))]
    assert ruled.headers((("X-A", "ada"),), "response").entries == [("X-A", "ada")]


def test_an_id_joins_across_header_query_path_and_body_in_its_domain() -> None:
    written: tuple[dict[str, object], ...] = (
        {"header": "x-user", "do": "surrogate", "domain": "user"},
        {"query": "user", "do": "surrogate", "domain": "user"},
        {"segment": "/users/{user}/score", "do": "surrogate", "domain": "user"},
        {"path": "$..user_id", "do": "surrogate", "domain": "user"},
    )
    ruled = heads(*written)
    ((_, header),) = ruled.headers((("X-User", "12345"),)).entries
    target, altered = ruled.target("/users/12345/score?user=12345", "/{}/{}/score")
    body = value_of(V1, KServeV1(), *written)

    assert target == f"/users/{header}/score?user={header}"
    assert altered
    assert body["instances"][0]["user_id"] == int(header)  # type: ignore[index]  # JSON


def test_parameters_and_segments_have_rules() -> None:
    ruled = heads(
        {"query": "at", "do": "generalise", "unit": "year"},
        {"query": "debug*", "do": "drop"},
        {"query": "note", "do": "mask"},
        {"segment": "v1", "do": "keep"},
        {"segment": "*@*", "do": "redact"},
    )

    assert ruled.target("/v1/ada%40x.org?at=1984-05-17&debug=1&note=a+b&z=", "/{}/{}") == (
        "/v1/redacted?at=1984-01-01&note=%2A%2A%2A&z=",
        True,
    )
    assert ruled.target("/v1?debug=1", "/{}") == ("/v1", False)


def test_rules_come_before_the_older_fields() -> None:
    ruled = heads({"header": "x-region", "do": "redact"}, headers_kept=["x-region"])

    assert ruled.headers((("X-Region", "eu"),)).entries == [("X-Region", "redacted")]


def test_tokens_stay_where_the_source_was_a_recording() -> None:
    chosen = policy({"path": "$..city", "do": "token", "domain": "c"}, {"header": "x-a", "do": "surrogate"})
    once = keep(V1, KServeV1(), chosen).body
    derived = Bodies(chosen, KEY, derived=True)

    assert json.loads(derived.keep(KServeV1(), once, "request").body)["instances"][0]["city"] == KEY.token("c", "Oslo")
    token = KEY.token("identity", "x")
    assert Heads(chosen, KEY, derived=True).headers((("X-A", token),)).entries == [("X-A", token)]
