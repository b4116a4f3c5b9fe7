"""Our own JSON lines: what was exported comes back exactly and is believed; what was made by hand is raw."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.confessions import Confessions
from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.exporters.jsonl import FIRST, JsonlExporter, sealed
from captures.header import Header
from captures.importers.importer import Dropped, ImportOptions, Provenance, SourceFile
from captures.importers.jsonl import Jsonl
from captures.importers.moved import moved
from captures.testing import example_exchange, example_exchanges, example_header

HEADER = example_header(policy={"version": 1, "labels": ["ja"]}, policy_digest="digest", labels=("region", "tier"))
TOLD = Confessions(seen=9, shed=4, truncated=1, sampling_rate=0.5)
T = 1_700_000_000_000_000_000

texts = st.text(st.characters(codec=None), max_size=8)  # lone surrogates too
spans = st.integers(-1, 2**62).map(lambda span: span if span == -1 else span // 2)
bodies = st.binary(max_size=20) | st.text(max_size=8).map(str.encode)
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    at = draw(st.integers(-(10**12), 2**60))

    def time() -> int:
        span = draw(spans)
        return -1 if span == -1 or at + span == -1 else at + span

    def chunks() -> tuple[Chunk, ...]:
        return tuple(Chunk(at + draw(st.integers(0, 2**40)), draw(bodies)) for _ in range(draw(st.integers(0, 3))))

    sizes = st.integers(0, 2**63 - 1)
    return Exchange(
        arrival_ns=at,
        request=Request(
            method=draw(texts),
            target=draw(texts),
            headers=draw(headers),
            chunks=chunks(),
            end_ns=time(),
            size=draw(sizes),
            http_version=draw(texts),
        ),
        response=(
            draw(st.booleans())
            and Response(
                status=draw(st.integers(1, 65535)),
                headers=draw(headers),
                chunks=chunks(),
                first_ns=time(),
                end_ns=time(),
                size=draw(sizes),
                reason=draw(texts),
            )
        )
        or None,
        failure=(draw(st.booleans()) and Failure(draw(st.sampled_from(FailureKind)), time(), draw(texts))) or None,
        route=draw(texts),
        codec=draw(texts),
        model=draw(texts),
        session=draw(st.integers(0, 2**64 - 1)),
        connection=draw(st.integers(0, 2**32 - 1)),
        flags=Flags(draw(st.integers(0, 2**32 - 1))),
        labels=tuple(sorted(draw(st.dictionaries(texts, texts, max_size=2)).items())),
        origin=(
            draw(st.booleans())
            and Origin(
                row=draw(st.integers(0, 2**62)),
                source=draw(st.integers(0, 2**62)),
                variant=draw(st.integers(0, 2**32 - 1)),
                target=draw(texts),
                attempt=draw(st.integers(0, 255)),
                intended_ns=draw(st.integers(-1, 2**60)),
            )
        )
        or None,
    )


def exported(found: list[Exchange], header: Header = HEADER, **more: object) -> bytes:
    losses: dict[str, int] = {}
    exporter = JsonlExporter(**({"confessions": TOLD, "exchanges": len(found)} | more))  # type: ignore[arg-type]  # fields
    data = b"".join(exporter.write(header, found, losses))
    assert losses == {}
    return data


def read(*files: bytes) -> list[Exchange | Dropped | Provenance]:
    sources = [SourceFile(f"{number}.jsonl", io.BytesIO(file)) for number, file in enumerate(files)]
    return list(Jsonl().read(sources, ImportOptions()))


def by_hand(**fields: object) -> bytes:
    line = {"arrival_ns": T, "request": {"method": "GET", "target": "/"}} | fields
    return json.dumps(line).encode() + b"\n"


@settings(max_examples=150, deadline=None)
@given(st.lists(exchanges(), max_size=3))
def test_any_exchange_comes_back_as_it_was(found: list[Exchange]) -> None:
    said, *back = read(exported(found))

    assert said == Provenance(HEADER, TOLD)
    assert [moved(item, -HEADER.wall_ns) for item in back if isinstance(item, Exchange)] == found


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        example_header,
        producer=texts,
        key_id=texts,
        policy_digest=texts.map(lambda text: f"d{text}"),
        source_digests=st.lists(texts, max_size=2).map(tuple),
        labels=st.lists(texts.filter(bool), max_size=2, unique=True).map(tuple),
        notes=st.dictionaries(texts, st.integers(0, 2**64 - 1) | texts | st.lists(texts, max_size=2), max_size=3),
        expires_ns=st.integers(0, 2**63 - 1),
        sampling_rate=st.floats(0, 1),
        kind=st.sampled_from(("recording", "derived", "run")),
    )
)
def test_any_header_comes_back_as_it_was(header: Header) -> None:
    assert read(exported([], header)) == [Provenance(header, TOLD)]


def test_a_person_can_read_it() -> None:
    first, line = exported([example_exchange(flags=Flags.REPLAYABLE | Flags(1 << 30))]).splitlines()

    assert json.loads(first)["header"]["producer"] == "example"
    told = json.loads(line)
    assert told["request"]["body"].startswith('{"inputs":')
    assert (told["request"]["end_ns"], told["response"]["end_ns"]) == (100_000, 5_000_000)
    assert told["flags"] == ["replayable", 1 << 30]


def test_a_body_that_is_no_text_is_base64() -> None:
    data = exported([example_exchange(request=Request(method="POST", target="/", chunks=(Chunk(1_000_000, b"\xff"),)))])

    assert b'"body":{"base64":"/w=="}' in data


@pytest.mark.parametrize("change", [(b'"house"', b'"mouse"'), (b'"seal":"', b'"seal":"0'), (b"}\n", b" }\n")])
def test_a_line_that_was_changed_is_not_taken_for_pseudonymised(change: tuple[bytes, bytes]) -> None:
    first, *lines = exported(example_exchanges(2)).splitlines(keepends=True)

    found = read(first + lines[0] + lines[1].replace(*change))

    assert isinstance(found[1], Exchange)
    assert found[2] == Dropped("changed", "0.jsonl line 3: not as it was exported")


def test_lines_do_not_follow_another_first_line() -> None:
    first, *lines = exported(example_exchanges(1)).splitlines(keepends=True)
    other = exported([], replace(HEADER, policy_digest="laxer")).splitlines(keepends=True)[0]

    assert [item for item in read(other + lines[0]) if not isinstance(item, Provenance)] == [
        Dropped("changed", "0.jsonl line 2: not as it was exported")
    ]
    assert read(lines[0]) == [
        Dropped("changed", "0.jsonl line 1: exported, but the first line of the export is missing")
    ]
    assert read(first.replace(b'"version":1', b'"version":7', 1) + lines[0]) == [
        Dropped("damaged", "0.jsonl line 1: not the first line of an export"),
        Dropped("without_header", "0.jsonl line 2"),
    ]


def test_a_first_line_that_was_changed_is_not_believed_either() -> None:
    first, line = exported(example_exchanges(1)).splitlines(keepends=True)

    assert read(first.replace(b'"example"', b'"ada@home"') + line) == [
        Dropped("changed", "0.jsonl line 1: not as it was exported"),
        Dropped("without_header", "0.jsonl line 2"),
    ]


@pytest.mark.parametrize(
    "odd",
    [{"sampling_rate": 10**400}, {"labels": [f"l{i}" for i in range(600)]}, {"number": 1 << 80}, {"producer": 5}],
)
def test_a_header_that_no_capture_can_have_is_none(odd: dict[str, object]) -> None:
    first = json.loads(exported([]).splitlines()[0])
    first["header"] |= odd

    (found,) = read(sealed(json.dumps(first).encode(), FIRST))

    assert found == Dropped("damaged", "0.jsonl line 1: not the first line of an export")


def test_lines_that_are_missing_are_counted() -> None:
    lines = exported(example_exchanges(5)).splitlines(keepends=True)

    found = read(b"".join(lines[:3]))

    assert found[-1] == Dropped("missing", "0.jsonl end of file: its first line promises more", 3)


def test_files_of_one_recording_become_one() -> None:
    one, two = exported(example_exchanges(2)), exported(example_exchanges(1), replace(HEADER, number=2))
    other = exported(example_exchanges(1), replace(HEADER, recording_id=bytes(16)))

    found = read(one, b"\n", two, other, by_hand())

    assert [type(item).__name__ for item in found] == ["Provenance", *["Exchange"] * 3, "Dropped", "Dropped"]
    assert found[-2:] == [Dropped("other_recording", "3.jsonl line 2"), Dropped("other_recording", "4.jsonl line 1")]


def test_an_export_of_a_capture_without_a_policy_is_raw() -> None:
    found = read(exported([example_exchange()], example_header()))

    assert isinstance(found[0], Exchange)
    assert found[0].arrival_ns == example_header().wall_ns + 1_000_000
    assert found[0].flags == Flags(0)


def test_what_is_made_by_hand_may_be_short() -> None:
    data = by_hand(
        request={"method": "POST", "target": "/a", "headers": {"A": "b"}, "body": "x"},
        response={"status": 200, "end_ns": 5, "body": {"base64": "/w=="}},
    )
    (found,) = read(b"\xef\xbb\xbf" + data + b"\n")

    assert found == Exchange(
        arrival_ns=T,
        request=Request(method="POST", target="/a", headers=(("A", "b"),), chunks=(Chunk(T, b"x"),), end_ns=T, size=1),
        response=Response(status=200, chunks=(Chunk(T + 5, b"\xff"),), first_ns=T + 5, end_ns=T + 5, size=1),
        route="",
    )


def test_what_is_made_by_hand_cannot_claim_to_be_harmless() -> None:
    flags = [flag.name.lower() for flag in Flags if flag.name]
    (found,) = read(
        by_hand(
            flags=flags,
            labels={"name": "Ada"},
            session=7,
            model="Ada",
            route="Ada",
            origin={"row": 1, "source": 2, "variant": 0, "target": "Ada"},
            failure={"kind": "reset", "detail": "Ada"},
        )
    )

    assert isinstance(found, Exchange)
    assert found.flags == Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED | Flags.STREAM
    assert (found.labels, found.origin, found.session, found.model, found.route) == ((), None, 0, "", "")
    assert found.failure == Failure(FailureKind.RESET, T, "")


@pytest.mark.parametrize(
    "fields",
    [
        {"arrival_ns": "1"},
        {"arrival_ns": True},
        {"arrival_ns": 1 << 70},
        {"request": None},
        {"request": {"method": "GET"}},
        {"request": {"method": "GET", "target": "/", "end_ns": -2}},
        {"request": {"method": "GET", "target": "/", "body": 5}},
        {"request": {"method": "GET", "target": "/", "body": {"base64": "é"}}},
        {"request": {"method": "GET", "target": "/", "body": "ab", "chunks": [[0, 1]]}},
        {"request": {"method": "GET", "target": "/", "body": "ab", "chunks": [[0, 3]]}},
        {"request": {"method": "GET", "target": "/", "body": "a", "chunks": [[-1, 1]]}},
        {"request": {"method": "GET", "target": "/", "chunks": 5}},
        {"request": {"method": "GET", "target": "/", "headers": [["a"]]}},
        {"request": {"method": "GET", "target": "/", "headers": {"a": 1}}},
        {"response": {"status": 0}},
        {"response": []},
        {"failure": {"kind": "bored"}},
        {"flags": "replayable"},
        {"flags": ["immortal"]},
        {"labels": ["a"]},
        {"origin": {"row": 1}},
        {"route": 5},
    ],
)
def test_a_line_that_is_none_is_dropped(fields: dict[str, object]) -> None:
    assert read(by_hand(**fields)) == [Dropped("damaged", "0.jsonl line 1")]


@pytest.mark.parametrize("line", [b"[]", b"{", b"[" * 100_000, b'{"arrival_ns": NaN}', b"\xff", b'{"a": 1e999}'])
def test_what_is_no_json_is_dropped(line: bytes) -> None:
    assert read(line) == [Dropped("damaged", "0.jsonl line 1")]
