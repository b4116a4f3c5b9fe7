"""Numbers as people read them."""

import math

import pytest

from replayer.report import format as show

TABLE = [
    (show.count, 1234567, "1,234,567"),
    (show.count, None, show.ABSENT),
    (show.count, True, show.ABSENT),
    (show.ms, 0, "0"),
    (show.ms, 0.1234, "0.123"),
    (show.ms, 12.34, "12.3"),
    (show.ms, 1234.5, "1,234"),
    (show.ms, math.inf, "inf"),
    (show.seconds, 59.94, "59.9 s"),
    (show.seconds, 119.9, "119.9 s"),
    (show.seconds, 200, "3 min 20 s"),
    (show.seconds, 7260, "2 h 01 min"),
    (show.seconds, "x", show.ABSENT),
    (show.rate, 1234.56, "1,234.6/s"),
    (show.rate, None, show.ABSENT),
    (show.percent, 0.9987, "99.9 %"),
    (show.percent, 0.9999, "99.990 %"),
    (show.percent, 1.0, "100.0 %"),
    (show.percent, 0.0001, "0.010 %"),
    (show.percent, None, show.ABSENT),
    (show.score, 0.000123456, "0.0001235"),
    (show.score, None, show.ABSENT),
    (show.escape, "<a href='x'>&\"", "&lt;a href=&#x27;x&#x27;&gt;&amp;&quot;"),
]


@pytest.mark.parametrize(("function", "value", "expected"), TABLE)
def test_a_value_is_shown_as_people_read_it(function: object, value: object, expected: str) -> None:
    assert callable(function)
    assert function(value) == expected


def test_a_share_is_shown_with_its_interval() -> None:
    share = {"value": 0.991, "low": 0.988, "high": 0.994, "n": 5000}
    assert show.interval(share) == "99.1 % (98.8 to 99.4, n 5,000)"
    assert show.interval({"value": None}) == f"{show.ABSENT} (nothing to compare)"


def test_what_is_missing_or_of_another_kind_is_empty() -> None:
    assert show.mapping([1]) == {}
    assert show.sequence("text") == ()
    assert show.texts(None) == []
    assert show.mappings([1, {"a": 2}]) == [{}, {"a": 2}]
