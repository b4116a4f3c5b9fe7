"""A codec never raises anything but CodecError, gives for a batch what it gives row by row, and leaves untouched bytes alone.

Its leaves stand in order and apart; encoding no features gives the same bodies back; encoding a feature's own values back
changes no value.
"""

import random

from captures.codecs.body import Body, Tensors
from captures.codecs.registry import codecs
from captures.errors import CodecError
from fuzz import documents


def case(rng: random.Random) -> None:
    bodies = [rng.choice([documents.v2, documents.v1])(rng) for _ in range(4)]
    bodies = [documents.broken(body, rng) if rng.random() < 0.4 else body for body in bodies]
    for codec in codecs():
        decoded = codec.decode(bodies, "request")
        assert len(decoded) == len(bodies)
        alone = [codec.decode([body], "request")[0] for body in bodies]
        assert [repr(body) for body in decoded] == [repr(body) for body in alone], (
            f"{codec.name}: batch and rows differ"
        )
        for body, result in zip(bodies, decoded, strict=True):
            assert not isinstance(result, Exception) or isinstance(result, CodecError), f"{codec.name}: {result!r}"
            try:
                leaves = codec.leaves(body, rng.choice(["request", "response"]))
            except CodecError:
                continue
            end = 0
            for leaf in leaves:
                assert end <= leaf.start < leaf.stop <= len(body), f"{codec.name}: leaves overlap or leave the body"
                end = leaf.stop
        assert codec.encode_features(bodies, {}) == bodies, f"{codec.name}: encoding nothing changed a body"
        read = [(body, result) for body, result in zip(bodies, decoded, strict=True) if isinstance(result, Tensors)]
        if read:
            _features_go_back(codec.name, [body for body, _ in read], [result for _, result in read])


def _tensors(decoded: list[Body | Exception]) -> list[Body]:
    assert all(isinstance(body, Tensors) for body in decoded), "what was encoded cannot be read"
    return [body for body in decoded if isinstance(body, Tensors)]


def _features_go_back(name: str, bodies: list[bytes], read: list[Tensors]) -> None:
    codec = next(codec for codec in codecs() if codec.name == name)
    features = codec.features(read)
    columns = {
        feature: [values[owner == position] for position in range(len(bodies))]
        for feature, (values, owner) in features.items()
    }
    again = codec.features(_tensors(codec.decode(codec.encode_features(bodies, columns), "request")))
    assert repr(again) == repr(features), f"{name}: values written back are not what was read"
