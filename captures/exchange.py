"""The frozen nouns: what was said on the wire, and when.

This file knows no format, no codec and no clock. Times are ``int`` nanoseconds counted from the
capture's monotonic zero (names end in ``_ns``); the capture's header anchors that zero to the wall clock.
Header names and values are ``str`` decoded as latin-1, in the order and spelling they came.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

type Headers = tuple[tuple[str, str], ...]
type Labels = tuple[tuple[str, str], ...]
"""(name, value) pairs, sorted by name, a name once; an empty value is the same as no label."""

RUN_HEADER = "X-Shadowtape-Run"
"""Carried by every request a replay sends; traffic that carries it is left out of recordings and counted."""


class FailureKind(IntEnum):
    """Why there is no complete response. The numbers are part of the format: never change or reuse one."""

    NONE = 0
    CLIENT_DISCONNECT = 1  # the client went away before the response was complete
    CONNECT = 2  # no connection to the server: refused, unreachable, name not found, TLS refused
    RESET = 3  # the server closed or reset the connection before the response was complete
    TIMEOUT = 4
    PROTOCOL = 5  # what came back was not HTTP
    SHED = 6  # never sent: the in-flight cap was reached
    UNSENT = 7  # never sent: the run ended (interrupt, circuit breaker) first
    INTERNAL = 8  # our own fault, counted as such


class Flags(IntFlag):
    """What may be concluded from an exchange. The numbers are part of the format."""

    REPLAYABLE = 1  # the request is complete and can be sent again
    RECORDED_VALID = 2  # no model-visible request value and no prediction was altered
    REQUEST_TRUNCATED = 4
    RESPONSE_TRUNCATED = 8
    REQUEST_ALTERED = 16  # the policy or a rewrite replaced something in the request body
    RESPONSE_ALTERED = 32  # the policy replaced something in the response body
    REQUEST_DROPPED = 64  # the request body was not kept (policy, or by reference: see Origin)
    RESPONSE_DROPPED = 128  # the response body was not kept
    INFERENCE = 256  # a codec recognised the call as inference (not health, metadata or repository)
    UNPARSED = 512  # claimed by a codec that could not read it; kept as Opaque
    STREAM = 1024  # the response is a stream (SSE, NDJSON, chunked without length)
    SYNTHETIC = 2048  # made up by an importer from a trace: nothing in its bodies was ever on a wire


NO_FLAGS = Flags(0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Body bytes that arrived together."""

    at_ns: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``target`` is the request-target as sent, path and query. ``size`` is the body's length on the wire,
    which differs from the bytes kept where the policy replaced or dropped some.
    """

    method: str
    target: str
    headers: Headers = ()
    chunks: tuple[Chunk, ...] = ()
    end_ns: int = -1  # last byte; -1: it never came
    size: int = 0
    http_version: str = "HTTP/1.1"

    @property
    def body(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int
    headers: Headers = ()
    chunks: tuple[Chunk, ...] = ()
    first_ns: int = -1  # first byte of the head
    end_ns: int = -1  # last byte of the body; -1: it never came
    size: int = 0
    reason: str = ""

    @property
    def body(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    at_ns: int
    detail: str = ""  # our own words or an errno name, never a byte of traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an attempt of a run came from. ``source`` is the ordinal over the run's ordered inputs."""

    row: int
    source: int
    variant: int
    target: str  # the target's role: "target", "baseline", "candidate", …
    attempt: int = 1
    intended_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back. ``arrival_ns`` is the request's first byte; for an attempt, its dispatch
    (its intended time where it was never sent).
    """

    arrival_ns: int
    request: Request
    response: Response | None = None
    failure: Failure | None = None
    route: str = ""  # METHOD and template: "POST /v2/models/{model}/infer"
    codec: str = "opaque"
    model: str = ""
    session: int = 0  # keyed hash of what the policy names as session key; 0: none
    connection: int = 0
    flags: Flags = NO_FLAGS
    labels: Labels = ()
    origin: Origin | None = None


def header(headers: Headers, name: str) -> str | None:
    """The first value of a header, by case-insensitive name (RFC 9110 §5.1)."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)
