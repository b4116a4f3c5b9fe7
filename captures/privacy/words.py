"""Prompts in other words: as many words, spaces, lines and punctuation marks, about as many tokens, nothing of what was said.

Each word is replaced by words picked by a keyed stream, so equal words of one text get unrelated ones: no frequencies stay, and
no dictionary can be tried. Digits become zeros. The stream of a line depends on that line and all before it: equal texts get
equal surrogates, and texts that begin with the same lines still do, as caches of prefixes want it.

What a model charges for is tokens. A word of the list is one token, with few exceptions; a longer word of the text is
replaced by two or more of the list in a row, as many as words of its length have tokens on average. Other scripts get words of
their own script of about the same length. docs/policy.md has the measured differences.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise

from captures.privacy.surrogate import Surrogates

_DATA = "words.txt"
_MARKS = "\u0300-\u036f\u1ab0-\u1aff"  # combining
_SCRIPTS: Mapping[str, str] = {
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f",
    "hebrew": "\u0591-\u05f4",
    "arabic": "\u0610-\u061a\u0620-\u065f\u066e-\u06d3\u06d5-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "devanagari": "\u0900-\u0963\u0970-\u097f",
    "thai": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "kana": "\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f",
    "han": "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
# Characters that mean the same in every text: punctuation, currency, arrows, lines and boxes, mathematics.
_KEPT = (
    "\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b4-\u00b8\u00bb\u00bf\u00d7\u00f7\u060c\u061b\u061f\u06d4\u0964\u0965"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u22ff\u2500-\u25ff"
    "\u3000-\u3003\u3008-\u3011\u3014-\u301f\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)

_PIECE = re.compile(
    r"(?P<suffix>(?<=[A-Za-z])['\u2019](?:s|t|re|ve|m|ll|d)(?![A-Za-z]))"
    rf"|(?P<accented>(?=[A-Za-z]{{0,40}}+[\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff{_MARKS}])"
    rf"[A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff{_MARKS}]+)"
    r"|(?P<camel>[A-Z]?[a-z]+|[A-Z]+(?![a-z]))"
    r"|(?P<digits>[0-9]+)"
    rf"|(?P<same>[\t\n\r !-/:-@\[-`{{-~{_KEPT}]+)"
    + "".join(f"|(?P<{name}>[{characters}]+)" for name, characters in _SCRIPTS.items())
    + r"|(?P<picture>[\u2600-\u27bf\U0001f000-\U0001faff])"
    r"|(?P<other>[^\W_]+)"
    r"|(?P<rest>.)",
    re.DOTALL,
)
_PICTURES = "\u2605\u2606\u2600\u2601\u2660\u2663\u2665\u2666\u2713\u2714\u2716\u2728"
_SEVERAL = re.compile(rf"[^\W_]\W*?\s\W*[^\W_]|[{_SCRIPTS['han']}{_SCRIPTS['kana']}{_SCRIPTS['thai']}]{{5}}")

# Tokens of words that are not on the list, by number of letters: means of cl100k_base and o200k_base, over English texts and code,
# and over German, French, Spanish and Portuguese ones. How it was measured is in docs/policy.md.
_ENGLISH = (0, 1, 1, 1.01, 1.03, 1.05, 1.06, 1.09, 1.16, 1.19, 1.28, 1.33, 1.36, 1.46, 1.6, 1.9, 1.95, 2.05)
_FOREIGN = (0, 1, 1, 1.01, 1.13, 1.28, 1.42, 1.53, 1.66, 1.74, 2.0, 2.2, 2.25, 2.43, 2.55, 2.74, 2.9, 3.3)
_PER_LETTER_BEYOND = 0.25
_ACCENTED = 1.5
_OF_ROW = (0, 1.0, 2.17, 3.4, 4.6)  # tokens of so many words of the list in a row
_PER_WORD_BEYOND = 1.2
_TOKENS_PER_OTHER = 1.3  # letters of a script without words of its own
_STRETCH = {
    "cyrillic": 1.2,
    "hebrew": 1.1,
    "arabic": 1.12,
    "hangul": 1.35,
    "han": 1.2,
    "kana": 1.15,
}  # common words are cheap

# A text is taken for English while a fifth of its words are on the list; running English has a third and more, other languages a
# twentieth.
_ENGLISH_SHARE = 0.2
_FEWEST_WORDS = 5


def has_several_words(text: str) -> bool:
    """Whether a string is prose rather than an id or a single word. Scripts without spaces: five characters in a row."""
    return _SEVERAL.search(text) is not None


def in_words(text: str, surrogates: Surrogates, domain: str) -> str:
    seed = b""
    known = words = 0
    lines = []
    for line in text.splitlines(keepends=True):
        if line.isspace() and line.isascii():
            lines.append(line)
            continue
        seed = surrogates.digest(domain, b"words:" + seed + line.encode("utf-8", "surrogatepass"), 32)
        pieces = [(match.lastgroup or "", match.group()) for match in _PIECE.finditer(line)]
        plain = [piece.lower() for kind, piece in pieces if kind in {"camel", "accented"} and len(piece) > 2]
        words += len(plain)
        known += sum(word in _known() for word in plain)
        table = _FOREIGN if words >= _FEWEST_WORDS and known < _ENGLISH_SHARE * words else _ENGLISH
        lines.append("".join(_in_words(pieces, table, _stream(seed, 2 * len(line)))))
    return "".join(lines)


def _in_words(pieces: Iterable[tuple[str, str]], table: Sequence[float], drawn: Iterator[int]) -> Iterator[str]:
    owed = 0.0  # tokens the original has had so far, on average, less ours
    spare = 0.0  # the same in letters of other scripts
    for kind, piece in pieces:
        if kind in {"same", "suffix"}:
            yield piece.replace("@", "#")  # audit would take it for an address
        elif kind == "digits":
            yield "0" * len(piece)
        elif kind == "camel" and (piece.isupper() or len(piece) == 1):
            yield _shouted(piece, drawn)
        elif kind in {"camel", "accented", "other"}:
            wanted = _tokens(piece, kind, table) + owed
            count = max(1, min(round((wanted - 0.5) / _PER_WORD_BEYOND + 0.5), len(piece)))
            owed = wanted - _of_row(count)
            yield _latin(piece, count, drawn)
        elif kind == "picture":
            yield _PICTURES[next(drawn) % len(_PICTURES)]
        elif kind in _SCRIPTS:
            letters = len(piece) * _STRETCH.get(kind, 1.0) + spare
            word = _of_script(kind, max(round(letters), 1), drawn)
            spare = letters - len(word)
            yield word


def _stream(seed: bytes, most: int) -> Iterator[int]:
    """Evenly distributed numbers below 2^16."""
    octets = hashlib.shake_128(seed).digest(2 * most + 2)
    return (octets[at] << 8 | octets[at + 1] for at in range(0, len(octets), 2))


def _tokens(piece: str, kind: str, table: Sequence[float]) -> float:
    if kind == "other":
        return _TOKENS_PER_OTHER * len(piece)
    if kind == "camel" and piece.lower() in _known():
        return 1.0
    most = len(table) - 1
    tokens = table[min(len(piece), most)] + _PER_LETTER_BEYOND * max(len(piece) - most, 0)
    return tokens * _ACCENTED if kind == "accented" else tokens


def _of_row(count: int) -> float:
    most = len(_OF_ROW) - 1
    return _OF_ROW[min(count, most)] + _PER_WORD_BEYOND * max(count - most, 0)


def _latin(piece: str, count: int, drawn: Iterator[int]) -> str:
    words = _lists()["latin"]
    word = "".join(words[next(drawn) % len(words)] for _ in range(count))
    if piece.isupper():
        return word.upper()
    return word.capitalize() if piece[0].isupper() else word


def _shouted(piece: str, drawn: Iterator[int]) -> str:
    """Words in capitals have more tokens, the longer the more, and so have ours of that length."""
    if len(piece) > 2:
        return _of_script("latin", len(piece), drawn).upper()
    letters = "".join(chr(ord("a") + next(drawn) % 26) for _ in piece)
    return letters.upper() if piece.isupper() else letters


def _of_script(script: str, length: int, drawn: Iterator[int]) -> str:
    by_length = _by_length(script)
    longest = len(by_length) - 1
    parts = []
    while length > 0:
        words = by_length[min(length, longest)]
        parts.append(words[next(drawn) % len(words)])
        length -= len(parts[-1])
    return "".join(parts)


# -- the list


@cache
def _lists() -> Mapping[str, tuple[str, ...]]:
    text = resources.files(__package__).joinpath(_DATA).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    heads = [at for at, line in enumerate(lines) if line.startswith("[")]
    return {
        lines[start].strip("[]"): tuple(" ".join(lines[start + 1 : stop]).split())
        for start, stop in pairwise([*heads, len(lines)])
    }


def may_be_drawn(text: str) -> bool:
    """Whether a word of the lists is ``text``, or has it inside: replaced prompts say it by accident."""
    return text.lower() in _all_in_one()


@cache
def _all_in_one() -> str:
    return "\n".join(word.lower() for words in _lists().values() for word in words)


@cache
def _known() -> frozenset[str]:
    return frozenset(_lists()["latin"])


@cache
def _by_length(script: str) -> tuple[tuple[str, ...], ...]:
    """Words by the length to be filled: those of it, or the next shorter ones there are."""
    words = _lists()[script]
    lengths = sorted({len(word) for word in words})
    fitting = ((n for n in reversed(lengths) if n <= wanted) for wanted in range(lengths[-1] + 1))
    return tuple(_of_length(words, next(each, lengths[0])) for each in fitting)


def _of_length(words: Sequence[str], length: int) -> tuple[str, ...]:
    return tuple(word for word in words if len(word) == length)
