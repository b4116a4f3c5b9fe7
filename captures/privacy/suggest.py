"""A policy proposed from what was counted: which strings look categorical, which like identities. It shows no value, only evidence.

Keeping is proposed only for closed vocabularies: few different values, short words, each of them many times. Whether they name
somebody is for a person to decide who reads the proposal.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from captures.privacy.census import Census, Place, Tally
from captures.privacy.policy import HEADERS_KEPT, Policy
from captures.privacy.policy_rule import CREDENTIALS

FEWEST_VALUES = 50
"""Of a place, to say anything about it."""
MOST_WORDS = 32
FEWEST_EACH = 5
"""A word seen less often may be one person's."""

_AGAIN = 1.5  # values for each different one, of what comes again
_MOSTLY = 0.9
_MANY_DIFFERENT = 0.2  # different values per value
_MANY_NAMES = 64  # in one object
_SELDOM = 10  # times less than the most frequent beside it
_STEP = re.compile(r"\.[^.\[\]']+|\[[^\]]*\]")
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|passw|credential|api-?key|signature|jwt")
_SESSION = re.compile(r"session|conversation|thread", re.IGNORECASE)
_HARMLESS = ("word", "empty")
_UNTOUCHED = frozenset(("name", "control"))  # roles that a codec has settled
_NOBODY = frozenset(("empty", "token", "time", "text", "id", "number", "word", "other", "long", "IP address"))


@dataclass(frozen=True, slots=True)
class Proposal:
    """``do``: the action, or "" where the default is left to decide."""

    place: Place
    tally: Tally
    do: str
    why: str

    @property
    def evidence(self) -> str:
        tally = self.tally
        shapes = ", ".join(
            f"{shape} {count / tally.values:.0%}"
            for shape, count in tally.shapes.most_common(3)
            if 100 * count >= tally.values
        )
        each = f", each at least {tally.fewest:,} times" if tally.fewest else ""
        about = "about " if tally.estimated else ""
        return f"{tally.values:,} values, {about}{tally.distinct:,} different{each}; {shapes}"

    def as_data(self) -> dict[str, Any]:
        tally = self.tally
        return {
            self.place.where: self.place.what,
            "side": self.place.side,
            "role": self.place.role,
            "values": tally.values,
            "different": tally.distinct,
            "fewest": tally.fewest,
            "shapes": dict(tally.shapes.most_common()),
            "do": self.do,
            "why": self.why,
        }

    @property
    def rule(self) -> dict[str, str]:
        rule = {self.place.where: self.place.what, "do": self.do}
        if self.place.where in {"header", "path"}:
            rule["side"] = self.place.side
        if self.do == "token":
            rule["domain"] = "identity"  # that of the defaults: ids still join over header, query, path and body
        return rule


def proposals(census: Census) -> list[Proposal]:
    """One for each place that a rule can say something about, in the order of a policy."""
    order = {"keep": 0, "truncate-ip": 1, "shift-time": 2, "words": 3, "token": 4, "": 5}
    named = _named(census)
    found = [_proposed(place, tally) for place, tally in census.tallies.items() if place in named and _is_open(place)]
    return _settled(sorted(found, key=lambda each: (order[each.do], each.place)), census)


def _named(census: Census) -> frozenset[Place]:
    """Those that may be shown. A key may be somebody's id: where there are many in one object, the seldom ones are not names."""
    siblings: dict[tuple[str, str, str], dict[str, int]] = {}
    for place, tally in census.tallies.items():
        beside = siblings.setdefault((place.where, place.side, _parent(place)), {})
        beside[place.what] = beside.get(place.what, 0) + tally.values
    named = set()
    for place in census.tallies:
        beside = siblings[place.where, place.side, _parent(place)]
        seldom = len(beside) > _MANY_NAMES and _SELDOM * beside[place.what] < max(beside.values())
        if beside[place.what] >= FEWEST_EACH and not seldom:
            named.add(place)
    hidden = {place.what for place in census.tallies} - {place.what for place in named}
    return frozenset(place for place in named if hidden.isdisjoint(_ancestors(place.what)))


def _parent(place: Place) -> str:
    return next(iter(_ancestors(place.what)), "") if place.where == "path" else ""


def _ancestors(what: str) -> Iterator[str]:
    """Of a path, the nearest first."""
    return (what[: match.start()] for match in reversed([*_STEP.finditer(what)]) if match.start())


def _settled(found: Sequence[Proposal], census: Census) -> list[Proposal]:
    """A rule matches whatever stands at its path, of all roles, and everything inside: keeping needs all of it to agree."""
    agreed: dict[tuple[str, str, str], set[str]] = {}
    for each in found:
        agreed.setdefault(_spot(each.place), set()).add(each.do)
    inside = {ancestor for place in census.tallies if place.where == "path" for ancestor in _ancestors(place.what)}
    settled: list[Proposal] = []
    ruled: set[tuple[str, str, str]] = set()
    for each in found:
        spot, do, why = _spot(each.place), each.do, each.why
        if do and spot in ruled:
            do, why = "", "decided by a rule above"
        elif do and ".*" in each.place.what and each.place.where == "path":
            do, why = "", "its keys do not read like names, and a rule for any key takes in too much"
        elif do == "keep" and (agreed[spot] != {"keep"} or each.place.what in inside):
            do, why = "", "looks categorical, but other values stand there too"
        if do:
            ruled.add(spot)
        settled.append(replace(each, do=do, why=why))
    return [*(each for each in settled if each.do), *(each for each in settled if not each.do)]


def _spot(place: Place) -> tuple[str, str, str]:
    return place.where, place.what, place.side


def session_of(census: Census) -> str:
    """What may name a session: many different values, each coming again. "": nothing."""
    for place, tally in sorted(census.tallies.items()):
        named = place.where in {"header", "query"} and place.side == "request" and _SESSION.search(place.what)
        again = tally.values >= max(FEWEST_VALUES, _AGAIN * tally.distinct)
        if named and again and tally.distinct >= FEWEST_EACH:
            return f"{place.where}:{place.what}"
    return ""


def policy_data(census: Census, found: list[Proposal]) -> dict[str, Any]:
    data: dict[str, Any] = {"version": 1}
    if session := session_of(census):
        data["session"] = session
    if rules := [each.rule for each in found if each.do]:
        data["rules"] = rules
    return data


def policy_text(census: Census, found: list[Proposal], of_what: str) -> str:
    """YAML for a person to read: each rule with its evidence, then the places that the defaults are left to."""
    data = policy_data(census, found)
    Policy.from_data(data, "the proposed policy")  # what is proposed can be used
    lines = [
        f"# Proposed by shadowtape from {census.exchanges:,} exchanges of {of_what}. It saw values, and shows none.",
        "# Read every rule before you use it: few different words may still name somebody.",
        "version: 1",
    ]
    if "session" in data:
        lines += ["# many different values, each coming again", f"session: {json.dumps(data['session'])}"]
    ruled = [each for each in found if each.do]
    if ruled:
        lines.append("rules:")
    for each in ruled:
        (first, text), *rest = each.rule.items()
        lines += [f"  # {each.why}: {each.evidence}", f"  - {first}: {json.dumps(text)}"]
        lines += [f"    {name}: {value}" for name, value in rest]
    left = [each for each in found if not each.do]
    if left:
        lines.append("# Left to the defaults:")
        lines += [
            f"#   {each.place.where} {each.place.what} ({each.place.side}): {each.why}: {each.evidence}"
            for each in left
        ]
    if unnamed := len(census.tallies) - len(_named(census)):
        lines.append(f"# Not named: {unnamed:,} places seen too seldom; what they are called may be somebody's.")
    if census.elsewhere:
        lines.append(f"# Not looked at: {census.elsewhere:,} values of more places than are counted.")
    return "\n".join(lines) + "\n"


def _is_open(place: Place) -> bool:
    """Whether the defaults leave something to decide."""
    if place.where == "header":
        return place.what not in HEADERS_KEPT and place.what != "host"
    return place.role not in _UNTOUCHED


def _proposed(place: Place, tally: Tally) -> Proposal:
    do, why = next(_reasons(place, tally))
    return Proposal(place, tally, do, why)


def _reasons(place: Place, tally: Tally) -> Iterator[tuple[str, str]]:
    """(action, why), the first that holds."""
    name = place.what.lower()
    if place.where in {"header", "query"} and (name in CREDENTIALS or _CREDENTIAL.search(name)):
        yield "", "named like a credential, never kept"
    if tally.values < FEWEST_VALUES:
        yield "", "too few values to tell"
    if tally.share("IP address") >= _MOSTLY:
        yield "truncate-ip", "addresses"
    if tally.share("time") >= _MOSTLY:
        yield "shift-time", "times"
    if somebody := {*tally.shapes} - _NOBODY:
        yield "token", f"holds what looks like somebody's ({', '.join(sorted(somebody))})"
    if tally.share("text", "long") >= 0.5:
        yield ("words" if place.where == "path" and place.role == "text" else "token"), "free text"
    if tally.share("number") >= _MOSTLY:
        yield "", "small numbers, which the defaults keep where they are features"
    yield from _by_number(tally)
    yield "", "neither a closed vocabulary nor clearly an identity"


def _by_number(tally: Tally) -> Iterator[tuple[str, str]]:
    many = tally.distinct > max(MOST_WORDS, _MANY_DIFFERENT * tally.values)
    if tally.share("id") >= 0.5 or many:
        yield "token", "looks like an identity"
    if tally.share(*_HARMLESS) == 1 and tally.exact is not None and tally.distinct <= MOST_WORDS:
        yield ("keep", "looks categorical") if tally.fewest >= FEWEST_EACH else ("", "short words, some of them seldom")
