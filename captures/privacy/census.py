"""What stands where in traffic, counted without keeping any of it: per place how many values, how many different, of which shapes.

Values are looked at and forgotten; what stays of one is a keyed 64-bit hash, and of those at most a few hundred per place.
Everything is bounded: places, hashes, the size of a body.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappush, heapreplace
from typing import Literal
from urllib.parse import unquote, unquote_plus

from captures.codecs.codec import Side
from captures.codecs.json_spans import text_of
from captures.codecs.opaque import OpaqueCodec, template_of
from captures.codecs.registry import classify, codec_named
from captures.codecs.routes import path_of
from captures.errors import CodecError
from captures.exchange import Exchange, Headers
from captures.privacy.names import is_plain
from captures.privacy.scan_patterns import patterns_in
from captures.privacy.surrogate import is_token
from captures.privacy.times import shifted
from captures.privacy.words import has_several_words

type Where = Literal["header", "query", "segment", "path"]

MOST_PLACES = 2_000
EXACT = 64
"""As many different values of a place are counted one by one."""

_SKETCHED = 256  # smallest hashes kept of a place with more
_MOST_SHAPES = 1 << 14  # that are remembered
_LARGEST_BODY = 1 << 20
_MOST_TENSORS = 32  # that are told apart by where they stand
_MOST_LEAVES = 5_000  # of one body
_LONGEST_WORD = 32
_LONGEST = 1_000  # characters of a value that is looked at closely
_HASHES = float(2**64)
_ID = re.compile(
    r"[0-9]{5,}|[0-9a-f-]{8,}|[0-9A-F-]{8,}|(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_+/=.-]{12,}|[A-Za-z0-9+/=_-]{24,}", re.ASCII
)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_OPAQUE = OpaqueCodec()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """In the words of a policy's rule. ``role``: what a codec says of a JSON value."""

    where: Where
    what: str
    side: Side
    role: str = ""


@dataclass(slots=True)
class Tally:
    """``exact``: how often each different value was seen, by hash, until there are more than EXACT; None from then on."""

    values: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    exact: dict[int, int] | None = field(default_factory=dict)
    _smallest: list[int] = field(default_factory=list)  # a heap of the negated smallest hashes
    _held: set[int] = field(default_factory=set)

    def add(self, number: int, shape: str) -> None:
        self.values += 1
        self.shapes[shape] += 1
        if self.exact is not None:
            self.exact[number] = self.exact.get(number, 0) + 1
            if len(self.exact) > EXACT:
                self.exact = None
        if number in self._held:
            return
        if len(self._held) < _SKETCHED:
            heappush(self._smallest, -number)
            self._held.add(number)
        elif number < -self._smallest[0]:
            self._held.discard(-heapreplace(self._smallest, -number))
            self._held.add(number)

    @property
    def estimated(self) -> bool:
        """Whether `distinct` is."""
        return len(self._held) >= _SKETCHED

    @property
    def distinct(self) -> int:
        """Exact below `_SKETCHED`, then estimated within some 6 % (k minimum values, Bar-Yossef et al. 2002)."""
        if not self.estimated:
            return len(self._held)
        return round((_SKETCHED - 1) * _HASHES / -self._smallest[0])

    @property
    def fewest(self) -> int:
        """How often the rarest value was seen; 0 where there are too many different ones to tell."""
        return min(self.exact.values(), default=0) if self.exact is not None else 0

    def share(self, *shapes: str) -> float:
        return sum(self.shapes[shape] for shape in shapes) / self.values if self.values else 0.0


class Census:
    """``key``: random, and gone with the census."""

    def __init__(self, key: bytes) -> None:
        self.exchanges = 0
        self.elsewhere = 0  # values of places that were one too many
        self.tallies: dict[Place, Tally] = {}
        self._key = key
        self._shapes: dict[tuple[int, str], str] = {}

    def see(self, exchange: Exchange) -> None:
        """Never raises for what is in an exchange."""
        self.exchanges += 1
        request, response = exchange.request, exchange.response
        self._headers("request", request.headers)
        claim = classify(request)
        self._target(request.target, claimed=claim.codec != _OPAQUE.name)
        self._body(claim.codec, "request", request.body)
        if response is not None:
            self._headers("response", response.headers)
            self._body(claim.codec, "response", response.body)

    def _note(self, place: Place, name: str, value: str) -> None:
        tally = self.tallies.get(place)
        if tally is None:
            if len(self.tallies) >= MOST_PLACES:
                self.elsewhere += 1
                return
            tally = self.tallies[place] = Tally()
        data = value.encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(data, key=self._key, digest_size=8).digest())
        shape = self._shapes.get((number, name))
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            shape = self._shapes[number, name] = shape_of(value, name) if len(value) <= _LONGEST else "long"
        tally.add(number, shape)

    def _headers(self, side: Side, headers: Headers) -> None:
        for name, value in headers:
            lower = name.lower()
            if is_plain(name):
                self._note(Place("header", lower, side), lower, value)

    def _target(self, target: str, *, claimed: bool) -> None:
        query = target.partition("#")[0].partition("?")[2]
        for parameter in query.split("&") if query else ():
            name, _, value = parameter.partition("=")
            if is_plain(name):
                self._note(Place("query", name, "request"), name, unquote_plus(value))
        if claimed:  # its codec keeps names of models and makes tokens of the rest
            return
        path = path_of(target)
        template = template_of(path).split("/")
        segments = path.split("/")
        if len(template) != len(segments):
            return
        holes = [position for position, segment in enumerate(template) if segment == "{}"]
        for hole in holes:
            wanted = [
                part if part != "{}" else "{}" if position == hole else "*" for position, part in enumerate(template)
            ]
            self._note(Place("segment", "/".join(wanted), "request"), "", unquote(segments[hole]))

    def _body(self, codec_name: str, side: Side, body: bytes) -> None:
        if not 0 < len(body) <= _LARGEST_BODY:
            return
        codec = codec_named(codec_name) or _OPAQUE
        try:
            leaves = codec.leaves(body, side)
        except CodecError:
            try:
                leaves = _OPAQUE.leaves(body, side)
            except CodecError:
                return
        for leaf in leaves[:_MOST_LEAVES]:
            if leaf.kind == "string":
                value = text_of(body[leaf.start : leaf.stop])
            elif leaf.kind == "number":
                value = body[leaf.start : leaf.stop].decode("ascii")
            else:
                continue
            self._note(Place("path", pattern(leaf.path), side, leaf.role.value), leaf.name, value)


def pattern(path: tuple[str | int, ...]) -> str:
    """A rule's JSON path. Any index is as good as another, but that of a tensor; so is any key that does not read like a name."""
    ends = len(path)
    while ends and isinstance(path[ends - 1], int):  # a rule takes what is inside
        ends -= 1
    return "$" + "".join(_steps(path[:ends]))


def _steps(path: tuple[str | int, ...]) -> Iterator[str]:
    for position, part in enumerate(path):
        if isinstance(part, int):
            tensor = (
                position == 1 and part < _MOST_TENSORS and path[0] in {"inputs", "outputs"} and path[2:3] == ("data",)
            )
            yield f"[{part}]" if tensor else "[*]"
        elif not is_plain(part):
            yield ".*"
        else:
            yield f".{part}" if _KEY.fullmatch(part) else f"['{part}']"


def shape_of(value: str, name: str = "") -> str:
    """A word for what a value looks like; of what looks like somebody's, the kind of pattern."""
    if not value:
        return "empty"
    if is_token(value):
        return "token"
    if kinds := patterns_in(value.encode("utf-8", "surrogatepass"), name):
        return kinds[0]
    if shifted(value, 86_400) is not None:
        return "time"
    if has_several_words(value):
        return "text"
    if _ID.fullmatch(value):
        return "id"
    if value.lstrip("-").replace(".", "", 1).isdecimal():
        return "number"
    return "word" if len(value) <= _LONGEST_WORD and is_plain(value) else "other"
