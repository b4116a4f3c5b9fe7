"""Bodies that differ from one seen before in values only, in one match: a shape and what to do in it, as a regular expression.

Most bodies of a route do. What is kept as it is costs nothing beyond being matched; a number that has to be looked at more closely
(an exponent, many digits) or a string that was kept elsewhere makes the body go the slower way, which decides the same.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from captures.codecs.json_spans import ANY_ARRAYS, ANY_NUMBER, ANY_STRING
from captures.privacy.numbers import SMALL_DIGITS, Rule

_MOST_PIECES = 256
_WS = rb"[ \t\r\n]*+"
_LITERALS = rb"|true|false|null|NaN|-?Infinity"
_QUOTE, _ARRAY = b'"['
_MANY = 3  # commas; arrays with fewer are told apart by how many


@dataclass(frozen=True, slots=True)
class Template[Action]:
    """``actions``: (group of ``pattern``, what to do with what it holds, what became of strings there), in order. ``strings``: the
    groups that hold any string. ``arrays``: those that hold an array, with its number of commas, `_MANY` being as many or more.
    """

    pattern: re.Pattern[bytes]
    actions: tuple[tuple[int, Action, dict[bytes, bytes]], ...]
    strings: tuple[int, ...]
    arrays: tuple[tuple[int, int], ...]

    def match(
        self, body: bytes, words: Collection[bytes], says_word: Callable[[bytes], bool]
    ) -> re.Match[bytes] | None:
        """None: not such a body, or it takes a closer look. ``says_word``: whether a string with escapes is one of ``words``."""
        match = self.pattern.fullmatch(body)
        if match is None:
            return None
        for group in self.strings:
            text = match[group]
            if text in words or (b"\\" in text and says_word(text)):
                return None
        for group, commas in self.arrays:
            if min(match[group].count(b","), _MANY) != commas:
                return None
        return match


def template[Action](
    pieces: Sequence[bytes],
    plan: Mapping[int, Action],
    rule_of: Callable[[Action], Rule | None],
    words: Collection[bytes],
) -> Template[Action] | None:
    """``pieces`` as `SPLIT` gives them; ``plan``: position -> action; strings in ``words`` stand as they are. None: too long, or
    nested too deeply to be worth it.
    """
    if len(pieces) > _MOST_PIECES:
        return None
    parts: list[bytes] = []
    groups: list[tuple[bytes, Action]] = []  # what a group held, and what is done with it
    for position, piece in enumerate(pieces):
        action = plan.get(position)
        if action is None:
            parts.append(re.escape(piece))
            continue
        rule = rule_of(action)
        looked_at = rule is None or rule is Rule.ALL or _nested(piece)
        pattern = _looked_at(piece, rule, words) if looked_at else _kept(piece, rule)
        if pattern is None:
            return None
        parts.append(b"(%s)" % pattern if looked_at else pattern)
        groups += [(piece, action)] if looked_at else []
    numbered = list(enumerate(groups, 1))
    return Template(
        re.compile(b"".join(parts)),
        tuple((group, action, {}) for group, (_, action) in numbered if rule_of(action) in {None, Rule.ALL}),
        tuple(group for group, (piece, _) in numbered if piece[0] == _QUOTE and piece not in words),
        tuple((group, min(piece.count(b","), _MANY)) for group, (piece, _) in numbered if piece[0] == _ARRAY),
    )


def _looked_at(piece: bytes, rule: Rule | None, words: Collection[bytes]) -> bytes | None:
    """The pattern of a value that is replaced, or counted."""
    if piece[0] == _QUOTE:
        return re.escape(piece) if piece in words else ANY_STRING
    if piece[0] != _ARRAY:
        return ANY_NUMBER
    if rule is None or rule is Rule.ALL:
        return ANY_ARRAYS
    row = _row(rule, b"*+")
    return (
        rb"\[" + _WS + row + rb"(?:" + _WS + rb"," + _WS + row + rb")*+" + _WS + rb"\]" if _nested(piece) == 1 else None
    )


def _kept(piece: bytes, rule: Rule | None) -> bytes:
    """The pattern of numbers that stay whatever they are."""
    assert rule is not None
    commas = piece.count(b",")
    times = b"{%d,}+" % _MANY if commas >= _MANY else b"{%d}" % commas
    return _row(rule, times) if piece[0] == _ARRAY else _small(rule)


def _nested(piece: bytes) -> int:
    return max(piece.count(b"[", 0, piece.find(b"]")) - 1, 0)


def _small(rule: Rule, literals: bytes = b"") -> bytes:
    """A number that stays whatever it is; in an array also a literal."""
    return rb"(?:-?(?:0|[1-9][0-9]{0,%d}+)(?:\.[0-9]++)?%s)" % (SMALL_DIGITS[rule] - 1, literals)


def _row(rule: Rule, times: bytes) -> bytes:
    """An array of numbers; ``times``: how many more than one."""
    number = _small(rule, _LITERALS)
    return rb"\[" + _WS + number + rb"(?:" + _WS + rb"," + _WS + number + rb")" + times + _WS + rb"\]"
