"""One record of KServe's inference logger -> one half of an exchange. Pure, and total: what is wrong is `Dropped`."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from captures.codecs.json_spans import load
from captures.errors import CodecError
from captures.exchange import Headers, header
from captures.importers.decoded import wire_text
from captures.importers.importer import Dropped
from captures.importers.instants import instant_ns

CE_TYPE = b"org.kubeflow.serving.inference."
_TYPES = {f"{CE_TYPE.decode()}{side}": side for side in ("request", "response")}
_SAME = ("namespace", "component", "endpoint", "inferenceService", "inferenceservicename")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_WHITE = re.compile(rb"[ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class Event:
    """``key`` is equal for a request and its response and for no others. ``at_ns`` is -1 where there is no time."""

    side: str  # "request" or "response"
    key: tuple[str, ...]
    at_ns: int
    body: bytes
    headers: Headers  # of the request, as far as the logger was told to keep them
    service: str
    where: str
    made_up: bool = False  # the time


def event_of(data: bytes, where: str) -> Event | Dropped:
    """``data``: a JSON object. ``where``: what `Dropped` says."""
    try:
        record = load(data)
    except (CodecError, RecursionError):
        return Dropped("damaged", where)
    return event_from(record, where) if isinstance(record, dict) else Dropped("damaged", where)


def event_from(record: Mapping[str, object], where: str, body: bytes | None = None) -> Event | Dropped:
    """``record``: the object as it was parsed. ``body``: its data, where that is not in it (CloudEvents in binary mode)."""
    try:
        known = {key[:1].lower() + key[1:]: value for key, value in record.items()}
        side = _TYPES.get(str(known.get("type" if "specversion" in known else "reqType")))
        if side is None:
            return Dropped("unknown_type", where)
        identity = str(known.get("id") or "")
        if not identity:
            return Dropped("no_id", where)
        return Event(
            side=side,
            key=(identity, *(str(known.get(name) or "") for name in _SAME)),
            at_ns=_at_ns(known.get("time" if "specversion" in known else "occurrenceTime")),
            body=_body(known) if body is None else body,
            headers=_headers(known) if side == "request" else (),
            service=str(known.get("inferenceService") or known.get("inferenceservicename") or ""),
            where=where,
        )
    except (binascii.Error, ValueError, RecursionError):
        return Dropped("damaged", where)


def _at_ns(text: object) -> int:
    """-1 for none, for Go's zero time (year 1) and for what is no time."""
    try:
        return instant_ns(text) if isinstance(text, str) else -1
    except ValueError:
        return -1


def _body(known: Mapping[str, object]) -> bytes:
    """Raises ValueError (binascii.Error among them)."""
    encoded = known.get("data_base64" if "specversion" in known else "bytes")
    if encoded is None:
        return _written(known) if "specversion" in known and known.get("data") is not None else b""
    if type(encoded) is not str:
        raise ValueError("no base64")
    return base64.b64decode(_WHITE.sub(b"", encoded.encode()), validate=True)


def _written(known: Mapping[str, object]) -> bytes:
    """CloudEvents 1.0, JSON format §3.1: JSON stands as it is, anything else as a string."""
    data, kind = known["data"], str(known.get("datacontenttype") or "application/json")
    if isinstance(data, str) and "json" not in kind.lower():
        return data.encode(errors="replace")
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _headers(known: Mapping[str, object]) -> Headers:
    """The allow-listed headers of the request, and its content type."""
    metadata = known.get("metadata")
    if isinstance(metadata, str):  # the attribute of a CloudEvent is JSON inside JSON
        try:
            metadata = load(metadata.encode(errors="replace"))
        except CodecError:
            metadata = None
    found = tuple(
        (name, wire_text(str(value)))
        for name, values in (metadata.items() if isinstance(metadata, dict) else ())
        if _HEADER_NAME.fullmatch(name)
        for value in (values if isinstance(values, list) else [values])
    )
    kind = known.get("datacontenttype" if "specversion" in known else "contentType")
    if not isinstance(kind, str) or not kind or header(found, "content-type") is not None:
        return found
    return (("Content-Type", wire_text(kind)), *found)
