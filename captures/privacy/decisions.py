"""What is done with each value of a body, and why: the policy's rules first, then the defaults.

`Bodies` does what is decided here, and `policy explain` prints it. Decisions depend on where a value stands and what the codec says
it is; only names, control words and labels are looked at themselves, and stay part of a body's shape.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from captures.codecs.body import Role
from captures.codecs.codec import Leaf, Side
from captures.codecs.json_spans import text_of
from captures.privacy import rules
from captures.privacy.actions import Do
from captures.privacy.names import is_plain, names_content, names_identity
from captures.privacy.numbers import Rule
from captures.privacy.patterns import Path
from captures.privacy.policy import Policy, any_glob

IDENTITY, TEXT, NAME = "identity", "text", "name"
"""Domains of tokens. Ids in headers, paths and bodies share one, so that they still join."""

_CONTROL_WORD = re.compile(r"[A-Za-z0-9_.+/-]{1,32}")
_CACHED = 4096


type Each = Callable[[Path], Decision]


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule``: what the default makes of numbers; without one ``do`` decides, in ``domain`` where it names none. ``ruled``: a rule
    of the policy decided. ``each``: decides for single numbers of an array, by their indexes in it.
    """

    do: Do
    domain: str = ""
    rule: Rule | None = None
    visible: bool = True
    ruled: bool = False
    each: Each | None = None

    @property
    def keeps(self) -> bool:
        return self.rule is None and self.each is None and self.do.action == "keep"


def _kept(why: str) -> Decision:
    return Decision(Do("keep", why=f"default: {why}"))


_EMPTY = _kept("nothing in it")
_PROTOCOL = _kept("the protocol's own word")
_PLAIN = _kept("reads like a name")
_LABEL = _kept("listed in labels")

_RULES_SAID = {
    Rule.ALL: "numbers of such a name or place",
    Rule.OUTSIDE: "numbers of five digits and more",
    Rule.INSIDE: "features of nine digits and more",
    Rule.CONTROL: "numbers larger than a shape",
}


class Decisions:
    """Of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._labels = frozenset(policy.labels)
        self._rules = rules.compile(policy)
        self._explicit = tuple(glob for glob in policy.features_kept if glob != "*")
        self._number = lru_cache(_CACHED)(self._new_number)

    def of(self, side: Side, leaf: Leaf, old: bytes) -> Decision:
        """Of the key, string, number, literal or array of numbers ``old``."""
        visible = leaf.role is not Role.IDENTITY
        if leaf.kind == "key":
            return self._key(side, leaf, old, visible=visible)
        if leaf.kind != "string":
            return self._numbers(side, leaf, visible=visible)
        text = text_of(old)
        if (do := self._rules.leaf(side, leaf.path, leaf.role)) is not None:
            return Decision(do, self._domain(leaf), visible=visible, ruled=True)
        return self._string(side, leaf, text, visible=visible)

    def _key(self, side: Side, leaf: Leaf, old: bytes, *, visible: bool) -> Decision:
        if leaf.role is Role.CONTROL:
            return _PROTOCOL
        if (do := self._rules.key(side, leaf.path, leaf.role)) is not None:
            return Decision(do, NAME, visible=visible, ruled=True)
        if leaf.role is Role.NAME and is_plain(text_of(old)):
            return _PLAIN
        return Decision(Do("token", why="default: key"), NAME, visible=visible)

    def _string(self, side: Side, leaf: Leaf, text: str, *, visible: bool) -> Decision:
        if not text:
            return _EMPTY
        if leaf.role is Role.NAME:
            return _PLAIN if is_plain(text) else Decision(Do("token", why="default: name"), NAME, visible=visible)
        if leaf.role is Role.CONTROL and _CONTROL_WORD.fullmatch(text):
            return _PROTOCOL
        if leaf.role is Role.PREDICTION and text in self._labels:
            return _LABEL
        domain = self._domain(leaf)
        prompt = leaf.role is Role.TEXT and side == "request" and (domain == TEXT or names_content(leaf.name))
        do = self._rules.text if prompt else Do("token", why=f"default: {leaf.role}")
        return Decision(do, domain, visible=visible)

    def _domain(self, leaf: Leaf) -> str:
        if leaf.role is Role.NAME:
            return NAME
        return IDENTITY if leaf.role is Role.IDENTITY or names_identity(leaf.name) else TEXT

    def _numbers(self, side: Side, leaf: Leaf, *, visible: bool) -> Decision:
        listed = leaf.kind == "numbers" or (bool(leaf.path) and isinstance(leaf.path[-1], int))
        default = self._number(leaf.role, leaf.name, listed)
        whole = self._ruled(side, leaf.path, leaf.role, default, visible=visible)
        if leaf.kind != "numbers" or not self._rules.elements(side, leaf.path):
            return whole

        @lru_cache(_CACHED)
        def each(inner: Path) -> Decision:
            return self._ruled(side, (*leaf.path, *inner), leaf.role, default, visible=visible)

        return Decision(whole.do, whole.domain, visible=visible, ruled=True, each=each)

    def _ruled(self, side: Side, path: Path, role: Role, default: Decision, *, visible: bool) -> Decision:
        do = self._rules.leaf(side, path, role)
        return default if do is None else Decision(do, IDENTITY, visible=visible, ruled=True)

    def _new_number(self, role: Role, name: str, listed: bool) -> Decision:
        rule = self._rule(role, name, listed)
        why = f"default: {_RULES_SAID[rule]}"
        return Decision(Do("surrogate", why=why), IDENTITY, rule, visible=role is not Role.IDENTITY)

    def _rule(self, role: Role, name: str, listed: bool) -> Rule:
        if role is Role.CONTROL:
            return Rule.CONTROL
        if role is Role.IDENTITY:
            return Rule.ALL
        if role is Role.FEATURE and any_glob(self._policy.features_replaced, name):
            return Rule.ALL
        if name and any_glob(self._explicit, name):
            return Rule.INSIDE
        if role is Role.FEATURE and not any_glob(self._policy.features_kept, name):
            return Rule.ALL
        if names_identity(name):
            return Rule.ALL
        if role in (Role.FEATURE, Role.PREDICTION):
            return Rule.INSIDE
        return Rule.ALL if listed else Rule.OUTSIDE
