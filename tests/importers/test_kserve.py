import base64
import io
import json
import tracemalloc

import pytest

from captures.codecs.registry import classify
from captures.errors import UsageError
from captures.exchange import Exchange, header
from captures.importers import kserve
from captures.importers.importer import SNIFFED_BYTES, Dropped, ImportOptions, SourceFile
from captures.importers.kserve import GAP_NS, KServe, path_for

AT_NS = 1_704_067_200_123_456_789
V2 = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
V1 = b'{"instances":[[1.0,2.0]]}'
ANSWER = b'{"predictions":[0.5]}'


def logged(side: str, identity: str = "1", body: bytes | None = V2, **changes: object) -> dict[str, object]:
    """As newer loggers write it."""
    return {
        "url": "s3://logs",
        "bytes": None if body is None else base64.b64encode(body).decode(),
        "contentType": "application/json",
        "reqType": f"org.kubeflow.serving.inference.{side}",
        "id": identity,
        "sourceUri": "http://localhost:9081/",
        "inferenceService": "house",
        "namespace": "shop",
        "component": "predictor",
        "endpoint": "",
        "metadata": {"X-Region": ["eu", "west"]},
        "annotations": {},
        "certName": "",
        "tlsSkipVerify": False,
        "occurrenceTime": "2024-01-01T00:00:00.123456789Z" if side == "request" else "2024-01-01T00:00:00.173456789Z",
    } | changes


def go(record: dict[str, object]) -> dict[str, object]:
    """As Go spells a struct without tags, and without a time: most releases."""
    spelled = {key[:1].upper() + key[1:]: value for key, value in record.items() if key != "occurrenceTime"}
    return spelled | {"Url": {"Scheme": "s3", "Opaque": "", "Host": "logs", "Path": "/"}}


def event(side: str, identity: object = "1", **changes: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "http://localhost:9081/",
        "type": f"org.kubeflow.serving.inference.{side}",
        "time": "2024-01-01T00:00:00.123456789Z" if side == "request" else "2024-01-01T00:00:00.173456789Z",
        "datacontenttype": "application/json",
        "inferenceservicename": "house",
        "namespace": "shop",
        "component": "predictor",
        "endpoint": "",
        "metadata": '{"X-Region":["eu"]}',
        "data": {"instances": [[1.5, 2]]},
    } | changes


def blob(*records: object) -> bytes:
    return json.dumps(records[0] if len(records) == 1 else records, separators=(",", ":")).encode()


def items(*contents: bytes, **options: str) -> list[Exchange | Dropped]:
    files = [SourceFile(f"{number}.json", io.BytesIO(content)) for number, content in enumerate(contents)]
    return list(
        KServe().read(files, ImportOptions(path_template=options.get("path", ""), model=options.get("model", "")))
    )


def exchanges(*contents: bytes, **options: str) -> list[Exchange]:
    found = items(*contents, **options)
    assert not [item for item in found if isinstance(item, Dropped)]
    return [item for item in found if isinstance(item, Exchange)]


def test_request_and_response_of_two_files_are_one_exchange() -> None:
    (found,) = exchanges(blob(logged("request")), blob(logged("response", body=ANSWER)))

    assert (found.arrival_ns, found.request.end_ns) == (AT_NS, AT_NS)
    assert (found.request.method, found.request.target) == ("POST", "/v2/models/house/infer")
    assert found.request.body == V2
    assert found.response is not None
    assert (found.response.status, found.response.body) == (200, ANSWER)
    assert (found.response.first_ns, found.response.end_ns) == (-1, AT_NS + 50_000_000)
    assert found.failure is None


@pytest.mark.parametrize(
    "contents",
    [
        [blob(logged("request"), logged("response"), logged("request", "2"), logged("response", "2"))],
        [b"\n".join(blob(logged(side, each)) for each in "12" for side in ("request", "response"))],
        [b"".join(blob(logged(side, each)) for each in "12" for side in ("request", "response"))],
        [json.dumps([logged(side, each) for each in "12" for side in ("request", "response")], indent=2).encode()],
        [blob(logged("response", each)) for each in "12"] + [blob(logged("request", each)) for each in "12"],
        [blob(logged("request"), logged("request", "2")) + b"\n" + blob(logged("response"), logged("response", "2"))],
        [
            b"[]",
            blob(go(logged("request")), go(logged("request", "2"))),
            blob(go(logged("response")), go(logged("response", "2"))),
        ],
        [b"\xef\xbb\xbf" + blob(event("request"), event("request", "2"), event("response"), event("response", "2"))],
    ],
)
def test_blobs_come_as_objects_arrays_and_lines_in_any_order(contents: list[bytes]) -> None:
    found = exchanges(*contents)

    assert len(found) == 2
    assert all(exchange.response is not None for exchange in found)


def test_the_same_id_in_another_component_is_another_exchange() -> None:
    found = exchanges(
        blob(logged("request")),
        blob(logged("request", component="transformer", body=V1)),
        blob(logged("response", component="transformer", body=ANSWER)),
        blob(logged("response")),
    )

    assert [exchange.request.body for exchange in found] == [V1, V2]
    assert [exchange.response.body for exchange in found if exchange.response] == [ANSWER, V2]


def test_a_request_that_nobody_answered_is_kept_without_a_failure_that_nobody_recorded() -> None:
    (found,) = exchanges(blob(logged("request")))

    assert (found.response, found.failure) == (None, None)


def test_a_response_without_its_request_is_dropped() -> None:
    assert items(blob(logged("response"))) == [Dropped("response_without_request", "0.json: byte 0")]


def test_a_second_request_of_an_id_does_not_swallow_the_first() -> None:
    found = exchanges(blob(logged("request", body=V1), logged("request"), logged("response")))

    assert [(exchange.request.body, exchange.response is None) for exchange in found] == [(V1, True), (V2, False)]


@pytest.mark.parametrize(
    ("body", "template"),
    [
        (V2, "/v2/models/{model}/infer"),
        (b'{ "id": "1", "inputs" : [ {"data":[1],"datatype":"FP32"}]}', "/v2/models/{model}/infer"),
        (
            b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}\0\0\0\0',
            "/v2/models/{model}/infer",
        ),
        (V1, "/v1/models/{model}:predict"),
        (b'{"inputs":{"a":[1]}}', "/v1/models/{model}:predict"),
        (b'{"inputs":[[1,2],[3,4]]}', "/v1/models/{model}:predict"),
        (b'{"messages":[{"role":"user","content":"instances"}]}', "/openai/v1/chat/completions"),
        (b'{"prompt":"see","max_tokens":1}', "/openai/v1/completions"),
        (b'{"text":"instances"}', ""),
        (b"\x89PNG", ""),
        (b"", ""),
        (b'"inputs":[' * 20_000, ""),
    ],
)
def test_the_path_is_inferred_from_the_keys_of_a_body(body: bytes, template: str) -> None:
    assert path_for(body) == template


def test_a_body_that_fits_no_path_is_dropped_unless_a_template_says_where_it_went() -> None:
    content = blob(logged("request", body=b"1,2"), logged("response", body=b"3"))

    assert items(content) == [Dropped("no_path", "0.json: byte 1")]
    assert exchanges(content, path="/v1/models/{model}:predict")[0].request.target == "/v1/models/house:predict"


@pytest.mark.parametrize(
    "path", ["/v1/models/{model}:predict", "/v2/models/{model}/infer", "/v2/models/{model}/versions/3/infer"]
)
def test_a_template_wins_and_is_filled_with_the_service_or_the_model_given(path: str) -> None:
    service = classify(exchanges(blob(logged("request")), path=path)[0].request)
    given = classify(exchanges(blob(logged("request")), path=path, model="a b")[0].request)

    assert (service.inference, service.model, given.model) == (True, "house", "a b")


def test_without_a_service_the_model_must_be_given() -> None:
    content = blob(logged("request", inferenceService=""))

    assert items(content) == [Dropped("no_model", "0.json: byte 0")]
    assert exchanges(content, model="house")[0].request.target == "/v2/models/house/infer"


@pytest.mark.parametrize("path", ["v2/models", "/v2/{name}", "/v2/{model", "/a b"])
def test_a_template_that_cannot_be_is_said_before_anything_is_read(path: str) -> None:
    with pytest.raises(UsageError, match="--path-template"):
        KServe().read([], ImportOptions(path_template=path))


def test_allowed_headers_and_the_content_type_are_those_of_the_request_only() -> None:
    (found,) = exchanges(blob(logged("request"), logged("response", contentType="text/event-stream")))

    assert found.request.headers == (("Content-Type", "application/json"), ("X-Region", "eu"), ("X-Region", "west"))
    assert found.response is not None
    assert found.response.headers == ()


def test_a_header_that_cannot_be_one_is_left_out() -> None:
    (found,) = exchanges(
        blob(logged("request", metadata={"X A": ["1"], "X-B": "a\r\nX-C: 2", "Content-Type": ["text/csv"]}))
    )

    assert header(found.request.headers, "content-type") == "text/csv"
    assert [name for name, _ in found.request.headers] == ["X-B", "Content-Type"]
    assert all("\n" not in value and "\r" not in value for _, value in found.request.headers)


def test_requests_without_a_time_are_put_one_second_apart_and_take_no_time() -> None:
    records = [go(logged(side, str(each))) for each in range(3) for side in ("request", "response")]
    found = exchanges(blob(*records))

    assert [exchange.arrival_ns for exchange in found] == [0, GAP_NS, 2 * GAP_NS]
    assert all(each.response and each.response.end_ns == each.arrival_ns for each in found)


def test_a_request_without_a_time_follows_the_one_before_it() -> None:
    found = exchanges(blob(logged("request"), logged("request", "2", occurrenceTime=None)))

    assert [exchange.arrival_ns for exchange in found] == [AT_NS, AT_NS + GAP_NS]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "", None, "soon", 5])
def test_gos_zero_time_and_nonsense_are_no_times(time: object) -> None:
    content = blob(logged("request", occurrenceTime=time), logged("response"))
    (found,) = exchanges(content)

    assert found.arrival_ns == 0
    assert found.response is not None
    assert found.response.end_ns == 0


@pytest.mark.parametrize("time", ["2024-01-01T00:00:00Z", None])
def test_a_response_before_its_request_or_without_a_time_takes_none(time: str | None) -> None:
    (found,) = exchanges(blob(logged("request"), logged("response", occurrenceTime=time)))

    assert found.response is not None
    assert found.response.end_ns == AT_NS


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, b'{"instances":[[1.5,2]]}'),
        ({"data": None, "data_base64": base64.b64encode(V1).decode()}, V1),
        ({"data": "1,2\n", "datacontenttype": "text/csv"}, b"1,2\n"),
        ({"data": "a"}, b'"a"'),
        ({"data": {"é": "日"}}, '{"é":"日"}'.encode()),
        ({"data": None}, b""),
    ],
)
def test_data_of_a_structured_event_is_its_body(changes: dict[str, object], body: bytes) -> None:
    (found,) = exchanges(blob(event("request", **changes)), path="/v1/models/{model}:predict")

    assert found.request.body == body
    assert (found.arrival_ns, found.request.target) == (AT_NS, "/v1/models/house:predict")
    assert header(found.request.headers, "x-region") == "eu"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (logged("request", reqType="predict"), "unknown_type"),
        (logged("request", id=""), "no_id"),
        (logged("request", bytes="!!!"), "damaged"),
        (logged("request", bytes=[1, 2]), "damaged"),
        (event("request", data_base64="!"), "damaged"),
        ({"hello": "world"}, "unknown_type"),
    ],
)
def test_a_record_that_is_no_half_of_an_exchange_is_dropped_with_its_place(record: object, reason: str) -> None:
    found = items(blob(logged("request"), record, logged("response")))

    assert [type(item) for item in found] == [Dropped, Exchange]
    assert found[0] == Dropped(reason, f"0.json: byte {len(blob(logged('request'))) + 2}")


@pytest.mark.parametrize("damage", [b"{broken", b"nonsense", b'{"bytes": "cut', b"[1, 2, 3]", b"{" * 100_000])
def test_damage_is_reported_and_the_next_record_is_read(damage: bytes) -> None:
    found = items(
        blob(logged("request")) + b"\n" + damage + b"\n" + blob(logged("request", "2")), blob(logged("response"))
    )

    assert any(item.reason == "damaged" for item in found if isinstance(item, Dropped))
    assert len([item for item in found if isinstance(item, Exchange)]) >= 1


def test_a_blob_that_was_cut_off_costs_its_last_record() -> None:
    found = items(blob(logged("request"), logged("request", "2"), logged("request", "3"))[:-40])

    assert [type(item) for item in found] == [Dropped, Exchange, Exchange]


def test_what_waits_for_its_other_half_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kserve, "PENDING_LIMIT", 3)
    contents = [blob(logged("request", str(each))) for each in range(10)]
    stream = KServe().read([SourceFile("many", io.BytesIO(b"\n".join(contents)))], ImportOptions())

    assert [next(stream) for _ in range(7)]
    assert len(list(stream)) == 3


def test_what_waits_for_its_other_half_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kserve, "PENDING_BYTES", 1 << 20)
    body = b'{"instances":["%s"]}' % (b"x" * (100 << 10))

    def contents() -> io.BytesIO:
        return io.BytesIO(b"\n".join(blob(logged("request", str(each), body=body)) for each in range(100)))

    source = contents()
    tracemalloc.start()
    try:
        found = sum(1 for _ in KServe().read([SourceFile("large", source)], ImportOptions()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == 100
    assert peak < 6 << 20


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (blob(logged("request")), True),
        (blob(logged("request"), logged("response")), True),
        (blob(go(logged("request"))), True),
        (blob(go(logged("request", body=b"x" * 100_000)))[:SNIFFED_BYTES], True),
        (json.dumps([logged("request")], indent=2).encode(), True),
        (blob(event("request")), True),
        (blob(event("request", type="com.example.other")), False),
        (b'{"log": {"version": "1.2", "entries": []}}', False),
        (b'{"captureData": {"endpointInput": {"data": ""}}}', False),
        (b'{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": []}', False),
        (b'{"http_buffered_trace": {"request": {"bytes": 1, "url": 2}}}', False),
        (b"url,bytes,contentType,reqType,id\n", False),
        (b"", False),
    ],
)
def test_a_blob_is_known_by_the_keys_of_its_first_record(head: bytes, known: bool) -> None:
    assert KServe().sniff(head) is known
