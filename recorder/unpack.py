"""Packed wire exchanges -> `Exchange`. Pure, and short of time: every exchange of a recording passes here.

Heads are HTTP/1.1 that a source has looked at already (`recorder.framer`), or was made by `admission.head_of`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from captures.exchange import Exchange, Failure, FailureKind, Flags, Headers, Response, header
from captures.makers import make_chunk, make_exchange, make_request, make_response

_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")
_LINES = 4096  # of each kind that are remembered
_LONGEST = 4096  # bytes of a head whose lines are
_NO_LABELS: tuple[tuple[str, str], ...] = ()
_KINDS = tuple(FailureKind)
# By request complete (1), request truncated (2), response truncated (4), stream (8): to build a flag costs as much as a head.
_FLAGS = tuple(
    (Flags.REPLAYABLE if each & 3 == 1 else Flags(0))
    | (Flags.REQUEST_TRUNCATED if each & 2 else Flags(0))
    | (Flags.RESPONSE_TRUNCATED if each & 4 else Flags(0))
    | (Flags.STREAM if each & 8 else Flags(0))
    for each in range(16)
)


def unpack_wire(packed: Any) -> Exchange:
    """What `frames.pack_wire` made, after its journey. Raises ValueError: it is not that."""
    try:
        return _unpack(packed)
    except Exception as error:  # noqa: BLE001 - whatever it stumbles over
        raise ValueError(f"not a packed exchange: {type(error).__name__}") from None


def _unpack(packed: Any) -> Exchange:
    at_ns, connection, head, request, response_head, first_ns, response, failure, failed_ns = packed
    chunks, size, end_ns, truncated = request
    lines = head.decode("latin-1").split("\r\n")
    method, target, version = (_known_request_line if len(head) <= _LONGEST else _request_line)(lines[0])
    headers = _headers(head, lines)
    flags = (1 if end_ns >= 0 else 0) | (2 if truncated else 0)
    answer: Response | None = None
    if response_head:
        kept, answer_size, answered_ns, cut = response
        lines = response_head.decode("latin-1").split("\r\n")
        status, reason = (_known_status_line if len(response_head) <= _LONGEST else _status_line)(lines[0])
        answer_headers = _headers(response_head, lines)
        if cut:
            flags |= 4
        if any(map(_known_hint if len(response_head) <= _LONGEST else _hint, lines)) and is_stream(answer_headers):
            flags |= 8
        answer = make_response(status, answer_headers, _chunks(kept), first_ns, answered_ns, answer_size, reason)
    return make_exchange(
        at_ns,
        make_request(method, target, headers, _chunks(chunks), end_ns, size, version),
        answer,
        Failure(_KINDS[failure], failed_ns) if failure else None,
        "",
        "opaque",
        "",
        0,
        connection,
        _FLAGS[flags],
        _NO_LABELS,
        None,
    )


def _chunks(chunks: Sequence[tuple[int, bytes]]) -> tuple[Any, ...]:
    if len(chunks) == 1:
        ((at_ns, data),) = chunks
        return (make_chunk(at_ns, data),)
    return tuple([make_chunk(at_ns, data) for at_ns, data in chunks])


def _headers(head: bytes, lines: list[str]) -> Headers:
    if head[-4:] != b"\r\n\r\n":
        raise ValueError("a head ends in an empty line")
    return tuple(map(_known_header if len(head) <= _LONGEST else _header, lines[1:-2]))


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name:
        raise ValueError("not a header")
    return name, value.strip(" \t")


def _request_line(line: str) -> tuple[str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not method or not target:
        raise ValueError("not a request line")
    return method, target, version


def _status_line(line: str) -> tuple[int, str]:
    _, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    number = int(status)
    if number <= 0:
        raise ValueError("not a status")
    return number, reason


def _hint(line: str) -> bool:
    """Most heads have no such line, and are not looked at more closely."""
    low = line.lower()
    return low.startswith("transfer-encoding") or any(kind in low for kind in _STREAM_TYPES)


_known_hint = lru_cache(_LINES)(_hint)
_known_header = lru_cache(_LINES)(_header)
_known_request_line = lru_cache(_LINES)(_request_line)
_known_status_line = lru_cache(_LINES)(_status_line)


def is_stream(headers: Headers) -> bool:
    """Whether the response of these headers comes in pieces: chunked without a length, or of a type that is one event a line."""
    if header(headers, "transfer-encoding") and not header(headers, "content-length"):
        return True
    kind = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES
