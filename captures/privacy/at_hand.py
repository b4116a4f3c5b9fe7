"""An exchange from what people have at hand: a request as text, a curl command line. Pure; files come in as a reader."""

import shlex
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Headers, Request, Response, header
from captures.importers.http_message import content_length, is_chunked, parse_request, parse_response

_TIME_NS = 1
_LONG = {
    "-X": "request", "--request": "request",
    "-H": "header", "--header": "header",
    "-d": "data", "--data": "data", "--data-ascii": "data", "--data-raw": "raw", "--data-binary": "binary", "--json": "json",
    "-u": "user", "--user": "user",
    "-b": "cookie", "--cookie": "cookie",
    "-A": "agent", "--user-agent": "agent",
    "-e": "referer", "--referer": "referer",
    "--url": "url",
}  # fmt: skip
_IGNORED_WITH_VALUE = frozenset((
    "-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout", "--retry", "-x", "--proxy", "--cacert", "-E",
    "--cert", "--key", "--resolve",
))  # fmt: skip
_HEADERS = {"cookie": "Cookie", "agent": "User-Agent", "referer": "Referer"}

type Reader = Callable[[str], bytes]


def exchange_of(request: bytes, response: bytes | None, source: str) -> Exchange:
    """Of HTTP/1.1 messages as text. Without a length the body is what follows the head. Raises UsageError."""
    parsed = parse_request(request)
    if parsed is None:
        raise UsageError(
            f"{source}: not an HTTP request: a line such as POST /v2/models/m/infer HTTP/1.1, headers, a blank line"
        )
    body = b"".join(parsed.body.pieces)
    if content_length(parsed.headers) is None and not is_chunked(parsed.headers):
        body = _after_head(request)
    asked = _request(parsed.method, parsed.target, parsed.headers, body)
    return Exchange(arrival_ns=0, request=asked, response=None if response is None else _response(response, source))


def _response(data: bytes, source: str) -> Response:
    parsed = parse_response(data)
    if parsed is None:
        raise UsageError(
            f"{source}: its response is not an HTTP response: a line such as HTTP/1.1 200 OK, headers, a blank line"
        )
    body = b"".join(parsed.body.pieces)
    return Response(
        status=parsed.status,
        headers=parsed.headers,
        chunks=(Chunk(_TIME_NS, body),),
        first_ns=_TIME_NS,
        end_ns=_TIME_NS,
        size=len(body),
        reason=parsed.reason,
    )


def _after_head(data: bytes) -> bytes:
    ends = [(at, len(blank)) for blank in (b"\r\n\r\n", b"\n\n") if (at := data.find(blank)) >= 0]
    at, size = min(ends)
    return data[at + size :]


def _request(method: str, target: str, headers: Headers, body: bytes) -> Request:
    chunks = (Chunk(_TIME_NS, body),) if body else ()
    return Request(method=method, target=target, headers=headers, chunks=chunks, end_ns=_TIME_NS, size=len(body))


@dataclass(slots=True)
class _Line:
    """What a curl command line says."""

    method: str = ""
    url: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    json: bool = False


def exchange_of_curl(line: str, read: Reader) -> Exchange:
    """``read`` gives the content of a file that the line names with @. Raises UsageError."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"--curl: cannot be read: {error}") from None
    said = _said(words[1:] if words[:1] == ["curl"] else words, read)
    if not said.url:
        raise UsageError("--curl: no URL in it")
    url = urlsplit(said.url if "://" in said.url else f"http://{said.url}")
    body = b"&".join(said.data)
    named = tuple(said.headers)
    made = [("Host", url.netloc.rpartition("@")[2]), ("Accept", "application/json" if said.json else "*/*")]
    if body:
        kind = "application/json" if said.json else "application/x-www-form-urlencoded"
        made += [("Content-Type", kind), ("Content-Length", str(len(body)))]
    headers = (*(pair for pair in made if header(named, pair[0]) is None), *named)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Exchange(arrival_ns=0, request=_request(said.method or ("POST" if body else "GET"), target, headers, body))


def _said(words: list[str], read: Reader) -> _Line:
    said = _Line()
    rest = iter(words)
    for word in rest:
        option, joined = word, ""
        if word.startswith("--") and "=" in word:
            option, _, joined = word.partition("=")
        elif word[:1] == "-" and word[1:2] != "-" and len(word) > 2 and word[:2] in _LONG:
            option, joined = word[:2], word[2:]
        if option in _IGNORED_WITH_VALUE:
            joined or next(rest, "")
        elif option in _LONG:
            _take(said, _LONG[option], joined or next(rest, ""), read)
        elif not word.startswith("-"):
            said.url = word
    return said


def _take(said: _Line, what: str, value: str, read: Reader) -> None:
    if what == "request":
        said.method = value.upper()
    elif what == "url":
        said.url = value
    elif what == "header":
        name, _, text = value.partition(":")
        said.headers.append((name.strip(), text.strip()))
    elif what == "user":
        said.headers.append(("Authorization", "Basic " + b64encode(value.encode()).decode()))
    elif what in _HEADERS:
        said.headers.append((_HEADERS[what], value))
    else:
        said.json = said.json or what == "json"
        data = read(value[1:]) if value.startswith("@") and what != "raw" else value.encode()
        said.data.append(
            data.replace(b"\r", b"").replace(b"\n", b"") if what == "data" and value.startswith("@") else data
        )
