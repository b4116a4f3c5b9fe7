"""A capture as a HAR (HTTP Archive 1.2), for browsers' developer tools and whatever else reads one.

Response bodies that are not plainly text go in base64. A HAR has no encoding for request bodies: a binary one is lost. What the
format has no place for stands in the member ``_shadowtape`` of an entry (names with an underscore are the format's own way to
extend it), or is counted as lost. No importer reads ``_shadowtape``: a HAR is an exchange of the wire, not a capture.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from captures.exchange import Exchange, Flags, Headers, Request, Response
from captures.exchange import header as header_of
from captures.exchange_json import dumps
from captures.header import Header
from captures.importers.decoded import bytes_of, charset_of
from captures.version import __version__

type Member = dict[str, object]

UNKNOWN_HOST = "unknown.invalid"
_HOST = re.compile(r"[A-Za-z0-9._~:%\[\]-]{1,260}")
_NS_PER_US, _NS_PER_MS = 1_000, 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_KEPT_IN_PART = Flags.RESPONSE_TRUNCATED | Flags.RESPONSE_DROPPED
_SENT_IN_PART = Flags.REQUEST_TRUNCATED | Flags.REQUEST_DROPPED


@dataclass(frozen=True, slots=True)
class HarExporter:
    """``losses``: request_bodies (binary), chunk_times, unknown_times (written as 0), overlapping_times (a response that began
    before its request had ended), sub_microsecond_times, wire_sizes (where the policy changed a body's length), targets and hosts
    that are no part of a URL, failure_details, origins (of a run).
    """

    name: str = "har"
    suffixes: tuple[str, ...] = (".har", ".har.gz")

    def write(self, header: Header, exchanges: Iterable[Exchange], losses: dict[str, int]) -> Iterator[bytes]:
        creator = {"name": "shadowtape", "version": __version__}
        yield b'{"log":{"version":"1.2","creator":' + dumps(creator) + b',"entries":['
        between = b"\n"
        for exchange in exchanges:
            lost = set[str]()
            yield between + dumps(_entry(exchange, header.wall_ns, lost))
            between = b",\n"
            for loss in sorted(lost):
                losses[loss] = losses.get(loss, 0) + 1
        yield b"\n]}}\n"


def _entry(exchange: Exchange, wall_ns: int, lost: set[str]) -> Member:
    timings = _timings(exchange, lost)
    at_us, below = divmod(wall_ns + exchange.arrival_ns, _NS_PER_US)
    if below:
        lost.add("sub_microsecond_times")
    if any(len(side.chunks) > 1 for side in (exchange.request, exchange.response) if side is not None):
        lost.add("chunk_times")
    if exchange.origin is not None:
        lost.add("origins")
    started = _EPOCH + timedelta(microseconds=min(max(at_us, 0), _LAST_US))
    entry: Member = {
        "startedDateTime": started.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "time": sum(timings.values()),
        "request": _request(exchange.request, exchange.flags, lost),
        "response": _response(exchange, lost),
        "cache": {},
        "timings": timings,
    }
    if exchange.connection:
        entry["connection"] = f"c{exchange.connection}"
    entry["_shadowtape"] = {
        "route": exchange.route,
        "codec": exchange.codec,
        "model": exchange.model,
        "session": f"{exchange.session:016x}" if exchange.session else "",
        "labels": dict(exchange.labels),
        "flags": [flag.name for flag in exchange.flags],
    }
    return entry


def _timings(exchange: Exchange, lost: set[str]) -> dict[str, float]:
    """Milliseconds, none of them negative: HAR 1.2 wants all three."""
    request, response, failure = exchange.request, exchange.response, exchange.failure
    sent_ns = max(request.end_ns, exchange.arrival_ns)
    ends = [sent_ns, response.end_ns if response else 0, failure.at_ns if failure else 0]
    first_ns = response.first_ns if response else -1
    if request.end_ns < 0 or (response and (response.first_ns < 0 or (response.end_ns < 0 and failure is None))):
        lost.add("unknown_times")
    if 0 <= first_ns < sent_ns:
        lost.add("overlapping_times")
    done_ns = max(*ends, first_ns)
    first_ns = max(first_ns, sent_ns) if first_ns >= 0 else done_ns
    spans = {"send": sent_ns - exchange.arrival_ns, "wait": first_ns - sent_ns, "receive": done_ns - first_ns}
    return {name: span / _NS_PER_MS for name, span in spans.items()}


def _request(request: Request, flags: Flags, lost: set[str]) -> Member:
    body, kind = request.body, header_of(request.headers, "content-type") or ""
    whole = not flags & _SENT_IN_PART
    if whole and request.size != len(body):
        lost.add("wire_sizes")
    url = _url(request, lost)
    found: Member = {
        "method": request.method,
        "url": url,
        "httpVersion": request.http_version,
        "cookies": [],
        "headers": _headers(request.headers),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True, errors="replace")
        ],
        "headersSize": -1,
        "bodySize": len(body) if whole else request.size,
    }
    text = _text(body, kind)
    if body and text is None:
        lost.add("request_bodies")
    elif body:
        found["postData"] = {"mimeType": kind, "text": text}
    return found


def _response(exchange: Exchange, lost: set[str]) -> Member:
    response, failure = exchange.response, exchange.failure
    headers = response.headers if response else ()
    found: Member = {
        "status": response.status if response else 0,
        "statusText": response.reason if response else "",
        "httpVersion": exchange.request.http_version if response else "",
        "cookies": [],
        "headers": _headers(headers),
        "content": _content(response, exchange.flags) if response else {"size": 0, "mimeType": ""},
        "redirectURL": header_of(headers, "location") or "",
        "headersSize": -1,
        "bodySize": response.size if response else -1,
    }
    if failure is not None:
        found["_error"] = failure.kind.name
        if failure.detail:
            lost.add("failure_details")
    return found


def _content(response: Response, flags: Flags) -> Member:
    body, kind = response.body, header_of(response.headers, "content-type") or ""
    size = response.size if flags & _KEPT_IN_PART else len(body)
    content: Member = {"size": size, "mimeType": kind}
    if not body:
        return content
    # Readers guess the charset of other text, each in its own way.
    text = _text(body, kind) if body.isascii() or "json" in kind else None
    if text is None:
        return content | {"text": base64.b64encode(body).decode(), "encoding": "base64"}
    return content | {"text": text}


def _text(body: bytes, content_type: str) -> str | None:
    """None: text would not give the same bytes again."""
    try:
        text = body.decode(charset_of(content_type))
    except (UnicodeError, ValueError):
        return None
    return text if bytes_of(text, content_type, len(body)) == body else None


def _url(request: Request, lost: set[str]) -> str:
    """The capture does not know whether there was TLS: http."""
    host = header_of(request.headers, "host") or ""
    if not _HOST.fullmatch(host):
        if host:
            lost.add("hosts")
        host = UNKNOWN_HOST
    target = request.target
    if not target.startswith("/") or "#" in target:
        lost.add("targets")
        target = "/" + target.lstrip("/").replace("#", "%23")
    return f"http://{host}{target}"


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]
