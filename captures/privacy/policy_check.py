"""What is odd about a valid policy: rules that never apply, and what it would keep that most people would not. Words only."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from captures.privacy.names import names_content, names_identity
from captures.privacy.patterns import Path, Step, pattern_of, template_of
from captures.privacy.policy import Policy
from captures.privacy.policy_rule import PolicyRule, is_spelled_out

_ANY_KEY, _ANY_INDEX = "\0", -1  # in no body: only wildcards fit them
_SHOWS = frozenset(("keep", "scrub-text"))
_DAY_NS = 86_400 * 10**9
_LEAST_BLUR, _LEAST_SHIFT_DAYS = 0.01, 30
_MOST_V4, _MOST_V6 = 24, 64  # bits: a site, a link
_MOST_SHOWN = 4  # characters: what is printed on a receipt
_CHANGES = frozenset(("token", "surrogate", "redact", "drop", "mask", "words"))


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 - what it is
    """``rule``: its number from 1; 0: not about one rule."""

    rule: int
    kind: str
    message: str


def warnings(policy: Policy) -> list[Warning]:
    found = [warning for number, rule in enumerate(policy.rules, 1) for warning in _of_rule(policy, number, rule)]
    return [*found, *_of_fields(policy)]


def _of_rule(policy: Policy, number: int, rule: PolicyRule) -> Iterator[Warning]:
    where = f"{rule.place} {rule.where}"
    earlier = next((at for at, other in enumerate(policy.rules[: number - 1], 1) if _covers(other, rule)), 0)
    if earlier:
        yield Warning(number, "unreachable", f"{where}: rule {earlier} decides everything it matches")
    if rule.header == "content-length":
        yield Warning(number, "unreachable", f"{where}: it always says the length of the body that is kept")
    name = _name(rule)
    if rule.do == "keep" and (rule.role == "identity" or (name and names_identity(name) and not names_content(name))):
        yield Warning(number, "keeps identities", f"{where}: what is there is kept, and it looks like somebody's")
    elif rule.do in _SHOWS and _may_hold_text(rule, name):
        yield Warning(
            number, "keeps free text", f"{where}: {rule.do} leaves sentences readable; nobody knows what is in them"
        )
    if rule.role == "name" and rule.do in _CHANGES:
        yield Warning(number, "breaks requests", f"{where}: a server looks its tensors up by name")
    if rule.path is not None and rule.do == "drop":
        yield Warning(number, "breaks requests", f"{where}: a dropped value becomes null, which servers may refuse")
    if kept := _kept_of_each(rule):
        yield Warning(number, "keeps most of it", f"{where}: {kept}")
    if rule.do == "blur" and rule.role in ("text", "identity"):
        yield Warning(number, "understands little", f"{where}: blur is for numbers; everything else becomes a token")


def _kept_of_each(rule: PolicyRule) -> str:
    """What an action leaves of a value by its parameters; "" where that is little."""
    if rule.do == "generalise" and rule.step is not None and rule.step_exact <= 1:
        return f"a step of {rule.step} keeps every integer as it is"
    if rule.do == "blur" and rule.by_share < _LEAST_BLUR:
        return f"blur by {rule.by} keeps every integer below {round(1 / (2 * rule.by_share)):,} as it is"
    if rule.do == "shift-time" and rule.up_to_ns < _LEAST_SHIFT_DAYS * _DAY_NS:
        return f"up to {rule.up_to} is soon guessed: a date has {rule.up_to_ns // _DAY_NS:,} possible offsets"
    if rule.do == "truncate-ip" and (rule.v4 > _MOST_V4 or rule.v6 > _MOST_V6):
        return f"networks of {rule.v4} and {rule.v6} bits are as good as addresses"
    if rule.do == "mask" and rule.keep_first + rule.keep_last > _MOST_SHOWN:
        return f"half of a value of {2 * (rule.keep_first + rule.keep_last)} characters is kept"
    return ""


def _of_fields(policy: Policy) -> Iterator[Warning]:
    if policy.text == "scrub":
        yield Warning(0, "keeps free text", "text: scrub leaves the sentences of prompts readable")
    for name in policy.features_kept:
        if is_spelled_out(name) and names_identity(name):
            yield Warning(0, "keeps identities", f"features_kept: {name} looks like an id or like content")
    if policy.paths_kept:
        yield Warning(0, "keeps identities", "paths_kept: whole paths are kept, whoever they name")
    for name in policy.headers_kept:
        rule = next(
            (at for at, rule in enumerate(policy.rules, 1) if rule.header and fnmatchcase(name, rule.header)), 0
        )
        if rule and not _is_default(name):
            yield Warning(0, "unreachable", f"headers_kept: {name} is decided by rule {rule}")
    scrubs = policy.text == "scrub" or any(rule.do == "scrub-text" for rule in policy.rules)
    if policy.recognisers != "builtin" and not scrubs:
        yield Warning(0, "unreachable", f"recognisers: {policy.recognisers} is never asked: nothing is scrubbed")


def _is_default(name: str) -> bool:
    return name in Policy.model_fields["headers_kept"].default


def _name(rule: PolicyRule) -> str:
    """What a rule's place is called, where it names one."""
    if rule.path is not None:
        return next((step.what for step in reversed(pattern_of(rule.path).steps) if isinstance(step.what, str)), "")
    return rule.header or rule.query or ""


_PROSE = frozenset(("answer", "completion", "content", "input", "query", "question", "summary", "text_input"))


def _may_hold_text(rule: PolicyRule, name: str) -> bool:
    if rule.role is not None:
        return rule.role in ("text", "other", "prediction")
    if rule.path is None:
        return False
    last = pattern_of(rule.path).steps[-1:]
    prose = names_content(name) or "message" in name or name.lower() in _PROSE
    return not last or last[0].what is None or rule.do == "scrub-text" or prose


def _covers(earlier: PolicyRule, later: PolicyRule) -> bool:
    """Whether the earlier rule matches whatever the later one does."""
    if earlier.place != later.place or earlier.side not in (None, later.side):
        return False
    if earlier.path is not None and later.path is not None:
        return pattern_of(earlier.path).depth(_sample(pattern_of(later.path).steps)) is not None
    if earlier.segment is not None and later.segment is not None and earlier.segment.startswith("/"):
        return later.segment.startswith("/") and template_of(earlier.segment) == template_of(later.segment)
    if earlier.role is not None:
        return earlier.role == later.role
    return fnmatchcase(later.where, earlier.where)


def _sample(steps: tuple[Step, ...]) -> Path:
    """A path that the steps match and that no other pattern matches but by its wildcards."""
    path: list[str | int] = []
    for step in steps:
        if step.deep:
            path.append(_ANY_KEY)
        path.append((_ANY_INDEX if step.indexes else _ANY_KEY) if step.what is None else step.what)
    return tuple(path)
