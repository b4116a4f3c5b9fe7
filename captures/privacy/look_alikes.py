"""A surrogate of the same class and length: what validated before validates afterwards.

Letters become letters of their case and digits digits, the rest stays. Card numbers keep a valid check digit (Luhn), an IBAN
keeps its country and valid check digits (ISO 13616), a UUID its version, hexadecimal text stays hexadecimal, an address an
address, a date a date.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from captures.privacy.surrogate import Surrogates, bound_of
from captures.privacy.times import another

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"(?=.*[0-9])(?:[0-9a-f]{8,}|[0-9A-F]{8,}|(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})", re.ASCII)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", re.ASCII)
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){11,18}", re.ASCII)
_ADDRESS = re.compile(r"[0-9.]{7,15}|[0-9a-fA-F:.]{2,39}", re.ASCII)
_PUBLIC = 223 - 1  # first octets 1 to 223: no multicast


def look_alike(text: str, surrogates: Surrogates, domain: str) -> str:
    """Never ``text`` itself but by chance. An integer in text gets what the number gets in JSON."""
    for fits, make in _CLASSES:
        if fits.fullmatch(text) and (made := make(text, surrogates, domain)) is not None:
            return made
    return another(text, surrogates.number64(domain, text)) or surrogates.same_class(domain, text)


def look_alike_integer(text: str, surrogates: Surrogates, domain: str) -> str:
    """For the text of an integer: as many digits, in the same machine integer, with a valid Luhn digit if it had one."""
    other = surrogates.integer(domain, text)
    if not is_card(text):
        return other
    fixed = with_luhn(other)
    return fixed if int(fixed) <= bound_of(int(text)) else with_luhn(str(int(fixed) - 10))


def luhn_sum(digits: str) -> int:
    """ISO/IEC 7812-1, modulo 10: 0 is valid."""
    numbers = [ord(digit) - 48 for digit in reversed(digits)]
    return sum(number if at % 2 == 0 else sum(divmod(2 * number, 10)) for at, number in enumerate(numbers)) % 10


def is_card(text: str) -> bool:
    """12 to 19 digits with a valid check digit; not all the same."""
    if not _CARD.fullmatch(text):
        return False
    digits = text.replace(" ", "").replace("-", "")
    return len(set(digits)) > 1 and luhn_sum(digits) == 0


def with_luhn(text: str) -> str:
    """The last digit made the check digit of the others."""
    digits = "".join(filter(str.isdigit, text))
    return text[:-1] + str((10 - luhn_sum(digits[:-1] + "0")) % 10)


def iban_remainder(compact: str) -> int:
    """1 is valid."""
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97


def is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    return _IBAN.fullmatch(text) is not None and 15 <= len(compact) <= 34 and iban_remainder(compact) == 1


def _integer(text: str, surrogates: Surrogates, domain: str) -> str:
    return look_alike_integer(text, surrogates, domain)


def _card(text: str, surrogates: Surrogates, domain: str) -> str | None:
    return with_luhn(surrogates.same_class(domain, text)) if is_card(text) else None


def _iban(text: str, surrogates: Surrogates, domain: str) -> str | None:
    if not is_iban(text):
        return None
    compact = text.replace(" ", "")
    rest = surrogates.same_class(domain, compact[4:])
    check = 98 - iban_remainder(f"{compact[:2]}00{rest}")
    fresh = iter(f"{compact[:2]}{check:02}{rest}")
    return "".join(character if character == " " else next(fresh) for character in text)


def _uuid(text: str, surrogates: Surrogates, domain: str) -> str:
    """The version and variant digits stay: they say how it was made."""
    other = _hex(text, surrogates, domain)
    return other[:14] + text[14] + other[15:19] + text[19] + other[20:]


def _hex(text: str, surrogates: Surrogates, domain: str) -> str:
    digits = iter(
        "".join(
            surrogates.digest(domain, b"hex:%d:" % at + text.encode(), 64).hex() for at in range(len(text) // 128 + 1)
        )
    )
    drawn = "".join(character if character in ":-" else next(digits) for character in text)
    return drawn.upper() if any(character in "ABCDEF" for character in text) else drawn


def _address(text: str, surrogates: Surrogates, domain: str) -> str | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    drawn = surrogates.digest(domain, b"address:" + address.packed, 16)
    if isinstance(address, IPv4Address):
        return str(IPv4Address(bytes([1 + drawn[0] % _PUBLIC]) + drawn[1:4]))
    return str(IPv6Address(b"\x20\x01\x0d\xb8" + drawn[4:]))  # RFC 3849: addresses of documentation


type _Make = Callable[[str, Surrogates, str], str | None]

_CLASSES: tuple[tuple[re.Pattern[str], _Make], ...] = (
    (_INTEGER, _integer),
    (_CARD, _card),
    (_IBAN, _iban),
    (_UUID, _uuid),
    (_ADDRESS, _address),
    (_HEX, _hex),
)
