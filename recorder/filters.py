"""Which exchanges a user wants recorded, as rules of text. Pure.

    POST /v2/models/*      the method and the path (without the query); either may be left out: GET, /v2/*
    header:x-tenant=acme   a request header of this value; header:x-debug: one of this name
    status:5xx             the status of the answer: 200, or a class of them
    model:house*           the model that is called

``*`` stands for any number of characters, nothing else is special. Rules of one kind are alternatives, kinds are combined: an
exchange is recorded where one rule of every kind given fits it, and none of the rules that exclude. Two headers are two kinds.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captures.errors import UsageError

_METHOD = re.compile(r"[A-Za-z][A-Za-z-]{0,31}", re.ASCII)
_PATH = re.compile(r"[/*][!-~]{0,511}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_TEXT = re.compile(r"[ -~]{1,256}", re.ASCII)
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)", re.ASCII)
_KINDS = ("header", "status", "model")

type Decide = Callable[[bytes], bool]
type _Test = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Rule:
    """``kind``: request, header:NAME, status or model. ``text``: what is left of the rule, as `Filters` use it."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Filters:
    """What is to be recorded. Rules about the request are decided when its head has come (`request_filter`), the others by the
    spool, which knows the answer (`as_data`).
    """

    only: tuple[Rule, ...] = ()
    without: tuple[Rule, ...] = ()

    def as_data(self) -> dict[str, dict[str, list[str]]]:
        """``{"only": {"status": ["5xx"], "model": ["house*"]}, "except": {…}}``; kinds without a rule have an empty list."""
        return {
            name: {kind: [rule.text for rule in rules if rule.kind == kind] for kind in ("status", "model")}
            for name, rules in (("only", self.only), ("except", self.without))
        }


EVERYTHING = Filters()


def parse_filters(only: Sequence[str] = (), without: Sequence[str] = ()) -> Filters:
    """Raises UsageError."""
    return Filters(
        tuple(parse_rule(text, "--only") for text in only), tuple(parse_rule(text, "--except") for text in without)
    )


def parse_rule(text: str, option: str = "--only") -> Rule:
    """Raises UsageError."""
    kind, colon, rest = text.strip().partition(":")
    if colon and kind in _KINDS:
        return _PARSERS[kind](rest, f"{option} {text!r}")
    if text.strip() in _KINDS:
        raise UsageError(
            f"{option} {text!r}: write {text.strip()}:…, for example header:NAME=VALUE, status:5xx, model:NAME"
        )
    words = text.split()
    method = words.pop(0).upper() if words and (_METHOD.fullmatch(words[0]) or len(words) > 1) else "*"
    path = words.pop(0) if words else "*"
    sound = (method == "*" or _METHOD.fullmatch(method)) and _PATH.fullmatch(path)
    if words or not sound or method == path:
        raise UsageError(f"{option} {text!r}: write 'POST /v2/models/*', header:NAME=VALUE, status:5xx or model:NAME")
    if "?" in path or "#" in path:
        raise UsageError(f"{option} {text!r}: a filter is about the path; leave the query out")
    return Rule("request", f"{method} {path}")


def request_filter(filters: Filters) -> Decide | None:
    """Whether a head (request line to empty line) is wanted, as far as it can tell. None: every head is."""
    groups = list(_tests(filters.only).values())
    without = [test for tests in _tests(filters.without).values() for test in tests]
    if not groups and not without:
        return None

    def wanted(head: bytes) -> bool:
        for tests in groups:
            if not any(test(head) for test in tests):
                return False
        return not any(test(head) for test in without)

    return wanted


def _tests(rules: Sequence[Rule]) -> Mapping[str, list[_Test]]:
    found: dict[str, list[_Test]] = {}
    for rule in rules:
        if rule.kind == "request":
            found.setdefault(rule.kind, []).append(_of_request(rule.text))
        elif rule.kind.startswith("header:"):
            found.setdefault(rule.kind, []).append(_of_header(rule.kind.removeprefix("header:"), rule.text))
    return found


# The patterns below go over a head once, whatever a client puts into it: what could match in two ways is possessive or atomic.


def _of_request(text: str) -> _Test:
    """On the request line. An absolute-form target (RFC 9112 §3.2.2) has its scheme and host in front of the path."""
    method, path = text.split(" ")
    verb = rb"[^ ]++" if method == "*" else re.escape(method.encode())
    origin = rb" (?:[A-Za-z][A-Za-z0-9+.-]*+://[^/? ]*+)?"
    return re.compile(verb + origin + glob(path, "[^?# ]").encode() + rb"[?# ]").match


def _of_header(name: str, value: str) -> _Test:
    field = rb"\r\n(?i:" + re.escape(name.encode()) + rb")[ \t]*+:"
    wanted = rb"[ \t]*+" + glob(value, r"[^\r\n]").encode() + rb"[ \t]*+\r\n" if value else b""
    return re.compile(field + wanted).search


def glob(text: str, one: str) -> str:
    """As a pattern. ``one``: what a character is. The parts between two stars are taken where they come first, which is always
    right, so it goes over a text once.
    """
    first, *rest = (re.escape(part) for part in text.split("*"))
    if not rest:
        return first
    return first + "".join(f"(?>{one}*?{part})" for part in rest[:-1]) + f"{one}*{rest[-1]}"


def _header(rest: str, asked: str) -> Rule:
    name, equals, value = rest.partition("=")
    if not _NAME.fullmatch(name) or (equals and not _TEXT.fullmatch(value)):
        raise UsageError(f"{asked}: write header:NAME or header:NAME=VALUE, for example header:x-tenant=acme")
    return Rule(f"header:{name.lower()}", value.strip())


def _status(rest: str, asked: str) -> Rule:
    if not _STATUS.fullmatch(rest):
        raise UsageError(f"{asked}: write a status or a class of them: status:200 or status:5xx")
    return Rule("status", rest)


def _model(rest: str, asked: str) -> Rule:
    if not _TEXT.fullmatch(rest):
        raise UsageError(f"{asked}: name a model: model:house or model:house*")
    return Rule("model", rest)


_PARSERS: dict[str, Callable[[str, str], Rule]] = {"header": _header, "status": _status, "model": _model}
