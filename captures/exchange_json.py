"""Exchanges and headers as JSON objects and back, exactly. docs/jsonl.md describes every key; the jsonl importer and exporter are
the lines around it.

A body that is UTF-8 is a string, any other is ``{"base64": …}``. Times are ns since the exchange's arrival; ``null``: never came.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import orjson

from captures.confessions import Confessions
from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Headers, Origin, Request, Response
from captures.frame import SYNC_SIZE
from captures.header import Header, pack_header

type Data = dict[str, Any]

_BYTES_OF_HEADER = ("file_id", "recording_id")
_MOST_LABELS = 256
_FAR_NS = 1 << 62  # of a time: 146 years, and two of them still fit into 64 bits


def dumps(data: Data) -> bytes:
    """One line, without its end. What JSON's own grammar cannot spell (lone surrogates) is escaped."""
    try:
        return orjson.dumps(data)
    except TypeError:
        return json.dumps(data, separators=(",", ":"), default=_body_data).encode()


def loads(line: bytes) -> Data:
    """Raises ValueError: not a JSON object. The message never quotes it."""
    data = _loaded(line)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data


def exchange_data(exchange: Exchange) -> Data:
    at, request, response = exchange.arrival_ns, exchange.request, exchange.response
    data: Data = {
        "arrival_ns": at,
        "request": {
            "method": request.method,
            "target": request.target,
            "http_version": request.http_version,
            "headers": request.headers,
            "end_ns": _since(at, request.end_ns),
            "size": request.size,
            **_chunks_data(at, request.chunks),
        },
    }
    if response is not None:
        data["response"] = {
            "status": response.status,
            "reason": response.reason,
            "headers": response.headers,
            "first_ns": _since(at, response.first_ns),
            "end_ns": _since(at, response.end_ns),
            "size": response.size,
            **_chunks_data(at, response.chunks),
        }
    if exchange.failure is not None:
        failure = exchange.failure
        data["failure"] = {
            "kind": failure.kind.name.lower(),
            "at_ns": _since(at, failure.at_ns),
            "detail": failure.detail,
        }
    data |= {
        "route": exchange.route,
        "codec": exchange.codec,
        "model": exchange.model,
        "session": exchange.session,
        "connection": exchange.connection,
        "flags": _flags_data(exchange.flags),
    }
    if exchange.labels:
        data["labels"] = dict(exchange.labels)
    if exchange.origin is not None:
        data["origin"] = asdict(exchange.origin)
    return data


def exchange_from(data: Data) -> Exchange:
    """The exchange of `exchange_data`; what a line made by hand leaves out is filled in as docs/jsonl.md says.

    Raises ValueError, which never quotes the line.
    """
    at = _ns(data, "arrival_ns")
    request, response, failure = _object(data, "request"), data.get("response"), data.get("failure")
    return Exchange(
        arrival_ns=at,
        request=_request(at, request),
        response=None if response is None else _response(at, _object(data, "response")),
        failure=None if failure is None else _failure(at, _object(data, "failure")),
        route=_text(data, "route", ""),
        codec=_text(data, "codec", "opaque"),
        model=_text(data, "model", ""),
        session=_count(data, "session", 64, 0),
        connection=_count(data, "connection", 32, 0),
        flags=_flags(data.get("flags", [])),
        labels=_labels(data.get("labels", {})),
        origin=None if data.get("origin") is None else _origin(_object(data, "origin")),
    )


def header_data(header: Header) -> Data:
    data = {item.name: getattr(header, item.name) for item in fields(Header)}
    return data | {name: getattr(header, name).hex() for name in _BYTES_OF_HEADER}


def header_from(data: Data) -> Header:
    """Unknown keys are ignored. Raises ValueError."""
    known = {item.name: data[item.name] for item in fields(Header) if item.name in data}
    try:
        known |= {name: bytes.fromhex(known[name]) for name in _BYTES_OF_HEADER}
        for name in ("source_digests", "inputs", "labels"):
            known[name] = tuple(known.get(name, ()))
        header = Header(**known)
        ok = (
            all(isinstance(getattr(header, name), int) for name in ("number", "wall_ns", "expires_ns", "oldest"))
            and all(isinstance(getattr(header, name), str) for name in ("producer", "policy_digest", "key_id"))
            and all(isinstance(getattr(header, name), dict) for name in ("policy", "notes", "encryption"))
            and all(isinstance(name, str) for name in (*header.labels, *header.source_digests))
            and isinstance(header.sampling_rate, int | float)
            and len(header.labels) <= _MOST_LABELS
        )
        pack_header(header, bytes(SYNC_SIZE))  # what no capture could hold
    except (TypeError, KeyError, ValueError, OverflowError, RecursionError):
        raise ValueError("not the header of a capture") from None
    if not ok:
        raise ValueError("a key of the header has the wrong type")
    return header


def confessions_from(data: object) -> Confessions:
    """Raises ValueError."""
    if not isinstance(data, dict):
        raise ValueError("confessions are an object")
    known = {item.name: data[item.name] for item in fields(Confessions) if item.name in data}
    if not all(isinstance(value, int | float) and value >= 0 for value in known.values()):
        raise ValueError("confessions are counts")
    return Confessions(**known)


# -- to JSON


def _since(at: int, ns: int) -> int | None:
    return None if ns == -1 else ns - at


def _chunks_data(at: int, chunks: tuple[Chunk, ...]) -> Data:
    body = b"".join(chunk.data for chunk in chunks)
    return {"body": _body_data(body), "chunks": [[chunk.at_ns - at, len(chunk.data)] for chunk in chunks]}


def _body_data(body: object) -> object:
    if not isinstance(body, bytes):
        raise TypeError(f"{type(body).__name__} has no place in JSON")
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(body).decode()}


def _flags_data(flags: Flags) -> list[str | int]:
    """Names, and the number of what a later version added."""
    names: list[str | int] = [str(flag.name).lower() for flag in Flags if flag in flags]
    unknown = int(flags) & ~sum(Flags)
    return [*names, unknown] if unknown else names


# -- from JSON


def _loaded(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:  # it refuses lone surrogates, which a header may hold
        return json.loads(line.decode(), parse_constant=_refused)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _refused(_constant: str) -> object:
    raise ValueError("not JSON")


def _request(at: int, data: Data) -> Request:
    end_ns = _time(at, data, "end_ns", at)
    chunks = _chunks(at, data, end_ns)
    return Request(
        method=_text(data, "method"),
        target=_text(data, "target"),
        headers=_headers(data.get("headers", [])),
        chunks=chunks,
        end_ns=end_ns,
        size=_count(data, "size", 64, sum(len(chunk.data) for chunk in chunks)),
        http_version=_text(data, "http_version", "HTTP/1.1"),
    )


def _response(at: int, data: Data) -> Response:
    end_ns = _time(at, data, "end_ns", at)
    chunks = _chunks(at, data, end_ns)
    status = _count(data, "status", 16)
    if not status:
        raise ValueError("a response has a status")
    return Response(
        status=status,
        reason=_text(data, "reason", ""),
        headers=_headers(data.get("headers", [])),
        chunks=chunks,
        first_ns=_time(at, data, "first_ns", end_ns),
        end_ns=end_ns,
        size=_count(data, "size", 64, sum(len(chunk.data) for chunk in chunks)),
    )


def _failure(at: int, data: Data) -> Failure:
    name = _text(data, "kind").upper()
    if name not in FailureKind.__members__:
        raise ValueError("an unknown kind of failure")
    return Failure(FailureKind[name], _time(at, data, "at_ns", at), _text(data, "detail", ""))


def _origin(data: Data) -> Origin:
    return Origin(
        row=_count(data, "row", 63),
        source=_count(data, "source", 63),
        variant=_count(data, "variant", 32),
        target=_text(data, "target"),
        attempt=_count(data, "attempt", 8, 1),
        intended_ns=_ns(data, "intended_ns", 0),
    )


def _chunks(at: int, data: Data, end_ns: int) -> tuple[Chunk, ...]:
    body = _body(data.get("body", ""))
    written = data.get("chunks")
    if written is None:
        return (Chunk(at if end_ns == -1 else end_ns, body),) if body else ()
    if not isinstance(written, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in written):
        raise ValueError("chunks are pairs of a time and a size")
    found, start = [], 0
    for since_ns, size in written:
        stop = start + _require(size, 0, len(body) - start)
        found.append(Chunk(at + _require(since_ns, -_FAR_NS, _FAR_NS), body[start:stop]))
        start = stop
    if start != len(body):
        raise ValueError("the chunks do not add up to the body")
    return tuple(found)


def _body(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and isinstance(text := value.get("base64"), str):
        return b64decode(text.encode("utf-8", "replace"), validate=True)
    raise ValueError("a body is a string or base64")


def _headers(value: object) -> Headers:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError("headers are a list")
    found = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError("a header is a pair of strings")
        found.append((pair[0], pair[1]))
    return tuple(found)


def _flags(value: object) -> Flags:
    if not isinstance(value, list):
        raise ValueError("flags are a list")
    flags = Flags(0)
    for item in value:
        if isinstance(item, str) and item.upper() in Flags.__members__:
            flags |= Flags[item.upper()]
        elif isinstance(item, int) and 0 <= item < 1 << 32:
            flags |= Flags(item)
        else:
            raise ValueError("an unknown flag")
    return flags


def _labels(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("labels are an object of strings")
    return tuple(sorted(value.items()))


def _object(data: Data, name: str) -> Data:
    value = data.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    return value


def _text(data: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = data.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value


def _count(data: Mapping[str, object], name: str, bits: int, default: int | None = None) -> int:
    return _require(data.get(name, default), 0, (1 << bits) - 1)


def _ns(data: Mapping[str, object], name: str, default: int | None = None) -> int:
    return _require(data.get(name, default), -_FAR_NS, _FAR_NS)


def _time(at: int, data: Mapping[str, object], name: str, default: int) -> int:
    """Absolute; never before ``at``, -1 for null."""
    if name not in data:
        return default
    if data[name] is None:
        return -1
    return at + _require(data[name], 0, _FAR_NS)


def _require(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError("not a whole number, or out of its bounds")
    return value
