"""`recorder.cloud_events`: what the events of an inference logger say, in each of their modes."""

import base64
import json

import pytest

from captures.importers.importer import Dropped
from recorder.cloud_events import Half, halves_in, may_hold_events
from recorder.wire import WireBody

TYPE = "org.kubeflow.serving.inference."
BODY = b'{"instances":[[1.0]]}'


def wire(data: bytes, *, truncated: bool = False) -> WireBody:
    return WireBody(chunks=[(5, data)], size=len(data), held=len(data), end_ns=5, truncated=truncated)


def binary(side: str = "request", **attributes: str) -> bytes:
    """As Go's SDK sends it."""
    named = {
        "Ce-Id": "7",
        "Ce-Specversion": "1.0",
        "Ce-Type": TYPE + side,
        "Ce-Source": "http://localhost:9081/",
        "Ce-Inferenceservicename": "house",
        "Ce-Namespace": "shop",
        "Ce-Metadata": '{"X-Tenant":["acme"]}',
        "Content-Type": "application/json",
        **attributes,
    }
    return ("POST / HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in named.items()) + "\r\n").encode()


def structured(batch: bool = False) -> bytes:
    kind = "application/cloudevents-batch+json" if batch else "application/cloudevents+json; charset=utf-8"
    return f"POST / HTTP/1.1\r\ncontent-type: {kind}\r\n\r\n".encode()


def record(identity: str, side: str = "request", **more: object) -> dict[str, object]:
    data = base64.b64encode(BODY).decode()
    return {"specversion": "1.0", "type": TYPE + side, "id": identity, "data_base64": data, **more}


def half(found: Half | Dropped) -> Half:
    assert isinstance(found, Half)
    return found


def test_binary_mode_keeps_the_body_as_it_came() -> None:
    body = wire(BODY, truncated=True)
    (found,) = map(half, halves_in(binary(), body))

    assert found.body is body
    assert (found.event.side, found.event.key[0], found.event.service) == ("request", "7", "house")
    assert found.event.headers == (("Content-Type", "application/json"), ("X-Tenant", "acme"))


def test_attributes_are_percent_decoded_as_the_binding_says() -> None:
    head = binary(
        **{"Ce-Id": "a%20b", "Ce-Metadata": "%7B%22X-Tenant%22:[%22a%25%22]%7D", "Ce-Time": "2026-01-01T00:00:00Z"}
    )
    (found,) = map(half, halves_in(head, wire(BODY)))

    assert found.event.key[0] == "a b"
    assert found.event.headers[1] == ("X-Tenant", "a%")
    assert found.event.at_ns == 1_767_225_600 * 10**9


def test_structured_mode_and_batches_hold_their_data() -> None:
    one = json.dumps(record("1")).encode()
    two = json.dumps([record("1"), record("1", "response")]).encode()

    (found,) = map(half, halves_in(structured(), wire(one)))
    assert (found.body.chunks, found.body.size, found.body.end_ns) == ([(5, BODY)], len(BODY), 5)
    assert [half(each).event.side for each in halves_in(structured(batch=True), wire(two))] == ["request", "response"]


@pytest.mark.parametrize(
    ("data", "truncated", "reason"),
    [
        (b"{", False, "damaged"),
        (b"[]", False, "damaged"),
        (b"5", False, "damaged"),
        (json.dumps(record("1")).encode(), True, "damaged"),
        (json.dumps(record("")).encode(), False, "no_id"),
        (json.dumps(record("1", "feedback")).encode(), False, "unknown_type"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, truncated: bool, reason: str) -> None:
    (found,) = halves_in(structured(), wire(data, truncated=truncated))

    assert isinstance(found, Dropped)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("head", "may"),
    [
        (binary(), True),
        (binary().lower(), True),
        (structured(), True),
        (structured(batch=True), True),
        (binary(**{"Ce-Type": "com.example.order"}), False),
        (b"POST /?cloudevents HTTP/1.1\r\nContent-Type: application/json\r\n\r\n", False),
    ],
)
def test_only_events_of_inference_are_taken_for_such(head: bytes, may: bool) -> None:
    assert may_hold_events(head) is may
