"""Tell a name somebody chose for a field from data that stands where a name should.

No test of a string can prove that it names nobody; these rules only keep what reads like a schema and let everything else be
replaced.
"""

import re
from functools import lru_cache

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_DATA = re.compile(
    r"[0-9]{5}"  # a run of digits: an account, a date
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"  # a UUID
    r"|[0-9a-fA-F]{16}"  # a digest, a trace id
    r"|^[0-9]{1,3}(?:\.[0-9]{1,3}){3}"  # an IPv4 address
    r"|^(?:[xX]-)?(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abprs]|hf)[-_]"  # prefixes of well-known API keys
    r"|^eyJ|^stk1_"  # a JSON Web Token, a token of ours
    r"|(?:AKIA|ASIA)[0-9A-Z]{12}",  # an AWS access key id
    re.ASCII,
)
_MOST_DIGITS = 6  # of one name, in all: phone numbers and dates have more
_LONGEST_MIXED_WORD = 15  # letters with digits among them
_LONGEST_WORD = 40
_SHORT_WORD = 10
_CACHED = 4096  # names: every body of a route repeats them
_SHORTEST_PIECE = 3  # letters per capitalised piece: CamelCase has more, base64 has fewer

_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_IDENTITY = """
id ids uid uids uuid uuids guid user users username login account accounts customer customers client patient member
employee person ssn nin passport licence license vin iban pan card cvv phone mobile tel fax msisdn imei imsi mac ip
session token tokens cookie email mail key secret password pin birthday birthdate dob
"""
_CONTENT = """
image images img pixel pixels audio speech waveform spectrogram video frame frames embedding embeddings logprobs bytes
b64 text prompt
"""
_IDENTITY_WORDS = frozenset(_IDENTITY.split())
_CONTENT_WORDS = frozenset(_CONTENT.split())
_NUMBER_WORDS = frozenset(("number", "no", "num", "nr", "code", "hash", "value", "values"))
_PLAIN_FIRST = frozenset(
    ("max", "min", "num", "n", "count", "total", "mean", "avg", "sum", "has", "is", "class", "label", "category")
)
_ID_SUFFIX = re.compile(
    r"(?:user|account|acct|customer|cust|client|device|session|person|patient|member|token|order)ids?"
)


@lru_cache(_CACHED)
def is_plain(text: str) -> bool:
    """Whether ``text`` reads like the name of a feature, tensor, model, header or parameter."""
    if not _NAME.fullmatch(text) or _DATA.search(text) or sum(map(str.isdigit, text)) > _MOST_DIGITS:
        return False
    return all(_is_plain_word(word) for word in _WORD.findall(text))


def _is_plain_word(word: str) -> bool:
    if not word.isalpha():
        return len(word) <= _LONGEST_MIXED_WORD
    pieces = _CAMEL.findall(word)
    return len(word) <= _LONGEST_WORD and (len(word) < _SHORT_WORD or len(word) >= _SHORTEST_PIECE * len(pieces))


def names_content(name: str) -> bool:
    """Whether what is under ``name`` is content (``prompt``, ``text_input``, ``image``), rather than somebody's."""
    words = [word.lower() for word in _CAMEL.findall(name.partition("[")[0]) if word.isalpha()]
    return bool(words) and (words[-1] in _CONTENT_WORDS or words[0] in _CONTENT_WORDS)


@lru_cache(_CACHED)
def names_identity(name: str) -> bool:
    """Whether numbers under ``name`` are somebody's (``user_id``, ``cardNumber``) or content (``input_ids``, ``image``)."""
    words = [word.lower() for word in _CAMEL.findall(name.partition("[")[0]) if word.isalpha()]
    if not words or words[0] in _PLAIN_FIRST:
        return False
    if words[-1] in _CONTENT_WORDS or words[0] in _CONTENT_WORDS:
        return True
    if words[-1] in _NUMBER_WORDS and len(words) > 1:
        words.pop()
    return words[-1] in _IDENTITY_WORDS or _ID_SUFFIX.fullmatch(words[-1]) is not None
