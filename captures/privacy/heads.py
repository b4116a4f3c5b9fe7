"""Headers, request-targets and reason phrases under a policy.

A header's value is kept where the policy allows it and its grammar knows it; credentials are redacted; the rest become tokens. A
path keeps what its route's template spells out, and model names that read like names.
"""

import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote, unquote_plus

from captures.codecs.routes import path_of
from captures.exchange import RUN_HEADER, Headers
from captures.privacy.grammars import GRAMMARS
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


class Heads:
    """Applies one policy under one key."""

    def __init__(self, policy: Policy, surrogates: Surrogates, *, derived: bool) -> None:
        self._policy = policy
        self._surrogates = surrogates
        self._derived = derived
        self._kept = frozenset(policy.headers_kept)
        self._redacted = frozenset((*policy.headers_dropped, *CREDENTIALS))
        self._header = lru_cache(_CACHED)(self._compute_header)
        self._path = lru_cache(_CACHED)(self._compute_path)

    def headers(self, headers: Headers, body_size: int) -> Headers:
        """The headers that may be named, in their order. Content-Length says ``body_size``."""
        kept = []
        for name, value in headers:
            if name.lower() == _LENGTH:
                kept.append((name, str(body_size) if _LENGTH in self._kept else self._token("identity", value)))
            elif (entry := self._header(name, value)) is not None:
                kept.append(entry)
        return tuple(kept)

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

    def _compute_header(self, name: str, value: str) -> tuple[str, str] | None:
        lower = name.lower()
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
