"""What a rule does with one value: pure functions of (text, key, parameters).

``on_text`` takes and gives the text of a string, a header, a parameter; ``on_number`` the text of a JSON number, and gives
one: integers stay integers, of the same machine type. A value that an action does not understand (a date for ``blur``) becomes a
token, a number other digits: whoever asked for less than keeping gets no less.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import floor

from captures.privacy import presidio, times
from captures.privacy.look_alikes import look_alike, look_alike_integer
from captures.privacy.numbers import digits_for_digits
from captures.privacy.policy_rule import Action, PolicyRule
from captures.privacy.scrub import recognised, scrubbed
from captures.privacy.surrogate import Surrogates, machine_bound
from captures.privacy.words import has_several_words, in_words

REDACTED = "redacted"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?", re.ASCII)
_LONGEST_NUMBER = 400  # characters of a number that is calculated with; the longest double has some 330
_NOISE_BITS = 53
_SIX_TO_FOUR = 16  # bits of 2002::/16, then a whole IPv4 address (RFC 3056 §2)
_EXACT = Context(prec=2 * _LONGEST_NUMBER)


@dataclass(frozen=True, slots=True)
class Do:
    """An action with its parameters. ``domain``: "" stands for that of the place. ``why``: the rule or default that decided."""

    action: Action
    domain: str = ""
    keep_first: int = 0
    keep_last: int = 0
    step: Fraction = Fraction(0)
    unit: str = ""
    v4: int = 24
    v6: int = 48
    up_to_ns: int = 0
    by: float = 0.0
    presidio: bool = False
    several: bool = False  # texts of several words only; other strings become tokens
    why: str = ""


def do_of(rule: PolicyRule, why: str, *, presidio: bool = False) -> Do:
    return Do(
        rule.do,
        domain=rule.domain or "",
        keep_first=rule.keep_first,
        keep_last=rule.keep_last,
        step=rule.step_exact,
        unit=rule.unit or "",
        v4=rule.v4,
        v6=rule.v6,
        up_to_ns=rule.up_to_ns,
        by=rule.by_share,
        presidio=presidio,
        why=why,
    )


type _OnText = Callable[[str, Surrogates, Do, str], str | None]


def on_text(do: Do, text: str, surrogates: Surrogates, domain: str) -> str:
    """``domain``: of the place, where the action names none. What ``drop`` leaves out is the caller's to leave out."""
    if do.action == "keep" or not text:
        return text
    domain = do.domain or domain
    if do.several and not has_several_words(text):
        return surrogates.token(domain, text)
    done = ON_TEXT[do.action](text, surrogates, do, domain)
    return surrogates.token(domain, text) if done is None else done


def on_number(do: Do, text: str, surrogates: Surrogates, domain: str) -> str:
    """``text``: a JSON number, ``true``, ``false``, ``null``, ``NaN`` or an infinity; so is what comes back."""
    if do.action == "keep":
        return text
    if do.action == "drop":
        return "null"
    if not _NUMBER.fullmatch(text):
        return "false" if text == "true" else text
    domain = do.domain or domain
    done = ON_NUMBER[do.action](text, surrogates, do, domain) if do.action in ON_NUMBER else None
    return digits_for_digits(text, surrogates, domain) if done is None else done


# -- of texts


def _token(_text: str, _surrogates: Surrogates, _do: Do, _domain: str) -> str | None:
    return None


def _surrogate(text: str, surrogates: Surrogates, _do: Do, domain: str) -> str:
    return look_alike(text, surrogates, domain)


def _redact(_text: str, _surrogates: Surrogates, _do: Do, _domain: str) -> str:
    return REDACTED


def _drop(_text: str, _surrogates: Surrogates, _do: Do, _domain: str) -> str:
    return ""


def _mask(text: str, _surrogates: Surrogates, do: Do, _domain: str) -> str:
    """Of a value that is mostly what would be kept, nothing is."""
    first, last = (do.keep_first, do.keep_last) if 2 * (do.keep_first + do.keep_last) <= len(text) else (0, 0)
    return text[:first] + "*" * (len(text) - first - last) + text[len(text) - last :]


def _truncate_ip(text: str, surrogates: Surrogates, do: Do, domain: str) -> str | None:
    """An address, or a list of them as in X-Forwarded-For. Ports go."""
    parts = [part.strip() for part in text.split(",")]
    kept = [_truncated(part, do) for part in parts]
    if not any(kept):
        return None
    return ", ".join(new or surrogates.token(domain, old) for old, new in zip(parts, kept, strict=True))


def _truncated(text: str, do: Do) -> str | None:
    match = _PORT.fullmatch(text)
    bare = (match[1] or match[2]) if match else text
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    bits = do.v4 if isinstance(address, IPv4Address) else do.v6
    if isinstance(address, IPv6Address) and address.sixtofour is not None:
        bits = min(bits, _SIX_TO_FOUR + do.v4)
    return str(ip_network((address, bits), strict=False).network_address)


def _shift_time(text: str, surrogates: Surrogates, do: Do, _domain: str) -> str | None:
    """The offset is one for the whole recording, and into the past, so that intervals stay between all that is shifted."""
    return times.shifted(text, -offset_s(surrogates, do.up_to_ns))


def offset_s(surrogates: Surrogates, up_to_ns: int) -> int:
    """The secret number of seconds, at least an hour."""
    return 3600 + surrogates.number64("time", "offset") % max(up_to_ns // 10**9 - 3600, 1)


def _generalise(text: str, surrogates: Surrogates, do: Do, domain: str) -> str | None:
    if do.unit:
        return times.cut(text, do.unit)
    return _stepped(text, surrogates, do, domain) if _NUMBER.fullmatch(text) else None


def _blur(text: str, surrogates: Surrogates, do: Do, domain: str) -> str | None:
    return _blurred(text, surrogates, do, domain) if _NUMBER.fullmatch(text) else None


def _scrub(text: str, surrogates: Surrogates, do: Do, domain: str) -> str:
    recognisers = (recognised, presidio.recogniser()) if do.presidio else (recognised,)
    return scrubbed(text, surrogates, domain, recognisers)


def _words(text: str, surrogates: Surrogates, _do: Do, domain: str) -> str | None:
    return in_words(text, surrogates, domain)


ON_TEXT: Mapping[Action, _OnText] = {
    "token": _token,
    "surrogate": _surrogate,
    "redact": _redact,
    "drop": _drop,
    "mask": _mask,
    "generalise": _generalise,
    "truncate-ip": _truncate_ip,
    "shift-time": _shift_time,
    "blur": _blur,
    "scrub-text": _scrub,
    "words": _words,
}


# -- of numbers


def _zero(text: str, _surrogates: Surrogates, _do: Do, _domain: str) -> str:
    return "0" if _INTEGER.fullmatch(text) else "0.0"


def _surrogate_number(text: str, surrogates: Surrogates, _do: Do, domain: str) -> str | None:
    return look_alike_integer(text, surrogates, domain) if _INTEGER.fullmatch(text) else None


def _mask_number(text: str, _surrogates: Surrogates, do: Do, _domain: str) -> str | None:
    """Zeros for stars; the first digit of a longer number is never zero."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.removeprefix("-")
    masked = _mask(digits, _surrogates, do, "").replace("*", "0")
    if masked.startswith("0") and len(masked) > 1:
        masked = "1" + masked[1:]
    return text[: len(text) - len(digits)] + masked


def _stepped(text: str, _surrogates: Surrogates, do: Do, _domain: str) -> str | None:
    return _calculated(text, lambda value: (value // do.step) * do.step, floor)


def _blurred(text: str, surrogates: Surrogates, do: Do, domain: str) -> str | None:
    """The change is drawn evenly from -by to +by of the value, the same for equal values."""
    drawn = Fraction(surrogates.number64(domain, "blur:" + text) >> (64 - _NOISE_BITS), 2 ** (_NOISE_BITS - 1)) - 1
    return _calculated(text, lambda value: value * (1 + drawn * Fraction(do.by)), round)


def _calculated(text: str, of: Callable[[Fraction], Fraction], whole: Callable[[Fraction], int]) -> str | None:
    """With as many decimals as before; integers in the machine integer they were in."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if _INTEGER.fullmatch(text):
        value = int(text)
        bound = machine_bound(value)
        return str(max(-bound, min(whole(of(Fraction(value))), bound)))
    before = Decimal(text)
    unit = Fraction(10) ** int(before.as_tuple().exponent)
    after = Decimal(whole(of(Fraction(before)) / unit)).scaleb(int(before.as_tuple().exponent), _EXACT)
    return str(after) if "e" in text.lower() else f"{after:f}"


ON_NUMBER: Mapping[Action, _OnText] = {
    "redact": _zero,
    "surrogate": _surrogate_number,
    "mask": _mask_number,
    "generalise": _generalise,
    "shift-time": _shift_time,
    "blur": _blurred,
}
