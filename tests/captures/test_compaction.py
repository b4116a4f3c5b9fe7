"""Small segments, flushes and files become full segments; the exchanges stay what they were."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.compaction import compacted, compacted_confessions, compacted_header
from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.exchange import Exchange, Flags, Origin
from captures.header import Header
from captures.opening import open_capture
from captures.reader import Capture
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges, flip
from captures.writer import CaptureWriter

POLICY: dict[str, Any] = {"policy": {"a": 1}, "policy_digest": "d1", "key_id": "k1"}


def header_of(*inputs: Capture) -> Header:
    return compacted_header(inputs, file_id=b"a new file's id ", new_id=b"another id 16 b.", producer="test")


def compact(*inputs: Capture) -> Capture:
    data = bytearray()
    header = header_of(*inputs)
    writer = CaptureWriter(data.extend, header, sync_marker=b"another marker..")
    for batch in compacted(inputs, header):
        writer.append(batch)
    writer.seal(compacted_confessions(inputs))
    return capture_of(bytes(data))


def exchange(i: int) -> Exchange:
    origin = Origin(row=i, source=0, variant=i % 2, target="target", intended_ns=i * 1000) if i % 5 == 0 else None
    return example_exchange(
        arrival_ns=i * 1_000_000,
        model=("house", "fraud")[i % 2],
        flags=Flags.REPLAYABLE if i % 3 else Flags.RECORDED_VALID | Flags.SYNTHETIC,
        labels=(("tier", ("gold", "free")[i % 2]),) if i % 4 else (),
        origin=origin,
        session=i % 7,
    )


@settings(max_examples=30, deadline=None)  # slow machines are no finding
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.sampled_from([300, 700, 1 << 20]))
def test_everything_stays_whatever_the_flushes_were(lengths: list[int], segment_bytes: int) -> None:
    exchanges = [exchange(i) for i in range(sum(lengths))]
    flushes, start = [], 0
    for length in lengths:
        flushes.append(exchanges[start : start + length])
        start += length
    capture = capture_of(capture_bytes(flushes, segment_bytes=segment_bytes, labels=("tier",)))

    made = compact(capture)

    assert list(made.exchanges()) == exchanges
    assert len(made.segments) == (1 if exchanges else 0)
    assert all(len(segment.flushes) == 1 for segment in made.segments)
    assert (made.sealed, made.damage, made.confessions) == (True, (), capture.confessions)
    one, other = capture.columns(), made.columns()
    for name in one.columns:
        assert np.array_equal(one.columns[name], other.columns[name]), name
    assert one.names == other.names


def test_confessions_are_added_and_inputs_listed() -> None:
    captures = [
        capture_of(capture_bytes([example_exchanges(n)], number=n, file_id=bytes([n]) * 16), f"{n}.tape")
        for n in (1, 2)
    ]

    made = compact(*captures)

    assert made.confessions == Confessions(seen=3)
    assert [each["path"] for each in made.header.inputs] == ["1.tape", "2.tape"]
    assert [each["digest"] for each in made.header.inputs] == [each.digest for each in captures]
    assert (made.header.number, made.header.recording_id) == (1, captures[0].header.recording_id)


def test_inputs_stand_in_the_order_given() -> None:
    early, late = (
        capture_of(capture_bytes([[example_exchange(arrival_ns=at)]], file_id=bytes([at % 251]) * 16))
        for at in (5, 900)
    )

    assert [each.arrival_ns for each in compact(late, early).exchanges()] == [900, 5]


def test_times_of_another_clock_are_moved_to_the_earliest() -> None:
    attempt = replace(exchange(5), labels=())
    first = capture_of(capture_bytes([[attempt]], wall_ns=2_000, recording_id=b"1" * 16))
    second = capture_of(capture_bytes([[attempt]], wall_ns=1_500, recording_id=b"2" * 16))

    made = compact(first, second)

    one, other = made.exchanges()
    assert made.header.wall_ns == 1_500
    assert one.arrival_ns - other.arrival_ns == 500
    assert one.request.end_ns - other.request.end_ns == 500
    assert one.origin is not None
    assert other.origin == attempt.origin
    assert one.origin.intended_ns == 5_500
    assert other == attempt
    assert made.header.recording_id == b"another id 16 b."


def test_the_earliest_expiry_all_labels_and_common_notes_are_inherited() -> None:
    one = capture_of(capture_bytes([], expires_ns=5, labels=("b",), notes={"same": 1, "other": 1, "oldest": 3}))
    two = capture_of(capture_bytes([], expires_ns=0, labels=("a",), notes={"same": 1, "other": 2, "oldest": 3}))
    three = capture_of(capture_bytes([], expires_ns=9, notes={"same": 1}))

    header = header_of(one, two, three)

    assert (header.expires_ns, header.labels, header.notes) == (5, ("a", "b"), {"same": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy_digest": "d2"}, "differ in their policy (d1 and d2)"),
        ({"key_id": ""}, "differ in their key of the tokens (k1 and none)"),
        ({"kind": "derived"}, "differ in their kind"),
    ],
)
def test_what_does_not_belong_together_is_named(change: dict[str, Any], words: str) -> None:
    one = capture_of(capture_bytes([], **POLICY), "one.tape")
    other = capture_of(capture_bytes([], **(POLICY | change)), "other.tape")

    with pytest.raises(UsageError) as caught:
        header_of(one, other)

    assert str(caught.value).startswith("one.tape and other.tape differ in their")
    assert words in str(caught.value)


@pytest.mark.parametrize("change", [{"source_digests": ("0" * 32,)}, {"kind": "run"}])
def test_recordings_whose_servers_could_no_longer_be_told_apart_stay_apart(change: dict[str, Any]) -> None:
    one, other = (capture_of(capture_bytes([], recording_id=bytes([n]) * 16, **change), f"{n}.tape") for n in (1, 2))

    with pytest.raises(UsageError, match=r"1\.tape and 2\.tape are of different"):
        header_of(one, other)


def test_a_damaged_capture_is_refused_when_it_is_read() -> None:
    data = capture_bytes([example_exchanges(3)] * 2, segment_bytes=600)
    piece = capture_of(data).segments[1].flushes[0].pieces[-2]

    with pytest.raises(CaptureError, match="shadowtape recover"):
        compact(capture_of(flip(data, piece.payload_offset)))


def test_a_folder_is_one_input(tmp_path: Path) -> None:
    written: list[list[Exchange]] = []
    for number in (1, 2, 3):
        written.append(example_exchanges(number))
        data = capture_bytes([written[-1]], number=number, file_id=bytes([number]) * 16)
        (tmp_path / f"20260105T080000Z-{number:06}.tape").write_bytes(data)
    with ExitStack() as stack:
        made = compact(stack.enter_context(open_capture(tmp_path)))

    assert list(made.exchanges()) == [each for some in written for each in some]
    assert len(made.header.inputs) == 3
