"""Secrets to plant, and the spellings they are planted in. Made up, each unlike any other."""

import gzip
import json
import random
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

type Spelling = Callable[[str, random.Random], str]


@dataclass(frozen=True, slots=True)
class Plant:
    secret: str
    kind: str
    place: str
    spelling: str


def _letters(rng: random.Random, count: int, alphabet: str = string.ascii_lowercase) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _digits(rng: random.Random, count: int) -> str:
    return _letters(rng, count, string.digits)


def _card(rng: random.Random) -> str:
    digits = "4" + _digits(rng, 14)
    total = sum(
        int(d) if i % 2 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits + "0"), 1) if i > 1
    )
    whole = digits + str(-total % 10)
    return rng.choice([whole, " ".join(whole[at : at + 4] for at in range(0, 16, 4))])


def _jwt(rng: random.Random) -> str:
    return ".".join(
        urlsafe_b64encode(json.dumps({k: _letters(rng, 9)}).encode()).decode().rstrip("=") for k in ("alg", "sub", "x")
    )


_MIXED = string.ascii_letters + string.digits
SECRETS: dict[str, Callable[[random.Random], str]] = {
    "e-mail": lambda rng: f"{_letters(rng, 6)}.{_letters(rng, 5)}@{_letters(rng, 5)}.example",
    "card number": _card,
    "IBAN": lambda rng: f"GB{_digits(rng, 2)}{_letters(rng, 4, string.ascii_uppercase)}{_digits(rng, 14)}",
    "social security number": lambda rng: f"{_digits(rng, 3)}-{_digits(rng, 2)}-{_digits(rng, 4)}x{_letters(rng, 3)}",
    "phone number": lambda rng: f"+1-{_digits(rng, 3)}-{_digits(rng, 3)}-{_digits(rng, 4)}",
    "JSON Web Token": _jwt,
    "AWS access key": lambda rng: "AKIA" + _letters(rng, 16, string.ascii_uppercase + "234567"),
    "API key": lambda rng: f"sk-{_letters(rng, 24, _MIXED)}",
    "name": lambda rng: f"{_letters(rng, 5).title()} {_letters(rng, 7).title()}",
    "name beyond ASCII": lambda rng: f"Zoë {_letters(rng, 6).title()}-Müller",
    "UUID": lambda rng: str(UUID(int=rng.getrandbits(128))),
    "IPv6 address": lambda rng: (
        f"2001:db8:{rng.getrandbits(16) | 4096:x}:{rng.getrandbits(16) | 4096:x}::{rng.getrandbits(16) | 4096:x}"
    ),
    "long number": lambda rng: str(rng.randrange(10**13, 10**14)),
    "random letters": lambda rng: _letters(rng, 20, _MIXED),
}


def _escaped(text: str, rng: random.Random) -> str:
    """Some or all characters as percent escapes."""
    share = rng.choice([0.3, 1.0])
    return "".join(
        "".join(f"%{octet:02{rng.choice('xX')}}" for octet in letter.encode())
        if rng.random() < share or letter in " ?#&%"
        else letter
        for letter in text
    )


def _base64(text: str, rng: random.Random) -> str:
    """At any of the three alignments, in either alphabet, with padding or without."""
    data = rng.randbytes(rng.randrange(4)) + text.encode() + rng.randbytes(rng.randrange(4))
    coded = rng.choice([b64encode, urlsafe_b64encode])(data).decode()
    return coded.rstrip("=") if rng.random() < 0.5 else coded


SPELLINGS: dict[str, Spelling] = {
    "plain": lambda text, _: text,
    "in words": lambda text, rng: f"{_letters(rng, 4)} {text} {_letters(rng, 4)}",
    "upper case": lambda text, _: text.upper(),
    "lower case": lambda text, _: text.lower(),
    "percent": _escaped,
    "percent twice": lambda text, rng: quote(_escaped(text, rng)),
    "base64": _base64,
    "base64 of JSON": lambda text, rng: _base64(json.dumps({"user": text}), rng),
    "base64 of gzip": lambda text, _: b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "hex": lambda text, rng: rng.choice([text.encode().hex(), text.encode().hex().upper()]),
    "JSON": lambda text, _: json.dumps({"user": text}),
    "JSON in JSON": lambda text, _: json.dumps({"a": json.dumps([json.dumps({"user": text})])}),
    "\\u": lambda text, _: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "HTML": lambda text, _: "".join(f"&#{ord(letter)};" for letter in text),
    "UTF-16 in base64": lambda text, _: b64encode(text.encode("utf-16-le")).decode(),
}


class Planter:
    """Hands out secrets, and notes what was planted where. ``kinds``, ``spellings``: which ones in turn; empty: by chance."""

    def __init__(self, rng: random.Random, kind: str = "", spelling: str = "") -> None:
        self.rng = rng
        self.plants: list[Plant] = []
        self._kind = kind
        self._spelling = spelling

    def new(self, place: str, spelled: str = "") -> str:
        kind = self._kind or self.rng.choice(tuple(SECRETS))
        text = SECRETS[kind](self.rng)
        spelling = spelled or self._spelling or self.rng.choice(tuple(SPELLINGS))
        self.plants.append(Plant(text, kind, place, spelling))
        return SPELLINGS[spelling](text, self.rng)

    def raw(self, place: str) -> str:
        return self.new(place, "plain")

    def compact(self, place: str) -> str:
        """Where a space would end what is sent."""
        while " " in (text := self.raw(place)):
            self.plants.pop()
            self._kind = ""
        return text

    def name(self, place: str) -> str:
        """Where a name stands, with something no name has."""
        return f"{self.new(place)} ?"
