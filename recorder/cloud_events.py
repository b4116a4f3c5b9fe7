"""KServe's inference logger over HTTP: a CloudEvent for a request, another for its answer. Told from copies, and read. Pure.

It sends events in binary mode (attributes as ``ce-…`` headers, the body as it was); structured mode and batches are read too.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from captures.codecs.json_spans import load
from captures.errors import CodecError
from captures.importers.importer import Dropped
from captures.importers.kserve_events import CE_TYPE, Event, event_from
from recorder.wire import WireBody

_BINARY = re.compile(rb"\r\nce-type:[ \t]*+" + re.escape(CE_TYPE), re.IGNORECASE)
_STRUCTURED = re.compile(rb"\r\ncontent-type:[ \t]*+application/cloudevents(-batch)?\+json", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"\r\n(?:ce-([a-z0-9]+)|(content-type)):[ \t]*+([^\r\n]*+)", re.IGNORECASE)
_WHERE = "event"
UNKNOWN = "unknown_type"


@dataclass(frozen=True, slots=True)
class Half:
    """``body`` is as the service got or gave it. ``event`` holds no second copy of it."""

    event: Event
    body: WireBody


def may_hold_events(head: bytes) -> bool:
    """Whether a request brings events of an inference logger, as far as its head tells. Other CloudEvents are requests like any."""
    lower = head.lower()  # most heads hold neither word, and a search for a word costs a tenth of a pattern
    if b"\r\nce-type:" in lower and _BINARY.search(head) is not None:
        return True
    return b"cloudevents" in lower and _STRUCTURED.search(head) is not None


def halves_in(head: bytes, body: WireBody) -> list[Half | Dropped]:
    """Of a request that may hold events; at least one."""
    data = b"".join(piece for _, piece in body.chunks)
    if _STRUCTURED.search(head) is None:
        event = event_from(_attributes(head), _WHERE, b"")
        return [event if isinstance(event, Dropped) else Half(event, body)]
    try:
        records = None if body.truncated else load(data)
    except CodecError:
        records = None
    found = [_half(record, body.end_ns) for record in (records if isinstance(records, list) else [records])]
    return found or [Dropped("damaged", _WHERE)]


def _half(record: object, at_ns: int) -> Half | Dropped:
    event = event_from(record, _WHERE) if isinstance(record, dict) else Dropped("damaged", _WHERE)
    if isinstance(event, Dropped):
        return event
    size = len(event.body)
    chunks = [(at_ns, event.body)] if size else []
    return Half(event, WireBody(chunks=chunks, size=size, held=size, end_ns=at_ns))


def _attributes(head: bytes) -> dict[str, object]:
    """CloudEvents 1.0, HTTP binding §3.1.3: values are percent-encoded. Go's SDK writes them as they are, so JSON stays JSON."""
    found: dict[str, object] = {"specversion": "1.0"}
    for name, content_type, value in _ATTRIBUTE.findall(head):
        text = value.rstrip(b" \t").decode("latin-1")
        if content_type:
            found["datacontenttype"] = text
        else:
            found[name.decode().lower()] = text if text.startswith("{") else unquote(text, errors="replace")
    return found
