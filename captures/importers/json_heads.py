"""Which keys the first object of a JSON file has, as far as the beginning of the file shows: for `sniff`. Nothing here recurses."""

import re

# The closing quote is optional: a head of nothing but \" would be read once for each of its quotes.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+'
_TOKEN = re.compile(rb"(" + _STRING + rb")(\s*+:)?|[{}\[\]]", re.DOTALL)
_FIRST = re.compile(rb"\s*+(?:\xef\xbb\xbf)?\s*+(\[\s*+)?\{")
_OPENING, _CLOSING = frozenset(b"{["), frozenset(b"}]")


def first_keys(head: bytes) -> frozenset[str]:
    """The keys of the first object, or of the first object of an array, as they are spelled; none where the file begins otherwise.
    ``head`` may be cut off anywhere.
    """
    start = _FIRST.match(head)
    if start is None:
        return frozenset()
    keys: set[str] = set()
    depth = 1
    for token in _TOKEN.finditer(head, start.end()):
        if token[1] is not None:
            if depth == 1 and token[2] is not None:
                keys.add(token[1][1:-1].decode(errors="replace"))
        elif token[0][0] in _OPENING:
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                break
    return frozenset(keys)
