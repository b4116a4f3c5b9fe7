"""Facts about a capture."""

import json
from pathlib import Path

import pytest

from captures.confessions import Confessions
from captures.exchange import Exchange, Failure, FailureKind, Flags
from captures.frame import Kind
from captures.inspection import facts, iso, lacking, phrase, plain
from captures.opening import open_capture
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges, flip, write_example


def mixed() -> list[Exchange]:
    streamed = example_exchange(arrival_ns=3_500_000_000, flags=Flags.REPLAYABLE | Flags.STREAM, session=0)
    failed = example_exchange(
        arrival_ns=61_000_000_000, response=None, failure=Failure(FailureKind.RESET, 61_000_000_001), route="GET /other"
    )
    return [*example_exchanges(3), streamed, failed]


def test_the_facts_of_a_capture() -> None:
    found = facts(capture_of(capture_bytes([mixed()])))

    expected = {
        "exchanges": 5,
        "start": "2023-11-14T22:13:20.000Z",
        "duration_s": 61.0,
        "segments": 1,
        "status": {"200": 4},
        "sessions": 4,
        "streams": 1,
        "responses": 4,
        "replayable": 5,
        "recorded_valid": 4,
        "failures": {"reset": 1},
        "sealed": True,
        "damage": [],
    }
    assert {key: found[key] for key in expected} == expected
    assert [(row["method"], row["path"], row["codec"], row["model"], row["count"]) for row in found["routes"]] == [
        ("POST", "/v2/models/{model}/infer", "oip-v2", "house", 4),
        ("POST", "/other", "oip-v2", "house", 1),
    ]
    assert found["service_ms"]["last_byte"]["n"] == 4
    assert found["service_ms"]["first_byte"]["p50"] == 4.0
    assert found["rate"] | {"mean_rps": 0} == {
        "bin_s": 2,
        "counts": [3, 1, *[0] * 28, 1],
        "peak_rps": 3,
        "mean_rps": 0,
    }
    assert found["confessions"]["sampling_rate"] == 1.0
    assert {"shed", "truncated", "unparsed", "hook_errors"} <= set(found["confessions"])


def test_an_empty_capture_has_facts() -> None:
    found = facts(capture_of(capture_bytes([])))

    assert (found["exchanges"], found["duration_s"], found["routes"], found["rate"]["counts"]) == (0, 0.0, [], [])
    assert found["service_ms"]["last_byte"] == dict.fromkeys(("p50", "p90", "p99", "p999", "max", "mean")) | {"n": 0}


def test_facts_never_depend_on_a_body() -> None:
    data = capture_bytes([mixed()])
    pieces = capture_of(data).segments[0].flushes[0].pieces
    for kind in (Kind.CHUNKS, Kind.MESSAGES):
        piece = next(each for each in pieces if each.kind == kind)
        assert facts(capture_of(flip(data, piece.payload_offset))) == facts(capture_of(data))


def test_small_words() -> None:
    assert iso(1_700_000_000_123_999_999) == "2023-11-14T22:13:20.123Z"
    assert iso(2**63 * 1000).endswith("ns")
    assert (phrase(404), phrase(799)) == ("Not Found", "")


def test_facts_of_each_route_and_model() -> None:
    fast = [example_exchange(arrival_ns=i, model="house") for i in range(3)]
    slow = example_exchange(arrival_ns=9, model="fraud", response=None, failure=Failure(FailureKind.RESET, 10))

    found = facts(capture_of(capture_bytes([[*fast, slow]])))

    house, fraud = found["models"]
    assert (house["model"], house["count"], house["share"], house["status"]) == ("house", 3, 0.75, {"200": 3})
    assert (house["service_ms"]["p50"], house["service_ms"]["p99"]) == (5.0, 5.0)
    assert (fraud["status"], fraud["service_ms"]["n"]) == ({}, 0)
    assert [row["status"] for row in found["routes"]] == [{"200": 3}, {}]


def test_labels_are_counted_and_who_has_none_too() -> None:
    labelled = [example_exchange(arrival_ns=i, labels=(("tier", "gold"),)) for i in range(2)]
    plain_one = example_exchange(arrival_ns=5)

    found = facts(capture_of(capture_bytes([labelled, [plain_one]], labels=("tier",), segment_bytes=300)))

    assert found["labels"] == {"tier": {"gold": 2, "": 1}}


def test_sessions_streams_and_sizes() -> None:
    sessions = [example_exchange(arrival_ns=i, session=1 + (i > 2)) for i in range(5)]
    streamed = example_exchange(arrival_ns=9, session=0, flags=Flags.STREAM)

    found = facts(capture_of(capture_bytes([[*sessions, streamed]])))

    assert (found["sessions"], found["per_session"]["max"], found["per_session"]["p50"]) == (2, 3.0, 2.0)
    assert (found["streams"], found["stream"]["chunks"]["max"], found["stream"]["first_byte_ms"]["n"]) == (1, 1.0, 1)
    assert found["sizes"]["response_size"]["max"] == found["bytes"]["response_size"] / 6


def test_a_folder_has_the_facts_of_all_its_files(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        write_example(path, example_exchanges(number), number=number, file_id=bytes([number]) * 16)

    with open_capture(tmp_path) as capture:
        found = facts(capture)

    assert (found["exchanges"], found["confessions"]["seen"]) == (3, 3)
    assert [(each["number"], each["exchanges"], each["sealed"]) for each in found["files"]] == [
        (1, 1, True),
        (2, 2, True),
    ]
    assert found["size_bytes"] == sum(each["size_bytes"] for each in found["files"])


def test_facts_are_json() -> None:
    found = facts(capture_of(capture_bytes([mixed()], notes={"raw": b"\x01", 3: [None, {"x": 1.5}]})))

    assert json.loads(json.dumps(found)) == found
    assert found["header"]["notes"] == {"raw": "01", "3": [None, {"x": 1.5}]}
    assert plain({"other": 1j}) == {"other": "1j"}


def test_damage_is_among_the_facts_and_its_exchanges_are_not() -> None:
    data = capture_bytes([example_exchanges(2), example_exchanges(3)], segment_bytes=300)
    columns = next(piece for piece in capture_of(data).segments[0].flushes[0].pieces if piece.kind == Kind.COLUMNS)

    found = facts(capture_of(flip(data, columns.payload_offset)))

    assert found["exchanges"] == 5 - found["damage"][0]["exchanges_lost"] < 5


def test_the_least_arrival_need_not_be_the_first() -> None:
    late, early = example_exchange(arrival_ns=5_000_000_000), example_exchange(arrival_ns=1_000_000_000)

    found = facts(capture_of(capture_bytes([[late], [early]])))

    assert found["start"] == "2023-11-14T22:13:21.000Z"
    assert found["rate"]["counts"] == [1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("confessions", "words"),
    [
        (Confessions(seen=5), []),
        (Confessions(shed=1), ["1 exchange shed"]),
        (Confessions(shed=2000), ["2,000 exchanges shed"]),
        (Confessions(sampled_out=3, sampling_rate=0.25), ["3 sampled out (25 % was to be kept)"]),
        (Confessions(truncated=1, hook_errors=2), ["1 body kept", "2 failures inside"]),
    ],
)
def test_what_is_not_inside_is_said_in_words(confessions: Confessions, words: list[str]) -> None:
    said = lacking(confessions)

    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))


def test_the_format_is_that_of_the_file_and_not_ours() -> None:
    golden = Path(__file__).parents[1] / "golden/v1-tiny.tape"
    with open_capture(golden) as capture:
        assert facts(capture)["header"]["format"] == 1
