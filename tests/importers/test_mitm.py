"""Flow files as mitmproxy writes them, of every version, whole and damaged."""

import contextlib
import http.client
import http.server
import io
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captures.exchange import NO_FLAGS, Exchange, FailureKind, Flags, header
from captures.importer_testing import check_importer
from captures.importers.flow_frames import frames
from captures.importers.har import Har
from captures.importers.importer import Dropped, Importer, ImportOptions, SourceFile
from captures.importers.mitm import Mitm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated names
    from mitmproxy import http as mitm_http
    from mitmproxy.flow import Error, Flow
    from mitmproxy.io import FlowReader, FlowWriter, tnetstring
    from mitmproxy.test import tflow, tutils

AT_S = 1_700_000_000.5
AT_NS = 1_700_000_000_500_000_000


def dump(*flows: Flow) -> bytes:
    file = io.BytesIO()
    for flow in flows:
        FlowWriter(file).add(flow)  # type: ignore[no-untyped-call]  # mitmproxy annotates few of its methods
    return file.getvalue()


def read(data: bytes, importer: Importer | None = None) -> list[Exchange | Dropped]:
    found = (importer or Mitm()).read([SourceFile("x.mitm", io.BytesIO(data))], ImportOptions())
    return [item for item in found if isinstance(item, Exchange | Dropped)]


def flow(**changes: Any) -> mitm_http.HTTPFlow:
    request = tutils.treq(
        method=b"POST",
        path=b"/v1/models/m:predict?a=%20",
        headers=mitm_http.Headers(((b"Host", b"h:81"), (b"X-A", b"\xe9"), (b"x-a", b"2"))),
        content=b'{"instances": []}',
        timestamp_start=AT_S,
        timestamp_end=AT_S + 0.25,
    )
    response = tutils.tresp(
        status_code=201,
        reason=b"Made",
        headers=mitm_http.Headers(((b"content-encoding", b"gzip"),)),
        content=b"\x1f\x8bnot decoded",
        timestamp_start=AT_S + 0.5,
        timestamp_end=AT_S + 1,
    )
    made: mitm_http.HTTPFlow = tflow.tflow(req=request, resp=response)
    for name, value in changes.items():
        side, _, field = name.partition("_")
        setattr(getattr(made, side).data, field, value)
    return made


def one(made: Flow) -> Exchange:
    (found,) = read(dump(made))
    assert isinstance(found, Exchange), found
    return found


def test_a_flow_is_an_exchange() -> None:
    found = one(flow())

    assert found.arrival_ns == AT_NS
    assert (found.request.method, found.request.target) == ("POST", "/v1/models/m:predict?a=%20")
    assert found.request.headers == (("Host", "h:81"), ("X-A", "\xe9"), ("x-a", "2"))
    assert (found.request.body, found.request.size) == (b'{"instances": []}', 17)
    assert found.request.end_ns == AT_NS + 250_000_000
    assert found.request.chunks[0].at_ns == found.request.end_ns
    assert found.response is not None
    assert (found.response.status, found.response.reason) == (201, "Made")
    assert (found.response.body, found.response.size) == (b"\x1f\x8bnot decoded", 13)
    assert (found.response.first_ns, found.response.end_ns) == (AT_NS + 500_000_000, AT_NS + 1_000_000_000)
    assert found.failure is None
    assert found.connection == 1
    assert found.flags == NO_FLAGS


def test_connections_are_numbered_as_they_come() -> None:
    first, second, third = flow(), flow(), flow()
    third.client_conn = first.client_conn

    assert [item.connection for item in read(dump(first, second, third)) if isinstance(item, Exchange)] == [1, 2, 1]


def test_a_body_that_was_streamed_and_not_stored_is_dropped() -> None:
    length = mitm_http.Headers(((b"content-length", b"77"),))

    found = one(flow(request_content=None, request_headers=length, response_content=None))

    assert found.flags == Flags.REQUEST_DROPPED | Flags.RESPONSE_DROPPED
    assert found.response is not None
    assert (found.request.size, found.response.size) == (77, 0)
    assert (found.request.chunks, found.response.chunks) == ((), ())


def test_a_body_whose_length_says_that_there_was_none_is_not_dropped() -> None:
    nothing = mitm_http.Headers(((b"content-length", b"0"),))

    assert one(flow(response_content=None, response_headers=nothing)).flags == NO_FLAGS


def test_a_chunked_answer_is_a_stream_and_trailers_are_left_out() -> None:
    chunked = mitm_http.Headers(((b"transfer-encoding", b"chunked"),))
    trailers = mitm_http.Headers(((b"grpc-status", b"0"),))

    found = one(flow(response_headers=chunked, response_trailers=trailers))

    assert found.flags == Flags.STREAM
    assert found.response is not None
    assert header(found.response.headers, "grpc-status") is None


@pytest.mark.parametrize(
    ("authority", "port", "scheme", "host"),
    [
        (b"model.example", 443, b"https", "model.example"),
        (b"", 443, b"https", "address"),
        (b"", 8443, b"https", "address:8443"),
    ],
)
def test_http_2_gets_a_host(authority: bytes, port: int, scheme: bytes, host: str) -> None:
    made = flow(
        request_headers=mitm_http.Headers(),
        request_authority=authority,
        request_port=port,
        request_host="address",
        request_scheme=scheme,
        request_http_version=b"HTTP/2.0",
    )

    found = one(made)

    assert found.request.headers == (("Host", host),)
    assert found.request.http_version == "HTTP/2.0"


@pytest.mark.parametrize(
    ("words", "connected", "answered", "kind"),
    [
        ("Client disconnected.", True, False, FailureKind.CLIENT_DISCONNECT),
        ("[Errno 111] Connect call failed ('127.0.0.1', 1)", False, False, FailureKind.CONNECT),
        ("whatever", False, False, FailureKind.CONNECT),
        ("connection timed out", False, False, FailureKind.TIMEOUT),
        ("server closed connection", True, True, FailureKind.RESET),
        ("HTTP/1 protocol error: invalid status", True, False, FailureKind.PROTOCOL),
        ("Connection killed.", True, False, FailureKind.RESET),
        ("whatever", True, False, FailureKind.RESET),
    ],
)
def test_errors_are_failures(words: str, *, connected: bool, answered: bool, kind: FailureKind) -> None:
    made = flow(response_timestamp_end=None)
    made.error = Error(words, AT_S + 2)
    made.server_conn.timestamp_tcp_setup = AT_S if connected else None
    if not answered:
        made.response = None

    found = one(made)

    assert found.failure is not None
    assert (found.failure.kind, found.failure.at_ns, found.failure.detail) == (kind, AT_NS + 2_000_000_000, "")
    assert (found.response is not None) is answered
    assert found.response is None or found.response.end_ns == -1


def test_a_flow_that_was_not_over_says_so() -> None:
    made = flow()
    made.response = None

    found = one(made)

    assert found.failure is not None
    assert (found.failure.kind, found.failure.at_ns) == (FailureKind.INTERNAL, AT_NS + 250_000_000)


def test_a_clock_that_was_set_back_puts_nothing_before_the_arrival() -> None:
    found = one(
        flow(request_timestamp_end=AT_S - 5, response_timestamp_start=AT_S - 4, response_timestamp_end=AT_S - 3)
    )

    assert found.response is not None
    assert {found.request.end_ns, found.response.first_ns, found.response.end_ns} == {AT_NS}


def test_what_is_not_http_is_dropped_with_a_reason() -> None:
    switched = flow(response_status_code=101)
    others = [tflow.ttcpflow(), tflow.tudpflow(), tflow.tdnsflow(), tflow.twebsocketflow(), switched]

    found = read(dump(*others, flow()))

    assert [item.reason for item in found if isinstance(item, Dropped)] == [
        "tcp",
        "udp",
        "dns",
        "websocket",
        "websocket",
    ]
    assert isinstance(found[-1], Exchange)


@pytest.mark.parametrize("changes", [{"request_timestamp_start": float("nan")}, {"response_status_code": 70_000}])
def test_a_flow_with_impossible_values_is_damaged(changes: dict[str, Any]) -> None:
    found = read(dump(flow(**changes), flow()))

    assert [type(item) for item in found] == [Dropped, Exchange]


def address(port: int) -> dict[str, Any]:
    return {"address": ["127.0.0.1", port], "use_ipv6": False}


def old(version: object, **changes: Any) -> dict[str, Any]:
    """A flow as mitmproxy 0.18 wrote it (Python 3); 0.11 (Python 2) differs in names."""
    request = {
        "content": b"x=1",
        "first_line_format": "relative",
        "headers": [[b"Host", b"old.example"]],
        "host": b"old.example",
        "http_version": b"HTTP/1.1",
        "is_replay": False,
        "method": b"POST",
        "path": b"/old",
        "port": 80,
        "scheme": b"http",
        "stickyauth": False,
        "stickycookie": False,
        "timestamp_start": AT_S,
        "timestamp_end": AT_S + 0.25,
    }
    response = {
        "content": b"y=2",
        "headers": [],
        "http_version": b"HTTP/1.1",
        "reason": b"OK",
        "status_code": 200,
        "timestamp_start": AT_S + 0.5,
        "timestamp_end": AT_S + 1,
    }
    client = {
        "address": address(5000),
        "clientcert": None,
        "ssl_established": False,
        "timestamp_start": AT_S,
        "timestamp_ssl_setup": None,
        "timestamp_end": None,
    }
    server = client | {
        "cert": None,
        "ip_address": address(80),
        "sni": None,
        "source_address": address(5001),
        "timestamp_tcp_setup": AT_S,
        "via": None,
    }
    del server["clientcert"]
    made = {
        "version": version,
        "type": "http",
        "id": "1",
        "error": None,
        "intercepted": False,
        "marked": False,
        "client_conn": client,
        "server_conn": server,
        "request": request,
        "response": response,
    }
    return made | changes


def python_2(value: Any) -> Any:
    """Every string as bytes, as Python 2 wrote them."""
    if isinstance(value, dict):
        return {python_2(key): python_2(item) for key, item in value.items()}
    if isinstance(value, list):
        return [python_2(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def oldest() -> dict[str, Any]:
    made = old([0, 11])
    request, response, server = made["request"], made["response"], made["server_conn"]
    for message in (request, response):
        message["httpversion"] = [1, 1]
        del message["http_version"]
    request["form_in"] = request["form_out"] = request.pop("first_line_format")
    response["code"], response["msg"] = response.pop("status_code"), response.pop("reason")
    server["state"] = []
    del server["ip_address"], server["via"], made["marked"]
    found: dict[str, Any] = python_2(made)
    return found


@pytest.mark.parametrize("made", [oldest(), old([0, 18])], ids=["0.11", "0.18"])
def test_old_versions_read_the_same(made: dict[str, Any]) -> None:
    data = tnetstring.dumps(made)

    assert Mitm().sniff(data)
    (found,) = read(data)

    assert isinstance(found, Exchange), found
    assert (found.request.method, found.request.target, found.request.body) == ("POST", "/old", b"x=1")
    assert found.request.headers == (("Host", "old.example"),)
    assert found.response is not None
    assert (found.response.status, found.response.reason, found.response.body) == (200, "OK", b"y=2")
    assert (found.arrival_ns, found.response.first_ns - AT_NS) == (AT_NS, 500_000_000)
    assert found.connection == 1


@pytest.mark.parametrize("version", [[0, 10], 999])
def test_a_version_that_mitmproxy_does_not_read_is_named(version: object) -> None:
    (found,) = read(tnetstring.dumps(old(version)))

    assert isinstance(found, Dropped)
    assert found.reason == "unsupported_version"


def test_a_file_that_was_cut_off_gives_what_is_whole() -> None:
    whole = dump(flow(), flow())
    second = len(dump(flow()))

    for size in range(second + 1, len(whole), 97):
        found = read(whole[:size])
        assert [type(item) for item in found] == [Exchange, Dropped]
        assert isinstance(found[1], Dropped)
        assert found[1].reason == "damaged"


@pytest.mark.parametrize("spoil", [b"x", b"99999", b"9"])
def test_a_broken_length_costs_its_record(spoil: bytes) -> None:
    single = dump(flow())

    found = read(single + spoil + single[len(spoil) :] + single)

    assert isinstance(found[0], Exchange)
    assert isinstance(found[-1], Exchange)
    assert sum(isinstance(item, Exchange) for item in found) == 2


def test_a_broken_content_costs_its_record() -> None:
    broken = dump(flow()).replace(b"timestamp_start", b"timestamp_s\0art", 1)

    assert [type(item) for item in read(broken + dump(flow()))] == [Dropped, Exchange]


def test_no_length_is_believed_above_the_limit() -> None:
    class Greedy(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            self.largest = max(self.largest, size or 0)
            return super().read(size)

    stream = Greedy(b"999999999999:7:version;2:21#" + b"x" * 1000)

    found = list(frames(stream))

    assert [frame.trouble for frame in found] == ["too long"]
    assert stream.largest < 1 << 20


FOREIGN = [
    b'{"log": {"version": "1.2", "entries": []}}',
    b'{"http_buffered_trace": {}}',
    b"1 a94a8fe5ccb19ba61c4c0873d391e987982fbbd3 1469208634706000128\nGET / HTTP/1.1\r\n\r\n",
    b"12:30:00,1,2\n",
    b"4:{}",
    b"7:4:type;}",
    b"5:hello,",
    b'{"captureData": {"endpointInput": {}}}',
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n",
    b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}',
    b'{"shadowtape": "jsonl", "version": 1}',
]


@pytest.mark.slow
def test_it_keeps_the_promises_of_an_importer() -> None:
    failed = flow()
    failed.response, failed.error = None, Error("server closed connection", AT_S + 2)

    check_importer(
        Mitm(), [dump(flow(), tflow.ttcpflow(), failed), tnetstring.dumps(oldest())], foreign=FOREIGN[:5] + FOREIGN[6:]
    )


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@contextlib.contextmanager
def mitmdump(upstream: int, *options: str) -> Iterator[int]:
    """The stock tool in front of a loopback server; its port."""
    command = [sys.executable, "-W", "ignore", "-u", "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()"]
    mode = ["--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1", "--listen-port", "0"]
    with subprocess.Popen(
        [*command, *mode, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            listening = next(line for line in process.stdout if "listening at" in line)
            yield int(listening.rstrip(". \n").rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.peer
def test_what_a_real_mitmdump_writes_reads_the_same_from_both_of_its_formats(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    flows, har = tmp_path / "flows.mitm", tmp_path / "flows.har"
    asked = [("/v1/models/m:predict?a=1", b'{"instances": [[1.5]]}'), ("/text", "é".encode()), ("/drop", b"{}")]
    try:
        options = ("-w", str(flows), "--set", f"hardump={har}", "--set", f"confdir={tmp_path}")
        with mitmdump(server.server_port, *options) as port:
            for path, body in asked:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                connection.getresponse().read()
                connection.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    theirs = [
        made for made in FlowReader(io.BytesIO(flows.read_bytes())).stream() if isinstance(made, mitm_http.HTTPFlow)
    ]
    ours = [item for item in read(flows.read_bytes()) if isinstance(item, Exchange)]
    from_har = [item for item in read(har.read_bytes(), Har()) if isinstance(item, Exchange)]

    assert [(item.request.target, item.request.body) for item in ours] == asked
    for item, other, made in zip(ours, from_har, theirs, strict=True):
        assert (item.request.method, item.request.target) == (made.request.method, made.request.path)
        assert item.request.headers == tuple((k.decode(), v.decode()) for k, v in made.request.headers.fields)
        assert abs(item.arrival_ns - made.request.timestamp_start * 1e9) < 1000
        assert (item.response is None) == (made.response is None) == (other.response is None)
        assert (item.failure is None) == (made.error is None) == (other.failure is None)
        assert (other.request.target, other.request.body) == (item.request.target, item.request.body)
        assert abs(other.arrival_ns - item.arrival_ns) < 2000
        if item.response is not None and made.response is not None and other.response is not None:
            assert (item.response.status, item.response.body) == (made.response.status_code, made.response.raw_content)
            assert (other.response.status, other.response.body) == (item.response.status, item.response.body)
            assert abs(other.response.first_ns - item.response.first_ns) < 3000
        if item.failure is not None and other.failure is not None:
            assert item.failure.kind is other.failure.kind is FailureKind.RESET
