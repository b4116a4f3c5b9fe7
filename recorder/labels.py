"""Labels: small closed vocabularies taken from headers, paths and bodies, before anything is replaced.

A label's value goes into the file as it is, so it must be nobody's secret. Where its words are spelled out
(``region=header:x-region:eu,us``) one of them is kept. Without that it is kept where it is a short word, reads like no credential
and like no identity, and is among the first 32 different ones of its label. Anything else is "other" and counted.
An exchange in which nothing is found (no such header, segment or field; a body that is no JSON, or above 1 MiB) has no such label.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import unquote

from captures.codecs.body import Role
from captures.codecs.json_spans import load
from captures.codecs.routes import path_of
from captures.errors import CodecError, UsageError
from captures.exchange import Exchange, Request, header
from captures.privacy.names import is_plain, names_identity
from captures.privacy.policy import Policy
from captures.privacy.policy_rule import CREDENTIALS
from captures.privacy.rules import Rules
from captures.privacy.rules import compile as compiled
from captures.privacy.scan_patterns import patterns_in

MOST_VALUES = 32
OTHER = "other"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_SEGMENT = re.compile(r"[1-9][0-9]?", re.ASCII)
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]{1,6})\]", re.ASCII)
_SECRET = re.compile(r"authoriz|cookie|token|secret|passw|credential|api-?key|signature|jwt")
_WORD = re.compile(r"[A-Za-z]*[0-9]{0,4}[A-Za-z]{0,2}", re.ASCII)  # v2, a100, 3b; letters and digits by turns are a key
_MOST_COLONS = 2  # "us:east:1"; hardware addresses have more
_UNREADABLE = "?"  # no value that is kept
_LONGEST_NUMBER = 3  # digits of a value that is nothing but a number: versions and shards have fewer, PINs and ids more
_LARGEST_BODY = 1 << 20  # bytes; of a larger one no value is looked for: parsing costs many times its size

type Step = str | int
type Find = Callable[[Request], str | None]


@dataclass(frozen=True, slots=True)
class Label:
    """``find`` gives the raw value, or None where there is none. ``header``: the name of the one it comes from, or "". ``steps``:
    into a body, or (). ``words``: all that may be kept; empty: what reads like a word of a vocabulary.
    """

    name: str
    find: Find
    header: str = ""
    steps: tuple[Step, ...] = ()
    words: frozenset[str] = frozenset()


def parse_label(text: str, option: str = "--label") -> Label:
    """``NAME=WHERE`` or ``NAME=WHERE:WORD,WORD``, where WHERE is ``header:NAME``, ``path:N`` (the Nth segment, from 1) or
    ``body:$.key[0].key`` (of a JSON request). Raises UsageError.
    """
    name, equals, where = text.partition("=")
    source, _, rest = where.partition(":")
    place, colon, listed = rest.partition(":")
    if not equals or not _NAME.fullmatch(name):
        raise UsageError(
            f"{option} {text!r}: write NAME=WHERE, where NAME is a lower-case word: region=header:x-region"
        )
    if source not in _SOURCES:
        raise UsageError(f"{option} {text!r}: a label comes from header:NAME, path:N or body:$.key")
    find = _SOURCES[source](place, f"{option} {text!r}")
    words = frozenset(listed.split(",")) if colon else frozenset[str]()
    if not all(map(_VALUE.fullmatch, words)) or len(words) > MOST_VALUES:
        raise UsageError(f"{option} {text!r}: spell out up to {MOST_VALUES} words: region=header:x-region:eu,us")
    return Label(
        name, find, place.lower() if source == "header" else "", _steps(place) if source == "body" else (), words
    )


def parse_labels(texts: Sequence[str], option: str = "--label") -> tuple[Label, ...]:
    """Sorted by name. Raises UsageError."""
    labels = sorted((parse_label(text, option) for text in texts), key=lambda label: label.name)
    for one, next_one in pairwise(labels):
        if one.name == next_one.name:
            raise UsageError(f"{option}: {one.name} is given twice")
    return tuple(labels)


def check_labels(labels: Sequence[Label], policy: Policy, option: str = "--label") -> None:
    """Raises UsageError: a label comes from a header that the policy drops; or, without words spelled out, from a place that a rule
    of the policy replaces, or whose name is that of an identity.
    """
    rules = compiled(policy)
    for label in labels:
        if label.header in policy.headers_dropped:
            raise UsageError(f"{option} {label.name}: the policy drops {label.header}, so it cannot be a label")
        if not label.words and (why := _is_private(label, rules)):
            raise UsageError(f"{option} {label.name}: {why}; spell out the words that may be kept: …:eu,us")


def _is_private(label: Label, rules: Rules) -> str:
    """Why values at the label's place may be somebody's; "": nothing says so."""
    place = label.header or next((step for step in reversed(label.steps) if isinstance(step, str)), "")
    if names_identity(place):
        return f"{place} names somebody"
    if label.header:
        named = rules.header("request", label.header)
        do = named[0] if named else None
    elif label.steps:
        do = rules.leaf("request", label.steps, Role.OTHER)
    else:
        do = rules.any_segment
    return "" if do is None or do.action == "keep" else f"a rule of the policy replaces what stands there ({do.why})"


class Labeller:
    """Sets `Exchange.labels`. ``other``: how many values of each label were not kept."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.other: Counter[str] = Counter()
        self._labels = labels
        self._known: dict[str, set[str]] = {label.name: set() for label in labels}

    def apply(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Never raises."""
        if not self._labels:
            return list(exchanges)
        return [replace(exchange, labels=tuple(self._of(exchange.request))) for exchange in exchanges]

    def _of(self, request: Request) -> list[tuple[str, str]]:
        found = []
        for label in self._labels:
            try:
                value = label.find(request)
            except Exception:  # noqa: BLE001 - a value that cannot be looked at is not kept; recording goes on
                value = _UNREADABLE
            if value:
                found.append((label.name, self._kept(label, value)))
        return found

    def _kept(self, label: Label, value: str) -> str:
        if self._known_word(label, value):
            return value
        self.other[label.name] += 1
        return OTHER

    def _known_word(self, label: Label, value: str) -> bool:
        if label.words:
            return value in label.words
        known = self._known[label.name]
        if value not in known and len(known) < MOST_VALUES and may_be_kept(value):
            known.add(value)
        return value in known


def may_be_kept(value: str) -> bool:
    """Whether a value reads like a word of a vocabulary: no credential, no identity, no number of more than three digits."""
    if not _VALUE.fullmatch(value) or (value.isdigit() and len(value) > _LONGEST_NUMBER):
        return False
    if value.count(":") > _MOST_COLONS or "::" in value:
        return False
    words = re.split("[_.:-]", value)
    return all(map(_WORD.fullmatch, words)) and is_plain(value.replace(":", "-")) and not patterns_in(value.encode())


def _from_header(place: str, asked: str) -> Find:
    name = place.lower()
    if not _HEADER.fullmatch(name):
        raise UsageError(f"{asked}: name a header: header:x-region")
    if name in CREDENTIALS or _SECRET.search(name):
        raise UsageError(f"{asked}: {name} is a credential and is never kept, not even as a label")
    return lambda request: header(request.headers, name)


def _from_path(place: str, asked: str) -> Find:
    if not _SEGMENT.fullmatch(place):
        raise UsageError(f"{asked}: number a segment of the path, from 1: path:2 is 'models' in /v2/models")
    number = int(place)

    def find(request: Request) -> str | None:
        segments = path_of(request.target).split("/")
        return unquote(segments[number]) if number < len(segments) else None

    return find


def _from_body(place: str, asked: str) -> Find:
    steps = _steps(place)
    if not steps:
        raise UsageError(
            f"{asked}: name a field with keys and indices: body:$.parameters.tier or body:$.inputs[0].name"
        )

    def find(request: Request) -> str | None:
        if not 0 < sum(len(chunk.data) for chunk in request.chunks) <= _LARGEST_BODY:
            return None
        try:
            return _text(_at(load(request.body), steps))
        except CodecError:
            return None

    return find


def _steps(path: str) -> tuple[Step, ...]:
    """(): not a path."""
    rest = path[1:]
    if not path.startswith("$") or _STEP.sub("", rest):
        return ()
    return tuple(match[1] if match[1] is not None else int(match[2]) for match in _STEP.finditer(rest))


def _at(value: object, steps: Sequence[Step]) -> object:
    for step in steps:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text(value: object) -> str | None:
    """A scalar as JSON writes it. None: absent. A container is no word of a vocabulary."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else _UNREADABLE


_SOURCES: dict[str, Callable[[str, str], Find]] = {"header": _from_header, "path": _from_path, "body": _from_body}
