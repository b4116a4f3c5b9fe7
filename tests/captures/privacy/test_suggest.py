import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Headers, Request, Response
from captures.privacy import census as counting
from captures.privacy.census import Census, Place, Tally, pattern, shape_of
from captures.privacy.policy import Policy
from captures.privacy.suggest import Proposal, policy_data, policy_text, proposals, session_of

CITIES = ("rome", "oslo", "bern")


def exchange(
    body: object = None, headers: Headers = (), target: str = "/v2/models/house/infer", got: object = None
) -> Exchange:
    data, answer = (b"" if each is None else json.dumps(each).encode() for each in (body, got))
    return Exchange(
        arrival_ns=0,
        request=Request(method="POST", target=target, headers=headers, chunks=(Chunk(0, data),), end_ns=1),
        response=Response(status=200, chunks=(Chunk(1, answer),), end_ns=2),
    )


def seen(exchanges: Sequence[Exchange]) -> Census:
    census = Census(b"k" * 32)
    for each in exchanges:
        census.see(each)
    return census


def traffic(count: int = 200) -> list[Exchange]:
    rng = random.Random(1)
    found = []
    for number in range(count):
        user = f"u{number:06d}x"
        tensors = [
            {"name": "city", "shape": [1], "datatype": "BYTES", "data": [rng.choice(CITIES)]},
            {"name": "note", "shape": [1], "datatype": "BYTES", "data": [f"call {user} at noon please"]},
        ]
        parameters = {"tier": "gold", "made": f"2026-11-{number % 28 + 1:02}T10:00:00Z", "mail": f"{user}@example.org"}
        headers = (
            ("X-Region", rng.choice(["eu", "us"])),
            ("X-Session-Id", f"s{rng.randrange(40):04}q8w7e6r5"),
            ("X-Forwarded-For", f"203.0.113.{rng.randrange(1, 250)}"),
            ("Authorization", "Bearer a1b2c3d4e5"),
            ("Content-Type", "application/json"),
        )
        body = {"id": rng.randbytes(8).hex(), "inputs": tensors, "parameters": parameters}
        answer = {"outputs": [{"name": "y", "shape": [1], "datatype": "BYTES", "data": [rng.choice(["cat", "dog"])]}]}
        found.append(exchange(body, headers, f"/v2/models/house/infer?page={number % 3}&u={user}", answer))
    return found


def proposed(exchanges: Sequence[Exchange]) -> dict[tuple[str, str], str]:
    return {(each.place.where, each.place.what): each.do for each in proposals(seen(exchanges))}


def test_each_place_gets_what_its_values_call_for() -> None:
    assert proposed(traffic()) == {
        ("header", "x-region"): "keep",
        ("path", "$.inputs[0].data"): "keep",
        ("path", "$.outputs[0].data"): "keep",
        ("path", "$.parameters.tier"): "keep",
        ("header", "x-forwarded-for"): "truncate-ip",
        ("path", "$.parameters.made"): "shift-time",
        ("path", "$.inputs[1].data"): "words",
        ("header", "x-session-id"): "token",
        ("path", "$.id"): "token",
        ("path", "$.parameters.mail"): "token",
        ("query", "u"): "token",
        ("query", "page"): "",
        ("header", "authorization"): "",
    }


def test_the_proposal_is_a_policy_with_its_evidence_and_shows_no_value() -> None:
    census = seen(traffic())
    found = proposals(census)
    text = policy_text(census, found, "60 s of traffic")

    policy = Policy.from_yaml(text)
    assert policy == Policy.from_data(policy_data(census, found))
    assert policy.session == "header:x-session-id"
    assert len(policy.rules) == 11
    assert "# Proposed by shadowtape from 200 exchanges of 60 s of traffic." in text
    assert "  # looks categorical: 200 values, 3 different, each at least " in text
    said = text + json.dumps([each.as_data() for each in found])
    values = ("rome", "oslo", "gold", "u000001x", "example.org", "203.0.113", "q8w7e6r5", "a1b2c3", "dog", "2026-11")
    assert [value for value in values if value in said] == []


def test_a_word_that_is_seen_seldom_is_not_proposed_to_be_kept() -> None:
    common = [exchange(headers=(("x-tier", "gold"),)) for _ in range(100)]
    assert proposed(common) == {("header", "x-tier"): "keep"}
    assert proposed([*common, exchange(headers=(("x-tier", "ada"),))]) == {("header", "x-tier"): ""}


def test_a_few_values_prove_nothing() -> None:
    assert proposed([exchange(headers=(("x-tier", "gold"),))] * 49) == {("header", "x-tier"): ""}


def test_one_value_that_looks_like_somebody_is_enough() -> None:
    many = [exchange(headers=(("x-by", "web"),)) for _ in range(999)]
    (found,) = proposals(seen([*many, exchange(headers=(("x-by", "ada@example.org"),))]))
    assert (found.do, found.why) == ("token", "holds what looks like somebody's (e-mail)")


def test_segments_of_paths_that_no_codec_knows_are_looked_at() -> None:
    paths = [exchange(target=f"/users/{number:08x}a/score/eu") for number in range(100)]
    assert proposed(paths) == {
        ("segment", "/{}/*/score/*"): "keep",
        ("segment", "/*/{}/score/*"): "token",
        ("segment", "/*/*/score/{}"): "keep",
    }


def test_names_that_are_no_names_are_not_shown() -> None:
    census = seen([exchange({"instances": [{"ada@example.org": "x"}]}, (("x-ada@b", "y"),), f"/a?{'9' * 9}=1")] * 60)
    text = policy_text(census, proposals(census), "a recording")
    assert "ada" not in text
    assert "999" not in text
    assert Policy.from_yaml(text)


def test_a_session_comes_again() -> None:
    def headers(number: int) -> Headers:
        return (("X-Session", f"s{number:05}"),)

    assert session_of(seen([exchange(headers=headers(number % 20)) for number in range(100)])) == "header:x-session"
    assert session_of(seen([exchange(headers=headers(number)) for number in range(100)])) == ""
    assert session_of(seen([exchange(headers=headers(1))] * 100)) == ""


def test_nothing_seen_is_a_policy_too() -> None:
    census = seen([])
    assert Policy.from_yaml(policy_text(census, proposals(census), "1 s of traffic")) == Policy()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "$"),
        (("inputs", 3, "data", 0, 1), "$.inputs[3].data"),
        (("inputs", 3, "name"), "$.inputs[*].name"),
        (("inputs", 99, "data", 0), "$.inputs[*].data"),
        (("instances", 7, "city"), "$.instances[*].city"),
        (("messages", 0, "content", 1, "text"), "$.messages[*].content[*].text"),
        (("a", "ada@example.org", "b"), "$.a.*.b"),
        (("a", "b.c"), "$.a['b.c']"),
    ],
)
def test_a_place_in_a_body_is_a_path_of_a_rule(path: tuple[str | int, ...], text: str) -> None:
    assert pattern(path) == text
    assert Policy.from_data({"rules": [{"path": text, "do": "token"}]}) if path else True


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("", "empty"),
        ("gold", "word"),
        ("eu-west", "word"),
        ("stk1_abcdefghijklmnop", "token"),
        ("ada@example.org", "e-mail"),
        ("203.0.113.7", "IP address"),
        ("2026-11-24T10:00:00Z", "time"),
        ("1764000000", "time"),
        ("tell me a story", "text"),
        ("123e4567-e89b-12d3-a456-426614174000", "id"),
        ("9f86d081884c7d65", "id"),
        ("84312", "id"),
        ("17", "number"),
        ("-1.5", "number"),
        ("a/b", "other"),
    ],
)
def test_values_have_shapes(value: str, shape: str) -> None:
    assert shape_of(value) == shape


def test_many_different_values_are_estimated() -> None:
    rng = random.Random(7)
    tally = Tally()
    numbers = [rng.getrandbits(64) for _ in range(20_000)]
    for number in numbers + numbers[:5_000]:
        tally.add(number, "id")
    assert tally.values == 25_000
    assert tally.estimated
    assert abs(tally.distinct / 20_000 - 1) < 0.2
    assert (tally.exact, tally.fewest) == (None, 0)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_few_different_values_are_counted_exactly(numbers: list[int]) -> None:
    tally = Tally()
    for number in numbers:
        tally.add(number, "word")
    assert tally.distinct == len(set(numbers))
    assert tally.fewest == min(Counter(numbers).values(), default=0)


def test_memory_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_PLACES", 3)
    census = seen([exchange(headers=tuple((f"x-h{number}", "v") for number in range(9)))])
    assert (len(census.tallies), census.elsewhere) == (3, 6)
    assert "6 values of more places" in policy_text(census, proposals(census), "a recording")


@given(st.binary(max_size=200), st.text(max_size=30), st.text(max_size=30))
def test_whatever_comes_is_counted(body: bytes, target: str, value: str) -> None:
    raw = Exchange(
        arrival_ns=0,
        request=Request(method="POST", target=target, headers=((value, value), ("x", value)), chunks=(Chunk(0, body),)),
    )
    census = seen([raw, raw])
    assert Policy.from_yaml(policy_text(census, proposals(census), "a recording"))


def test_a_rule_says_its_side_where_there_are_two() -> None:
    tally = Tally()
    assert Proposal(Place("header", "x", "response"), tally, "keep", "").rule == {
        "header": "x",
        "do": "keep",
        "side": "response",
    }
    assert Proposal(Place("query", "x", "request"), tally, "keep", "").rule == {"query": "x", "do": "keep"}


def test_keys_that_are_seen_seldom_beside_others_are_data_and_not_shown() -> None:
    bodies = [{"instances": [{f"ada{number}": 1, f"eve{number % 70}": 1, "city": "oslo"}]} for number in range(500)]
    census = seen([exchange(body, target="/v1/models/m:predict?ada=1") for body in bodies] + [exchange({"mallory": 1})])
    found = proposals(census)
    shown = policy_text(census, found, "a test") + json.dumps([each.as_data() for each in found])

    for name in ("ada7", "eve7", "mallory"):
        assert name not in shown
    assert "city" in shown
    assert "places seen too seldom" in shown


@pytest.mark.parametrize(
    "other",
    [
        {"city": {"mail": "ada@example.org"}},
        {"city": 4111111111111111},
        {"city": ["oslo", 12345678]},
    ],
)
def test_nothing_is_kept_where_something_else_stands_now_and_then(other: object) -> None:
    alone = [exchange({"instances": [{"city": "oslo"}]}, target="/v1/models/m:predict") for _ in range(100)]
    mixed = [exchange({"instances": [other]}, target="/v1/models/m:predict") for _ in range(7)]

    assert proposed(alone)["path", "$.instances[*].city"] == "keep"
    assert all(do != "keep" for (_, what), do in proposed(alone + mixed).items() if what.startswith("$"))


def test_no_rule_is_about_any_key() -> None:
    body = {"instances": [{"it's": "x", "an e-mail@example.org": "y", "city": "oslo"}]}
    found = proposals(seen([exchange(body, target="/v1/models/m:predict") for _ in range(100)]))

    assert [each.place.what for each in found if each.do] == ["$.instances[*].city"]
    assert {each.place.what for each in found} == {"$.instances[*].city", "$.instances[*].*"}


def test_a_place_has_one_rule_whatever_its_values_are_called() -> None:
    body = {"instances": [{"city": "oslo"}]}
    census = seen([exchange(body, target=at) for at in ("/v1/models/m:predict", "/score") for _ in range(100)])
    data = policy_data(census, proposals(census))

    assert [rule["path"] for rule in data["rules"] if "path" in rule] == ["$.instances[*].city"]
