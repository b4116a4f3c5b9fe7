"""Headers, request-targets and reason phrases under a policy.

A header's value is kept where the policy allows it and its grammar knows it; credentials are redacted; the rest become tokens. A
path keeps what its route's template spells out, and model names that read like names.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote, unquote_plus

from captures.codecs.routes import path_of
from captures.exchange import RUN_HEADER, Headers
from captures.privacy.grammars import GRAMMARS, MEDIA_TYPES
from captures.privacy.names import is_plain
from captures.privacy.policy import CREDENTIALS, Policy, any_glob
from captures.privacy.surrogate import Surrogates, is_token

REDACTED = "redacted"
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


class Heads:
    """Applies one policy under one key."""

    def __init__(self, policy: Policy, surrogates: Surrogates, *, derived: bool) -> None:
        self._policy = policy
        self._surrogates = surrogates
        self._derived = derived
        self._kept = frozenset(policy.headers_kept)
        self._redacted = frozenset((*policy.headers_dropped, *CREDENTIALS))
        self._known: dict[tuple[str, str], tuple[int, tuple[str, str] | None]] = {}
        self._path = lru_cache(_CACHED)(self._compute_path)

    def headers(self, headers: Headers) -> KeptHeaders:
        """The headers that may be named, in their order, and what they say of the body."""
        entries: list[tuple[str, str]] = []
        says = lengths = 0
        for entry in headers:
            about, kept = self._known.get(entry) or self._learn(entry)
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
        kept = path if path == "*" else self._path(path, template)
        query = target.partition("#")[0].partition("?")[2]
        if query:
            return f"{kept}?{'&'.join(map(self._parameter, query.split('&')))}", kept != path
        return kept, kept != path

    def name(self, text: str) -> str:
        """A model's name."""
        return text if not text or is_plain(text) else self._token("name", text)

    def _learn(self, entry: tuple[str, str]) -> tuple[int, tuple[str, str] | None]:
        """What an entry says of the body, and what is kept of it."""
        name, value = entry
        about = _ABOUT.get(name.lower())
        found = (about(value) if about else 0, self._compute_header(name, value))
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[entry] = found
        return found

    def _compute_header(self, name: str, value: str) -> tuple[str, str] | None:
        lower = name.lower()
        if lower == _LENGTH:
            return name, UNKNOWN_LENGTH if _LENGTH in self._kept else self._token("identity", value)
        if not _HEADER_NAME.fullmatch(name) or not is_plain(name):
            return None
        if lower in self._redacted or (_CREDENTIAL.search(lower) and lower not in self._kept):
            return name, REDACTED
        if not value:
            return name, value
        if self._derived and lower == RUN_HEADER.lower() and _RUN_ID.fullmatch(value):
            return name, value
        if lower in self._kept:
            grammar = GRAMMARS.get(lower)
            allowed = grammar(value) if grammar else value if is_plain(value) else None
            if allowed is not None:
                return name, allowed
        return name, self._token("identity", value)

    def _compute_path(self, path: str, template: str) -> str:
        if any_glob(self._policy.paths_kept, path):
            return path
        wanted = template.split("/")
        segments = path.split("/")
        return "/".join(
            self._segment(segment, wanted[position] if position < len(wanted) else "{}")
            for position, segment in enumerate(segments)
        )

    def _segment(self, segment: str, wanted: str) -> str:
        if segment in ("", wanted):
            return segment
        hole = _HOLE.fullmatch(wanted)
        if hole and hole[2] and segment.startswith(hole[1]) and segment.endswith(hole[3]):
            inner = segment[len(hole[1]) : len(segment) - len(hole[3])]
            return hole[1] + (inner if is_plain(inner) else self._token("name", unquote(inner))) + hole[3]
        return self._token("identity", unquote(segment))

    def _parameter(self, parameter: str) -> str:
        name, equals, value = parameter.partition("=")
        if not equals:
            return self._token("identity", unquote_plus(name)) if name else ""
        kept = name if is_plain(name) else self._token("name", unquote_plus(name))
        return f"{kept}={self._token('identity', unquote_plus(value)) if value else ''}"

    def _token(self, domain: str, text: str) -> str:
        if self._derived and is_token(text):
            return text
        return self._surrogates.token(domain, text)


def reason_phrase(status: int, reason: str) -> str:
    """The phrase as it came where it is a standard one, else the standard one of ``status``."""
    try:
        standard = HTTPStatus(status).phrase
    except ValueError:
        standard = ""
    return reason if reason.lower() in _OLDER_PHRASES or reason.lower() in ("", standard.lower()) else standard


def http_version(version: str) -> str:
    return version if version in VERSIONS else "HTTP/1.1"
