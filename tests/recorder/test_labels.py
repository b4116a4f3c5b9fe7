"""Labels: where their values come from, and that no secret becomes one."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Headers
from captures.privacy.policy import Policy
from captures.testing import example_exchange
from recorder.labels import MOST_VALUES, OTHER, Labeller, check_labels, may_be_kept, parse_label, parse_labels


def exchange(*headers: tuple[str, str], target: str = "/v2/models/house/infer", body: bytes = b"{}") -> Exchange:
    raw = example_exchange()
    chunks = (Chunk(raw.arrival_ns, body),) if body else ()
    return replace(raw, request=replace(raw.request, headers=headers, target=target, chunks=chunks, size=len(body)))


def label_of(where: str, one: Exchange) -> str | None:
    (labelled,) = Labeller([parse_label(f"x={where}")]).apply([one])
    return dict(labelled.labels).get("x")


BODY = b'{"parameters":{"tier":"gold","n":3,"on":true,"no":null,"all":[1]},"inputs":[{"name":"rooms"},{"name":"age"}]}'


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("header:X-Region", "eu-west-1"),
        ("header:x-missing", None),
        ("header:x-empty", None),
        ("path:1", "v2"),
        ("path:3", "house"),
        ("path:4", "infer"),
        ("path:5", None),
        ("body:$.parameters.tier", "gold"),
        ("body:$.parameters.n", "3"),
        ("body:$.parameters.on", "true"),
        ("body:$.parameters.no", None),
        ("body:$.parameters.all", OTHER),
        ("body:$.parameters.all[0]", "1"),
        ("body:$.inputs[1].name", "age"),
        ("body:$.inputs[2].name", None),
        ("body:$.inputs.name", None),
        ("body:$[0]", None),
    ],
)
def test_where_a_value_comes_from(where: str, value: str | None) -> None:
    one = exchange(("x-region", "eu-west-1"), ("x-empty", ""), target="/v2/models/house/infer?path=5#x", body=BODY)

    assert label_of(where, one) == value


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"\xff", b'"gold"', b"[" * 5000, b'{"tier":"a"}' + b" " * (1 << 20)]
)
def test_a_body_that_cannot_be_looked_into_has_no_label(body: bytes) -> None:
    assert label_of("body:$.tier", exchange(body=body)) is None


def test_labels_are_sorted_by_name() -> None:
    labeller = Labeller(parse_labels(["version=path:1", "region=header:x-region"]))
    (one,) = labeller.apply([exchange(("X-Region", "eu"))])

    assert one.labels == (("region", "eu"), ("version", "v2"))


SECRETS = [
    "jane.doe@example.com",
    "4929123456789012",
    "4929-1234-5678-9012",
    "4929:1234:5678:9012",
    "DE89370400440532013000",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-proj-abcdefghij",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "550e8400-e29b-41d4-a716-446655440000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "Zm9vYmFyYmF6cXV4cXV1eA",
    "10.20.30.40",
    "2001:db8::1",
    "aa:bb:cc:dd:ee:ff",
    "x7Kp2mQ9Lz",
    "a8f3k2m9x1z0",
    "078-05-1120",
    "0170-1234567",
    "1987-06-05",
    "4711",
    "Bearer abc",
    "Jane Doe",
    "user/4711",
    "Jürgen",
    "stk1_abcdefghijklmnop",
    "a" * 65,
    "hunter2;drop",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("where", ["header", "path", "body"])
def test_a_secret_in_the_place_of_a_label_is_not_kept_and_counted(where: str, secret: str) -> None:
    one = {
        "header": exchange(("x", secret)),
        "path": exchange(target=f"/{secret.replace('/', '%2F').replace(' ', '%20')}"),
        "body": exchange(body=f'{{"x":"{secret}"}}'.encode()),
    }[where]
    labeller = Labeller([parse_label({"header": "x=header:x", "path": "x=path:1", "body": "x=body:$.x"}[where])])
    (labelled,) = labeller.apply([one])

    assert labelled.labels == (("x", OTHER),)
    assert labeller.other == {"x": 1}


def test_ten_thousand_random_secrets_do_not_pass() -> None:
    rng = random.Random(7)
    secrets = [f"{rng.getrandbits(bits):0{bits // 4}x}" for bits in (64, 128, 160, 256) for _ in range(1250)]
    secrets += ["".join(rng.choices("0123456789", k=n)) for n in (4, 9, 11, 16) for _ in range(1250)]

    assert [secret for secret in secrets if may_be_kept(secret)] == []


@pytest.mark.parametrize(
    "value", ["eu-west-1", "gold", "v2", "17", "1.2.3", "us:east:1", "true", "POST_2", "mTLS", "a100", "llama-3b"]
)
def test_words_of_a_vocabulary_are_kept(value: str) -> None:
    assert may_be_kept(value)


@given(st.text(max_size=80))
def test_any_text_is_decided(value: str) -> None:
    assert may_be_kept(value) in (True, False)
    assert value.isascii() or not may_be_kept(value)


def test_a_vocabulary_that_is_not_small_is_cut_off() -> None:
    words = [f"{first}{second}" for first in "abcdef" for second in ("east", "west", "north", "south", "mid", "far")]
    labeller = Labeller([parse_label("x=header:x")])
    got = [dict(one.labels)["x"] for one in labeller.apply([exchange(("x", word)) for word in [*words, words[0]]])]

    assert got == [*words[:MOST_VALUES], *[OTHER] * (len(words) - MOST_VALUES), words[0]]
    assert labeller.other == {"x": len(words) - MOST_VALUES}


def test_of_a_vocabulary_that_is_spelled_out_nothing_else_is_kept() -> None:
    labeller = Labeller(
        parse_labels(["region=header:x-region:eu,us:east,4711", "tier=body:$.tier:gold", "v=path:1:v2"])
    )
    said = ["eu", "us:east", "4711", "hunter2", "EU", "us", "other"]
    exchanges = [exchange(("x-region", value), body=b'{"tier":"silver"}') for value in said]
    got = [dict(one.labels) for one in labeller.apply(exchanges)]

    assert [one["region"] for one in got] == ["eu", "us:east", "4711", OTHER, OTHER, OTHER, OTHER]
    assert got[0] == {"region": "eu", "tier": OTHER, "v": "v2"}
    assert labeller.other == {"region": 4, "tier": 7}


def test_what_cannot_be_looked_at_costs_the_value_and_not_the_exchange() -> None:
    def broken(request: object) -> str:
        raise RuntimeError("a bug of ours")

    labeller = Labeller([replace(parse_label("x=header:x"), find=broken)])
    (one,) = labeller.apply([exchange()])

    assert one.labels == (("x", OTHER),)


def test_without_labels_nothing_changes() -> None:
    one = exchange(("x", "y"))
    assert Labeller(()).apply([one]) == [one]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("region", "NAME=WHERE"),
        ("Region=header:x", "lower-case"),
        ("=header:x", "lower-case"),
        ("a" * 33 + "=header:x", "lower-case"),
        ("x=cookie:sid", "header:NAME, path:N or body"),
        ("x=header:", "name a header"),
        ("x=header:a b", "name a header"),
        ("x=header:Authorization", "credential"),
        ("x=header:x-session-token", "credential"),
        ("x=header:X-My-Api-Key", "credential"),
        ("x=header:x:", "spell out"),
        ("x=header:x:a,", "spell out"),
        ("x=header:x:a b", "spell out"),
        ("x=header:x:" + ",".join(f"w{n}" for n in range(MOST_VALUES + 1)), "spell out"),
        ("x=path:0", "from 1"),
        ("x=path:-1", "from 1"),
        ("x=path:two", "from 1"),
        ("x=body:tier", "keys and indices"),
        ("x=body:$", "keys and indices"),
        ("x=body:$..tier", "keys and indices"),
        ("x=body:$.a[*]", "keys and indices"),
        ("x=body:$.a[-1]", "keys and indices"),
    ],
)
def test_a_label_that_cannot_work_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"--label .*{why}"):
        parse_label(text)


def test_a_label_is_given_once() -> None:
    with pytest.raises(UsageError, match="x is given twice"):
        parse_labels(["x=path:1", "y=path:2", "x=path:3"])


def test_a_header_that_the_policy_drops_is_no_label() -> None:
    labels = parse_labels(["a=header:X-Tenant:eu,us", "b=path:1"])

    check_labels(labels, Policy())
    with pytest.raises(UsageError, match="a: the policy drops x-tenant"):
        check_labels(labels, Policy(headers_dropped=("x-tenant",)))


RULES = [
    {"header": "x-tenant*", "do": "redact"},
    {"path": "$.who", "do": "token"},
    {"segment": "/users/{user}", "do": "token"},
    {"header": "x-kept", "do": "keep"},
]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=header:X-Tenant-Tier", "a rule of the policy replaces what stands there .rule 1"),
        ("a=body:$.who", "rule 2"),
        ("a=path:2", "rule 3"),
        ("a=header:x-user", "x-user names somebody"),
        ("a=header:X-Customer-Id", "names somebody"),
        ("a=body:$.meta.user_id", "user_id names somebody"),
    ],
)
def test_where_values_may_be_somebodys_the_words_have_to_be_spelled_out(text: str, why: str) -> None:
    policy = Policy.from_data({"rules": RULES})

    with pytest.raises(UsageError, match=f"^--label a: .*{why}.*; spell out"):
        check_labels(parse_labels([text]), policy)
    check_labels(parse_labels([f"{text}:gold,silver"]), policy)


@pytest.mark.parametrize("text", ["a=header:x-region", "a=header:x-kept", "a=body:$.tier"])
def test_elsewhere_they_need_not(text: str) -> None:
    check_labels(parse_labels([text]), Policy.from_data({"rules": RULES[:2] + RULES[3:]}))


def test_the_first_of_several_headers_counts() -> None:
    headers: Headers = (("x", "one"), ("X", "two"))
    assert label_of("header:x", exchange(*headers)) == "one"
