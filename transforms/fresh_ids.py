"""Fresh ids for copies, so that a copy is not answered from a cache that knows the request it copies.

An identity rewrite: the right answer does not depend on an id. Ids keep their length and their alphabet, so that bodies keep their
size and whoever checks the form of an id (a UUID, one of our tokens) is content.
"""

import hashlib
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from captures.codecs.codec import Codec
from captures.errors import CodecError
from transforms.random_rows import bits
from transforms.schedule import Rows, Schedule

ID_HEADERS = frozenset({"x-request-id", "x-correlation-id", "idempotency-key", "ce-id"})
UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
UUID_FORM = frozenset({14, 19})  # RFC 9562 §4: where a UUID says its version and variant
TOKEN_PREFIX = "stk1_"  # noqa: S105 - the public prefix of surrogates, not a secret

DIGITS, LOWER, UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# (what an id looks like, the alphabet of each kind of its characters); the first that fits
ALPHABETS: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = (
    (re.compile(r"[0-9]+"), {"0": DIGITS}),
    (re.compile(r"[0-9a-fA-F-]+"), {"0": DIGITS + "abcdef", "a": DIGITS + "abcdef", "A": DIGITS + "ABCDEF"}),
    (re.compile(r"stk1_[a-z2-7]+"), {"0": LOWER + "234567", "a": LOWER + "234567"}),
    (re.compile(r".*", re.DOTALL), {"0": DIGITS, "a": LOWER, "A": UPPER}),
)


@dataclass(frozen=True, slots=True)
class FreshIds:
    """Copies (variant above 0) get a new request ``id`` (Open Inference Protocol) and new id headers, where there are any.

    An id that stands in body and headers of a row gets the same replacement in both.
    """

    key: int
    kind: ClassVar[Literal["identity"]] = "identity"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return schedule.variant > 0

    def __call__(self, rows: Rows) -> Rows:
        copies = np.flatnonzero(rows.variant > 0)
        if not len(copies):
            return rows
        words = bits(self.key, rows.source[copies], rows.variant[copies])
        bodies, headers = list(rows.bodies), list(rows.headers)
        for row, word in zip(copies.tolist(), words.tolist(), strict=True):
            headers[row] = tuple(
                (name, fresh(value, word) if name.lower() in ID_HEADERS else value) for name, value in headers[row]
            )
            if rows.codec is not None:
                bodies[row] = with_fresh_id(rows.codec, bodies[row], word)
        return replace(rows, bodies=bodies, headers=headers)


def with_fresh_id(codec: Codec, body: bytes, word: int) -> bytes:
    """The body with the string at its top-level "id" replaced; without one, the body as it is."""
    if b'"id"' not in body:  # cheap, and true of most bodies
        return body
    try:
        leaves = codec.leaves(body, "request")
    except CodecError:
        return body
    for leaf in leaves:
        if leaf.path == ("id",) and leaf.kind == "string":
            written = body[leaf.start + 1 : leaf.stop - 1].decode("utf-8", "surrogateescape")
            if "\\" in written:  # an escape is not a character of the id; such ids are not worth an unescape
                return body
            return (
                body[: leaf.start + 1] + fresh(written, word).encode("utf-8", "surrogateescape") + body[leaf.stop - 1 :]
            )
    return body


def fresh(old: str, word: int) -> str:
    """Another id of the same length and alphabet: a function of the old id and ``word``."""
    alphabet = next(alphabet for form, alphabet in ALPHABETS if form.fullmatch(old))
    kept: Container[int] = ()
    if UUID.fullmatch(old):
        kept = UUID_FORM
    elif old.startswith(TOKEN_PREFIX):
        kept = range(len(TOKEN_PREFIX))
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
