"""What replaces a value: a token for text, digits for digits. A pure function of (key, domain, value); one-way without the key.

Whoever holds the key can test guesses: short values (phone numbers, dates) are found in minutes. The key is as sensitive as
what it replaced.
"""

import re
from functools import lru_cache
from hashlib import blake2b

MARKER = "stk1_"
_TOKEN = re.compile(MARKER + r"[a-z2-7]{16}", re.ASCII)
_TOKEN_BYTES = 10  # 80 bits: 10^7 values collide with probability 4e-11; sixteen base32 characters, no padding
_CACHED_TOKENS = 8192
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"  # base32 (RFC 4648 §6) in lower case
_PAIRS = tuple(
    first + second for first in _LETTERS for second in _LETTERS
)  # ten bits each; base64.b32encode takes 4 us
_TEN_BITS = 1023
_KEY_BYTES = 16
_BLOCK_DIGITS = 150  # decimal digits drawn from one 64-byte digest (512 bits hold 154)

# A surrogate stays in the machine integer its original fitted into, so that a server still parses it.
_BOUNDS = (2**7 - 1, 2**8 - 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)

TOKEN_PATTERN = re.compile(MARKER.encode() + rb"[a-z2-7]{16}")


def is_token(text: str) -> bool:
    return text.startswith(MARKER) and _TOKEN.fullmatch(text) is not None


def machine_bound(value: int) -> int:
    """The largest value of the smallest machine integer that holds ``value`` (-128 is one of 8 bits); beyond those, as many
    digits.
    """
    size = value if value >= 0 else -value - 1
    return next((bound for bound in _BOUNDS if size <= bound), _most_of(value))


def bound_of(value: int) -> int:
    """As `machine_bound`, with no more digits than ``value`` has."""
    return min(machine_bound(value), _most_of(value))


def _most_of(value: int) -> int:
    return int("9" * len(str(abs(value))))


class Surrogates:
    """Replaces values under one key. Values of different domains get unrelated surrogates; equal values of one domain join."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise ValueError(f"a key of at least {_KEY_BYTES} bytes")
        self._key = key
        self._domains: dict[str, bytes] = {}
        self._cached_token = lru_cache(_CACHED_TOKENS)(self._token)

    def token(self, domain: str, value: str | bytes) -> str:
        """``stk1_`` and sixteen characters. Text counts as its UTF-8 bytes."""
        return self._cached_token(domain, value)

    def number64(self, domain: str, value: str | bytes) -> int:
        """A 64-bit number, never 0."""
        return int.from_bytes(self.digest(domain, _bytes(value), 8)) or 1

    def integer(self, domain: str, text: str) -> str:
        """An integer of as many digits, without leading zero; the sign stays."""
        sign = "-" if text.startswith("-") else ""
        digits = text.removeprefix("-")
        value = int(digits) if len(digits) <= _BLOCK_DIGITS else None
        if value is None:
            return sign + self._digits(domain, digits)
        low = 10 ** (len(digits) - 1) if len(digits) > 1 else 0
        high = bound_of(-value if sign else value)
        return sign + str(low + int.from_bytes(self.digest(domain, digits.encode(), 64)) % (high - low + 1))

    def same_class(self, domain: str, text: str) -> str:
        """A letter for a letter of its case, a digit for a digit; of the rest what is ASCII stays, the others become ``~``."""
        digits = iter(self._digits(domain, text))
        letters = iter(self.digest(domain, b"letters:" + _bytes(text), 64) * (len(text) // 64 + 1))
        return "".join(_like(character, next(digits), next(letters)) for character in text)

    def _digits(self, domain: str, text: str) -> str:
        """As many decimal digits as ``text`` has characters; the first is not 0."""
        blocks = (
            str(int.from_bytes(self.digest(domain, b"%d:" % block + _bytes(text), 64))).zfill(155)[-_BLOCK_DIGITS:]
            for block in range(len(text) // _BLOCK_DIGITS + 1)
        )
        digits = "".join(blocks)[: len(text)]
        return "7" + digits[1:] if digits.startswith("0") else digits

    def _token(self, domain: str, value: str | bytes) -> str:
        n = int.from_bytes(self.digest(domain, _bytes(value), _TOKEN_BYTES))
        pairs, low = _PAIRS, _TEN_BITS
        return (
            f"{MARKER}{pairs[n >> 70]}{pairs[n >> 60 & low]}{pairs[n >> 50 & low]}{pairs[n >> 40 & low]}"
            f"{pairs[n >> 30 & low]}{pairs[n >> 20 & low]}{pairs[n >> 10 & low]}{pairs[n & low]}"
        )

    def digest(self, domain: str, value: bytes, size: int) -> bytes:
        """``size`` bytes, at most 64: what everything else is made of."""
        key = self._domains.get(domain)
        if key is None:
            key = self._domains[domain] = blake2b(b"dom:" + domain.encode(), key=self._key, digest_size=32).digest()
        return blake2b(value, key=key, digest_size=size).digest()


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def _like(character: str, digit: str, letter: int) -> str:
    if character.isdigit():
        return digit
    if not character.isalpha():
        return character if character.isascii() else "~"  # emoji spell words, and so do circled letters
    return chr((ord("A") if character.isupper() else ord("a")) + letter % 26)
