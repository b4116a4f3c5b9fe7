"""Headers, request-targets and reason phrases under a policy.

A header's value is kept where the policy allows it and its grammar knows it; credentials are redacted; the rest become tokens. A
path keeps what its route's template spells out, and model names that read like names.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from captures.codecs.codec import Side
from captures.codecs.routes import path_of
from captures.exchange import RUN_HEADER, Headers
from captures.privacy import rules
from captures.privacy.actions import REDACTED, Do, on_text
from captures.privacy.grammars import GRAMMARS, MEDIA_TYPES
from captures.privacy.names import is_plain
from captures.privacy.policy import Policy, any_glob
from captures.privacy.policy_rule import CREDENTIALS, FOR_CREDENTIALS
from captures.privacy.surrogate import Surrogates, is_token

_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,40}", re.ASCII)
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|passw|credential|api-?key|signature|jwt|subscription-key")
_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_HOLE = re.compile(r"(.*)\{([a-z]*)\}(.*)")
_CACHED = 4096
_LENGTH = "content-length"

IS_STREAM, IS_ENCODED, IS_LENGTH = 1, 2, 4
UNKNOWN_LENGTH = "\0"  # until the body is known; no header holds it
STREAMS = (
    frozenset(("text/event-stream", "application/x-ndjson", "application/jsonlines", "application/jsonl")) & MEDIA_TYPES
)

VERSIONS = frozenset(("HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/2.0", "HTTP/3"))
_OLDER_PHRASES = frozenset((
    "connection established",
    "gateway time-out",
    "moved temporarily",
    "request entity too large",
    "request time-out",
    "request-uri too long",
    "requested range not satisfiable",
    "unprocessable entity",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeptHeaders:
    """``entries``: what is kept. ``says``: IS_STREAM, IS_ENCODED of the body. ``lengths``: a bit per entry that is its length."""

    entries: list[tuple[str, str]]
    says: int
    lengths: int

    def of_body(self, size: int) -> Headers:
        """With a Content-Length that says ``size``, where there is one that may be kept."""
        if self.lengths:
            for position, (name, value) in enumerate(self.entries):
                if self.lengths >> position & 1 and value == UNKNOWN_LENGTH:
                    self.entries[position] = (name, str(size))
        return tuple(self.entries)


def _stream(value: str) -> int:
    return IS_STREAM if value.partition(";")[0].strip().lower() in STREAMS else 0


def _encoded(value: str) -> int:
    return IS_ENCODED if value.strip().lower() not in ("", "identity") else 0


_ABOUT: Mapping[str, Callable[[str], int]] = {
    "content-encoding": _encoded,
    "content-length": lambda _: IS_LENGTH,
    "content-type": _stream,
}


class Part(NamedTuple):
    """A part of a head: its name, what it said, what is done with it, what it says now (None: it is left out)."""

    name: str
    old: str
    do: Do
    new: str | None


_PLAIN = Do("keep", why="default: reads like a name")
_ROUTE = Do("keep", why="default: part of the route")
_NOTHING = Do("keep", why="default: nothing in it")
_GRAMMAR = Do("keep", why="default: headers_kept, as far as well-formed")
_MEASURED = Do("keep", why="default: the length of what is kept")
_CREDENTIAL_REDACTED = Do("redact", why="default: credential")
_NO_NAME = Do("drop", why="default: its name may be somebody's")
_TOKEN = Do("token", why="default: open vocabulary")
_PATH_KEPT = Do("keep", why="default: paths_kept")


type _Known = dict[tuple[str, str], tuple[int, tuple[str, str] | None]]


class Heads:
    """Applies one policy under one key."""

    def __init__(self, policy: Policy, surrogates: Surrogates, *, derived: bool) -> None:
        self._policy = policy
        self._rules = rules.compile(policy)
        self._surrogates = surrogates
        self._derived = derived
        self._kept = frozenset(policy.headers_kept)
        self._redacted = frozenset((*policy.headers_dropped, *CREDENTIALS))
        known: _Known = {}
        self._known: dict[Side, _Known] = {"request": known, "response": {} if self._rules.sides_differ else known}
        self._path = lru_cache(_CACHED)(self._compute_path)

    def headers(self, headers: Headers, side: Side = "request") -> KeptHeaders:
        """The headers that may be named, in their order, and what they say of the body."""
        entries: list[tuple[str, str]] = []
        says = lengths = 0
        seen = self._known[side]
        for entry in headers:
            about, kept = seen.get(entry) or self._learn(entry, side)
            if about:
                says |= about
                if about == IS_LENGTH and kept is not None:
                    lengths |= 1 << len(entries)
            if kept is not None:
                entries.append(kept)
        return KeptHeaders(entries, says, lengths)

    def target(self, target: str, template: str) -> tuple[str, bool]:
        """The request-target, and whether its path was altered. ``template`` is the path of the route. Fragment and authority
        go.
        """
        path = path_of(target)
        kept = self._path(path, template)
        parameters = [part for part in self.parameters(target) if part.new is not None]
        if parameters:
            return f"{kept}?{'&'.join(str(part.new) for part in parameters)}", kept != path
        return kept, kept != path

    def name(self, text: str) -> str:
        """A model's name."""
        return text if not text or is_plain(text) else self._token("name", text)

    def _learn(self, entry: tuple[str, str], side: Side) -> tuple[int, tuple[str, str] | None]:
        """What an entry says of the body, and what is kept of it."""
        name, value = entry
        about = _ABOUT.get(name.lower())
        new = self.header(side, name, value).new
        found = (about(value) if about else 0, None if new is None else (name, new))
        if len(self._known[side]) >= _CACHED:
            self._known[side].clear()
        self._known[side][entry] = found
        return found

    def header(self, side: Side, name: str, value: str) -> Part:
        """A Content-Length that is kept says `UNKNOWN_LENGTH`."""
        lower = name.lower()
        if lower == _LENGTH:
            if _LENGTH in self._kept:
                return Part(name, value, _MEASURED, UNKNOWN_LENGTH)
            return Part(name, value, _TOKEN, self._token("identity", value))
        do, spelled = self._rules.header(side, lower) or (None, False)
        if not spelled and (not _HEADER_NAME.fullmatch(name) or not is_plain(name)):
            return Part(name, value, _NO_NAME, None)
        credential = lower in self._redacted or (_CREDENTIAL.search(lower) is not None and lower not in self._kept)
        if do is not None and (not credential or spelled or do.action in FOR_CREDENTIALS):
            return Part(name, value, do, self._done(do, value, "identity"))
        if credential:
            return Part(name, value, _CREDENTIAL_REDACTED, REDACTED)
        if not value:
            return Part(name, value, _NOTHING, value)
        if self._derived and lower == RUN_HEADER.lower() and _RUN_ID.fullmatch(value):
            return Part(name, value, _GRAMMAR, value)
        if lower in self._kept:
            grammar = GRAMMARS.get(lower)
            allowed = grammar(value) if grammar else value if is_plain(value) else None
            if allowed is not None:
                return Part(name, value, _GRAMMAR, allowed)
        return Part(name, value, _TOKEN, self._token("identity", value))

    def _compute_path(self, path: str, template: str) -> str:
        return "/".join(str(part.new) for part in self.segments(path, template))

    def segments(self, path: str, template: str) -> list[Part]:
        """The segments of a path, the empty one in front of the first slash included."""
        raw = path.split("/")
        if path == "*":
            return [Part("", path, _ROUTE, path)]
        if any_glob(self._policy.paths_kept, path):
            return [Part("", segment, _PATH_KEPT, segment) for segment in raw]
        wanted = template.split("/")
        plain = [unquote(segment) for segment in raw[1:]]
        return [
            self._segment(
                segment, wanted[at] if at < len(wanted) else "{}", self._rules.segment(plain, at - 1) if at else None
            )
            for at, segment in enumerate(raw)
        ]

    def _segment(self, segment: str, wanted: str, do: Do | None) -> Part:
        hole = _HOLE.fullmatch(wanted)
        if do is not None and segment:
            return Part("", segment, do, self._quoted(do, segment))
        if segment in ("", wanted):
            return Part("", segment, _ROUTE if segment else _NOTHING, segment)
        if hole and hole[2] and segment.startswith(hole[1]) and segment.endswith(hole[3]):
            inner = segment[len(hole[1]) : len(segment) - len(hole[3])]
            if is_plain(inner):
                return Part(hole[2], segment, _PLAIN, segment)
            return Part(hole[2], segment, _TOKEN, hole[1] + self._token("name", unquote(inner)) + hole[3])
        return Part("", segment, _TOKEN, self._token("identity", unquote(segment)))

    def parameters(self, target: str) -> list[Part]:
        """Of the query; ``new`` is name and value as they are sent."""
        query = target.partition("#")[0].partition("?")[2]
        return [self._parameter(parameter) for parameter in query.split("&")] if query else []

    def _parameter(self, parameter: str) -> Part:
        if not parameter:
            return Part("", parameter, _NOTHING, parameter)
        name, equals, value = parameter.partition("=")
        plain = unquote_plus(name)
        do, spelled = self._rules.query(plain) or (None, False)
        if not equals and do is None:
            return Part("", parameter, _TOKEN, self._token("identity", plain) if name else "")
        kept = name if spelled or is_plain(name) else self._token("name", plain)
        if do is not None:
            new = self._done(do, unquote_plus(value), "identity")
            if new is not None and do.action != "keep":
                value = quote_plus(new)
            return Part(kept, parameter, do, None if new is None else f"{kept}{equals}{value}")
        return Part(kept, parameter, _TOKEN, f"{kept}={self._token('identity', unquote_plus(value)) if value else ''}")

    def _quoted(self, do: Do, segment: str) -> str:
        if do.action == "keep":
            return segment
        return quote(self._done(do, unquote(segment), "identity") or REDACTED, safe="")

    def _done(self, do: Do, text: str, domain: str) -> str | None:
        """None: it is left out."""
        if do.action == "drop":
            return None
        if self._derived and is_token(text):
            return text
        return on_text(do, text, self._surrogates, domain)

    def _token(self, domain: str, text: str) -> str:
        if self._derived and is_token(text):
            return text
        return self._surrogates.token(domain, text)


@lru_cache(_CACHED)
def reason_phrase(status: int, reason: str) -> str:
    """The phrase as it came where it is a standard one, else the standard one of ``status``."""
    try:
        standard = HTTPStatus(status).phrase
    except ValueError:
        standard = ""
    return reason if reason.lower() in _OLDER_PHRASES or reason.lower() in ("", standard.lower()) else standard


def http_version(version: str) -> str:
    return version if version in VERSIONS else "HTTP/1.1"
