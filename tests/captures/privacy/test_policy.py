import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from captures.errors import UsageError
from captures.privacy.policy import Policy, any_glob

DOCUMENT = Path(__file__).parents[3] / "docs" / "policy.md"


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
        name: list(value) if isinstance(value, list) else [str(value)] if value else []
        for name, value in Policy().as_data().items()
    }
