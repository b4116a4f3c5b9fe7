"""What is exported reads the same in other programs and through our own importer, and what is lost is counted."""

import base64
import io
import json
import warnings
from dataclasses import replace
from typing import Any

import haralyzer  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import (
    NO_FLAGS,
    Chunk,
    Exchange,
    Failure,
    FailureKind,
    Flags,
    Headers,
    Origin,
    Request,
    Response,
)
from captures.exporters.har import HarExporter
from captures.importers.har import Har
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.testing import example_exchange, example_header

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's own imports use deprecated names
    from mitmproxy.http import HTTPFlow
    from mitmproxy.io import FlowReader

WALL_NS = example_header().wall_ns
MS = 1_000_000
JSON: Headers = (("content-type", "application/json"),)


def export(*exchanges: Exchange) -> tuple[bytes, dict[str, int]]:
    losses: dict[str, int] = {}
    return b"".join(HarExporter().write(example_header(), exchanges, losses)), losses


def log_of(*exchanges: Exchange) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(export(*exchanges)[0])["log"]
    return log


def again(data: bytes) -> list[Exchange | Dropped]:
    return list(Har().read([SourceFile("x.har", io.BytesIO(data))], ImportOptions()))


def moved(exchange: Exchange, ns: int) -> Exchange:
    """Every time by ``ns``."""

    def at(time_ns: int) -> int:
        return time_ns if time_ns < 0 else time_ns + ns

    def chunks(found: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        return tuple(Chunk(chunk.at_ns + ns, chunk.data) for chunk in found)

    request, response, failure = exchange.request, exchange.response, exchange.failure
    return replace(
        exchange,
        arrival_ns=exchange.arrival_ns + ns,
        request=replace(request, chunks=chunks(request.chunks), end_ns=at(request.end_ns)),
        response=response
        and replace(
            response, chunks=chunks(response.chunks), first_ns=at(response.first_ns), end_ns=at(response.end_ns)
        ),
        failure=failure and replace(failure, at_ns=failure.at_ns + ns),
    )


def exchange(body: bytes = b"{}", **changes: Any) -> Exchange:
    """One that a HAR can hold whole."""
    at = 5 * MS
    made = Exchange(
        arrival_ns=at,
        request=Request(
            method="POST",
            target="/v1/models/m:predict?a=1&b=",
            headers=(("Host", "model.example:8000"), *JSON),
            chunks=(Chunk(at + MS, body),) if body else (),
            end_ns=at + MS,
            size=len(body),
        ),
        response=Response(
            status=200,
            reason="OK",
            headers=JSON,
            chunks=(Chunk(at + 9 * MS, body),) if body else (),
            first_ns=at + 4 * MS,
            end_ns=at + 9 * MS,
            size=len(body),
        ),
    )
    return replace(made, **changes)


# HAR 1.2 by its specification: name -> type; a name in capitals is another object of this table; a trailing ? may be absent.
SCHEMA: dict[str, dict[str, Any]] = {
    "LOG": {"version": str, "creator": "CREATOR", "entries": ["ENTRY"]},
    "CREATOR": {"name": str, "version": str},
    "ENTRY": {
        "startedDateTime": str,
        "time": float,
        "request": "REQUEST",
        "response": "RESPONSE",
        "cache": dict,
        "timings": "TIMINGS",
        "connection?": str,
    },
    "REQUEST": {
        "method": str,
        "url": str,
        "httpVersion": str,
        "cookies": [dict],
        "headers": ["PAIR"],
        "queryString": ["PAIR"],
        "postData?": "POSTED",
        "headersSize": int,
        "bodySize": int,
    },
    "RESPONSE": {
        "status": int,
        "statusText": str,
        "httpVersion": str,
        "cookies": [dict],
        "headers": ["PAIR"],
        "content": "CONTENT",
        "redirectURL": str,
        "headersSize": int,
        "bodySize": int,
    },
    "PAIR": {"name": str, "value": str},
    "POSTED": {"mimeType": str, "text": str},
    "CONTENT": {"size": int, "mimeType": str, "text?": str, "encoding?": str},
    "TIMINGS": {"send": float, "wait": float, "receive": float},
}


def check(value: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, list):
        assert isinstance(value, list), where
        for item in value:
            check(item, wanted[0], where)
    elif isinstance(wanted, str):
        assert isinstance(value, dict), where
        fields = {name.removesuffix("?"): (name.endswith("?"), kind) for name, kind in SCHEMA[wanted].items()}
        assert {name for name in value if not name.startswith("_")} <= set(fields), where
        for name, (optional, kind) in fields.items():
            assert optional or name in value, f"{where}.{name}"
            if name in value:
                check(value[name], kind, f"{where}.{name}")
    else:
        assert isinstance(value, wanted), f"{where}: {value!r}"


FAILED = exchange(response=None, failure=Failure(FailureKind.TIMEOUT, 30 * MS))
AWKWARD = [
    exchange(),
    exchange(b""),
    exchange(b"\x00\xff"),
    FAILED,
    example_exchange(),
    exchange(request=Request(method="OPTIONS", target="*")),
    exchange(request=Request(method="GET", target="/a#b", headers=(("Host", "a b"),))),
    exchange(connection=80, labels=(("region", "eu"),), session=2**64 - 1, model="m\ud800"),
    exchange(arrival_ns=-10 * MS),
    exchange(arrival_ns=2**62),
]


def test_every_entry_has_what_the_specification_wants() -> None:
    log = log_of(*AWKWARD)

    check(log, "LOG", "log")
    assert len(log["entries"]) == len(AWKWARD)
    for entry in log["entries"]:
        assert all(span >= 0 for span in entry["timings"].values())
        assert entry["time"] == pytest.approx(sum(entry["timings"].values()))


def test_a_capture_without_exchanges_is_a_har_without_entries() -> None:
    assert log_of()["entries"] == []


def test_the_file_comes_in_pieces_as_exchanges_come() -> None:
    taken: list[int] = []

    def exchanges() -> Any:
        for number in range(3):
            taken.append(number)
            yield exchange()

    pieces = iter(HarExporter().write(example_header(), exchanges(), {}))
    next(pieces)
    assert taken == []
    next(pieces)
    assert taken == [0]


def test_haralyzer_reads_it() -> None:
    (entry,) = haralyzer.HarParser(json.loads(export(exchange())[0])).pages[0].entries

    assert (entry.request.method, entry.request.url) == ("POST", "http://model.example:8000/v1/models/m:predict?a=1&b=")
    assert (entry.response.status, entry.response.text, entry.request.text) == (200, "{}", "{}")
    assert entry.startTime.isoformat() == "2023-11-14T22:13:20.005000+00:00"
    assert entry.time == 9
    assert entry.timings["wait"] == 3


@pytest.mark.parametrize("body", [b"", b"{}", '{"é": "漢"}'.encode(), b"\x00\x01"])
def test_mitmproxy_reads_it(body: bytes) -> None:
    (flow,) = FlowReader(io.BytesIO(export(exchange(body))[0])).stream()

    assert isinstance(flow, HTTPFlow)
    assert flow.response is not None
    assert flow.request.method == "POST"
    assert flow.request.url == "http://model.example:8000/v1/models/m:predict?a=1&b="
    assert (flow.response.status_code, flow.response.content, flow.request.content) == (200, body, body)
    assert round(flow.request.timestamp_start * 1000) == (WALL_NS + 5 * MS) // MS


def test_mitmproxy_reads_a_binary_response_of_any_type() -> None:
    odd = exchange(b'\xe9"\n')
    assert odd.response is not None
    odd = replace(odd, response=replace(odd.response, headers=(("Content-Type", "text/plain"),)))

    (flow,) = FlowReader(io.BytesIO(export(odd)[0])).stream()

    assert isinstance(flow, HTTPFlow)
    assert flow.response is not None
    assert flow.response.content == b'\xe9"\n'


def test_mitmproxy_reads_a_failure() -> None:
    (flow,) = FlowReader(io.BytesIO(export(FAILED)[0])).stream()

    assert isinstance(flow, HTTPFlow)
    assert flow.response is not None
    assert flow.response.status_code == 0


NAMES = st.text("abcXYZ-", min_size=1, max_size=6).map(lambda name: "x-" + name)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=8)
TEXTS = st.text(max_size=20).filter(lambda text: not any(0xD800 <= ord(letter) < 0xE000 for letter in text))
SPANS = st.integers(0, 10**12)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Whatever a HAR can hold."""
    at = draw(st.integers(0, 10**9)) * 1000 + (-WALL_NS % 1000)
    end = at + draw(SPANS)
    first = end + draw(SPANS)
    last = first + draw(SPANS)
    sent, got = draw(TEXTS).encode(), draw(st.binary(max_size=20))
    kind = draw(st.sampled_from(["application/json", "text/plain", "text/plain; charset=utf-8", "image/png"]))
    query = draw(st.sampled_from(["", "?a=b", "?%C3%A9&x"]))
    pairs = st.lists(st.tuples(NAMES, VALUES), max_size=2).map(tuple)
    request = Request(
        method=draw(st.sampled_from(["GET", "POST", "PUT"])),
        target="/" + draw(st.text("a/:%", max_size=6)) + query,
        headers=(
            ("host", draw(st.sampled_from(["a", "a.example:81", "[::1]:8"]))),
            ("content-type", kind),
            *draw(pairs),
        ),
        chunks=(Chunk(end, sent),) if sent else (),
        end_ns=end,
        size=len(sent),
        http_version=draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/3"])),
    )
    if draw(st.booleans()):
        failure = Failure(draw(st.sampled_from(list(FailureKind)[1:])), last)
        return Exchange(arrival_ns=at, request=request, failure=failure)
    response = Response(
        status=draw(st.sampled_from([200, 201, 400, 500])),
        headers=(("content-type", kind), *draw(pairs)),
        chunks=(Chunk(last, got),) if got else (),
        first_ns=first,
        end_ns=last,
        size=len(got),
        reason=draw(st.sampled_from(["", "OK", "n\xef"])),
    )
    return Exchange(arrival_ns=at, request=request, response=response)


@given(st.lists(exchanges(), max_size=3))
def test_what_a_har_can_hold_comes_back_equal(originals: list[Exchange]) -> None:
    data, losses = export(*originals)

    assert losses == {}
    assert again(data) == [moved(original, WALL_NS) for original in originals]


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (Flags.REQUEST_DROPPED | Flags.RESPONSE_DROPPED, b""),
        (Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED, b"{"),
        (NO_FLAGS, b"{}"),
    ],
)
def test_bodies_that_are_not_all_there_still_say_so(flags: Flags, kept: bytes) -> None:
    made = exchange(kept, flags=flags)
    assert made.response is not None
    made = replace(made, request=replace(made.request, size=2), response=replace(made.response, size=2))

    data, losses = export(made)

    assert losses == {}
    assert again(data) == [moved(made, WALL_NS)]


def test_a_response_that_broke_off_still_says_so() -> None:
    whole = exchange()
    assert whole.response is not None
    broken = replace(
        whole,
        response=replace(whole.response, end_ns=-1),
        failure=Failure(FailureKind.RESET, whole.response.end_ns),
        flags=Flags.RESPONSE_TRUNCATED,
    )

    assert again(export(broken)[0]) == [moved(broken, WALL_NS)]


def without_end(side: str) -> Exchange:
    made = exchange()
    found = getattr(made, side)
    return replace(made, **{side: replace(found, end_ns=-1)})


def answered_early() -> Exchange:
    made = exchange()
    return replace(made, request=replace(made.request, end_ns=made.arrival_ns + 5 * MS))


def in_two(made: Exchange) -> Exchange:
    chunks = (Chunk(6 * MS, b"{"), Chunk(6 * MS, b"}"))
    return replace(made, request=replace(made.request, chunks=chunks))


def altered() -> Exchange:
    made = exchange()
    return replace(made, request=replace(made.request, size=400), flags=Flags.REQUEST_ALTERED)


@pytest.mark.parametrize(
    ("made", "losses"),
    [
        (exchange(b"\xff\x00"), {"request_bodies": 1}),
        (in_two(exchange()), {"chunk_times": 1}),
        (without_end("request"), {"unknown_times": 1}),
        (without_end("response"), {"unknown_times": 1}),
        (answered_early(), {"overlapping_times": 1}),
        (moved(exchange(), 1), {"sub_microsecond_times": 1}),
        (altered(), {"wire_sizes": 1}),
        (exchange(request=Request(method="OPTIONS", target="*", end_ns=6 * MS)), {"targets": 1}),
        (exchange(request=Request(method="GET", target="/", headers=(("Host", "a/b"),), end_ns=6 * MS)), {"hosts": 1}),
        (replace(FAILED, failure=Failure(FailureKind.RESET, 30 * MS, "ECONNRESET")), {"failure_details": 1}),
        (exchange(origin=Origin(row=1, source=2, variant=0, target="target")), {"origins": 1}),
        (exchange(), {}),
    ],
)
def test_what_is_lost_is_counted(made: Exchange, losses: dict[str, int]) -> None:
    assert export(made, exchange())[1] == losses


def test_binary_goes_in_base64_and_text_as_text() -> None:
    contents = [entry["response"]["content"] for entry in log_of(exchange(b"\xff"), exchange(b'"a"'))["entries"]]

    assert [content.get("encoding") for content in contents] == ["base64", None]
    assert base64.b64decode(contents[0]["text"]) == b"\xff"


def test_a_request_without_a_host_has_an_impossible_one() -> None:
    log = log_of(exchange(request=Request(method="GET", target="/a")))

    assert log["entries"][0]["request"]["url"] == "http://unknown.invalid/a"


def test_what_we_know_besides_stands_under_our_own_name() -> None:
    made = exchange(
        route="POST /v1/models/{model}:predict",
        model="m",
        codec="kserve-v1",
        session=7,
        labels=(("region", "eu"),),
        flags=Flags.REPLAYABLE | Flags.STREAM,
    )

    assert log_of(made)["entries"][0]["_shadowtape"] == {
        "route": "POST /v1/models/{model}:predict",
        "codec": "kserve-v1",
        "model": "m",
        "session": "0000000000000007",
        "labels": {"region": "eu"},
        "flags": ["REPLAYABLE", "STREAM"],
    }
