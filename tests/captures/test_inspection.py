"""Facts about a capture, and lies that checksums do not catch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from captures.confessions import Confessions
from captures.exchange import Exchange, Failure, FailureKind, Flags
from captures.frame import CRC_SIZE, PIECE_HEADER_SIZE, Kind, pack_piece, pack_trailer
from captures.index import Commit, pack_commit, pack_index, unpack_commit, unpack_index
from captures.inspection import check_segments, facts, iso, percentiles, phrase, verdict
from captures.testing import capture_bytes, capture_of, cut, example_exchange, example_exchanges, flip


def verified(data: bytes) -> dict[str, Any]:
    capture = capture_of(data)
    for _ in check_segments(capture):
        pass
    return verdict(capture)


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
    for kind in (Kind.HEADS, Kind.CHUNKS, Kind.BODIES):
        piece = next(each for each in pieces if each.kind == kind)
        assert facts(capture_of(flip(data, piece.payload_offset))) == facts(capture_of(data))


def test_a_sound_file_is_sound() -> None:
    data = capture_bytes([mixed(), example_exchanges(2)], segment_bytes=700)

    assert verified(data) | {"digest": ""} == {
        "sound": True,
        "exchanges": 7,
        "readable": 7,
        "segments": len(capture_of(data).segments),
        "sealed": True,
        "damage": [],
        "tail_bytes": 0,
        "digest": "",
    }


def test_an_unsealed_file_is_readable_but_not_sound() -> None:
    found = verified(capture_bytes([mixed()], seal=False))

    assert (found["sound"], found["sealed"], found["damage"], found["readable"]) == (False, False, [], 5)


def test_a_cut_file_says_how_much_is_unfinished() -> None:
    data = capture_bytes([mixed(), mixed()], seal=False)

    found = verified(cut(data, len(data) - 3))

    assert (found["sound"], found["exchanges"], found["damage"]) == (False, 5, [])
    assert found["tail_bytes"] > 0


@pytest.mark.slow
def test_every_flipped_byte_is_found() -> None:
    data = capture_bytes([example_exchanges(2)])
    start = capture_of(data).segments[0].offset
    for offset in range(start, len(data), 3):
        found = verified(flip(data, offset))

        assert not found["sound"], f"flip at {offset}"
        assert found["damage"]


def retold(data: bytes, change: Callable[[Commit], Commit]) -> bytes:
    """The file with its last commit and its index's copy of it changed, checksums and digest made right again."""
    capture = capture_of(data)
    piece = capture.segments[-1].flushes[-1].pieces[-1]
    payload = data[piece.payload_offset : piece.end - CRC_SIZE]
    told = data[: piece.offset] + pack_piece(Kind.COMMIT, pack_commit(change(unpack_commit(payload))))
    assert capture.index is not None
    length = len(told) - capture.segments[-1].offset
    entry = replace(capture.index.segments[-1], length=length)
    index = replace(
        capture.index,
        segments=(*capture.index.segments[:-1], entry),
        commit=change(capture.index.commit),
        digest=bytes.fromhex(capture_of(told).digest),
    )
    return told + pack_piece(Kind.INDEX, pack_index(index)) + pack_trailer(len(told))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_arrival_ns": 5}, "other arrivals"),
        ({"min_arrival_ns": 5}, "other arrivals"),
        ({"total_replayable": 1}, "other totals"),
        ({"total_recorded_valid": 99}, "other totals"),
        ({"total_exchanges": 4}, "contradict"),
    ],
)
def test_a_commit_that_lies_is_found(change: dict[str, int], reason: str) -> None:
    data = capture_bytes([example_exchanges(2), example_exchanges(3)])
    assert verified(retold(data, lambda commit: commit))["sound"]

    found = verified(retold(data, lambda commit: replace(commit, **change)))

    assert not found["sound"]
    assert any(reason in each["reason"] for each in found["damage"]), found["damage"]


@pytest.mark.parametrize("lie", ["segments", "commit", "digest"])
def test_an_index_that_lies_is_found(lie: str) -> None:
    data = capture_bytes([example_exchanges(2)])
    capture = capture_of(data)
    at = capture.segments[-1].end
    index = capture.index
    assert index is not None
    lies: dict[str, Any] = {
        "segments": (replace(index.segments[0], max_arrival_ns=77),),
        "commit": index.commit.confessing(Confessions(seen=99)),
        "digest": b"x" * 16,
    }
    told = data[:at] + pack_piece(Kind.INDEX, pack_index(replace(index, **{lie: lies[lie]}))) + pack_trailer(at)
    assert unpack_index(told[at + PIECE_HEADER_SIZE : -28]) != index

    found = verified(told)

    assert [each["segment"] for each in found["damage"]] == [-1]
    assert not found["sound"]


def test_a_segment_that_contradicts_itself_behind_good_checksums_is_found() -> None:
    data = capture_bytes([example_exchanges(2)], seal=False)
    pieces = capture_of(data).segments[0].flushes[0].pieces
    heads = next(piece for piece in pieces if piece.kind == Kind.HEADS)
    told = data[: heads.offset] + pack_piece(Kind.HEADS, b"nonsense", raw=9) + data[heads.end :]

    found = verified(told)

    assert found["damage"][0]["exchanges_lost"] == 2


def test_percentiles_leave_out_what_is_unknown() -> None:
    found = percentiles(np.array([-1, 1_000_000, 3_000_000, -1]))

    assert (found["n"], found["p50"], found["max"], found["mean"]) == (2, 2.0, 3.0, 2.0)


def test_small_words() -> None:
    assert iso(1_700_000_000_123_999_999) == "2023-11-14T22:13:20.123Z"
    assert iso(2**63 * 1000).endswith("ns")
    assert (phrase(404), phrase(799)) == ("Not Found", "")
