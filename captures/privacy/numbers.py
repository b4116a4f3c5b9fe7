"""Which numbers of a body stay and what replaces the others: small integers for small integers, digits for digits.

A number is never scanned as text. What decides is where it stands (`Rule`) and how many integer digits it has.
"""

import math
import re
from enum import IntEnum

from captures.codecs.json_spans import NUMBER
from captures.privacy.surrogate import Surrogates

DOMAIN = "identity"
_DECIMAL = re.compile(rb"(-?)([0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CONTENT_NESTING = 3  # [[[: more than rows of columns
_NESTED = re.compile(rb"(?:\[[ \t\r\n]*+){%d}" % _CONTENT_NESTING)  # also behind rows that are flat


class Rule(IntEnum):
    """The fewest integer digits that get a number replaced."""

    ALL = 0  # everything, fractions and booleans included
    OUTSIDE = 5  # not known to be a feature or a prediction
    INSIDE = 9  # features and predictions
    CONTROL = 10  # as OUTSIDE, but what the length of the body explains (shapes) stays


# A cheap look before looking closely: digits that are not a fraction's, or an exponent.
_OUTSIDE_LOOK = re.compile(rb"(?<![0-9.])[0-9]{5}|[0-9][eE]")
_INSIDE_LOOK = re.compile(rb"(?<![0-9.])[0-9]{9}|[0-9][eE]")
_LARGE = {Rule.OUTSIDE: _OUTSIDE_LOOK, Rule.INSIDE: _INSIDE_LOOK, Rule.CONTROL: _OUTSIDE_LOOK}
SMALL_DIGITS = {Rule.OUTSIDE: 4, Rule.INSIDE: 8, Rule.CONTROL: 4}
"""A number of at most so many integer digits and no exponent stays under the rule, whatever it is."""
_MOST_DIGITS = 20  # of a size: 2^64 has as many


def replaced_numbers(text: bytes, rule: Rule, surrogates: Surrogates, body_size: int) -> bytes:
    """``text`` is a number, a literal or a whole array of them; all but the numbers stays byte for byte."""
    if rule is Rule.INSIDE and is_content(text):
        rule = Rule.ALL
    if rule is not Rule.ALL and not _LARGE[rule].search(text):
        return text
    if text[:1] != b"[":
        return _replaced(text, rule, surrogates, body_size)
    return NUMBER.sub(lambda match: _replaced(match.group(), rule, surrogates, body_size), text)


def is_content(text: bytes) -> bool:
    """Whether an array is nested too deeply for rows of columns: an image, a sequence of embeddings."""
    if text[:1] != b"[":
        return False
    return text.count(b"[", 0, text.find(b"]")) >= _CONTENT_NESTING or _NESTED.search(text) is not None


def _replaced(text: bytes, rule: Rule, surrogates: Surrogates, body_size: int) -> bytes:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return b"false" if rule is Rule.ALL and text == b"true" else text  # null, NaN and Infinity say nothing
    sign, whole, fraction, exponent = match.groups()
    digits = Rule.OUTSIDE if rule is Rule.CONTROL else rule
    if fraction is None and exponent is None:
        if rule is Rule.CONTROL and len(whole) <= _MOST_DIGITS and int(whole) <= body_size:
            return text
        return _integer(text, surrogates, DOMAIN) if len(whole) >= digits else text
    value = float(text)
    if rule is Rule.ALL:
        return _digits(sign, whole, fraction, exponent, surrogates, DOMAIN)
    whole_large = value.is_integer() and abs(value) >= 10.0 ** (digits - 1)
    shifted = exponent is not None and len(whole) >= digits  # 4111111111111111e-5 is still a card number
    if math.isfinite(value) and not whole_large and not shifted:
        return text
    if exponent is None:
        return _integer(sign + whole, surrogates, DOMAIN) + (fraction or b"")
    return _digits(sign, whole, fraction, exponent, surrogates, DOMAIN)


def digits_for_digits(text: str, surrogates: Surrogates, domain: str) -> str:
    """Another number for the text of one, of as many digits, whatever it is."""
    match = _DECIMAL.fullmatch(text.encode())
    assert match is not None
    sign, whole, fraction, exponent = match.groups()
    if fraction is None and exponent is None:
        return surrogates.integer(domain, text)
    return _digits(sign, whole, fraction, exponent, surrogates, domain).decode()


def _integer(text: bytes, surrogates: Surrogates, domain: str) -> bytes:
    return surrogates.integer(domain, text.decode()).encode()


def _digits(
    sign: bytes, whole: bytes, fraction: bytes | None, exponent: bytes | None, surrogates: Surrogates, domain: str
) -> bytes:
    """Other digits of the same number; the exponent, and so the magnitude, stays."""
    mantissa = surrogates.same_class(domain, (whole + (fraction or b"")).decode()).encode()
    if whole == b"0":  # "0.5" must not become "05.1": JSON has no leading zeros, and 0.5 stays below 1
        mantissa = b"0" + mantissa[1:]
    return sign + mantissa + (exponent or b"")
