"""What Envoy's tap says about one HTTP message -> an `Exchange`. Pure.

Names come as protobuf's JSON has them: snake_case as Envoy writes it, or camelCase. What is missing or of another type is as if it
were not there.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from captures.exchange import NO_FLAGS, Chunk, Exchange, Failure, FailureKind, Flags, Headers, Request, Response, header
from captures.importers.decoded import (
    base64_bytes,
    bytes_of,
    is_stream,
    target_text,
    wire_text,
    with_host,
    without_pseudo,
)
from captures.importers.http_message import content_length
from captures.importers.instants import instant_ns

type Member = Mapping[str, Any]

_LARGEST_STATUS = 999


@dataclass(slots=True)
class Side:
    """A request or a response as far as it was tapped. ``at_ns``: when its head came; -1: the tap does not say."""

    headers: Headers = ()
    pieces: list[bytes] = field(default_factory=list)
    truncated: bool = False
    at_ns: int = -1

    def add(self, body: Member) -> None:
        piece = _bytes(body, header(self.headers, "content-type") or "")
        self.truncated |= piece is None or member(body, "truncated") is True
        if piece:
            self.pieces.append(piece)


def side_of(message: object) -> Side | None:
    """A message of a buffered trace; None: there is none, or it has no headers."""
    headers = headers_of(message)
    if not headers or not isinstance(message, dict):
        return None
    side = Side(headers)
    with contextlib.suppress(ValueError):
        side.at_ns = instant_ns(str(member(message, "headers_received_time")))
    body = member(message, "body")
    if isinstance(body, dict):
        side.add(body)
    return side


def exchange_of(request: Side, response: Side | None, arrival_ns: int, connection: int) -> Exchange | None:
    """``arrival_ns`` where the request has no time of its own. None: the request has no method or path."""
    pseudo = {name: value for name, value in request.headers if name.startswith(":")}
    method, target = pseudo.get(":method", ""), pseudo.get(":path", "") or pseudo.get(":authority", "")
    if not method or not target:
        return None
    at_ns = request.at_ns if request.at_ns >= 0 else arrival_ns
    headers = with_host(without_pseudo(request.headers), pseudo.get(":authority", ""))
    flags = Flags.REQUEST_TRUNCATED if request.truncated else NO_FLAGS
    answer, more = _response(response, at_ns)
    return Exchange(
        arrival_ns=at_ns,
        request=Request(
            method=method,
            target=target_text(target),
            headers=headers,
            chunks=_chunks(request, at_ns),
            end_ns=at_ns,
            size=_size(request, headers),
        ),
        response=answer,
        failure=None if answer else Failure(FailureKind.RESET, at_ns, "no response in the tap"),
        connection=connection,
        flags=flags | more,
    )


def _response(side: Side | None, arrival_ns: int) -> tuple[Response | None, Flags]:
    status = header(side.headers, ":status") if side else None
    if side is None or not status or not status.isdecimal() or not 0 < int(status[:9]) <= _LARGEST_STATUS:
        return None, NO_FLAGS
    first_ns = max(side.at_ns, arrival_ns)
    headers = without_pseudo(side.headers)
    flags = Flags.STREAM if is_stream(headers) else NO_FLAGS
    if side.truncated:
        flags |= Flags.RESPONSE_TRUNCATED
    response = Response(
        status=int(status),
        headers=headers,
        chunks=_chunks(side, first_ns),
        first_ns=first_ns,
        end_ns=first_ns,
        size=_size(side, headers),
    )
    return response, flags


def _chunks(side: Side, at_ns: int) -> tuple[Chunk, ...]:
    return tuple(Chunk(at_ns, piece) for piece in side.pieces)


def _size(side: Side, headers: Headers) -> int:
    kept = sum(map(len, side.pieces))
    return max(kept, content_length(headers) or 0) if side.truncated else kept


def _bytes(body: Member, content_type: str) -> bytes | None:
    """None: what is there is not base64."""
    text = member(body, "as_string")
    if isinstance(text, str):
        return bytes_of(text, content_type, -1)
    data = member(body, "as_bytes")
    return base64_bytes(data) if isinstance(data, str) else b""


def headers_of(message: object) -> Headers:
    """From {"headers": [{"key": …, "value": …}, …]}; values that are not UTF-8 come as base64 in ``raw_value``."""
    found = member(message, "headers") if isinstance(message, dict) else None
    return tuple(_pairs(found)) if isinstance(found, list) else ()


def _pairs(items: list[object]) -> Iterator[tuple[str, str]]:
    for item in items:
        if not isinstance(item, dict) or not isinstance(name := item.get("key"), str) or not name:
            continue
        value, raw = item.get("value"), member(item, "raw_value")
        if not value and isinstance(raw, str):
            value = (base64_bytes(raw) or b"").decode("latin-1")
        yield wire_text(name), wire_text(value) if isinstance(value, str) else ""


def member(parent: Member, name: str) -> Any:
    """By its name in snake_case, or the same in camelCase."""
    if name in parent:
        return parent[name]
    first, *rest = name.split("_")
    return parent.get(first + "".join(map(str.capitalize, rest)))
