"""Whether a capture is what it claims to be: lies that checksums do not catch, and counts that agree with each other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.confessions import Confessions
from captures.exchange import Exchange, Failure, FailureKind, Flags
from captures.frame import CRC_SIZE, PIECE_HEADER_SIZE, Kind, pack_piece, pack_trailer
from captures.index import Commit, pack_commit, pack_index, unpack_commit, unpack_index
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.testing import (
    capture_bytes,
    capture_of,
    cut,
    example_exchange,
    example_exchanges,
    example_header,
    flip,
    swap_segments,
    write_example,
)
from captures.verification import check, false_header, policy_digest, verdict


def verified(data: bytes) -> dict[str, Any]:
    capture = capture_of(data)
    return verdict([capture], sum(check(capture)))


def mixed() -> list[Exchange]:
    streamed = example_exchange(arrival_ns=3_500_000_000, flags=Flags.REPLAYABLE | Flags.STREAM, session=0)
    failed = example_exchange(
        arrival_ns=61_000_000_000, response=None, failure=Failure(FailureKind.RESET, 61_000_000_001), route="GET /other"
    )
    return [*example_exchanges(3), streamed, failed]


def test_a_sound_file_is_sound() -> None:
    data = capture_bytes([mixed(), example_exchanges(2)], segment_bytes=700)

    assert verified(data) | {"digest": "", "files": []} == {
        "sound": True,
        "exchanges": 7,
        "readable": 7,
        "segments": len(capture_of(data).segments),
        "sealed": True,
        "damage": [],
        "tail_bytes": 0,
        "digest": "",
        "unreadable": 0,
        "encrypted": False,
        "files": [],
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
    known = capture.files[0].index
    assert known is not None
    entry = replace(known.segments[-1], length=len(told) - capture.segments[-1].offset)
    index = replace(
        known,
        segments=(*known.segments[:-1], entry),
        commit=change(known.commit),
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
        ({"total_exchanges": 4}, "other totals"),
        ({"seen": 1}, "takes back"),
        ({"sampling_rate": 1.5}, "sampling rate of 1.5"),
    ],
)
def test_a_commit_that_lies_is_found(change: dict[str, Any], reason: str) -> None:
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
    index = capture.files[0].index
    assert index is not None
    lies: dict[str, Any] = {
        "segments": (replace(index.segments[0], max_arrival_ns=77),),
        "commit": index.commit.confessing(Confessions(seen=99)),
        "digest": b"x" * 16,
    }
    told = data[:at] + pack_piece(Kind.INDEX, pack_index(replace(index, **{lie: lies[lie]}))) + pack_trailer(at)
    assert unpack_index(told[at + PIECE_HEADER_SIZE : -28]) != index

    found = verified(told)

    assert len(found["damage"]) == 1
    assert "the index claims other" in found["damage"][0]["reason"] or "another digest" in found["damage"][0]["reason"]
    assert not found["sound"]
    assert found["readable"] == found["exchanges"] == 2


def test_a_segment_that_contradicts_itself_behind_good_checksums_is_found() -> None:
    data = capture_bytes([example_exchanges(2)], seal=False)
    pieces = capture_of(data).segments[0].flushes[0].pieces
    messages = next(piece for piece in pieces if piece.kind == Kind.MESSAGES)
    told = data[: messages.offset] + pack_piece(Kind.MESSAGES, b"nonsense", raw=9) + data[messages.end :]

    found = verified(told)

    assert found["damage"][0]["exchanges_lost"] == 2


def consistent(found: dict[str, Any]) -> object:
    """No count of a verdict contradicts another one."""
    return (
        found["readable"] + found["unreadable"]
        == found["exchanges"]
        == sum(each["exchanges"] for each in found["files"])
        and found["segments"] == sum(each["segments"] for each in found["files"])
        and found["sound"] == (found["sealed"] and not found["damage"])
        and found["unreadable"] <= sum(each["exchanges_lost"] or 0 for each in found["damage"])
    )


@pytest.mark.slow
def test_a_verdict_never_contradicts_itself() -> None:
    data = capture_bytes([example_exchanges(3), example_exchanges(3), example_exchanges(3)], segment_bytes=700)
    assert consistent(verified(data))
    for offset in range(capture_of(data).segments[0].offset, len(data), 41):
        found = verified(flip(data, offset))

        assert consistent(found), (offset, found)
        assert not found["sound"], offset


@pytest.mark.parametrize("seal", [True, False])
def test_a_segment_whose_columns_contradict_themselves_counts_the_same_everywhere(seal: bool) -> None:
    """Good checksums, nonsense inside: in the first reading and in the second."""
    data = capture_bytes([example_exchanges(2), example_exchanges(2)], segment_bytes=600, seal=False)
    pieces = capture_of(data).segments[0].flushes[0].pieces
    names = next(piece for piece in pieces if piece.kind == Kind.NAMES)
    told = data[: names.offset] + pack_piece(Kind.NAMES, b"\xc1", raw=1) + data[names.end :]

    found = verified(told)

    assert consistent(found)
    assert (found["readable"], found["unreadable"]) == (2, 2)
    assert found["damage"][0]["exchanges_lost"] == 2


def test_swapped_segments_are_damage_and_nothing_is_lost() -> None:
    data = capture_bytes([example_exchanges(2)] * 3, segment_bytes=600)

    found = verified(swap_segments(data, 0, 2))

    assert not found["sound"]
    assert consistent(found)


def test_bytes_between_segments_are_found() -> None:
    """A sealed file is opened by its index, which does not touch them."""
    data = capture_bytes([example_exchanges(2)] * 2, segment_bytes=600)
    at = capture_of(data).segments[1].offset

    assert not verified(data[:at] + b"hidden" + data[at:])["sound"]


POLICY = Policy()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": 0}, "file 0"),
        ({"number": 2, "oldest": 3}, "oldest file is 3"),
        ({"wall_ns": -1}, "before 1970"),
        ({"sampling_rate": 1.5}, "sampling rate"),
        ({"policy_digest": "0" * 32}, "policy digest"),
        ({"policy": POLICY.as_data(), "policy_digest": "0" * 32}, "policy digest"),
        ({"policy": {"bytes": b"x"}}, "policy digest"),
        ({"key_id": "my key"}, "no fingerprint"),
        ({"source_digests": ("10.0.0.1:80",)}, "source digest"),
        ({"labels": ("tier", "region")}, "sorted"),
    ],
)
def test_a_header_that_lies_is_found(change: dict[str, Any], reason: str) -> None:
    assert [each for each in false_header(example_header(**change)) if reason in each]
    header = capture_bytes([example_exchanges(1)], **change)
    assert any(reason in each["reason"] for each in verified(header)["damage"])


def test_a_header_that_tells_the_truth_is_believed() -> None:
    header = example_header(
        policy=POLICY.as_data(),
        policy_digest=POLICY.digest,
        key_id="0123456789abcdef",
        labels=("a", "b"),
        number=7,
        oldest=7,
    )

    assert policy_digest(POLICY.as_data()) == POLICY.digest
    assert list(false_header(header)) == []


def test_a_label_that_the_header_does_not_name_is_found() -> None:
    data = capture_bytes([[example_exchange(labels=(("tier", "gold"),))]], labels=("tier",), seal=False)
    assert verified(data)["damage"] == []
    first = capture_of(data).segments[0].offset

    empty = capture_bytes([], labels=("tear",), seal=False)  # another header in front of the same segments
    found = verified(empty + data[first:])

    assert "label column" in found["damage"][0]["reason"]


def test_files_are_judged_one_by_one_and_together(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        write_example(
            tmp_path / f"20260105T080000Z-{number:06}.tape",
            example_exchanges(2),
            number=number,
            file_id=bytes([number]) * 16,
        )
    with open_capture(tmp_path) as capture:
        found = verdict([capture], sum(check(capture)))

    assert [each["sound"] for each in found["files"]] == [True] * 3
    assert not found["sound"]
    assert "file 3 of the recording is missing" in found["damage"][0]["reason"]
    assert found["damage"][0]["file"].endswith("000004.tape")
    assert found["exchanges"] == 6


def test_damage_names_its_file_where_several_captures_were_given(tmp_path: Path) -> None:
    whole = write_example(tmp_path / "whole.tape", example_exchanges(2))
    broken = write_example(tmp_path / "broken.tape", example_exchanges(2))
    broken.write_bytes(flip(broken.read_bytes(), broken.stat().st_size // 2))
    with open_capture(whole) as one, open_capture(broken) as other:
        found = verdict([one, other], sum(check(one)) + sum(check(other)))

    assert {each["file"] for each in found["damage"]} == {str(broken)}
    assert [each["sound"] for each in found["files"]] == [True, False]
