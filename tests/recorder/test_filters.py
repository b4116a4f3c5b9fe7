"""Filters: the grammar, and what a head has to look like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from recorder.filters import Filters, Rule, glob, parse_filters, parse_rule, request_filter


def head(line: str = "POST /v2/models/house/infer HTTP/1.1", *fields: str) -> bytes:
    return "\r\n".join((line, "Host: model", *fields, "", "")).encode("latin-1")


def wanted(rules: list[str], one: bytes, without: list[str] | None = None) -> bool:
    decide = request_filter(parse_filters(rules, without or ()))
    return decide is None or decide(one)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("POST /v2/models/*", Rule("request", "POST /v2/models/*")),
        ("post   /v2", Rule("request", "POST /v2")),
        ("GET", Rule("request", "GET *")),
        ("/health", Rule("request", "* /health")),
        ("* /health", Rule("request", "* /health")),
        ("*/infer", Rule("request", "* */infer")),
        ("header:X-Tenant=acme", Rule("header:x-tenant", "acme")),
        ("header:x-debug", Rule("header:x-debug", "")),
        ("header:x=a=b", Rule("header:x", "a=b")),
        ("status:200", Rule("status", "200")),
        ("status:5xx", Rule("status", "5xx")),
        ("model:house*", Rule("model", "house*")),
    ],
)
def test_rules_as_people_write_them(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "POST /v2/models"),
        ("*", "POST /v2/models"),
        ("* *", "POST /v2/models"),
        ("POST /a /b", "POST /v2/models"),
        ("v2/models", "POST /v2/models"),
        ("/v2?x=1", "leave the query out"),
        ("/v2#x", "leave the query out"),
        ("header:", "header:NAME=VALUE"),
        ("header:a b=c", "header:NAME=VALUE"),
        ("header:x=", "header:NAME=VALUE"),
        ("status:600", "status:5xx"),
        ("status:5x", "status:5xx"),
        ("status:", "status:5xx"),
        ("status:2XX", "status:5xx"),
        ("model:", "model:house"),
        ("path:/v2", "POST /v2/models"),
        ("model", "model:NAME"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"^--except .*{why}"):
        parse_rule(text, "--except")


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        decide = request_filter(Filters(only=(parse_rule(text),)))
    except UsageError:
        return
    assert decide is None or decide(head()) in (True, False)


REQUESTS = {
    "POST /v2/models/*": [True, True, False, False, False],
    "/v2/models/*/infer": [True, True, False, False, False],
    "/v2/models/house/infer": [True, True, False, False, False],
    "/v2/models/house": [False] * 5,
    "GET": [False, False, True, False, False],
    "*health*": [False, False, True, False, False],
    "/*": [True, True, True, False, False],
    "OPTIONS": [False, False, False, True, False],
}


@pytest.mark.parametrize("rule", REQUESTS)
def test_a_method_and_a_path_are_looked_for_on_the_request_line_and_nowhere_else(rule: str) -> None:
    lines = [
        "POST /v2/models/house/infer HTTP/1.1",
        "POST http://model:8000/v2/models/house/infer?next=/v2/models/other HTTP/1.1",
        "GET /health?POST%20/v2/models/house/infer HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT model:443 HTTP/1.1",
    ]
    assert [wanted([rule], head(line, "X-Original: POST /v2/models/house/infer")) for line in lines] == REQUESTS[rule]


@pytest.mark.parametrize(
    ("rule", "field", "fits"),
    [
        ("header:x-tenant=acme", "X-Tenant: acme", True),
        ("header:X-TENANT=acme", "x-tenant:\tacme ", True),
        ("header:x-tenant=acme", "X-Tenant: acme2", False),
        ("header:x-tenant=acme", "X-Tenant: ACME", False),
        ("header:x-tenant=acme", "X-Tenant-Id: acme", False),
        ("header:x-tenant=a*e", "X-Tenant: a b e", True),
        ("header:x-tenant=a.me", "X-Tenant: acme", False),
        ("header:x-tenant", "X-Tenant: anything", True),
        ("header:x-tenant", "X-Tenant:", True),
        ("header:x-tenant", "X-Other: x-tenant: acme", False),
        ("header:tenant", "X-Tenant: acme", False),
    ],
)
def test_a_header_is_looked_for_by_name_and_value(rule: str, field: str, fits: bool) -> None:
    assert wanted([rule], head("GET / HTTP/1.1", field)) is fits


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_glob_fits_what_it_fits_with_stars_tried_in_every_way(text: str, one: str) -> None:
    naive = re.compile(".*".join(re.escape(part) for part in text.split("*")))
    assert bool(re.fullmatch(glob(text, "."), one)) == bool(naive.fullmatch(one))


def test_rules_of_a_kind_are_alternatives_and_kinds_are_combined() -> None:
    rules = ["POST /v2/*", "GET /v1/*", "header:x-tenant=a", "header:x-tenant=b", "header:x-region=eu"]
    fields = {"a": "X-Tenant: a", "b": "X-Tenant: b", "c": "X-Tenant: c", "eu": "X-Region: eu"}

    def answer(line: str, *names: str) -> bool:
        return wanted(rules, head(f"{line} HTTP/1.1", *(fields[name] for name in names)))

    assert answer("POST /v2/x", "a", "eu")
    assert answer("GET /v1/x", "b", "eu")
    assert not answer("GET /v2/x", "a", "eu")
    assert not answer("POST /v2/x", "c", "eu")
    assert not answer("POST /v2/x", "a")


def test_what_is_excluded_is_left_out_whatever_else_fits() -> None:
    assert not wanted(["POST"], head(), ["/v2/models/house/*"])
    assert wanted(["POST"], head(), ["/v2/models/garden/*", "header:x-debug"])
    assert not wanted([], head("GET / HTTP/1.1", "X-Debug: 1"), ["/v2/*", "header:x-debug"])


def test_rules_about_the_answer_are_the_spools_and_cost_a_request_nothing() -> None:
    filters = parse_filters(["status:5xx", "status:429", "model:house*"], ["status:503"])

    assert request_filter(filters) is None
    assert filters.as_data() == {
        "only": {"status": ["5xx", "429"], "model": ["house*"]},
        "except": {"status": ["503"], "model": []},
    }
