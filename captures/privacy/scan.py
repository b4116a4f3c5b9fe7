"""Proof that nothing leaked: look for known secrets in every encoding, and for patterns that validate themselves.

Findings say which exchange, where and what kind, never the value. Known secrets are sought everywhere; patterns only in text
(heads, and the strings and keys of JSON bodies), for the digits of a tensor mean nothing. Our own tokens are skipped.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from captures.exchange import Exchange
from captures.header import Header
from captures.privacy.scan_needles import SHORTEST_SECRET, Needles
from captures.privacy.scan_patterns import PATTERNS, patterns_in
from captures.privacy.scan_places import Piece, pieces_of, surface_of
from captures.privacy.scan_views import views
from captures.privacy.surrogate import MARKER, TOKEN_PATTERN

KNOWN = "known secret"
KINDS = (KNOWN, *PATTERNS, "random secret")
"""What `audit` looks for."""

_CACHED, _LONGEST_CACHED = 1 << 14, 256
_AT_ONCE = 8 << 20  # bytes in which known secrets are sought at a time
_MARKER = MARKER.encode()


@dataclass(frozen=True, slots=True)
class Finding:
    exchange: int  # ordinal, from 0
    where: str  # "request header 3", "response body byte 120"
    kind: str  # "known secret", "e-mail", …


@dataclass(frozen=True, slots=True)
class Findings:
    findings: tuple[Finding, ...]
    scanned: int  # exchanges looked at
    too_short: int = 0  # known secrets that were not sought

    @property
    def clean(self) -> bool:
        return not self.findings


def audit_exchanges(exchanges: Iterable[Exchange], known: Sequence[bytes] = ()) -> Findings:
    """Looks at every byte an exchange holds. ``known``: secrets as they are, one each."""
    needles = Needles(known)
    found: list[Finding] = []
    count = 0
    for ordinal, exchange in enumerate(exchanges):
        count += 1
        found += (Finding(ordinal, where, kind) for where, kind in scan_exchange(exchange, needles))
    return Findings(tuple(found), count, sum(len(secret) < SHORTEST_SECRET for secret in known))


class HoldsExchanges(Protocol):
    """As `captures.reader.Capture` does."""

    def exchanges(self) -> Iterable[Exchange]: ...


def scan(capture: HoldsExchanges, known: Sequence[bytes] = ()) -> Sequence[Finding]:
    """`audit_exchanges` of everything that can be read of a capture."""
    return audit_exchanges(capture.exchanges(), known).findings


def scan_exchange(exchange: Exchange, needles: Needles) -> list[tuple[str, str]]:
    """(where, kind) of each finding, each once. ``needles`` serve any number of exchanges."""
    return scan_pieces(pieces_of(exchange), needles)


def scan_header(header: Header, needles: Needles) -> list[tuple[str, str]]:
    """As `scan_exchange`, of a capture's header: all that stands in it as text, ids and digests aside."""
    pieces = [Piece("capture header", text, text=True) for text in _texts([header.policy, header.notes, header.inputs])]
    pieces += [Piece("capture header", text, text=True) for text in _texts([header.producer, header.labels])]
    return scan_pieces(pieces, needles)


def _texts(value: object) -> Iterator[bytes]:
    if isinstance(value, str | bytes):
        yield value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)


def planted_in(exchanges: Sequence[Exchange], needles: Needles) -> list[tuple[int, str]]:
    """(position of the exchange, where) of each known secret, in every spelling but compressed: the quick look of a self-test."""
    sought = [
        (f"{number} {where}", view)
        for number, exchange in enumerate(exchanges)
        for where, data in surface_of(exchange)
        for view in views(_without_tokens(data))
    ]
    found = (place.partition(" ") for place in _holding(sought, needles))
    return [(int(number), where) for number, _, where in found]


def scan_pieces(pieces: Iterable[Piece], needles: Needles) -> list[tuple[str, str]]:
    """As `scan_exchange`, of pieces from anywhere."""
    found: dict[tuple[str, str], None] = {}

    def looked_at() -> Iterator[Piece]:
        for piece in pieces:
            if piece.text:
                look = _patterns_again if len(piece.data) <= _LONGEST_CACHED else patterns_in
                found.update(dict.fromkeys((piece.where, kind) for kind in look(piece.data, piece.name)))
            yield piece

    known = _known(looked_at(), needles)
    return [*((where, KNOWN) for where in _outermost(known)), *found]


def _known(pieces: Iterable[Piece], needles: Needles) -> dict[str, None]:
    known: dict[str, None] = {}
    sought: list[tuple[str, bytes]] = []
    size = 0
    for piece in pieces:
        if piece.outer or not needles:
            continue
        for view in views(_without_tokens(piece.data)):
            sought.append((piece.where, view))
            size += len(view)
        if size > _AT_ONCE:
            known.update(_holding(sought, needles))
            sought, size = [], 0
    return known | _holding(sought, needles)


def _outermost(known: Collection[str]) -> list[str]:
    return [where for where in known if not any(where.startswith(f"{outer}, ") for outer in known)]


def _holding(sought: Sequence[tuple[str, bytes]], needles: Needles) -> dict[str, None]:
    found = needles.found([view for _, view in sought])
    return {sought[number][0]: None for number in sorted(found)}


_patterns_again = lru_cache(_CACHED)(patterns_in)  # header values and keys come again with every exchange


def _without_tokens(data: bytes) -> bytes:
    return TOKEN_PATTERN.sub(b" ", data) if _MARKER in data else data
