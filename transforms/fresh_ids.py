"""Fresh ids for copies, so that a copy is not answered from a cache that knows the request it copies.

An identity rewrite: the right answer does not depend on an id. Ids keep their length and their alphabet, so that bodies keep their
size and whoever checks the form of an id (a UUID, one of our tokens) is content.
"""

import hashlib
import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Role
from captures.codecs.codec import Codec, Leaf
from captures.errors import CodecError
from captures.privacy.surrogate import MARKER
from transforms.random_rows import bits
from transforms.schedule import Rows, Schedule

ID_HEADERS = frozenset({"x-request-id", "x-correlation-id", "idempotency-key", "ce-id"})
UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
UUID_FORM = frozenset({14, 19})  # RFC 9562 §4: where a UUID says its version and variant

DIGITS, LOWER, UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# (what an id looks like, the alphabet of each kind of its characters); the first that fits
ALPHABETS: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = (
    (re.compile(r"[0-9-]+"), {"0": DIGITS}),
    (re.compile(r"[0-9a-f-]+"), {"0": DIGITS + "abcdef", "a": DIGITS + "abcdef"}),
    (re.compile(r"[0-9A-F-]+"), {"0": DIGITS + "ABCDEF", "A": DIGITS + "ABCDEF"}),
    (re.compile(MARKER + r"[a-z2-7]+"), {"0": LOWER + "234567", "a": LOWER + "234567"}),
    (re.compile(r".*", re.DOTALL), {"0": DIGITS, "a": LOWER, "A": UPPER}),
)


@dataclass(frozen=True, slots=True)
class FreshIds:
    """Copies (variant above 0) get new ids: every string and whole number of a body that its codec says is an identity, and the
    values of id headers.

    A copy is other users doing the same: what replaces an id depends on (key, variant) and the id, so ids that were equal stay
    equal within a copy (the turns of a sequence, a body and its header), and differ from those of every other copy.
    """

    key: int
    kind: ClassVar[Literal["identity"]] = "identity"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return schedule.variant > 0

    def __call__(self, rows: Rows) -> Rows:
        copies = np.flatnonzero(rows.variant > 0)
        if not len(copies):
            return rows
        words = bits(self.key, 0, rows.variant[copies]).tolist()
        bodies, headers = list(rows.bodies), list(rows.headers)
        found: dict[bytes, list[Leaf]] = {}  # copies of one body stand close together
        for row, word in zip(copies.tolist(), words, strict=True):
            headers[row] = tuple(
                (name, fresh(value, word) if name.lower() in ID_HEADERS else value) for name, value in headers[row]
            )
            if rows.codec is not None:
                body = bodies[row]
                if body not in found:
                    found[body] = ids(rows.codec, body)
                bodies[row] = with_fresh_ids(body, found[body], word)
        return replace(rows, bodies=bodies, headers=headers)


def ids(codec: Codec, body: bytes) -> list[Leaf]:
    """Where ids stand in a request body; nowhere in one that cannot be read."""
    try:
        leaves = codec.leaves(body, "request")
    except CodecError:
        return []
    return [leaf for leaf in leaves if leaf.role is Role.IDENTITY and leaf.kind in REPLACED]


def with_fresh_ids(body: bytes, leaves: Sequence[Leaf], word: int) -> bytes:
    """The body with these ids replaced, every other byte left alone."""
    parts, position = [], 0
    for leaf in leaves:
        parts += [body[position : leaf.start], REPLACED[leaf.kind](body[leaf.start : leaf.stop], word)]
        position = leaf.stop
    return b"".join((*parts, body[position:]))


def _fresh_string(quoted: bytes, word: int) -> bytes:
    if b"\\" in quoted:  # part of an escape is not a character of the id
        return quoted
    return json.dumps(fresh(quoted[1:-1].decode(), word), ensure_ascii=False).encode()


def _fresh_number(digits: bytes, word: int) -> bytes:
    if not digits.isdigit():  # not a whole number of things: not an id we understand
        return digits
    drawn = fresh(digits.decode(), word)
    # No leading zero (RFC 8259 §6), and never out of the machine integer the old one fitted: the first digit is not above the old
    # one's; only unsigned 64-bit numbers, which begin with 1, need a second one to be sure of that.
    first = "10" if len(drawn) == 20 else str(1 + int(drawn[0]) % max(int(digits[:1]) - 1, 1))
    return (first + drawn[len(first) :]).encode()


REPLACED: Mapping[str, Callable[[bytes, int], bytes]] = {"string": _fresh_string, "number": _fresh_number}


def fresh(old: str, word: int) -> str:
    """Another id of the same length and alphabet: a function of the old id and ``word``."""
    alphabet = next(alphabet for form, alphabet in ALPHABETS if form.fullmatch(old))
    kept: Container[int] = ()
    if UUID.fullmatch(old):
        kept = UUID_FORM
    elif old.startswith(MARKER):
        kept = range(len(MARKER))
    written = old.encode("utf-8", "surrogatepass")
    draws = hashlib.shake_256(word.to_bytes(8) + written).digest(len(old))
    return "".join(
        character if at in kept else _another(character, alphabet, draw)
        for at, (character, draw) in enumerate(zip(old, draws, strict=True))
    )


def _another(character: str, alphabet: Mapping[str, str], draw: int) -> str:
    kind = "0" if character in DIGITS else "a" if character in LOWER else "A" if character in UPPER else ""
    letters = alphabet.get(kind)
    return letters[draw % len(letters)] if letters else character
