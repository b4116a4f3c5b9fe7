"""HAR entries as browsers, proxies and API clients write them -> exchanges; what cannot be one is dropped with a reason."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from captures.exchange import NO_FLAGS, Exchange, FailureKind, Flags, header
from captures.importer_testing import check_importer
from captures.importers.har import Har
from captures.importers.importer import Dropped, ImportOptions, SourceFile

AT_NS = 1_680_135_218_123_000_000  # 2023-03-30T00:13:38.123Z
MS = 1_000_000


def entry(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "startedDateTime": "2023-03-30T00:13:38.123Z",
        "time": 60.5,
        "request": request(),
        "response": response(),
        "cache": {},
        "timings": {"blocked": 9, "dns": -1, "connect": -1, "ssl": -1, "send": 0.5, "wait": 40, "receive": 20},
    }
    return made | changes


def request(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "method": "POST",
        "url": "https://model.example:8443/v2/models/house/infer?x=1#top",
        "httpVersion": "http/2.0",
        "headers": [
            {"name": ":authority", "value": "model.example:8443"},
            {"name": "content-type", "value": "application/json"},
            {"name": "content-length", "value": "17"},
        ],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": 18,
        "postData": {"mimeType": "application/json", "text": '{"inputs": ["é"]}'},
    }
    return made | changes


def response(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "status": 200,
        "statusText": "OK",
        "httpVersion": "http/2.0",
        "headers": [
            {"name": "Content-Type", "value": "application/json"},
            {"name": "Content-Encoding", "value": "br"},
            {"name": "Content-Length", "value": "9"},
            {"name": "Transfer-Encoding", "value": "chunked"},
            {"name": "x-id", "value": "7"},
        ],
        "cookies": [],
        "content": {"size": 13, "mimeType": "application/json", "text": '{"score": .5}'},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": 9,
    }
    return made | changes


def har(*entries: Any) -> bytes:
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": entries}}
    ).encode()


def read(data: bytes) -> list[Exchange | Dropped]:
    return list(Har().read([SourceFile("x.har", io.BytesIO(data))], ImportOptions()))


def one(**changes: Any) -> Exchange:
    (found,) = read(har(entry(**changes)))
    assert isinstance(found, Exchange), found
    return found


def dropped(*entries: Any) -> list[str]:
    return [item.reason for item in read(har(*entries)) if isinstance(item, Dropped)]


def test_an_entry_is_an_exchange() -> None:
    found = one()

    assert found.arrival_ns == AT_NS
    assert (found.request.method, found.request.target) == ("POST", "/v2/models/house/infer?x=1")
    assert found.request.http_version == "HTTP/2.0"
    assert found.request.headers == (("Host", "model.example:8443"), ("content-type", "application/json"))
    assert found.request.body == '{"inputs": ["é"]}'.encode()
    assert (found.request.size, found.request.end_ns) == (18, AT_NS + MS // 2)
    assert found.response is not None
    assert (found.response.status, found.response.reason) == (200, "OK")
    assert found.response.headers == (("Content-Type", "application/json"), ("x-id", "7"))
    assert found.response.body == b'{"score": .5}'
    assert found.response.size == 13
    assert found.response.first_ns == AT_NS + 40 * MS + MS // 2
    assert found.response.end_ns == AT_NS + 60 * MS + MS // 2
    assert found.failure is None
    assert found.flags == NO_FLAGS


def test_it_reads_what_is_behind_a_byte_order_mark() -> None:
    data = b"\xef\xbb\xbf" + har(entry())

    assert Har().sniff(data)
    assert len(read(data)) == 1


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2023-03-29T17:13:38.123-07:00", AT_NS),
        ("2023-03-30T02:13:38.123+0200", AT_NS),
        ("2023-03-30T00:13:38.1234567Z", AT_NS + 456_700),
        ("2023-03-30T00:13:38.123", AT_NS),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000_000_000),
    ],
)
def test_times_have_zones_fractions_and_leap_seconds(text: str, at_ns: int) -> None:
    assert one(startedDateTime=text).arrival_ns == at_ns


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-30T00:00:00Z", "1969-01-01T00:00:00Z", None, 5])
def test_an_entry_without_a_time_is_damaged(text: object) -> None:
    assert dropped(entry(startedDateTime=text)) == ["damaged"]


@pytest.mark.parametrize(
    ("timings", "sent", "first", "end"),
    [
        ({"send": -1, "wait": 3, "receive": -1}, 0, 3, 3),
        ({"send": 1, "wait": -1, "receive": -1}, 1, None, 60.5),
        ({}, 0, None, 60.5),
        (None, 0, None, 60.5),
        ({"send": "x", "wait": [], "receive": 1e300}, 0, None, 60.5),
    ],
)
def test_times_that_do_not_apply_are_left_open(timings: object, sent: float, first: float | None, end: float) -> None:
    found = one(timings=timings)

    assert found.response is not None
    assert found.request.end_ns == AT_NS + sent * MS
    assert found.response.first_ns == (-1 if first is None else AT_NS + first * MS)
    assert found.response.end_ns == AT_NS + round(end * MS)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (None, FailureKind.RESET),
        ("net::ERR_CONNECTION_REFUSED", FailureKind.CONNECT),
        ("net::ERR_NAME_NOT_RESOLVED", FailureKind.CONNECT),
        ("net::ERR_CERT_AUTHORITY_INVALID", FailureKind.CONNECT),
        ("net::ERR_TIMED_OUT", FailureKind.TIMEOUT),
        ("net::ERR_ABORTED", FailureKind.CLIENT_DISCONNECT),
        ("net::ERR_EMPTY_RESPONSE", FailureKind.RESET),
        ("net::ERR_HTTP2_PROTOCOL_ERROR", FailureKind.PROTOCOL),
        ("net::ERR_BLOCKED_BY_CLIENT", FailureKind.UNSENT),
        ("Client disconnected.", FailureKind.CLIENT_DISCONNECT),
        ("[Errno 61] Connect call failed ('10.0.0.1', 443)", FailureKind.CONNECT),
        ("SHED", FailureKind.SHED),
    ],
)
def test_status_0_is_a_failure(words: str | None, kind: FailureKind) -> None:
    found = one(response=response(status=0, _error=words))

    assert found.response is None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.at_ns) == (kind, AT_NS + 60 * MS + MS // 2)
    assert "10.0.0.1" not in found.failure.detail


def test_a_response_with_an_error_is_incomplete() -> None:
    found = one(response=response(_error="net::ERR_CONTENT_LENGTH_MISMATCH"))

    assert found.response is not None
    assert found.response.end_ns == -1
    assert found.failure is not None
    assert found.failure.kind is FailureKind.PROTOCOL
    assert found.flags == Flags.RESPONSE_TRUNCATED


def test_a_missing_response_is_a_failure() -> None:
    assert one(response=None).failure is not None


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        ({"text": base64.b64encode(b"\x00\xff").decode(), "encoding": "base64", "size": 2}, "image/png", b"\x00\xff"),
        ({"text": "é", "size": 2}, "text/plain", b"\xc3\xa9"),
        ({"text": "é", "size": 1}, "text/plain", b"\xe9"),  # mitmproxy takes what it cannot read for latin-1
        ({"text": "é", "size": 1}, "text/plain; charset=ISO-8859-1", b"\xe9"),
        ({"text": "\u20ac", "size": 1}, 'text/plain; charset="windows-1252"', b"\x80"),
        ({"text": "\u20ac", "size": 3}, "text/plain; charset=iso-8859-1", b"\xe2\x82\xac"),
        ({"text": "é", "size": 2}, "text/plain; charset=rot13", b"\xc3\xa9"),
        ({"text": "\udcff\udc00"[:1], "size": 1}, "text/plain", b"\xff"),  # a byte as mitmproxy writes it
        ({"text": "a\ud83d", "size": 4}, "text/plain", b"a\xef\xbf\xbd"),  # half a character
    ],
)
def test_bodies_are_the_bytes_they_were(content: dict[str, Any], kind: str, body: bytes) -> None:
    found = one(response=response(content=content, headers=[{"name": "Content-Type", "value": kind}]))

    assert found.response is not None
    assert found.response.body == body
    assert found.flags == NO_FLAGS


@pytest.mark.parametrize(
    ("content", "flags", "size"),
    [
        ({"size": 500}, Flags.RESPONSE_DROPPED, 500),
        ({"size": 500, "text": ""}, Flags.RESPONSE_DROPPED, 500),
        ({"size": 500, "text": "cut"}, Flags.RESPONSE_TRUNCATED, 500),
        ({"size": 3, "text": "A", "encoding": "base64"}, Flags.RESPONSE_DROPPED, 3),
        ({"size": 0, "text": ""}, NO_FLAGS, 0),
        ({"size": -1, "text": "all"}, NO_FLAGS, 3),
        ({}, NO_FLAGS, 0),
    ],
)
def test_a_body_that_is_not_all_there_says_so(content: dict[str, Any], flags: Flags, size: int) -> None:
    found = one(response=response(content=content, headers=[]))

    assert found.response is not None
    assert (found.flags, found.response.size) == (flags, size)


def test_the_compressed_size_of_some_tools_is_no_truncation() -> None:
    assert one(response=response(content={"size": 50, "text": "abc"})).flags == NO_FLAGS


@pytest.mark.parametrize(
    "changes",
    [{"request": request(method="HEAD")}, {"response": response(status=304)}, {"response": response(status=204)}],
)
def test_a_body_that_a_browser_shows_from_its_cache_was_never_sent(changes: dict[str, Any]) -> None:
    found = one(**changes)

    assert found.response is not None
    assert found.response.body == b""
    assert found.flags == NO_FLAGS
    assert header(found.response.headers, "content-length") == "9"


@pytest.mark.parametrize(
    ("posted", "size", "body", "flags"),
    [
        ({"mimeType": "a/b", "text": "\udcff\x00"}, 2, b"\xff\x00", NO_FLAGS),
        ({"mimeType": "a/b", "text": "/wA=", "encoding": "base64"}, 2, b"\xff\x00", NO_FLAGS),  # drafts of HAR 1.3
        ({"mimeType": "a/b", "text": "!", "encoding": "base64"}, 2, b"", Flags.REQUEST_DROPPED),
        ({"mimeType": "multipart/form-data; boundary=x", "params": [{"name": "f"}]}, 9, b"", Flags.REQUEST_DROPPED),
        (None, 9, b"", Flags.REQUEST_DROPPED),
        ({"mimeType": "a/b", "text": "cut"}, 9, b"cut", Flags.REQUEST_TRUNCATED),
        ({"mimeType": "", "text": "", "params": []}, -1, b"", NO_FLAGS),
    ],
)
def test_request_bodies(posted: object, size: int, body: bytes, flags: Flags) -> None:
    found = one(request=request(postData=posted, bodySize=size, headers=[]))

    assert (found.request.body, found.flags) == (body, flags)
    assert found.request.size == max(size, len(body))


def test_form_parameters_are_a_body() -> None:
    params = [{"name": "a b", "value": "é"}, {"name": "c", "value": ""}]
    form = {"mimeType": "application/x-www-form-urlencoded; charset=UTF-8", "params": params}

    found = one(request=request(postData=form, bodySize=-1, headers=[]))

    assert found.request.body == b"a+b=%C3%A9&c="
    assert header(found.request.headers, "content-type") == form["mimeType"]


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://h", "/", "h"),
        ("http://user:secret@h:81/a", "/a", "h:81"),
        ("https://h/\u00e9 x?q=|", "/%C3%A9%20x?q=|", "h"),
        ("https://[::1]:8000//v1?a=b#c?d", "//v1?a=b", "[::1]:8000"),
    ],
)
def test_a_url_is_a_target_and_a_host(url: str, target: str, host: str) -> None:
    found = one(request=request(url=url))

    assert (found.request.target, header(found.request.headers, "host")) == (target, host)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": request(url="data:text/plain,x")}, "not_http"),
        ({"request": request(url="chrome-extension://abc/x.js")}, "not_http"),
        ({"request": request(url="http://[bad")}, "not_http"),
        ({"request": request(url="wss://h/x")}, "websocket"),
        ({"_webSocketMessages": [{"type": "send", "time": 1, "opcode": 1, "data": "x"}]}, "websocket"),
        ({"response": response(status=101)}, "websocket"),
        ({"_fromCache": "memory"}, "from_cache"),
        ({"request": None}, "damaged"),
        ({"request": request(method="")}, "damaged"),
        ({"response": response(status=70_000)}, "damaged"),
        ({"response": response(status="twenty")}, "damaged"),
    ],
)
def test_what_is_no_exchange_is_dropped_with_a_reason(changes: dict[str, Any], reason: str) -> None:
    found = read(har(entry(), entry(**changes), entry()))

    assert [type(item) for item in found] == [Exchange, Dropped, Exchange]
    assert isinstance(found[1], Dropped)
    assert found[1].reason == reason
    assert found[1].where.startswith("x.har at byte ")


def test_headers_come_in_pairs_too_and_joined_ones_are_taken_apart() -> None:
    headers = [
        ["X-A", "1"],
        {"name": "Set-Cookie", "value": "a=1\nb=2"},
        {"name": ":status", "value": "200"},
        {"x": 1},
        7,
    ]
    headers += [{"name": "X-Euro", "value": "\u20ac\r\0"}]

    found = one(response=response(headers=headers, content={}))

    assert found.response is not None
    assert found.response.headers == (
        ("X-A", "1"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Euro", "\xe2\x82\xac"),
    )


@pytest.mark.parametrize("spelling", ["h2", "HTTP/2", "http/2.0", "HTTP/2.0", "H2"])
def test_http_2_has_one_spelling(spelling: str) -> None:
    assert one(request=request(httpVersion=spelling)).request.http_version == "HTTP/2.0"


def test_connections_are_numbered_as_they_come() -> None:
    ids = ["159834", 7, "159834", "443", "8443", None]  # Firefox gives the server's port

    found = read(har(*(entry(connection=name) for name in ids)))

    assert [item.connection for item in found if isinstance(item, Exchange)] == [1, 2, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "broken",
    ['{"startedDateTime": "2023', '{"startedDateTime": 01}', '{"startedDateTime": [}}', "7", "null", '"x"', "[]"],
)
def test_a_broken_entry_costs_itself(broken: str) -> None:
    data = har(entry(connection=5), "HERE", entry(connection=6)).replace(b'"HERE"', broken.encode())

    found = read(data)

    assert [item.connection for item in found if isinstance(item, Exchange)] == [1, 2]
    assert [item.reason for item in found if isinstance(item, Dropped)] == ["damaged"]


def test_a_har_that_was_cut_off_gives_what_is_whole() -> None:
    whole = har(entry(), entry(), entry())

    for size in range(whole.index(b"entries"), len(whole), 3):
        found = read(whole[:size])
        ended = size > whole.rindex(b"]")
        assert sum(isinstance(item, Exchange) for item in found) == whole[:size].count(b'"receive": 20}}')
        assert [item.reason for item in found if isinstance(item, Dropped)] == ["damaged"] * (not ended)


def test_entries_are_found_behind_a_broken_beginning() -> None:
    data = har(entry()).replace(b'"version": "1.2"', b'"version": "1.2')

    found = read(data)

    assert [type(item) for item in found] == [Dropped, Exchange]


@pytest.mark.parametrize(
    "spoil", ["]", "}]", "]}", '{"time": 4}]"request": {}, "timings": {"send": 1', '{}], "x": [[{"a": ']
)
def test_a_bracket_too_many_does_not_end_the_file(spoil: str) -> None:
    data = har(entry(connection=5), "HERE", entry(connection=6)).replace(b'"HERE"', spoil.encode())

    found = read(data)

    assert [item.connection for item in found if isinstance(item, Exchange)] == [1, 2]
    assert "damaged" in [item.reason for item in found if isinstance(item, Dropped)]


def test_a_har_without_entries_says_so() -> None:
    assert read(b'{"log": {"version": "1.2"}}') == [Dropped("not_a_har", "x.har: it has no log with entries")]


def test_pages_and_members_behind_the_entries_do_not_matter() -> None:
    pages = {"pages": [{"startedDateTime": "x", "id": "p"}] * 3}
    log = {"entries": [entry()], "comment": "x", "browser": {}}

    for members in (pages | log, log | pages):
        assert len(read(json.dumps({"log": members}, indent=4).encode())) == 1


def test_it_reads_lazily() -> None:
    entries = b",".join(json.dumps(entry()).encode() for _ in range(2000))
    stream = io.BytesIO(b'{"log": {"entries": [' + entries + b"]}}")

    next(iter(Har().read([SourceFile("x.har", stream)], ImportOptions())))

    assert stream.tell() < len(entries) / 2


FOREIGN = [
    b'{"log": "2020 started"}',
    b'{"log": {"level": "info"}}',
    b'{"http_buffered_trace": {"log": {"entries": []}}}',
    b'{"version": 1}\n{"log": 1}\n',
    b'1 abc 17 \nGET / HTTP/1.1\r\n\r\n{"log": {"entries": ',
    b'[{"log": {"entries": []}}]',
    b'99:7:version;2:21#7:request;30:{"log": {"entries": [',
    b'{"captureData": {"endpointInput": {}}}',
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n",
    b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}',
    b'{"shadowtape": "jsonl", "version": 1, "log": {"entries": []}}',
]


def without_end() -> Iterator[bytes]:
    yield b'{"log": {"entries": ['
    while True:
        yield json.dumps(entry()).encode() + b","


@pytest.mark.slow
def test_it_keeps_the_promises_of_an_importer() -> None:
    failed = entry(response=response(status=0, _error="net::ERR_FAILED"), _webSocketMessages=[])
    compact = har(entry(), failed, entry(connection="7"))
    pretty = b"\xef\xbb\xbf" + json.dumps(json.loads(compact), indent=2).encode()

    check_importer(Har(), [compact, pretty], foreign=FOREIGN, endless=without_end)


@pytest.mark.parametrize("indent", [None, 4, "\t"])
def test_it_knows_a_har(indent: int | str | None) -> None:
    assert Har().sniff(json.dumps({"log": {"version": "1.2", "entries": []}}, indent=indent).encode())
