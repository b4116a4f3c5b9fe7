"""What proves by its own form that it is somebody's: check digits, known prefixes, a header that decodes. One row each.

Few false alarms matter more than a longer list: a decimal fraction is no social security number, a version no address, a timestamp
no card. What a form alone cannot prove needs a word near by.
"""

import json
import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from captures.privacy.scan_entropy import holds_random_secret
from captures.privacy.surrogate import TOKEN_PATTERN

_SHORTEST = 7  # bytes: a@b.org
_NEAR = 40

type Valid = Callable[[re.Match[bytes], str], bool]


def patterns_in(text: bytes, name: str = "") -> list[str]:
    """The kinds of pattern that ``text`` holds outside our own tokens. ``name``: of the field, header or parameter it is the value
    of.
    """
    rest = TOKEN_PATTERN.sub(b" ", text)
    if len(rest) < _SHORTEST:
        return []
    found = [
        kind
        for kind, (pattern, valid) in PATTERNS.items()
        if any(valid(match, name) for match in pattern.finditer(rest))
    ]
    if not found and holds_random_secret(rest, name):
        found.append("random secret")
    return found


def _always(_match: re.Match[bytes], _name: str) -> bool:
    return True


def _says(*words: str) -> Valid:
    """One of the words stands shortly before, or in the name."""
    wanted = re.compile("|".join(rf"(?<![a-z]){word}" for word in words))

    def valid(match: re.Match[bytes], name: str) -> bool:
        before = match.string[max(0, match.start() - _NEAR) : match.start()].decode("latin-1")
        return wanted.search(f"{name} {before}".lower()) is not None

    return valid


def _is_card(match: re.Match[bytes], _name: str = "") -> bool:
    """Luhn's check (ISO/IEC 7812-1), and a number that somebody issues."""
    text = bytes(octet for octet in match.group() if 48 <= octet <= 57)
    digits = [digit - 48 for digit in reversed(text)]
    doubled = (digit if index % 2 == 0 else sum(divmod(2 * digit, 10)) for index, digit in enumerate(digits))
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0 and _ISSUERS.fullmatch(text) is not None


# Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay, Maestro, Mir.
_ISSUERS = re.compile(
    rb"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    rb"|3[47][0-9]{13}|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}|3(?:0[0-5]|[689][0-9])[0-9]{11,16}|35[2-8][0-9]{13,16}"
    rb"|62[0-9]{14,17}|(?:50|5[6-9]|6[0-9])[0-9]{11,17}|220[0-4][0-9]{12,15}"
)


def _is_iban(match: re.Match[bytes], _name: str = "") -> bool:
    """ISO 13616: a country's length, and 97 divides what letters and digits make, plus one."""
    compact = match.group().replace(b" ", b"").decode()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


_IBANS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24
FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32
LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24
RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS = {each[:2]: int(each[2:]) for each in _IBANS.split()}


def _is_phone(match: re.Match[bytes], _name: str = "") -> bool:
    """E.164: a country's code and at most fifteen digits."""
    digits = bytes(octet for octet in match.group() if 48 <= octet <= 57).decode()
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2 and digits.startswith(_COUNTRIES)


_CALLING = """
1 20 211 212 213 216 218 22 23 24 25 26 27 290 291 297 298 299 30 31 32 33 34 350 351 352 353 354 355 356 357 358 359
36 370 371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 39 40 41 420 421 423 43 44 45 46 47 48 49
500 501 502 503 504 505 506 507 508 509 51 52 53 54 55 56 57 58 590 591 592 593 594 595 596 597 598 599 60 61 62 63 64
65 66 67 68 69 7 81 82 84 850 852 853 855 856 86 870 88 90 91 92 93 94 95 960 961 962 963 964 965 966 967 968 970 971
972 973 974 975 976 977 98 992 993 994 995 996 998
"""
_COUNTRIES = tuple(_CALLING.split())


def _is_jwt(match: re.Match[bytes], _name: str = "") -> bool:
    try:
        header = json.loads(b64decode(match[1] + b"=" * (-len(match[1]) % 4), b"-_"))
    except (ValueError, BinasciiError, RecursionError):
        return False
    return isinstance(header, dict) and not {"alg", "enc", "typ"}.isdisjoint(header)


def _is_basic(match: re.Match[bytes], _name: str = "") -> bool:
    try:
        return b":" in b64decode(match[1] + b"=" * (-len(match[1]) % 4))
    except BinasciiError:
        return False


_CALLS_IT_ADDRESS = _says(r"ip(?![a-z])", "addr", "client", "forwarded", "host", "remote", "peer", "for=")
_CALLS_IT_SSN = _says("ssn", "social", "security", "tax", "tin(?![a-z])")
_CALLS_IT_VERSION = _says("ver", "release", "build", "v$")


def _is_address(match: re.Match[bytes], name: str) -> bool:
    """Alone, or called an address. A network (203.0.113.0, 2001:db8::) is nobody's, loopback everybody's."""
    try:
        address = ip_address(match[1].decode())
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.packed[-1] in (0, 255):
        return False
    alone = match.span() == (0, len(match.string)) and not _CALLS_IT_VERSION(match, name)
    return alone or _CALLS_IT_ADDRESS(match, name)


def _is_social_security(match: re.Match[bytes], name: str) -> bool:
    return b"-" in match.group() or _CALLS_IT_SSN(match, name)


_NOT_IN_DIGITS = rb"(?<![0-9A-Za-z.])(?<![0-9]-)"
_NO_DIGITS_AFTER = rb"(?![0-9A-Za-z])(?!\.[0-9])(?!-[0-9])"
_KEYS = (
    rb"sk-ant-[A-Za-z0-9_-]{20,}|sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}|gsk_[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{30,}"
    rb"|nvapi-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    rb"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{24,}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    rb"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{40,}|dapi[0-9a-f]{32}|lin_api_[A-Za-z0-9]{32,}"
)


def _has_digit(match: re.Match[bytes], _name: str) -> bool:
    """sk-learn-compatible-estimator-wrapper is a name."""
    return any(48 <= octet <= 57 for octet in match.group())


PATTERNS: Mapping[str, tuple[re.Pattern[bytes], Valid]] = {
    "e-mail": (
        re.compile(
            rb"(?<=[A-Za-z0-9._%+-])(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})"
        ),
        _always,
    ),
    "card number": (
        re.compile(
            _NOT_IN_DIGITS
            + rb"(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})"
            + _NO_DIGITS_AFTER
        ),
        _is_card,
    ),
    "IBAN": (
        re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"),
        _is_iban,
    ),
    "social security number": (
        re.compile(
            _NOT_IN_DIGITS
            + rb"(?!000|666|9)[0-9]{3}(?:-(?!00)[0-9]{2}-| ?(?!00)[0-9]{2} ?)(?!0000)[0-9]{4}"
            + _NO_DIGITS_AFTER
        ),
        _is_social_security,
    ),
    "phone number": (
        re.compile(rb"(?<![0-9A-Za-z+/.=_-])\+[1-9](?:[ .()/-]{0,2}[0-9]){7,14}(?![0-9A-Za-z])(?!\.[0-9])"),
        _is_phone,
    ),
    "phone number, national": (
        re.compile(
            _NOT_IN_DIGITS + rb"\(?0?[1-9][0-9]{1,4}\)?[ ./-]{0,2}[0-9]{3,4}[ ./-]?[0-9]{2,5}" + _NO_DIGITS_AFTER
        ),
        _says("phone", "tel(?![a-z])", "telephone", "mobile", "fax(?![a-z])", "msisdn", "cell(?![a-z])", "call me"),
    ),
    "JSON Web Token": (
        re.compile(rb"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{8,})\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        _is_jwt,
    ),
    "AWS access key": (re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Z0-9])"), _always),
    "API key": (re.compile(rb"(?<![A-Za-z0-9])(?:" + _KEYS + rb")"), _has_digit),
    "private key": (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"), _always),
    "password in a URL": (
        re.compile(rb"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,128}:[^\s/@\"'<>]{1,128}@[A-Za-z0-9]"),
        _always,
    ),
    "basic credentials": (re.compile(rb"(?i:basic) ([A-Za-z0-9+/]{6,})={0,2}"), _is_basic),
    "bearer credentials": (re.compile(rb"(?i:bearer) +[A-Za-z0-9._~+/-]{8,}"), _has_digit),
    "IP address": (
        re.compile(
            rb"(?<![0-9A-Za-z.:])\[?([0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{4,39}+)\]?(?::[0-9]{1,5})?(?![0-9A-Za-z.:])"
        ),
        _is_address,
    ),
}
