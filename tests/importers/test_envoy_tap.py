"""Taps as Envoy writes them: buffered and streamed, in both spellings, one file or many, whole and damaged."""

import base64
import io
import json
import re
from typing import Any

import pytest

from captures.exchange import NO_FLAGS, Exchange, FailureKind, Flags, header
from captures.importer_testing import check_importer
from captures.importers import envoy_tap
from captures.importers.envoy_tap import EnvoyTap
from captures.importers.importer import Dropped, ImportOptions, SourceFile

AT = "2023-11-14T22:13:20.123456789Z"
AT_NS = 1_700_000_000_123_456_789
LATER = "2023-11-14T22:13:20.623456789Z"


def pairs(**headers: str) -> list[dict[str, str]]:
    return [{"key": name.replace("__", ":").replace("_", "-"), "value": value} for name, value in headers.items()]


REQUEST = pairs(__authority="h:80", __path="/v2/models/m/infer?a=1", __method="POST", __scheme="http", x_a="1")
RESPONSE = pairs(__status="200", content_type="application/json")


def body(data: bytes, **changes: Any) -> dict[str, Any]:
    return {"truncated": False, "as_bytes": base64.b64encode(data).decode()} | changes


def buffered(**changes: Any) -> dict[str, Any]:
    request = {"headers": REQUEST, "trailers": [], "body": body(b"{}"), "headers_received_time": AT}
    response = {"headers": RESPONSE, "trailers": [], "body": body(b'{"a": 1}'), "headers_received_time": LATER}
    return {"http_buffered_trace": {"request": request, "response": response} | changes}


def segment(trace_id: object, **piece: Any) -> dict[str, Any]:
    return {"http_streamed_trace_segment": {"trace_id": trace_id} | piece}


def streamed(trace_id: object) -> list[dict[str, Any]]:
    return [
        segment(trace_id, request_headers={"headers": REQUEST}),
        segment(trace_id, request_body_chunk=body(b"{")),
        segment(trace_id, request_body_chunk=body(b"}")),
        segment(trace_id, response_headers={"headers": RESPONSE}),
        segment(trace_id, response_body_chunk=body(b"one")),
        segment(trace_id, response_body_chunk=body(b"two")),
    ]


def tap(*traces: Any, between: str = "\n", indent: int | None = None) -> bytes:
    return between.join(json.dumps(trace, indent=indent) for trace in traces).encode()


def read(*files: bytes) -> list[Exchange | Dropped]:
    sources = (SourceFile(f"{number}.json", io.BytesIO(data)) for number, data in enumerate(files))
    return list(EnvoyTap().read(sources, ImportOptions()))


def one(trace: dict[str, Any]) -> Exchange:
    (found,) = read(tap(trace))
    assert isinstance(found, Exchange), found
    return found


def reasons(found: list[Exchange | Dropped]) -> list[str]:
    return [item.reason for item in found if isinstance(item, Dropped)]


def camel(value: Any) -> Any:
    """As protobuf's JSON spells names unless told otherwise."""
    if isinstance(value, dict):
        return {
            re.sub("_(.)", lambda letter: letter[1].upper(), name) if ":" not in name else name: camel(item)
            for name, item in value.items()
        }
    return [camel(item) for item in value] if isinstance(value, list) else value


def test_a_buffered_trace_is_an_exchange() -> None:
    found = one(buffered())

    assert found.arrival_ns == AT_NS
    assert (found.request.method, found.request.target) == ("POST", "/v2/models/m/infer?a=1")
    assert found.request.headers == (("Host", "h:80"), ("x-a", "1"))
    assert (found.request.body, found.request.size, found.request.end_ns) == (b"{}", 2, AT_NS)
    assert found.response is not None
    assert (found.response.status, found.response.headers) == (200, (("content-type", "application/json"),))
    assert (found.response.body, found.response.size) == (b'{"a": 1}', 8)
    assert (found.response.first_ns, found.response.end_ns) == (AT_NS + 500_000_000, AT_NS + 500_000_000)
    assert (found.failure, found.flags, found.connection) == (None, NO_FLAGS, 0)


@pytest.mark.parametrize("trace", [buffered(), {"x": streamed(7)}], ids=["buffered", "streamed"])
@pytest.mark.parametrize(("between", "indent"), [("\n", None), ("", None), ("", 1), ("\n\n", 1), (",", None)])
def test_spelling_and_layout_do_not_matter(trace: dict[str, Any], between: str, indent: int | None) -> None:
    traces = trace.get("x", [trace])
    plain = read(tap(*traces))

    assert read(tap(*camel(traces), between=between, indent=indent)) == plain
    assert EnvoyTap().sniff(tap(*camel(traces), indent=indent))
    assert EnvoyTap().sniff(b"\xef\xbb\xbf \n" + tap(*traces, indent=indent))


def test_one_file_per_tap_is_read_as_one_recording() -> None:
    found = read(tap(buffered()), b"", tap(*streamed(1)), tap(buffered()))

    assert [item.arrival_ns for item in found if isinstance(item, Exchange)] == [AT_NS] * 3


@pytest.mark.parametrize(
    ("message", "data", "truncated"),
    [
        ({"as_string": "é"}, "é".encode(), False),
        ({"asBytes": "/wA="}, b"\xff\x00", False),
        ({"as_bytes": "!", "truncated": False}, b"", True),
        ({"as_bytes": base64.b64encode(b"x" * 1024).decode(), "truncated": True}, b"x" * 1024, True),
        ({"truncated": True}, b"", True),
        ({}, b"", False),
    ],
)
def test_bodies(message: dict[str, Any], data: bytes, truncated: bool) -> None:
    found = one(
        buffered(request={"headers": REQUEST, "body": message}, response={"headers": RESPONSE, "body": message})
    )

    assert found.response is not None
    assert (found.request.body, found.response.body) == (data, data)
    assert found.flags == (Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED if truncated else NO_FLAGS)


def test_the_length_says_how_long_a_body_was_that_was_cut() -> None:
    headers = [*REQUEST, *pairs(content_length="4096")]

    found = one(buffered(request={"headers": headers, "body": body(b"x" * 1024, truncated=True)}))

    assert (found.request.size, len(found.request.body)) == (4096, 1024)


def test_bytes_that_are_no_utf_8_in_a_string_are_kept() -> None:
    data = tap(buffered(request={"headers": REQUEST, "body": {"as_string": "HERE"}})).replace(b"HERE", b"\xff\xfe")

    (found,) = read(data)

    assert isinstance(found, Exchange)
    assert found.request.body == b"\xff\xfe"


def test_a_request_without_a_time_arrives_with_the_one_before() -> None:
    timeless = buffered(request={"headers": REQUEST}, response={"headers": RESPONSE})

    found = read(tap(timeless, buffered(), timeless))

    assert [item.arrival_ns for item in found if isinstance(item, Exchange)] == [0, AT_NS, AT_NS]
    last = found[-1]
    assert isinstance(last, Exchange)
    assert last.response is not None
    assert (last.request.end_ns, last.response.first_ns, last.response.end_ns) == (AT_NS, AT_NS, AT_NS)
    assert any("headers_received_time" in note for note in EnvoyTap().notes)


def test_a_response_is_never_before_its_request() -> None:
    found = one(buffered(response={"headers": RESPONSE, "headers_received_time": "2020-01-01T00:00:00Z"}))

    assert found.response is not None
    assert found.response.first_ns == AT_NS


@pytest.mark.parametrize(
    "response", [None, {}, {"headers": []}, {"headers": pairs(__status="0")}, {"headers": pairs(__status="x")}]
)
def test_a_request_without_a_response_failed(response: object) -> None:
    found = one(buffered(response=response))

    assert found.response is None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.at_ns) == (FailureKind.RESET, AT_NS)


def test_clients_are_connections_where_the_tap_names_them() -> None:
    def client(port: int) -> dict[str, Any]:
        address = {"socket_address": {"address": "10.0.0.1", "port_value": port}}
        return buffered(downstream_connection={"remote_address": address})

    found = read(tap(client(1), camel(client(2)), client(1), buffered()))

    assert [item.connection for item in found if isinstance(item, Exchange)] == [1, 2, 1, 0]


def test_values_that_are_no_text_come_raw() -> None:
    headers = [*REQUEST, {"key": "x-raw", "raw_value": base64.b64encode(b"\xe9").decode()}, {"key": "x-none"}, 7]

    found = one(buffered(request={"headers": headers}))

    assert header(found.request.headers, "x-raw") == "\xe9"
    assert header(found.request.headers, "x-none") == ""


def test_streamed_segments_are_stitched_by_their_trace() -> None:
    first, second = streamed("11638135731790493088"), streamed(2)
    mixed = [piece for both in zip(first, second, strict=True) for piece in both]

    found = read(tap(*mixed))

    assert len(found) == 2
    for item in found:
        assert isinstance(item, Exchange)
        assert item.response is not None
        assert [chunk.data for chunk in item.request.chunks] == [b"{", b"}"]
        assert [chunk.data for chunk in item.response.chunks] == [b"one", b"two"]
        assert item.flags == NO_FLAGS


def test_a_trace_id_that_begins_again_is_another_trace() -> None:
    found = read(tap(*streamed(1), *streamed(1)))

    assert [item.response.body for item in found if isinstance(item, Exchange) and item.response] == [b"onetwo"] * 2


def test_trailers_end_a_trace() -> None:
    trailers = segment(1, response_trailers={"headers": pairs(grpc_status="0")})

    found = read(tap(*streamed(1), trailers, segment(1, response_body_chunk=body(b"late"))))

    assert isinstance(found[0], Exchange)
    assert reasons(found) == ["segment_without_request"]


def test_a_late_request_chunk_belongs_to_the_request() -> None:
    found = read(tap(*streamed(1), segment(1, request_body_chunk=body(b"!"))))

    assert isinstance(found[0], Exchange)
    assert found[0].request.body == b"{}!"


def test_what_belongs_to_no_request_is_dropped_with_a_reason() -> None:
    found = read(
        tap(
            segment(1, response_headers={"headers": RESPONSE}),
            segment(2, request_headers={"headers": REQUEST}),
            segment(2, response_body_chunk=body(b"x")),
            {"http_buffered_trace": {"response": {"headers": RESPONSE}}},
            {"http_buffered_trace": {}},
            buffered(request={"headers": pairs(x_a="1")}),
            {"socket_buffered_trace": {"trace_id": 1}},
            {"socketStreamedTraceSegment": {}},
            {"other": 1},
        )
    )

    assert reasons(found) == [
        "segment_without_request",
        "segment_without_response",
        "response_without_request",
        "damaged",
        "response_without_request",
        "socket_trace",
        "socket_trace",
        "damaged",
    ]
    assert isinstance(found[-1], Exchange)


def test_too_many_open_traces_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_tap, "PENDING_LIMIT", 2)
    begun = [segment(number, request_headers={"headers": [*REQUEST, *pairs(n=str(number))]}) for number in range(4)]

    found = read(tap(*begun, segment(0, request_body_chunk=body(b"x"))))

    assert [header(item.request.headers, "n") for item in found if isinstance(item, Exchange)] == ["0", "1", "2", "3"]
    assert reasons(found) == ["segment_without_request"]


def test_open_traces_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_tap, "LINE_LIMIT", 3000)
    begun = [segment(number, request_headers={"headers": REQUEST}) for number in range(2)]

    found = read(tap(*begun, segment(1, request_body_chunk=body(b"x" * 2000)), *streamed(3)))

    assert len([item for item in found if isinstance(item, Exchange)]) == 3
    assert reasons(found) == []


@pytest.mark.parametrize("data", [b"\x0a\x90\x01\x0a\x10", b"http_buffered_trace:\n  request:\n"])
def test_what_is_not_json_says_so(data: bytes) -> None:
    found = read(data, tap(buffered()))

    assert reasons(found) == ["not_json"]
    assert isinstance(found[-1], Exchange)


def test_damage_costs_its_trace() -> None:
    good = tap(buffered())

    found = read(good + b"\n" + good[: len(good) // 2] + b"\n" + good + good.replace(b'"POST"', b"POST") + good)

    assert sum(isinstance(item, Exchange) for item in found) == 3
    assert reasons(found) == ["damaged", "damaged"]


FOREIGN = [
    b'{"log": {"version": "1.2", "entries": [{"http_buffered_trace": {}}]}}',
    b'{"a": {"http_buffered_trace": {}}}',
    b'[{"http_buffered_trace": {}}]',
    b"1 abc 17 \nGET / HTTP/1.1\r\n\r\n",
    b'{"captureData": {"endpointInput": {}}}',
    b'{"url": "http://x", "bytes": "e30=", "reqType": "request", "id": "1"}',
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n",
    b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}',
    b'{"shadowtape": "jsonl", "version": 1}',
    b"99:7:version;2:21#",
]


@pytest.mark.slow
def test_it_keeps_the_promises_of_an_importer() -> None:
    samples = [
        tap(buffered(), camel(buffered())),
        tap(*streamed("1"), *streamed("2"), indent=1, between=""),
    ]

    check_importer(EnvoyTap(), samples, foreign=FOREIGN)
