"""Known secrets, sought all at once and in every spelling: letter case, UTF-16, hex, base64 at any alignment and in both alphabets.

What is searched is decoded, not the secrets encoded: the whole of it is read as base64 from each of four characters on, and as hex
from each of two, whatever it really is. So a list of a hundred thousand secrets needs some 50 MB, and costs as much time as one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

type Octets = NDArray[np.uint8]

SHORTEST_SECRET = 4
"""Bytes. Anything shorter is found by accident everywhere."""

_SHORTEST_CODED = 6  # bytes of a secret sought in what may be base64: shorter ones would be found in random letters
_SURE_DIGITS = 12  # a number of fewer digits stands by accident inside longer ones: it has to stand alone
_BLOCK = 1 << 20
_SEPARATOR = b"\n\0\n"
_SPARE_BITS = 5  # of a hash: one window in 32 looks like a start that is none
_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)
_NUMBER = re.compile(rb"[0-9]+")
_DIGITS = b"0123456789"
_BAD = 0x80


def _table(*alphabets: bytes) -> Octets:
    table = np.full(256, _BAD, dtype=np.uint8)
    for alphabet in alphabets:
        table[np.frombuffer(alphabet, dtype=np.uint8)] = np.arange(len(alphabet), dtype=np.uint8)
    return table


_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE64, _HEX = _table(_LETTERS + b"+/", _LETTERS + b"-_"), _table(b"0123456789abcdef", b"0123456789ABCDEF")


class Needles:
    """``secrets`` as they are; those shorter than `SHORTEST_SECRET` are not sought."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        spellings = {
            spelling.lower() for secret in secrets if len(secret) >= SHORTEST_SECRET for spelling in _spellings(secret)
        }
        self._longest = max(map(len, spellings), default=0)
        self._by_size = [
            _Starts(size, [each for each in spellings if (len(each) >= 8) == (size == 8)]) for size in (4, 8)
        ]

    def __bool__(self) -> bool:
        """Whether there is anything to seek."""
        return self._longest > 0

    def are_in(self, data: bytes) -> bool:
        return bool(self.found([data]))

    def found(self, parts: Sequence[bytes]) -> set[int]:
        """Positions in ``parts`` of those that hold a secret."""
        if not self:
            return set()
        starts = list(accumulate((len(part) + len(_SEPARATOR) for part in parts), initial=0))
        joined = _SEPARATOR.join(parts)
        places: set[int] = set()
        overlap = 2 * self._longest + 8  # hex is twice as long
        for low in range(0, len(joined), _BLOCK):
            block = joined[low : low + _BLOCK + overlap]
            places.update(low + at for at in self._places(block))
        return set((np.searchsorted(starts, sorted(places), side="right") - 1).tolist())

    def _places(self, block: bytes) -> Iterator[int]:
        """Where in ``block`` a secret begins, as it is or encoded."""
        octets = np.frombuffer(block, dtype=np.uint8)
        yield from self._in(block.lower(), SHORTEST_SECRET)
        for shift in range(4):
            text = _from_base64(octets[shift:]).tobytes().lower()
            yield from (shift + at // 3 * 4 for at in self._in(text, _SHORTEST_CODED))
        for shift in range(2):
            text = _from_hex(octets[shift:]).tobytes().lower()
            yield from (shift + at * 2 for at in self._in(text, SHORTEST_SECRET))

    def _in(self, text: bytes, shortest: int) -> Iterator[int]:
        for starts in self._by_size:
            yield from starts.found(text, shortest)


class _Starts:
    """Strings sought by their first 4 or 8 bytes."""

    def __init__(self, size: int, strings: Iterable[bytes]) -> None:
        self._size = size
        self._by_start: dict[bytes, dict[int, set[bytes]]] = {}  # then by length: lists of customers all begin alike
        for string in strings:
            self._by_start.setdefault(string[:size], {}).setdefault(len(string), set()).add(string)
        self._bits = len(self._by_start).bit_length() + _SPARE_BITS
        self._hashes = np.zeros(1 << self._bits, dtype=np.bool_)
        for start in self._by_start:
            self._hashes[_hashes(np.frombuffer(start, dtype=np.uint8), size, self._bits)] = True

    def found(self, text: bytes, shortest: int) -> Iterator[int]:
        if not self._by_start or len(text) < self._size:
            return
        likely = self._hashes[_hashes(np.frombuffer(text, dtype=np.uint8), self._size, self._bits)]
        for at in np.flatnonzero(likely).tolist():
            for length, those in self._by_start.get(text[at : at + self._size], {}).items():
                if length >= shortest and text[at : at + length] in those and _stands(text, at, at + length):
                    yield at
                    break


def _hashes(octets: Octets, size: int, bits: int) -> NDArray[np.uint64]:
    """Of each window of ``size`` bytes, a number of ``bits`` bits."""
    count = len(octets) - 3
    words = octets[:count].astype(np.uint64)
    for position in (1, 2, 3):
        words |= octets[position : position + count].astype(np.uint64) << np.uint64(8 * position)
    if size == 8:
        words = words[:-4] | words[4:] << np.uint64(32)
    return words * np.uint64(_MULTIPLIER) >> np.uint64(64 - bits)


def _stands(text: bytes, start: int, stop: int) -> bool:
    """Whether what is found is no piece of a longer number: 0.304262935 does not hold 304262935."""
    if stop - start >= _SURE_DIGITS or not _NUMBER.fullmatch(text, start, stop):
        return True
    before, after = text[start - 1 : start] if start else b"", text[stop : stop + 1]
    return not (before in _DIGITS and before) and before != b"." and not (after in _DIGITS and after)


def _from_base64(octets: Octets) -> Octets:
    """Every four characters as three bytes; 0 for a byte that needs a character beyond the alphabet."""
    codes = _BASE64[_padded(octets, 4)].reshape(-1, 4)
    high, low = codes[:, :3], codes[:, 1:]
    bad = (high | low) & _BAD != 0
    shifts = np.array((2, 4, 6), dtype=np.uint8)
    text = high << shifts | low >> (6 - shifts)
    text[bad] = 0
    return text.reshape(-1)


def _padded(octets: Octets, size: int) -> Octets:
    missing = -len(octets) % size
    return np.concatenate([octets, np.zeros(missing, dtype=np.uint8)]) if missing else octets


def _from_hex(octets: Octets) -> Octets:
    codes = _HEX[_padded(octets, 2)].reshape(-1, 2)
    text: Octets = codes[:, 0] << np.uint8(4) | codes[:, 1]
    text[(codes[:, 0] | codes[:, 1]) & _BAD != 0] = 0
    return text


def _spellings(secret: bytes) -> Iterator[bytes]:
    """The secret in the encodings and letter cases that bytes.lower() does not cover."""
    yield secret
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    yield text.lower().encode("utf-16-le")
    if text.isascii():
        return
    for spelling in (text, text.lower(), text.upper(), text.title()):
        yield spelling.encode()
        if max(spelling) < "\u0100":
            yield spelling.encode("latin-1")
