"""The strict grammars of header values that may be kept: closed vocabularies, so that nothing else travels in them.

Each function gives what is kept of a value, or None where nothing of it may be.
"""

import re
from collections.abc import Callable, Mapping

_MEDIA = """
*/* application/* application/cloudevents+json application/grpc application/json application/jsonlines application/jsonl
application/ld+json application/octet-stream application/problem+json application/protobuf application/x-ndjson
application/x-protobuf application/x-recordio-protobuf application/x-www-form-urlencoded application/xml image/*
image/jpeg image/png multipart/form-data text/* text/csv text/event-stream text/html text/libsvm text/plain
"""
MEDIA_TYPES = frozenset(_MEDIA.split())
_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii", "iso-8859-1"))
_CODINGS = frozenset(("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity", "chunked", "trailers", "*"))
_CONNECTIONS = frozenset(("close", "keep-alive", "te", "upgrade"))
_QUALITY = re.compile(r"q=[01](?:\.[0-9]{0,3})?")
_SMALL = re.compile(r"[0-9]{1,7}", re.ASCII)

# First match wins: most clients name another in passing ("Mozilla/5.0 … Chrome").
_AGENTS = """
python-requests python-httpx python-urllib3 aiohttp tritonclient kserve openai anthropic curl wget go-http-client okhttp
apache-httpclient java node undici axios grpc kube-probe prometheus envoy istio k6 locust vegeta hey wrk oha
shadowtape postmanruntime insomnia elb-healthchecker googlehc amazon-route53 mozilla
"""
AGENTS = tuple(_AGENTS.split())


def media_type(value: str) -> str | None:
    """The type where it is a common one, with its charset; every other parameter is left out."""
    kept = _with_parameters(value, MEDIA_TYPES, _charset)
    return kept if kept and "*" not in kept else None


def media_ranges(value: str) -> str | None:
    return _listed(value, MEDIA_TYPES)


def codings(value: str) -> str | None:
    return _listed(value, _CODINGS)


def connection_options(value: str) -> str | None:
    return _listed(value, _CONNECTIONS)


def small_integer(value: str) -> str | None:
    return value if _SMALL.fullmatch(value) else None


def agent_class(value: str) -> str | None:
    """The product's name where it is a well-known one, else ``other``; never a version, never a comment."""
    product = value.strip().lower()
    return next((agent for agent in AGENTS if product.startswith(agent)), "other")


def _charset(parameter: str) -> bool:
    name, _, charset = parameter.partition("=")
    return name.lower() == "charset" and charset.strip('"').lower() in _CHARSETS


def _quality(parameter: str) -> bool:
    return _QUALITY.fullmatch(parameter.lower()) is not None


def _listed(value: str, words: frozenset[str]) -> str | None:
    items = (_with_parameters(item, words, _quality) for item in value.split(","))
    return ", ".join(item for item in items if item) or None


def _with_parameters(value: str, words: frozenset[str], fits: Callable[[str], bool]) -> str | None:
    word, *parameters = (part.strip() for part in value.split(";"))
    if word.lower() not in words:
        return None
    return "; ".join((word.lower(), *dict.fromkeys(parameter.lower() for parameter in parameters if fits(parameter))))


GRAMMARS: Mapping[str, Callable[[str], str | None]] = {
    "accept": media_ranges,
    "accept-encoding": codings,
    "connection": connection_options,
    "content-encoding": codings,
    "content-type": media_type,
    "grpc-status": small_integer,
    "inference-header-content-length": small_integer,
    "te": codings,
    "transfer-encoding": codings,
    "user-agent": agent_class,
}
