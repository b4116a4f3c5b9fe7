"""Bodies under a policy: every leaf of a JSON body is kept or replaced; what is not JSON is not kept.

Bodies of one route differ in numbers and ids and hardly in anything else. So what to do is decided once per *shape* (the
body with its numbers and replaceable strings taken out) and kept as a `_Plan`; `Leaf` promises that roles depend on nothing
else. A plan that is used again becomes a `Template`, which does the same in one match.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from captures.codecs.body import Role
from captures.codecs.cells import Edit, replaced
from captures.codecs.codec import Codec, Leaf, Side
from captures.codecs.json_spans import SPLIT, require_utf8, text_of
from captures.codecs.opaque import OpaqueCodec
from captures.errors import CodecError
from captures.privacy.actions import on_text
from captures.privacy.arrays_by_rule import replaced_by_rule
from captures.privacy.decisions import Decision, Decisions
from captures.privacy.numbers import replaced_numbers
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates, is_token
from captures.privacy.templates import Template, template

_VALUES = frozenset((Role.FEATURE, Role.PREDICTION, Role.TEXT, Role.IDENTITY))
_OPAQUE = OpaqueCodec()

_MOST_PIECES = 8192  # of one plan: 400 rows of ten named features; larger bodies go leaf by leaf
_MOST_PIECES_KEPT = 200_000  # of all plans: some ten MB
_MOST_WORDS = 20_000
_MOST_KEYS = 2_000  # replaced keys that are remembered: maps keyed by somebody's ids have no end of them
_MOST_TEMPLATES = 512
_TEMPLATES_EACH = 4  # of one codec, side and place
_MOST_KNOWN, _LONGEST_KNOWN = 256, 256  # strings in one place of a template: names repeat, ids and prompts do not
_LONGEST_ESCAPE = 12  # bytes of a character: two escapes
_QUOTE, _ARRAY = b'"['
_ARRAYS = (b"[0", b"[1", b"[2", b"[3")  # arrays by commas, up to what a role may depend on
_ANY_STRING, _ANY_NUMBER = b'"', b"0"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of a body. ``visible``: something a model would see, or a prediction, was altered."""

    body: bytes
    altered: bool = False
    visible: bool = False
    dropped: bool = False
    unparsed: bool = False


type _Plan = tuple[tuple[int, Decision], ...]  # (position in SPLIT.split(body), what to do there)


class Bodies:
    """Applies one policy under one key."""

    def __init__(self, policy: Policy, surrogates: Surrogates, *, derived: bool) -> None:
        self._decisions = Decisions(policy)
        self._surrogates = surrogates
        self._derived = derived
        self._plans: dict[tuple[object, ...], _Plan] = {}
        self._pieces = 0  # in all plans
        # String literals some plan keeps for what they say, and keys it replaces: they are part of a shape.
        self._words: set[bytes] = {_literal(label) for label in policy.labels}
        self._texts: set[str] = set(policy.labels)  # the same, of those that may come in other spellings
        self._longest = 0  # bytes of a literal that may be one of them
        self._keys = 0  # of those, the replaced keys
        self._templates: dict[tuple[str, Side, str], list[Template[Decision]]] = {}
        self._made = 0  # templates

    def keep(self, codec: Codec, body: bytes, side: Side, place: str = "") -> Kept:
        """Never raises. A body its codec cannot read is kept as unknown JSON, or dropped, and ``unparsed``. ``place``: bodies of
        one are alike; it speeds things up and decides nothing.
        """
        unparsed = codec.name != _OPAQUE.name
        if unparsed:
            try:
                return self._by_shape(codec, body, side, place)
            except CodecError:
                pass
        try:
            kept = self._unknown(body, side, place)
        except CodecError:
            return Kept(b"", visible=True, dropped=True, unparsed=unparsed)
        return Kept(kept.body, altered=kept.altered, visible=kept.visible, unparsed=unparsed)

    def _unknown(self, body: bytes, side: Side, place: str) -> Kept:
        """JSON no codec gives meaning to. A lone number or string is not worth the doubt what it is."""
        _require_document(body)
        return self._by_shape(_OPAQUE, body, side, place)

    def _by_shape(self, codec: Codec, body: bytes, side: Side, place: str) -> Kept:
        require_utf8(body)
        known = self._templates.get((codec.name, side, place), ())
        for each in known:
            if match := each.match(body, self._words, self._says_word):
                return self._by_template(each, match, body)
        pieces = SPLIT.split(body)
        if len(pieces) > _MOST_PIECES:
            return self._by_leaf(codec, body, side)[0]
        shape = (codec.name, side, *self._shape(pieces))
        plan = self._plans.get(shape)
        if plan is None:
            kept, actions = self._by_leaf(codec, body, side)
            if actions is not None and (plan := _plan(pieces, actions)) is not None:
                if self._pieces > _MOST_PIECES_KEPT:
                    self._plans.clear()
                    self._pieces = 0
                self._plans[codec.name, side, *self._shape(pieces)] = plan
                self._pieces += len(pieces)
            return kept
        if len(known) < _TEMPLATES_EACH and self._made < _MOST_TEMPLATES:
            self._made += 1
            if (made := template(pieces, dict(plan), lambda decision: decision.rule, self._words)) is not None:
                self._templates[codec.name, side, place] = [*known, made]
        return self._by_plan(plan, pieces, body)

    def _shape(self, pieces: Sequence[bytes]) -> list[bytes]:
        words = self._words
        shape = list(pieces)
        for position in range(1, len(shape), 2):
            piece = shape[position]
            first = piece[0]
            if first == _QUOTE:
                if piece not in words and not (b"\\" in piece and self._says_word(piece)):
                    shape[position] = _ANY_STRING
            elif first == _ARRAY:
                shape[position] = _ARRAYS[min(piece.count(b","), 3)]
            else:
                shape[position] = _ANY_NUMBER
        return shape

    def _says_word(self, piece: bytes) -> bool:
        """Whether a string with escapes in it says what would be kept somewhere, and so takes a closer look."""
        if len(piece) > self._longest:
            return False
        try:
            return text_of(piece) in self._texts
        except ValueError:  # it does not end
            return False

    def _by_plan(self, plan: _Plan, pieces: list[bytes], body: bytes) -> Kept:
        altered = visible = False
        for position, action in plan:
            old = pieces[position]
            new = self._replaced(old, action, len(body))
            if new != old:
                pieces[position] = new
                altered = True
                visible = visible or action.visible
        return Kept(b"".join(pieces), altered, visible) if altered else Kept(body)

    def _by_template(self, each: Template[Decision], match: re.Match[bytes], body: bytes) -> Kept:
        parts = []
        at = 0
        visible = False
        for group, action, known in each.actions:
            old = match[group]
            new = known.get(old)
            if new is None:
                new = self._replaced(old, action, len(body))
                if old[0] == _QUOTE and len(old) <= _LONGEST_KNOWN and len(known) < _MOST_KNOWN:
                    known[old] = new
            if new != old:
                start, stop = match.span(group)
                parts += [body[at:start], new]
                at = stop
                visible = visible or action.visible
        return Kept(b"".join([*parts, body[at:]]), altered=True, visible=visible) if parts else Kept(body)

    def _by_leaf(self, codec: Codec, body: bytes, side: Side) -> tuple[Kept, list[tuple[Leaf, Decision]] | None]:
        """What is kept, and what was decided; None for the latter where it holds for this very body only."""
        decisions: list[tuple[Leaf, Decision]] = []
        edits: list[Edit] = []
        visible = False
        general = True
        control = getattr(codec, "control_words", None)
        words = [] if control is None else [_literal(word) for word in control]
        keys = 0
        for leaf, old, decision, new in self._decided(codec, body, side):
            said = leaf.kind in ("key", "string") and not (
                decision.ruled and leaf.role in _VALUES and leaf.kind != "key"
            )
            if decision.keeps and said:  # kept for what it says: part of the shape
                words.append(old)
                continue
            if leaf.kind == "key":
                keys += old not in self._words
                words.append(old)
            if leaf.kind not in {"key", "numbers", "number"} and leaf.role not in _VALUES:
                # A word of the protocol at this place would be part of the shape.
                general = general and leaf.role is Role.OTHER and control is not None and leaf.kind == "string"
                general = general and not decision.ruled
            if leaf.kind != "literal":
                decisions.append((leaf, decision))
            if new != old:
                general = general and leaf.kind != "literal"
                edits.append((leaf.start, leaf.stop, new))
                visible = visible or decision.visible
        kept = Kept(replaced(body, edits), altered=True, visible=visible) if edits else Kept(body)
        if not general or len(self._words) + len(words) > _MOST_WORDS or self._keys + keys > _MOST_KEYS:
            return kept, None
        self._words.update(words)
        self._texts.update(control or ())
        self._longest = _LONGEST_ESCAPE * max(map(len, self._texts), default=0) + 2
        self._keys += keys
        return kept, decisions

    def _decided(self, codec: Codec, body: bytes, side: Side) -> Iterator[tuple[Leaf, bytes, Decision, bytes]]:
        """Each leaf: what stood there, what is decided, what will stand there."""
        for leaf in codec.leaves(body, side):
            old = body[leaf.start : leaf.stop]
            decision = self._decisions.of(side, leaf, old)
            yield leaf, old, decision, old if decision.keeps else self._replaced(old, decision, len(body))

    def explained(self, codec: Codec, body: bytes, side: Side) -> list[tuple[Leaf, bytes, Decision, bytes]] | None:
        """What `keep` does with each leaf; None: it drops the body."""
        readers = (codec, _OPAQUE) if codec.name != _OPAQUE.name else (_OPAQUE,)
        for reader in readers:
            try:
                if reader is _OPAQUE:
                    _require_document(body)
                return list(self._decided(reader, body, side))
            except CodecError:
                continue
        return None

    def _replaced(self, old: bytes, decision: Decision, body_size: int) -> bytes:
        if decision.rule is not None:
            return replaced_numbers(old, decision.rule, self._surrogates, body_size)
        if old[0] != _QUOTE:
            return replaced_by_rule(old, decision, self._surrogates, body_size)
        do = decision.do
        text = text_of(old)
        if not text or do.action == "keep" or (self._derived and is_token(text)):
            return old
        if do.action == "token":
            return b'"' + self._surrogates.token(do.domain or decision.domain, text).encode() + b'"'
        if do.action == "drop":
            return b"null"
        new = on_text(do, text, self._surrogates, decision.domain)
        return _literal(new) if new != text else old


def _literal(text: str) -> bytes:
    """The JSON of a string; lone surrogates stay escaped."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return json.dumps(text).encode()


def _require_document(body: bytes) -> None:
    if not body.lstrip(b" \t\r\n").startswith((b"{", b"[")):
        raise CodecError("neither an object nor an array")


def _plan(pieces: Sequence[bytes], actions: Sequence[tuple[Leaf, Decision]]) -> _Plan | None:
    """The actions by position in ``pieces``. None: not a shape that can be told from its pieces."""
    if not pieces[-1].rstrip(b" \t\r\n").endswith((b"}", b"]")):
        return None
    positions: dict[int, int] = {}
    offset = 0
    for position, piece in enumerate(pieces):
        positions[offset] = position if position % 2 else -1
        offset += len(piece)
    plan = tuple((positions.get(leaf.start, -1), action) for leaf, action in actions)
    return plan if all(position > 0 for position, _ in plan) else None
