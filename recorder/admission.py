"""Which exchanges are recorded, decided when their head has come. Pure; a fixed cost per request."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from captures.exchange import RUN_HEADER, Headers
from recorder.board import Count
from recorder.filters import EVERYTHING, Decide, Filters, request_filter
from recorder.sample import kept, kept_value

_OWN = re.compile(rb"\r\n" + re.escape(RUN_HEADER.encode()) + rb"[ \t]*:", re.IGNORECASE)
_SEED_BYTES = 8

type Find = Callable[[bytes], bytes]
"""From a head to the value that names its session, b"" where it has none."""


@dataclass(slots=True)
class Admission:
    """``rate``: the share of exchanges to record; ``seed`` decides which. One per worker: it counts arrivals.

    Where ``session`` finds a value, a hash of it keyed with ``session_key`` decides instead, so that a session is kept or left out
    as a whole, by every worker alike. ``wanted`` is what the filters say of a head; None: record all.
    """

    rate: float = 1.0
    seed: int = 0
    arrived: int = 0
    wanted: Decide | None = None
    session: Find | None = None
    session_key: bytes = b""

    def verdict(self, head: bytes) -> Count | None:
        """None: record it. Else the count it goes to: OWN, FILTERED or SAMPLED_OUT. ``head``: request line to empty line."""
        if _OWN.search(head):
            return Count.OWN
        if self.wanted is not None and not self.wanted(head):
            return Count.FILTERED
        if self.rate < 1 and not self._sampled(head):
            return Count.SAMPLED_OUT
        return None

    def _sampled(self, head: bytes) -> bool:
        if self.session is not None and (value := self.session(head)):
            return kept_value(self.session_key, value, self.rate)
        self.arrived += 1
        return kept(self.seed, self.arrived, self.rate)


def admission_of(
    rate: float, *, key: bytes, worker: int = 0, session: str = "", filters: Filters = EVERYTHING
) -> Admission:
    """``key``: of the recording, or random bytes; what is derived from it tells nothing about it. ``session``: as a policy says it.

    With the same key the same sessions are kept, by every worker and in every recording.
    """
    return Admission(
        rate=rate,
        seed=int.from_bytes(_derived(key, b"arrivals %d" % worker)[:_SEED_BYTES]),
        wanted=request_filter(filters),
        session=session_finder(session),
        session_key=_derived(key, b"sessions"),
    )


def sampled_by(rate: float, session: str) -> str:
    """What the header of a capture says about it: "", "exchange" or "session"."""
    if rate >= 1:
        return ""
    return "session" if session else "exchange"


def session_finder(session: str) -> Find | None:
    """``session``: header:NAME, cookie:NAME or query:NAME, as in a policy; "" gives None."""
    where, _, name = session.partition(":")
    return _FINDERS[where](name) if where else None


def _derived(key: bytes, what: bytes) -> bytes:
    return blake2b(b"shadowtape sampling " + what, key=key, digest_size=16).digest()


def _from_header(name: str) -> Find:
    field = re.compile(rb"\r\n(?i:" + re.escape(name.encode()) + rb")[ \t]*+:([^\r\n]*+)")
    return lambda head: _first(field, head)


def _from_cookie(name: str) -> Find:
    cookie = re.compile(
        rb"\r\n(?i:cookie)[ \t]*+:(?:[^\r\n]*?;)??[ \t]*+" + re.escape(name.encode()) + rb"=([^\r\n;]*+)"
    )
    return lambda head: _first(cookie, head)


def _from_query(name: str) -> Find:
    """As in a form: ``+`` and ``%20`` are a space."""
    parameter = re.compile(rb"\A[^ ]++ [^ ?#]*+\?(?:[^ #]*?&)??" + re.escape(name.encode()) + rb"=([^ &#]*+)")

    def find(head: bytes) -> bytes:
        return unquote_to_bytes(_first(parameter, head).replace(b"+", b" "))

    return find


def _first(pattern: re.Pattern[bytes], head: bytes) -> bytes:
    match = pattern.search(head)
    return match[1].strip(b" \t") if match else b""


_FINDERS: dict[str, Callable[[str], Find]] = {"header": _from_header, "cookie": _from_cookie, "query": _from_query}


def head_of(method: str, target: str, headers: Headers, http_version: str) -> bytes:
    """The head of a request that did not come as HTTP/1.1 bytes, as if it had."""
    lines = [f"{method} {target} {http_version}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(_one_line(line) for line in lines) + "\r\n\r\n").encode("latin-1", "replace")


def response_head_of(status: int, reason: str, headers: Headers, http_version: str) -> bytes:
    lines = [f"{http_version} {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(_one_line(line) for line in lines) + "\r\n\r\n").encode("latin-1", "replace")


def _one_line(text: str) -> str:
    """HTTP/2 can carry line ends in values; here they would begin another header."""
    return text.replace("\r", " ").replace("\n", " ")
