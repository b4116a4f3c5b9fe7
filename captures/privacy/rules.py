"""A policy's rules, compiled: which rule decides for a place. The first that matches does; None: the defaults do.

What a rule matches depends on where a value stands and on what a codec says it is, never on the value: decisions are made once per
shape of body and kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from captures.codecs.body import Role
from captures.codecs.codec import Side
from captures.privacy import presidio
from captures.privacy.actions import Do, do_of
from captures.privacy.patterns import Path, Pattern, pattern_of, template_of
from captures.privacy.policy import Policy
from captures.privacy.policy_rule import PolicyRule, is_spelled_out

# The default for texts of several words, by what `Policy.text` says. A single word or id always becomes a token.
_TEXTS = {
    "words": Do("words", several=True, why="default: text"),
    "token": Do("token", why="default: text"),
    "scrub": Do("scrub-text", several=True, why="default: text"),
    "redact": Do("redact", several=True, why="default: text"),
}


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A rule about leaves of bodies: by pattern or by role."""

    do: Do
    side: Side | None
    pattern: Pattern | None
    role: Role | None

    def matches(self, side: Side, path: Path, role: Role) -> bool:
        if self.side not in (None, side):
            return False
        if self.pattern is not None:
            return self.pattern.depth(path) is not None
        return role is self.role


@dataclass(frozen=True, slots=True)
class _Named:
    """A rule about headers or parameters."""

    do: Do
    side: Side | None
    glob: str

    @property
    def spelled_out(self) -> bool:
        return is_spelled_out(self.glob)


class Rules:
    """The rules of one policy."""

    def __init__(self, policy: Policy) -> None:
        scrub = policy.recognisers == "presidio"
        self._leaves: list[_Leaf] = []
        self._headers: list[_Named] = []
        self._queries: list[_Named] = []
        self._segments: list[tuple[Do, Callable[[Sequence[str], int], bool], Sequence[str]]] = []
        for number, rule in enumerate(policy.rules, 1):
            self._add(rule, do_of(rule, f"rule {number}", presidio=scrub))
        self.text = replace(_TEXTS[policy.text], presidio=scrub)
        """What the default does with texts of several words."""
        if scrub:
            presidio.recogniser()  # now rather than at the first exchange

    @property
    def sides_differ(self) -> bool:
        """Whether a header is treated differently in requests and in responses."""
        return any(rule.side is not None for rule in self._headers)

    @property
    def any_segment(self) -> Do | None:
        """Of the first rule about segments that does not keep them."""
        return next((do for do, *_ in self._segments if do.action != "keep"), None)

    def leaf(self, side: Side, path: Path, role: Role) -> Do | None:
        """Of a value in a body: a string, a number, a literal."""
        for rule in self._leaves:
            if rule.matches(side, path, role):
                return rule.do
        return None

    def elements(self, side: Side, path: Path) -> bool:
        """Whether some rule may decide for single numbers of the array at ``path``."""
        return any(
            rule.pattern is not None and rule.side in (None, side) and rule.pattern.may_match_inside(path)
            for rule in self._leaves
        )

    def key(self, side: Side, path: Path, role: Role) -> Do | None:
        """Of the key of the value at ``path``. Keys that a rule's path spells out are kept: whoever wrote the rule knows them.
        So is what stands inside something kept. Rules about the role ``name`` keep keys, or make tokens of them.
        """
        for rule in self._leaves:
            if rule.side not in (None, side):
                continue
            if rule.pattern is not None:
                if rule.pattern.spells(path) or (rule.do.action == "keep" and rule.pattern.depth(path) is not None):
                    return replace(rule.do, action="keep")
            elif role is Role.NAME is rule.role:
                return rule.do if rule.do.action == "keep" else replace(rule.do, action="token")
        return None

    def header(self, side: Side, name: str) -> tuple[Do, bool] | None:
        """``name`` in lower case. The bool: the rule names it in full."""
        return _named(self._headers, side, name)

    def query(self, name: str) -> tuple[Do, bool] | None:
        return _named(self._queries, "request", name)

    def segment(self, segments: Sequence[str], position: int) -> Do | None:
        """Of ``segments[position]``, ``segments`` being those of the path, unquoted, without the empty one in front. A literal of a
        template that fits is kept.
        """
        for do, fits, wanted in self._segments:
            if not fits(segments, position):
                continue
            if not wanted or (position < len(wanted) and wanted[position] == "{}"):
                return do
            if position < len(wanted) and wanted[position] != "*":
                return replace(do, action="keep")
        return None

    def _add(self, rule: PolicyRule, do: Do) -> None:
        if rule.path is not None:
            self._leaves.append(_Leaf(do, rule.side, pattern_of(rule.path), None))
        elif rule.role is not None:
            self._leaves.append(_Leaf(do, rule.side, None, Role(rule.role)))
        elif rule.header is not None:
            self._headers.append(_Named(do, rule.side, rule.header))
        elif rule.query is not None:
            self._queries.append(_Named(do, None, rule.query))
        elif rule.segment is not None and rule.segment.startswith("/"):
            template = template_of(rule.segment)
            self._segments.append((do, lambda segments, _at: template.fits(segments), template.segments))
        elif rule.segment is not None:
            glob = rule.segment
            self._segments.append((do, lambda segments, at: fnmatchcase(segments[at], glob), ()))


def compile(policy: Policy) -> Rules:  # noqa: A001 - rules.compile(policy), as re.compile(pattern)
    return Rules(policy)


def _named(rules: Sequence[_Named], side: Side, name: str) -> tuple[Do, bool] | None:
    for rule in rules:
        if rule.side in (None, side) and fnmatchcase(name, rule.glob):
            return rule.do, rule.spelled_out
    return None
