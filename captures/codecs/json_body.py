"""A JSON body -> Body, or the CodecError in its place: what every JSON codec does before its own meaning begins."""

from collections.abc import Callable

from captures.codecs.body import Body, Opaque
from captures.codecs.codec import Side
from captures.codecs.compressed import is_compressed
from captures.codecs.json_spans import load
from captures.errors import CodecError


def decoded(body: bytes, side: Side, meaning: Callable[[object, Side], Body]) -> Body | Exception:
    """``meaning`` raises CodecError where the document is not what the codec expects."""
    if is_compressed(body):
        return Opaque("content-encoding", len(body))
    try:
        return meaning(load(body), side)
    except CodecError as error:
        return error
