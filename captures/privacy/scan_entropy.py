"""Strings that are too random to be words, where something near by says that they are secret.

The bounds of detect-secrets (base64 4.5 and hex 3.0 bits per character), and as in gitleaks a word near by has to call it a key:
random strings alone are ids, digests and embeddings.
"""

import math
import re
from collections import Counter

BASE64_BITS, HEX_BITS = 4.5, 3.0
"""Bits per character."""

_SHORTEST_HEX = 16
_NEAR = 40  # bytes
_RUN = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,256}+(?![A-Za-z0-9+/_-])")
_HEX = re.compile(rb"[0-9a-fA-F]+")
_WORDS = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    b"""access apikey auth authorization bearer credential credentials creds cookie jwt key passphrase passwd password private pwd
    secret sessionid sig signature token""".split()
)


def holds_random_secret(text: bytes, name: str) -> bool:
    """``name``: of the field, header or parameter that ``text`` is the value of."""
    named = _calls_it_secret(name.encode())
    return any(
        _is_random(match.group()) and (named or _calls_it_secret(text[max(0, match.start() - _NEAR) : match.start()]))
        for match in _RUN.finditer(text)
    )


def _calls_it_secret(words: bytes) -> bool:
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(words))


def _is_random(run: bytes) -> bool:
    if _HEX.fullmatch(run):
        return len(run) >= _SHORTEST_HEX and not run.isdigit() and bits_per_character(run) >= HEX_BITS
    return bits_per_character(run) >= BASE64_BITS


def bits_per_character(text: bytes) -> float:
    """Shannon's entropy of the characters of ``text``, which is not empty."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())
