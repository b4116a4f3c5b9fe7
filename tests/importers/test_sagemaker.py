import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.exchange import Exchange, Flags, header
from captures.importers import sagemaker
from captures.importers.importer import SNIFFED_BYTES, Dropped, ImportOptions, SourceFile
from captures.importers.sagemaker import SageMaker
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser

SECOND_NS = 10**9
AT_NS = 1_596_116_190 * SECOND_NS  # 2020-07-30T13:36:30Z


def side(mode: str, data: object, encoding: object = "CSV", kind: object = "text/csv") -> dict[str, object]:
    return {"observedContentType": kind, "mode": mode, "data": data, "encoding": encoding}


def record(identity: str = "e1", time: str = "2020-07-30T13:36:30Z", **changes: object) -> bytes:
    captured = {"endpointInput": side("INPUT", "1,2\n"), "endpointOutput": side("OUTPUT", "0.5")}
    captured |= {key: value for key, value in changes.items() if key.startswith("endpoint")}  # type: ignore[misc] # a test's own
    about = {"eventId": identity, "inferenceTime": time}
    about |= {key: value for key, value in changes.items() if not key.startswith("endpoint")}  # type: ignore[misc] # as above
    captured = {key: value for key, value in captured.items() if value is not None}
    return json.dumps({"captureData": captured, "eventMetadata": about, "eventVersion": "0"}).encode()


def items(*contents: bytes, seed: int = 0, **options: str) -> list[Exchange | Dropped]:
    files = [SourceFile(f"{number}.jsonl", io.BytesIO(content)) for number, content in enumerate(contents)]
    return list(
        SageMaker().read(
            files, ImportOptions(path_template=options.get("path", ""), model=options.get("model", ""), seed=seed)
        )
    )


def exchanges(*contents: bytes, seed: int = 0, **options: str) -> list[Exchange]:
    found = items(*contents, seed=seed, **options)
    assert not [item for item in found if isinstance(item, Dropped)]
    return [item for item in found if isinstance(item, Exchange)]


def test_a_record_is_an_exchange_that_took_no_time() -> None:
    (found,) = exchanges(record())

    assert (found.request.method, found.request.target, found.request.body) == ("POST", "/invocations", b"1,2\n")
    assert found.response is not None
    assert (found.response.status, found.response.body) == (200, b"0.5")
    assert AT_NS <= found.arrival_ns < AT_NS + SECOND_NS
    assert found.request.end_ns == found.response.end_ns == found.arrival_ns
    assert found.response.first_ns == -1
    assert Flags.SYNTHETIC not in found.flags


@pytest.mark.parametrize(
    ("data", "encoding", "body"),
    [
        ("1,2\n", "CSV", b"1,2\n"),
        ('{"instances":[[1.0]]}', "JSON", b'{"instances":[[1.0]]}'),
        (base64.b64encode(b"\x93NUMPY\0").decode(), "BASE64", b"\x93NUMPY\0"),
        ("eyJh\nIjoxfQ==", "BASE64", b'{"a":1}'),
        ("é", "CSV", "é".encode()),
        ("{}", None, b"{}"),
        (None, "CSV", b""),
    ],
)
def test_each_encoding_gives_the_bytes_back(data: object, encoding: str | None, body: bytes) -> None:
    sent = side("INPUT", data, encoding)
    if encoding is None:
        del sent["encoding"]
    (found,) = exchanges(record(endpointInput=sent))

    assert (found.request.body, found.request.size) == (body, len(body))


def test_content_types_and_attributes_are_headers() -> None:
    (found,) = exchanges(
        record(
            endpointOutput=side("OUTPUT", "0.5", kind="text/csv; charset=utf-8"),
            inferenceId="order-7",
            customAttributes=["trace=1", "tenant=é"],
        )
    )

    assert found.request.headers == (
        ("Content-Type", "text/csv"),
        ("X-Amzn-SageMaker-Inference-Id", "order-7"),
        ("X-Amzn-SageMaker-Custom-Attributes", "trace=1,tenant=é"),
    )
    assert found.response is not None
    assert header(found.response.headers, "content-type") == "text/csv; charset=utf-8"


def test_a_request_without_output_is_a_request() -> None:
    (found,) = exchanges(record(endpointOutput=None))

    assert (found.request.body, found.response, found.failure) == (b"1,2\n", None, None)


def test_output_without_a_request_is_dropped() -> None:
    assert items(record(endpointInput=None)) == [Dropped("response_without_request", "0.jsonl: line 1")]


def test_events_of_a_second_are_spread_over_it_in_the_order_of_the_file() -> None:
    found = exchanges(b"\n".join(record(f"e{each}", endpointInput=side("INPUT", str(each))) for each in range(50)))
    times = [exchange.arrival_ns for exchange in found]

    assert [exchange.request.body for exchange in found] == [str(each).encode() for each in range(50)]
    assert times == sorted(times)
    assert len(set(times)) == 50
    assert all(AT_NS <= at_ns < AT_NS + SECOND_NS for at_ns in times)
    assert times[-1] - times[0] > SECOND_NS // 2


def test_the_spread_is_that_of_the_seed_and_the_event_ids() -> None:
    content = b"\n".join(record(f"e{each}") for each in range(3))

    assert exchanges(content) == exchanges(content)
    assert exchanges(content)[0].arrival_ns != exchanges(content, seed=1)[0].arrival_ns
    assert exchanges(record("e1"))[0].arrival_ns != exchanges(record("e2"))[0].arrival_ns


def test_seconds_stay_apart() -> None:
    times = [f"2020-07-30T13:36:{second:02d}Z" for second in (30, 30, 31, 30, 59)]
    found = exchanges(b"\n".join(record(f"e{each}", time) for each, time in enumerate(times)))

    assert [exchange.arrival_ns // SECOND_NS - AT_NS // SECOND_NS for exchange in found] == [0, 0, 1, 0, 29]


def test_a_time_with_a_fraction_is_believed() -> None:
    assert exchanges(record(time="2020-07-30T13:36:30.25Z"))[0].arrival_ns == AT_NS + SECOND_NS // 4


@given(st.lists(st.integers(0, 3), max_size=40))
def test_every_record_comes_out_once_in_order(seconds: list[int]) -> None:
    lines = [
        record(f"e{each}", f"2020-07-30T13:36:3{second}Z", endpointInput=side("INPUT", str(each)))
        for each, second in enumerate(seconds)
    ]

    assert [exchange.request.body for exchange in exchanges(b"\n".join(lines))] == [
        str(each).encode() for each in range(len(seconds))
    ]


@pytest.mark.parametrize("limit", ["MOST_AT_ONCE", "MOST_BYTES_AT_ONCE"])
def test_a_second_with_very_many_events_keeps_their_order(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(sagemaker, limit, 4)
    lines = [record(f"e{each}", endpointInput=side("INPUT", str(each))) for each in range(10)]
    found = exchanges(b"\n".join(lines))
    times = [exchange.arrival_ns for exchange in found]

    assert [exchange.request.body for exchange in found] == [str(each).encode() for each in range(10)]
    assert times == sorted(times)
    assert all(AT_NS <= at_ns < AT_NS + SECOND_NS for at_ns in times)


def test_a_template_wins_and_may_name_the_model() -> None:
    assert (
        exchanges(record(), path="/endpoints/{model}/invocations", model="churn")[0].request.target
        == "/endpoints/churn/invocations"
    )


@pytest.mark.parametrize("path", ["/endpoints/{model}/invocations", "/{version}", "invocations"])
def test_a_template_that_cannot_be_filled_is_said_before_anything_is_read(path: str) -> None:
    with pytest.raises(UsageError, match="--path-template"):
        SageMaker().read([], ImportOptions(path_template=path))


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[1]",
        b"5",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"captureData":{}}',
        record(time="yesterday"),
        record(time=""),
        record(endpointInput=side("INPUT", "!", "BASE64")),
        record(endpointInput=side("INPUT", "x", "ZIP")),
        record(endpointInput=side("INPUT", [1])),
        record(endpointInput="1,2"),
        record(endpointOutput=[]),
    ],
)
def test_a_broken_line_is_damage_and_the_next_is_read(line: bytes) -> None:
    found = items(record("e1") + b"\n\n" + line + b"\n" + record("e2"))

    assert sorted(type(item).__name__ for item in found) == ["Dropped", "Exchange", "Exchange"]
    assert Dropped("damaged", "0.jsonl: line 3") in found


def test_json_answers_stay_comparable_after_the_policy() -> None:
    """A response that had no end would never be RECORDED_VALID, and the import no use for shadowing."""
    (raw,) = exchanges(
        record(
            endpointInput=side("INPUT", '{"instances":[[1.5,2.0]]}', "JSON", "application/json"),
            endpointOutput=side("OUTPUT", '{"predictions":[0.25]}', "JSON", "application/json"),
        ),
        path="/v1/models/{model}:predict",
        model="churn",
    )
    (kept,) = Pseudonymiser(Policy(), b"k" * 32).apply([raw])

    assert kept.flags >= Flags.REPLAYABLE | Flags.RECORDED_VALID


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (record(), True),
        (record() + b"\n" + record(), True),
        (record(endpointInput=side("INPUT", "1," * 100_000))[:SNIFFED_BYTES], True),
        (b'{"eventMetadata": {}, "captureData": {}}', True),
        (b"[" + record() + b"]", False),
        (b'{"data": {"captureData": {}}}', False),
        (b'{"specversion": "1.0"}', False),
        (b"", False),
    ],
)
def test_a_capture_is_known_by_the_keys_of_its_first_line(head: bytes, known: bool) -> None:
    assert SageMaker().sniff(head) is known
