"""The span scanner refuses exactly what the standard library does not read as JSON, and its spans stand in order and apart.

Where a body is JSON, the values under the spans are the leaves that the standard library sees.
"""

import json
import random
from collections.abc import Iterator

from captures.codecs import json_spans
from captures.errors import CodecError
from fuzz import documents


def case(rng: random.Random) -> None:
    body = rng.choice([documents.v2, documents.v1])(rng)
    if rng.random() < 0.6:
        body = documents.broken(body, rng)
    try:
        expected: object = json.loads(body.decode())
    except ValueError:
        expected = CodecError
    try:
        spans = json_spans.scan(body)
    except CodecError:
        # The scanner has limits of its own (depth, spans), far beyond what these bodies hold.
        assert expected is CodecError, "refused, and the standard library reads it"
        return
    assert expected is not CodecError, "read, and the standard library refuses it"
    end = 0
    for _, start, stop, _ in spans:
        assert end <= start < stop <= len(body), "spans overlap or leave the body"
        end = stop
    found = [
        leaf
        for _, start, stop, kind in spans
        if kind != "key"
        for leaf in leaves(json.loads(body[start:stop].decode()))
    ]
    # repr, because NaN is not itself
    assert list(map(repr, found)) == list(map(repr, leaves_in_order(body))), "other values than the standard library's"


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def leaves_in_order(body: bytes) -> Iterator[object]:
    """As written: pairs, not dicts, because a duplicate key keeps both of its values."""

    class Pairs(list[object]):
        pass

    def walk(value: object) -> Iterator[object]:
        if isinstance(value, Pairs):
            for pair in value:
                assert isinstance(pair, tuple)
                yield from walk(pair[1])
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)
        else:
            yield value

    return walk(json.loads(body.decode(), object_pairs_hook=Pairs))
