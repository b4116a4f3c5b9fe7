"""Finds codecs: entry points in the group ``shadowtape.codecs``, built-ins through the same door.

``classify`` answers for every exchange, so its answers are kept per (method, path), in bounded number.
"""

from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points

from captures.codecs.codec import Claim, Codec
from captures.codecs.opaque import OpaqueCodec
from captures.errors import UsageError
from captures.exchange import Request

_GROUP = "shadowtape.codecs"
_CACHED_CLAIMS = 4096
_LONGEST_CACHED = 512  # characters of method and path


@cache
def codecs() -> tuple[Codec, ...]:
    """Every codec, the fallback last. Without distribution metadata (a plain checkout) the built-ins still stand.

    Raises UsageError for a plugin that cannot be loaded: without it, its exchanges would silently be taken for opaque.
    """
    found = {point.name: _loaded(point) for point in entry_points(group=_GROUP)}
    for codec in _built_in():
        found.setdefault(codec.name, codec)
    return (*found.values(), OpaqueCodec())


def _loaded(point: EntryPoint) -> Codec:
    try:
        codec: Codec = point.load()()
    except Exception as error:  # somebody else's code: whatever it raises is about that code
        raise UsageError(
            f"codec {point.name!r} cannot be loaded from {point.value}: {type(error).__name__}: {error}; "
            "repair or uninstall the package that brings it"
        ) from error
    return codec


def _built_in() -> tuple[Codec, ...]:
    from captures.codecs.kserve_v1 import KServeV1  # noqa: PLC0415 - plugins never import a catalogue, nor it them at load
    from captures.codecs.oip_v2 import OipV2  # noqa: PLC0415 - a plugin like the other

    return OipV2(), KServeV1()


def codec_named(name: str) -> Codec | None:
    """The codec of that name, or None: a capture may come from a machine with more plugins."""
    return next((codec for codec in codecs() if codec.name == name), None)


def classify(request: Request) -> Claim:
    """Whose protocol the request speaks, by method and path alone. Never fails: the fallback claims the rest."""
    path = request.target.partition("?")[0]
    if len(request.method) + len(path) > _LONGEST_CACHED:
        return _claim(request.method, path)
    return _cached_claim(request.method, path)


def _claim(method: str, path: str) -> Claim:
    request = Request(method=method, target=path)
    claims = (codec.claims(request) for codec in codecs())
    return next(claim for claim in claims if claim is not None)


_cached_claim = lru_cache(maxsize=_CACHED_CLAIMS)(_claim)
