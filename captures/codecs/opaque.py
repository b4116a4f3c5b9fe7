"""The fallback: claims everything, understands nothing, says so.

Its routes keep only path segments that many servers share; every other segment becomes ``{}``, for it may name
somebody.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Document, Opaque, Role
from captures.codecs.codec import Claim, Leaf, Side
from captures.codecs.compressed import is_compressed
from captures.codecs.json_spans import load, scan
from captures.codecs.routes import path_of
from captures.errors import CodecError
from captures.exchange import Request

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))

_COMMON = """
api chat completions config docs embeddings endpoints explain explanations favicon.ico generate generate_stream health
healthz index infer invocations live livez metadata metrics models openai openapi.json ping predict predictions ready
readyz repository rerank responses score stats status v1 v1.0 v2 v3 version versions
"""
COMMON_SEGMENTS = frozenset(_COMMON.split())
_MAX_SEGMENTS = 8  # a route is a name: short


class OpaqueCodec:
    """JSON becomes a `Document`, anything else `Opaque`. Never inference, no features."""

    name = "opaque"
    control_words = frozenset[str]()

    def claims(self, request: Request) -> Claim:
        method = request.method if request.method in METHODS else "OTHER"
        return Claim(codec=self.name, route=f"{method} {template_of(request.target)}", inference=False)

    def decode(self, bodies: Sequence[bytes], side: Side) -> list[Body | Exception]:  # noqa: ARG002 - both sides alike
        return [_document(body) for body in bodies]

    def leaves(self, body: bytes, side: Side) -> list[Leaf]:  # noqa: ARG002 - both sides alike
        return [Leaf(path, start, stop, kind, Role.OTHER, name_of(path)) for path, start, stop, kind in scan(body)]

    def features(self, bodies: Sequence[Body]) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:  # noqa: ARG002 - none ever
        return {}

    def encode_features(
        self, bodies: Sequence[bytes], columns: Mapping[str, Sequence[NDArray[np.float64]]]
    ) -> list[bytes]:
        if any(len(values) for column in columns.values() for values in column):
            raise CodecError("a body no codec understands has no features to replace")
        return list(bodies)


def template_of(target: str) -> str:
    """``/users/ada/health`` becomes ``/{}/{}/health``."""
    segments = path_of(target).split("/")[1:]
    kept = [segment if segment in COMMON_SEGMENTS or not segment else "{}" for segment in segments[:_MAX_SEGMENTS]]
    return "/" + "/".join(kept) + ("/…" if len(segments) > _MAX_SEGMENTS else "")


def name_of(path: tuple[str | int, ...]) -> str:
    """The innermost key of a path."""
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _document(body: bytes) -> Body:
    if is_compressed(body):
        return Opaque("content-encoding", len(body))
    try:
        return Document(load(body))
    except CodecError:
        return Opaque("not JSON" if body else "empty", len(body))
