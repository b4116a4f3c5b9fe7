import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from captures.errors import UsageError
from captures.privacy.policy import Policy, any_glob
from captures.privacy.policy_check import warnings
from captures.privacy.policy_rule import ACTIONS, PolicyRule

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "policy.md"
SCHEMA = ROOT / "captures" / "policy.schema.json"


def test_a_policy_reads_back_from_its_data() -> None:
    policy = Policy.from_yaml("session: header:X-Session-Id\nlabels: [dog, cat]\nfeatures_replaced: ['zip*']\n")
    assert Policy.from_data(json.loads(json.dumps(policy.as_data()))) == policy
    assert policy.labels == ("cat", "dog")


def test_an_empty_file_is_the_default_policy() -> None:
    assert Policy.from_yaml("") == Policy()


def test_the_digest_is_of_what_is_said_not_how() -> None:
    one, other = Policy(labels=("a", "b")), Policy(labels=("b", "a", "a"))
    assert one.digest == other.digest != Policy().digest
    assert re.fullmatch(r"[0-9a-f]{32}", one.digest)


def test_header_names_are_compared_in_lower_case() -> None:
    assert Policy(headers_kept=("X-Region",)).headers_kept == ("x-region",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("headers_keep: []", "p.yaml: headers_keep: Extra inputs are not permitted"),
        ("version: 2", "p.yaml: version: Input should be 1"),
        ("headers_kept: [Authorization]", "p.yaml: headers_kept: authorization is a credential and is never kept"),
        ("headers_kept: ['a b']", "p.yaml: headers_kept.0: String should match pattern"),
        ("session: x-session-id", "p.yaml: session: String should match pattern"),
        ("labels: 3", "p.yaml: labels: Input should be a valid tuple"),
        ("labels: [", "p.yaml: not YAML at line 1"),
        ("- a", "p.yaml: a policy is a mapping of field names"),
        ("1: a", "p.yaml: a policy is a mapping of field names"),
    ],
)
def test_mistakes_are_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Policy.from_yaml(text, "p.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Policy().labels = ("x",)


def test_globs_are_case_sensitive() -> None:
    assert any_glob(("a*", "b"), "abc")
    assert not any_glob(("a*", "b"), "ABC")


def test_every_field_and_its_default_is_in_the_document() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    documented = {
        name: re.findall(r"`([^`]+)`", default) for name, default in rows.items() if name in Policy.model_fields
    }
    assert documented == {
        name: list(value) if isinstance(value, tuple) else [str(value)] if value else [] for name, value in Policy()
    }


def test_every_parameter_and_action_of_a_rule_is_in_the_document() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for name in (*PolicyRule.model_fields, *ACTIONS):
        assert f"`{name}`" in document, f"docs/policy.md: {name} is missing"


def test_the_published_schema_is_that_of_the_model() -> None:
    """Written by `shadowtape policy schema > captures/policy.schema.json`."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == Policy.model_json_schema()


RULES = """
rules:
  - {path: "$..user_id", do: token, domain: user}
  - {header: X-User-*, do: mask, keep_last: 4}
  - {segment: "/users/{user}/*", do: surrogate}
  - {path: "$.seen", side: request, do: shift-time, up_to: 30d}
  - {role: feature, do: blur, by: 10%}
text: token
"""


def test_rules_read_back_and_say_only_what_was_written() -> None:
    policy = Policy.from_yaml(RULES)

    assert Policy.from_data(json.loads(json.dumps(policy.as_data()))) == policy
    assert policy.as_data()["rules"][1] == {"header": "x-user-*", "do": "mask", "keep_last": 4}
    assert policy.as_data()["text"] == "token"


def test_a_policy_without_later_fields_keeps_the_digest_it_had() -> None:
    assert Policy().digest == "ffba6cffad3ff2bf6521806377b4968b"
    assert not {"rules", "text", "recognisers"} & set(Policy().as_data())
    assert Policy.from_yaml(RULES).digest != Policy().digest


def test_the_order_of_rules_means_something() -> None:
    one, other = {"path": "$.a", "do": "keep"}, {"path": "$..a", "do": "redact"}

    assert Policy.from_data({"rules": [one, other]}).digest != Policy.from_data({"rules": [other, one]}).digest


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{do: keep}", "rules.0: exactly one of path, header, query, segment, role, not none"),
        (
            "{path: $.a, header: b, do: keep}",
            "rules.0: exactly one of path, header, query, segment, role, not path and",
        ),
        ("{path: $.a}", "rules.0.do: Field required"),
        ("{path: $.a, do: hash}", "rules.0.do: Input should be 'keep', 'token'"),
        ("{path: a.b, do: keep}", "rules.0: path 'a.b': a JSON path begins with $"),
        ("{path: '$.a[', do: keep}", "rules.0: path '$.a[': cannot be read from '[' on"),
        ("{role: control, do: keep}", "rules.0.role: Input should be 'feature'"),
        ("{header: authorization, do: keep}", "rules.0: header authorization is a credential: keep is refused"),
        ("{header: 'x-*', do: mask}", "rules.0: header x-amz-security-token is a credential: mask is refused"),
        ("{segment: /a/*, do: token}", "rules.0: segment '/a/*': no hole"),
        ("{segment: x, do: drop}", "rules.0: a path segment cannot be dropped"),
        ("{query: x, side: response, do: drop}", "rules.0: a response has no query"),
        (
            "{path: $.a, do: keep, domain: user}",
            "rules.0: domain belongs to token and surrogate and scrub-text and words",
        ),
        ("{path: $.a, do: token, domain: Us er}", "rules.0.domain: String should match"),
        ("{path: $.a, do: mask, step: 3}", "rules.0: step belongs to generalise, not to mask"),
        ("{path: $.a, do: generalise}", "rules.0: generalise takes a step (numbers) or a unit (dates)"),
        ("{path: $.a, do: generalise, step: 1, unit: day}", "rules.0: generalise takes a step"),
        ("{path: $.a, do: generalise, step: 0}", "rules.0: step is more than 0"),
        ("{path: $.a, do: generalise, step: x}", "rules.0: step is 'x', not a number"),
        ("{path: $.a, do: blur, by: 7}", "rules.0: by is '7', not between 0 and 1"),
        ("{path: $.a, do: blur, by: 0}", "rules.0: by is more than 0"),
        ("{path: $.a, do: shift-time, up_to: 1h}", "rules.0: up_to is at least 1d"),
        ("{path: $.a, do: shift-time, up_to: soon}", "rules.0: up_to is 'soon', not a duration"),
        ("{path: $.a, do: truncate-ip, v4: 33}", "rules.0.v4: Input should be less than or equal to 32"),
        ("{path: $.a, do: keep, why: x}", "rules.0.why: Extra inputs are not permitted"),
    ],
)
def test_mistakes_in_rules_are_named_in_one_line(rule: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Policy.from_yaml(f"rules: [{rule}]", "p.yaml")
    assert str(caught.value).startswith(f"p.yaml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({}, []),
        ({"rules": [{"path": "$.age", "do": "keep"}]}, []),
        ({"rules": [{"path": "$.user_id", "do": "keep"}]}, [(1, "keeps identities")]),
        ({"rules": [{"role": "identity", "do": "keep"}]}, [(1, "keeps identities")]),
        ({"rules": [{"header": "x-user-id", "do": "keep"}]}, [(1, "keeps identities")]),
        ({"rules": [{"role": "text", "do": "keep"}]}, [(1, "keeps free text")]),
        ({"rules": [{"path": "$.messages[*].content", "do": "scrub-text"}]}, [(1, "keeps free text")]),
        ({"rules": [{"path": "$.prompt", "do": "keep"}]}, [(1, "keeps free text")]),
        ({"rules": [{"path": "$.messages[*].content", "do": "keep"}]}, [(1, "keeps free text")]),
        ({"rules": [{"path": "$", "do": "keep"}]}, [(1, "keeps free text")]),
        ({"rules": [{"role": "name", "do": "token"}]}, [(1, "breaks requests")]),
        ({"rules": [{"path": "$.x", "do": "drop"}]}, [(1, "breaks requests")]),
        ({"rules": [{"role": "text", "do": "blur"}]}, [(1, "understands little")]),
        ({"rules": [{"header": "content-length", "do": "redact"}]}, [(1, "unreachable")]),
        ({"rules": [{"path": "$..a", "do": "token"}, {"path": "$.x[*].a.b", "do": "mask"}]}, [(2, "unreachable")]),
        ({"rules": [{"path": "$.x[0].a", "do": "token"}, {"path": "$.x[*].a", "do": "mask"}]}, []),
        ({"rules": [{"path": "$.a", "side": "request", "do": "token"}, {"path": "$.a", "do": "mask"}]}, []),
        ({"rules": [{"header": "x-u*", "do": "token"}, {"header": "x-user", "do": "mask"}]}, [(2, "unreachable")]),
        ({"rules": [{"query": "a", "do": "token"}, {"query": "a*", "do": "mask"}]}, []),
        ({"rules": [{"segment": "/a/{x}", "do": "token"}, {"segment": "/a/{y}", "do": "mask"}]}, [(2, "unreachable")]),
        ({"rules": [{"role": "text", "do": "token"}, {"role": "text", "do": "mask"}]}, [(2, "unreachable")]),
        ({"rules": [{"path": "$.x", "do": "generalise", "step": 1}]}, [(1, "keeps most of it")]),
        ({"rules": [{"path": "$.x", "do": "generalise", "step": 5}]}, []),
        ({"rules": [{"path": "$.x", "do": "blur", "by": "0.5%"}]}, [(1, "keeps most of it")]),
        ({"rules": [{"path": "$.x", "do": "shift-time", "up_to": "1d"}]}, [(1, "keeps most of it")]),
        ({"rules": [{"path": "$.x", "do": "shift-time"}]}, []),
        ({"rules": [{"header": "x-a", "do": "truncate-ip", "v4": 32}]}, [(1, "keeps most of it")]),
        ({"rules": [{"header": "x-a", "do": "truncate-ip", "v6": 128}]}, [(1, "keeps most of it")]),
        ({"rules": [{"header": "x-a", "do": "mask", "keep_last": 8}]}, [(1, "keeps most of it")]),
        ({"rules": [{"header": "x-a", "do": "mask", "keep_last": 4}]}, []),
        ({"text": "scrub"}, [(0, "keeps free text")]),
        ({"features_kept": ["user_id"]}, [(0, "keeps identities")]),
        ({"paths_kept": ["/a"]}, [(0, "keeps identities")]),
        ({"recognisers": "presidio"}, [(0, "unreachable")]),
        ({"headers_kept": ["x-a"], "rules": [{"header": "x-a", "do": "drop"}]}, [(0, "unreachable")]),
    ],
)
def test_a_valid_policy_may_be_odd(written: dict[str, object], found: list[tuple[int, str]]) -> None:
    assert [(each.rule, each.kind) for each in warnings(Policy.from_data(written))] == found
