"""Numbers, literals and arrays of them for which a rule of the policy decided, whole or number by number."""

import re

from captures.codecs.json_spans import NUMBER
from captures.privacy.actions import on_number
from captures.privacy.decisions import Decision
from captures.privacy.numbers import Rule as Digits
from captures.privacy.numbers import is_content, replaced_numbers
from captures.privacy.surrogate import Surrogates

_ITEM = re.compile(rb"[\[\],]|" + NUMBER.pattern)


def replaced_by_rule(text: bytes, decision: Decision, surrogates: Surrogates, body_size: int) -> bytes:
    """All but the numbers stays byte for byte."""
    if decision.each is not None:
        return _by_element(text, decision, surrogates, body_size)
    if decision.keeps:
        return text
    return NUMBER.sub(lambda match: _number(match.group(), decision, surrogates), text)


def _number(text: bytes, decision: Decision, surrogates: Surrogates) -> bytes:
    return on_number(decision.do, text.decode(), surrogates, decision.domain).encode()


def _by_element(text: bytes, decision: Decision, surrogates: Surrogates, body_size: int) -> bytes:
    assert decision.each is not None
    content = is_content(text)
    index: list[int] = []

    def item(match: re.Match[bytes]) -> bytes:
        old = match.group()
        if old == b"[":
            index.append(0)
        elif old == b"]":
            index.pop()
        elif old == b",":
            index[-1] += 1
        else:
            assert decision.each is not None
            found = decision.each(tuple(index))
            if found.rule is None:
                return _number(old, found, surrogates)
            rule = Digits.ALL if content and found.rule is Digits.INSIDE else found.rule
            return replaced_numbers(old, rule, surrogates, body_size)
        return old

    return _ITEM.sub(item, text)
