"""Texts of which only what looks like somebody's is replaced: validated patterns, each by a look-alike; the rest stays.

No list of patterns finds every name. What this keeps is free text, and a policy that keeps free text should know it.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from unicodedata import category, decimal, normalize

from captures.privacy.look_alikes import is_card, is_iban, look_alike
from captures.privacy.names import is_plain
from captures.privacy.surrogate import Surrogates, is_token

_BETWEEN = re.compile(r"(?:stk1_[a-z2-7]{16}|[+/_=-])+")

type Spans = Iterable[tuple[int, int]]
type Recogniser = Callable[[str], Spans]
"""Where something stands in a text that has to go."""


def _always(_text: str) -> bool:
    return True


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_encoded(text: str) -> bool:
    """Base64 does not read like names, a file's path does. Tokens of ours say nothing."""
    return not all(is_plain(part) for part in _BETWEEN.split(text) if part)


# First match at a place wins, so what is more special comes first. Possessive, so that no text takes longer than linear time.
_PATTERNS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "token": (r"stk1_[a-z2-7]{16}", _always),
    "email": (r"[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+)++", _always),
    "url": (r"(?<=://)[^\s\"'<>)]{1,2048}+", _always),
    "jwt": (r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+", _always),
    "key": (r"(?<![A-Za-z0-9])(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abprs]|hf|AKIA|ASIA)[-_]?[A-Za-z0-9_-]{12,}+", _always),
    "uuid": (r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])", _always),
    "mac": (r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])", _always),
    "iban": (r"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}+", is_iban),
    "card": (r"(?<![0-9])[0-9](?:[ -]?[0-9]){11,18}+(?![0-9])", is_card),
    "date": (r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]{5,21}+(?:Z|[+-][0-9:]{4,5}+)?)?", _always),
    "ipv6": (r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}+", _is_address),
    "ipv4": (r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])", _is_address),
    "phone": (r"(?<![0-9A-Za-z])(?:\+|\()?[0-9](?:[ ()/.-]{0,2}[0-9]){6,14}+(?![0-9])", _always),
    "hex": (r"(?<![0-9A-Za-z])(?=[a-fA-F]*+[0-9])[0-9a-fA-F]{12,}+(?![0-9A-Za-z])", _always),
    "digits": (r"[0-9]{4,}+", _always),
}
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, (pattern, _) in _PATTERNS.items()), re.ASCII)
_DIGITS = re.compile(r"[0-9]{4,}+", re.ASCII)
# What may say anything: base64, and what is written in percent escapes.
_RUN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}+={0,2}", re.ASCII)
_ESCAPED = re.compile(r"(?<![^\s\"'<>])[^\s%\"'<>]*+(?:%[0-9A-Fa-f]{2}[^\s%\"'<>]*+)++", re.ASCII)


def recognised(text: str) -> Spans:
    """What the patterns find. Numbers of four digits and more are always somebody's. Spans may overlap."""
    for match in _ANY.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        if kind == "token":
            continue
        if _PATTERNS[kind][1](match.group()):
            yield match.span()
        else:  # a card number with a slip of the pen is still digits
            yield from (
                (match.start() + found.start(), match.start() + found.end())
                for found in _DIGITS.finditer(match.group())
            )
    yield from (match.span() for match in _RUN.finditer(text) if _is_encoded(match.group()))
    if "%" in text:
        yield from (match.span() for match in _ESCAPED.finditer(text))


def scrubbed(text: str, surrogates: Surrogates, domain: str, recognisers: Iterable[Recogniser] = (recognised,)) -> str:
    """Characters that only look like others (full-width letters, digits of other scripts, invisible ones between) are
    written plainly where something is found behind them.
    """
    parts: list[str] = []
    at = 0
    if not text.isascii() and (plain := _plainly(text)) != text and _finds(recognisers, plain):
        text = plain
    for start, stop in _merged(span for recogniser in recognisers for span in recogniser(text)):
        parts += [text[at:start], _replaced(text[start:stop], surrogates, domain)]
        at = stop
    return "".join([*parts, text[at:]])


def _finds(recognisers: Iterable[Recogniser], text: str) -> bool:
    return any(True for recogniser in recognisers for _ in recogniser(text))


def _plainly(text: str) -> str:
    seen = (character for character in normalize("NFKC", text) if category(character) != "Cf")
    return "".join(character if character.isascii() else str(decimal(character, character)) for character in seen)


def _replaced(text: str, surrogates: Surrogates, domain: str) -> str:
    return text if is_token(text) else look_alike(text, surrogates, domain)


def _merged(spans: Spans) -> list[tuple[int, int]]:
    """In order, none overlapping."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
