"""What a policy does with each field of one exchange, told by the code that does it.

Nothing is decided here: lines are made of the parts of `Heads` and the decisions of `Bodies`, and what the whole comes to is what
`Pseudonymiser` made of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captures.codecs.codec import Leaf, Side
from captures.codecs.json_spans import NUMBER, text_of
from captures.exchange import Exchange, Flags, Request, Response
from captures.privacy.decisions import Decision
from captures.privacy.heads import UNKNOWN_LENGTH, Part
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.surrogate import bound_of, is_token
from captures.privacy.words import has_several_words

FEW = 10_000
"""Fewer possible surrogates than this may collide: two values of one field get one surrogate."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SHAPES = (
    ("token of ours", re.compile(r"stk1_[a-z2-7]{16}")),
    ("e-mail", re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
    ("UUID", re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")),
    ("date", re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")),
    ("IP address", re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.]*")),
)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_LONGEST_DIGITS = 18  # of an integer whose surrogates are counted


@dataclass(frozen=True, slots=True)
class Line:
    """``place``: "request header X-User", "request $.inputs[0].data". ``decided``: the rule or default. ``kind``: what stood there,
    in words. ``before``: the value itself, not to be shown unasked. ``after``: None where it is left out. ``possible``: so many
    surrogates there are, where they are few; 0: too many to count.
    """

    place: str
    role: str
    decided: str
    action: str
    kind: str
    before: str
    after: str | None
    visible: bool = False
    possible: int = 0

    @property
    def changed(self) -> bool:
        return self.after != self.before

    @property
    def shown(self) -> str | None:
        """``after`` without what stays of ``before``: numbers of an array, words of a text."""
        if self.after is None or not self.changed:
            return self.after
        if self.action == "scrub-text":
            return " ".join(new if new != old else "…" for old, new in _word_by_word(self.before, self.after))
        if not self.kind.startswith("array"):
            return self.after
        numbers = iter(NUMBER.findall(self.before.encode()))
        return NUMBER.sub(
            lambda new: "…".encode() if new.group() == next(numbers) else new.group(), self.after.encode()
        ).decode()


@dataclass(frozen=True, slots=True)
class Explanation:
    """``why``: what keeps the recorded answer from being compared, in words; empty where nothing does."""

    lines: tuple[Line, ...]
    route: str
    codec: str
    replayable: bool
    recorded_valid: bool
    why: tuple[str, ...]


def explain(pseudonymiser: Pseudonymiser, exchange: Exchange) -> Explanation:
    (kept,) = pseudonymiser.apply([exchange])
    lines = [*_of_target(pseudonymiser, exchange), *_of_message(pseudonymiser, "request", exchange, kept)]
    if exchange.response is not None:
        lines += _of_message(pseudonymiser, "response", exchange, kept)
    valid = Flags.RECORDED_VALID in kept.flags
    return Explanation(
        tuple(lines),
        kept.route,
        kept.codec,
        Flags.REPLAYABLE in kept.flags,
        valid,
        () if valid else tuple(_why_not(lines, exchange)),
    )


def _why_not(lines: Sequence[Line], exchange: Exchange) -> Iterator[str]:
    if exchange.response is None:
        yield "there is no answer"
    yield from dict.fromkeys(f"{line.place} is altered" for line in lines if line.visible and line.changed)


def _word_by_word(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Where their numbers differ nothing can be told apart, and all of it counts as old."""
    old, new = before.split(), after.split()
    return zip(old, new if len(old) == len(new) else old, strict=True)


# -- heads


def _of_target(pseudonymiser: Pseudonymiser, exchange: Exchange) -> Iterator[Line]:
    request = exchange.request
    for number, part in enumerate(pseudonymiser.segments(request)):
        if part.old:
            yield _of_part(f"request path segment {number}", part, visible=True)
    for part in pseudonymiser.parameters(request):
        if part.old:
            yield _of_part(f"request query {part.name or '(no name)'}", part)


def _of_headers(pseudonymiser: Pseudonymiser, side: Side, message: Request | Response, size: int) -> Iterator[Line]:
    for number, (name, value) in enumerate(message.headers, 1):
        part = pseudonymiser.header(side, name, value)
        if part.new == UNKNOWN_LENGTH:
            part = part._replace(new=str(size))
        shown = name if part.new is not None or part.do.why.startswith("rule") else f"{number} (its name is not shown)"
        yield _of_part(f"{side} header {shown}", part)


def _of_part(place: str, part: Part, *, visible: bool = False) -> Line:
    do = part.do
    return Line(
        place, "", do.why, do.action, kind_of(part.old), part.old, part.new, visible, _possible(do.action, part.old)
    )


# -- bodies


def _of_message(pseudonymiser: Pseudonymiser, side: Side, exchange: Exchange, kept: Exchange) -> Iterator[Line]:
    message, after = (exchange.request, kept.request) if side == "request" else (exchange.response, kept.response)
    assert message is not None
    assert after is not None
    body = message.body
    yield from _of_headers(pseudonymiser, side, message, len(after.body) or message.size)
    if not body:
        return
    dropped = Flags.REQUEST_DROPPED if side == "request" else Flags.RESPONSE_DROPPED
    found = None if dropped in kept.flags else pseudonymiser.leaves(exchange.request, body, side)
    if found is None:
        kind = f"{len(body):,} bytes"
        yield Line(f"{side} body", "", "default: neither JSON nor plain", "drop", kind, repr(body), None, visible=True)
        return
    shown: dict[tuple[str | int, ...], str] = {}
    for leaf, old, decision, new in found:
        if leaf.kind == "key":
            shown[leaf.path] = text_of(new)
        yield _of_leaf(f"{side} {_json_path(leaf.path, shown)}", leaf, old, decision, new)


def _of_leaf(place: str, leaf: Leaf, old: bytes, decision: Decision, new: bytes) -> Line:
    if leaf.kind in ("key", "string"):
        before, after = text_of(old), None if new == b"null" else text_of(new)
        kind = kind_of(before)
        possible = 0 if old == new else _possible(decision.do.action, before)
    else:
        before, after = old.decode(), new.decode()
        kind = _kind_of_numbers(before)
        possible = _possible_numbers(before, after)
    place = f"{place} (key)" if leaf.kind == "key" else place
    action = decision.do.action
    if decision.rule is not None:
        action = "keep" if old == new else "surrogate"
    elif decision.do.several and not has_several_words(before):
        action = "token"
    why = "rules, number by number" if decision.each is not None else decision.do.why
    return Line(place, leaf.role, why, action, kind, before, after, decision.visible, possible)


def _json_path(path: tuple[str | int, ...], shown: dict[tuple[str | int, ...], str]) -> str:
    """With the keys as they will be: a key may be somebody."""
    text = "$"
    for at, part in enumerate(path, 1):
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = shown.get(path[:at], part)
            text += f".{key}" if _PLAIN_KEY.fullmatch(key) else f"['{key}']"
    return text


# -- in words


def kind_of(text: str) -> str:
    """What a text is, nothing of what it says."""
    if not text:
        return "empty"
    if _INTEGER.fullmatch(text):
        return f"integer, {_count(len(text.removeprefix('-')), 'digit')}"
    shape = next((name for name, pattern in _SHAPES if pattern.fullmatch(text)), "")
    if shape:
        return shape
    words = len(text.split())
    return f"text, {_count(words, 'word')}" if words > 1 else f"string, {_count(len(text), 'character')}"


def _kind_of_numbers(text: str) -> str:
    if text.startswith("["):
        return f"array of {_count(len(NUMBER.findall(text.encode())), 'number')}"
    if text in ("true", "false", "null"):
        return text if text == "null" else "boolean"
    return kind_of(text) if _INTEGER.fullmatch(text) else "number"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _possible(action: str, text: str) -> int:
    """Surrogates that a value of this class and length may get; 0: many."""
    if action not in ("surrogate", "blur") or len(text) > _LONGEST_DIGITS or is_token(text):
        return 0
    if _INTEGER.fullmatch(text):
        return _possible_integers(text)
    total = 1
    for character in text:
        total *= 10 if character.isdigit() else 26 if character.isalpha() else 1
    return total if total < FEW else 0


def _possible_integers(text: str) -> int:
    digits = text.removeprefix("-")
    total = bound_of(int(text)) - (10 ** (len(digits) - 1) if len(digits) > 1 else 0) + 1
    return total if total < FEW else 0


def _possible_numbers(before: str, after: str) -> int:
    """The fewest of those that were replaced."""
    pairs = zip(NUMBER.findall(before.encode()), NUMBER.findall(after.encode()), strict=True)
    changed = [old.decode() for old, new in pairs if old != new]
    counts = [_possible_integers(text) for text in changed if _INTEGER.fullmatch(text) and len(text) <= _LONGEST_DIGITS]
    return min((count for count in counts if count), default=0)
