"""Filters by status and model, in the spool."""

from dataclasses import replace

import pytest

from captures.exchange import Exchange
from captures.testing import example_exchange
from recorder.answer_filter import answer_filter
from recorder.filters import parse_filters


def exchange(status: int, target: str) -> Exchange:
    """0: no answer."""
    found = example_exchange()
    response = replace(found.response, status=status) if found.response and status else None
    return replace(found, request=replace(found.request, target=target), response=response)


HOUSE, TAXI, HEALTH = "/v2/models/house/infer", "/v2/models/taxi%2Fny/infer", "/v2/health/ready"


@pytest.mark.parametrize(
    ("only", "without", "status", "target", "wanted"),
    [
        (["status:5xx"], [], 503, HOUSE, True),
        (["status:5xx"], [], 200, HOUSE, False),
        (["status:5xx", "status:404"], [], 404, HOUSE, True),
        (["status:200"], [], 2000, HOUSE, False),
        (["status:200"], [], 0, HOUSE, False),
        ([], ["status:4xx"], 404, HOUSE, False),
        ([], ["status:4xx"], 0, HOUSE, True),
        (["model:house"], [], 200, HOUSE, True),
        (["model:house"], [], 200, TAXI, False),
        (["model:taxi/*"], [], 200, TAXI, True),
        (["model:t*y"], [], 200, TAXI, True),
        (["model:*"], [], 200, HEALTH, False),  # no model
        ([], ["model:*"], 200, HEALTH, True),
        ([], ["model:ho[u]se"], 200, HOUSE, True),  # nothing but * is special
        (["model:house", "status:2xx"], [], 404, HOUSE, False),
        (["model:house", "status:2xx"], ["status:204"], 204, HOUSE, False),
        (["model:house", "status:2xx"], ["status:204"], 200, HOUSE, True),
    ],
)
def test_what_rules_leave(only: list[str], without: list[str], status: int, target: str, wanted: bool) -> None:
    rules = parse_filters(only, without).as_data()
    decide = answer_filter(rules["only"], rules["except"])
    assert decide is not None
    assert decide(exchange(status, target)) is wanted


def test_without_rules_there_is_no_filter() -> None:
    rules = parse_filters(["GET /v2/*"]).as_data()
    assert answer_filter(rules["only"], rules["except"]) is None
    assert answer_filter({}, {}) is None
