from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from captures.codec_testing import check_codec, same_body
from captures.codecs.body import Body, Document, Opaque, Role
from captures.codecs.codec import Claim, Leaf, Side
from captures.codecs.kserve_v1 import KServeV1
from captures.errors import CodecError
from captures.exchange import Request

REQUESTS = [b'{"instances":[{"a":1.5,"b":2,"s":"x"}]}', b'{"instances":[[1,2],[3,4]]}']


class NeverClaims(KServeV1):
    def claims(self, request: Request) -> Claim | None:
        return None


class ReadsTheBatch(KServeV1):
    def decode(self, bodies: Sequence[bytes], side: Side) -> list[Body | Exception]:
        return [Document(len(bodies)) for _ in bodies]


class RaisesAnything(KServeV1):
    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        if not body.startswith(b'{"instances"'):
            raise KeyError
        return super().leaves(body, side)


class Overlaps(KServeV1):
    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        return [leaf for leaf in super().leaves(body, side) for _ in range(2)]


class Forgets(KServeV1):
    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        return [leaf for leaf in super().leaves(body, side) if leaf.kind != "string"]


class LooksAtNumbers(KServeV1):
    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        leaves = super().leaves(body, side)
        if b"1.5" in body:
            return leaves
        return [Leaf(leaf.path, leaf.start, leaf.stop, leaf.kind, Role.OTHER, leaf.name) for leaf in leaves]


class Reformats(KServeV1):
    def encode_features(
        self, bodies: Sequence[bytes], columns: Mapping[str, Sequence[NDArray[np.float64]]]
    ) -> list[bytes]:
        return [body.replace(b",", b", ") for body in super().encode_features(bodies, columns)]


class TouchesMore(KServeV1):
    def encode_features(
        self, bodies: Sequence[bytes], columns: Mapping[str, Sequence[NDArray[np.float64]]]
    ) -> list[bytes]:
        after = super().encode_features(bodies, columns)
        return [body if body == old else body.replace(b'"x"', b'"y"') for body, old in zip(after, bodies, strict=True)]


@pytest.mark.parametrize(
    ("codec", "broken"),
    [
        (NeverClaims(), "does not claim"),
        (ReadsTheBatch(), "in a batch"),
        (Overlaps(), "overlapping"),
        (Forgets(), "no leaf covers"),
        (LooksAtNumbers(), "role depends"),
        (Reformats(), "changes"),
        (TouchesMore(), "more than numbers"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, KServeV1) else "",
)
def test_a_broken_promise_is_named(codec: KServeV1, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        check_codec(
            codec,
            requests=REQUESTS,
            responses=[],
            claimed=[Request(method="POST", target="/v1/models/m:predict")],
        )


def test_an_open_error_contract_shows() -> None:
    with pytest.raises(KeyError):
        check_codec(RaisesAnything(), requests=REQUESTS, responses=[])


def test_bodies_are_equal_where_nan_is_equal_to_nan() -> None:
    one, other = KServeV1().decode([b'{"instances":[NaN]}', b'{"instances":[NaN]}'], "request")
    assert same_body(one, other)
    assert not same_body(one, Opaque("x", 1))
    assert same_body(CodecError("a"), CodecError("b"))
