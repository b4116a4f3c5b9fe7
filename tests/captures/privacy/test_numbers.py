import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.privacy.numbers import Rule, replaced_numbers
from captures.privacy.surrogate import Surrogates

SURROGATES = Surrogates(b"k" * 32)


def replaced(text: bytes, rule: Rule, body_size: int = 100) -> bytes:
    return replaced_numbers(text, rule, SURROGATES, body_size)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"[1, 2.50, -3e-7, null, true]", Rule.INSIDE),
        (b"99999999", Rule.INSIDE),
        (b"0.123456789012", Rule.INSIDE),
        (b"[-122.2345678901]", Rule.INSIDE),
        (b"1234567890.5", Rule.INSIDE),
        (b"1e3", Rule.OUTSIDE),
        (b"9999", Rule.OUTSIDE),
        (b"[100, 8]", Rule.CONTROL),
        (b"null", Rule.ALL),
        (b"NaN", Rule.ALL),
        (b"[[1,2],[3,4]]", Rule.INSIDE),
    ],
)
def test_what_stays(text: bytes, rule: Rule) -> None:
    assert replaced(text, rule) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"123456789", Rule.INSIDE),
        (b"123456789.0", Rule.INSIDE),
        (b"1.23456789e8", Rule.INSIDE),
        (b"[1, 123456789]", Rule.INSIDE),
        (b"123456789e-5", Rule.INSIDE),
        (b"12345", Rule.OUTSIDE),
        (b"1e4", Rule.OUTSIDE),
        (b"12345", Rule.CONTROL),
        (b"3.25", Rule.ALL),
        (b"true", Rule.ALL),
        (b"[[[1.5,2.5]]]", Rule.INSIDE),
        (b"[\n" + b" " * 99 + b"[\n" + b" " * 99 + b"[1.5]]]", Rule.INSIDE),
        (b"[[], [[[1.5,2.5]]]]", Rule.INSIDE),
        (b"9" * 5000, Rule.CONTROL),
        (b"9" * 5000, Rule.INSIDE),
        (b"1e999", Rule.INSIDE),
    ],
)
def test_what_is_replaced(text: bytes, rule: Rule) -> None:
    assert replaced(text, rule) != text
    assert len(replaced(text, rule)) in (len(text), len(text) + 1)  # true becomes false


def test_a_shape_as_large_as_its_body_stays() -> None:
    assert replaced(b"[20000]", Rule.CONTROL, body_size=40_000) == b"[20000]"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.none()), st.sampled_from(Rule))
def test_what_comes_out_is_json_of_the_same_form(values: list[float | None], rule: Rule) -> None:
    after = json.loads(replaced(json.dumps(values).encode(), rule))
    assert [type(value) for value in after] == [type(value) for value in values]


@given(st.integers(10**8, 10**20), st.sampled_from(Rule))
def test_long_integers_never_stay(value: int, rule: Rule) -> None:
    text = str(value).encode()
    after = replaced(text, rule)
    assert len(after) == len(text)
    assert after[-8:] != text[-8:]
