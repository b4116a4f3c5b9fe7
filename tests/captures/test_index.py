"""Start, commit and index records."""

import tracemalloc
from dataclasses import astuple, replace

import msgpack
import pytest

from captures.columns import PREVIOUS, Declared
from captures.confessions import Confessions
from captures.frame import LIMITS, FrameError
from captures.index import (
    Commit,
    Entry,
    Index,
    Start,
    pack_commit,
    pack_index,
    pack_start,
    start_of,
    unpack_commit,
    unpack_index,
    unpack_start,
)

CONFESSIONS = Confessions(
    seen=9, shed=1, sampled_out=2, own=3, truncated=4, unparsed=5, hook_errors=6, sampling_rate=0.5, filtered=7
)
COMMIT = Commit(exchanges=3, pieces=5, min_arrival_ns=10, max_arrival_ns=20, total_exchanges=7).confessing(CONFESSIONS)


def test_records_read_back() -> None:
    index = Index((Entry(1, 2, 3, 4, 5), Entry(6, 7, 0, 0, -1)), COMMIT, b"d" * 16)

    assert unpack_commit(pack_commit(COMMIT)) == COMMIT
    assert COMMIT.confessions == CONFESSIONS
    assert unpack_start(pack_start(Start(3, 17))) == Start(3, 17)
    assert unpack_index(pack_index(index)) == index


def test_a_start_declares_columns_with_their_minus_or_those_of_version_1_without() -> None:
    declared = (Declared("a", "<i8", PREVIOUS), Declared("b", "u1", -1), Declared("c", "<f4", "a"))
    new, old = Start(1, 2, declared), Start(1, 2, (Declared("a", "<i8"), Declared("b", "u1")), planes=False)

    assert unpack_start(pack_start(new)) == new
    assert unpack_start(pack_start(old)) == old
    assert msgpack.unpackb(pack_start(old))["columns"] == [["a", "<i8"], ["b", "u1"]]


def test_a_start_of_today_declares_every_column_and_its_labels() -> None:
    start = start_of(4, 5, ("label.region", "label.tier"))

    assert unpack_start(pack_start(start)) == start
    assert [(each.name, each.minus) for each in start.columns[-3:]] == [
        ("head_kept", 0),
        ("label.region", 0),
        ("label.tier", 0),
    ]


def test_elements_and_keys_of_a_later_version_are_ignored() -> None:
    start = {"number": 1, "before": 2, "columns": [["a", "<i4", 7, "new", None]], "new": 0}
    index = {"segments": [[1, 2, 3, 4, 5, 6]], "commit": [*astuple(COMMIT), 1], "digest": b"d" * 16, "new": 0}

    assert unpack_commit(msgpack.packb([*astuple(COMMIT), 1, 2])) == COMMIT
    assert unpack_start(msgpack.packb(start)) == Start(1, 2, (Declared("a", "<i4", 7),))
    assert unpack_index(msgpack.packb(index)) == Index((Entry(1, 2, 3, 4, 5),), COMMIT, b"d" * 16)


def test_a_commit_of_a_time_without_filters_says_that_nothing_was_filtered() -> None:
    old = replace(COMMIT, filtered=0)

    assert unpack_commit(msgpack.packb(astuple(COMMIT)[:15])) == old
    assert len(msgpack.unpackb(pack_commit(old))) == 15
    assert len(msgpack.unpackb(pack_index(Index((), old, b"d" * 16)))["commit"]) == 15


def changed(position: int, value: object) -> list[object]:
    record: list[object] = list(astuple(COMMIT))
    record[position] = value
    return record


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        [],
        list(astuple(COMMIT))[:-2],
        changed(0, -1),
        changed(1, "2"),
        changed(2, 1.5),
        changed(-1, None),
        changed(-2, None),
    ]
    + [changed(i, sign * LIMITS["time"]) for i in (2, 3) for sign in (1, -1)],
)
def test_a_commit_of_the_wrong_shape_is_damage(record: object) -> None:
    with pytest.raises(FrameError, match="commit"):
        unpack_commit(msgpack.packb(record))


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"before": None},
        {"columns": 3},
        {"columns": [["a"]]},
        {"columns": [["a", "O"]]},
        {"columns": [["a", ">i4"]]},
        {"columns": [["a", "<i4"], ["a", "<i4"]]},
        {"columns": [["a", "f1"]]},
        {"number": 0xFFFFFFFF},
        {"columns": {"a": "<i4"}},
        {"columns": ["abc", "def"]},
        {"columns": [["a"], ["b", "<i4"]]},
        {"columns": [[["a"], "<i4", 0]]},
        {"columns": [["a", ["<i4"], 0]]},
        {"columns": [["a", "<i4", 0], ["a", "<i4", 0]]},
        {"columns": [["a", "<i4", "a"]]},
        {"columns": [["a", "<i4", "b"], ["b", "<i4", 0]]},
        {"columns": [["a", "<i4", ""]]},
        {"columns": [["a", "<i4", None]]},
        {"columns": [["a", "<i4", True]]},
        {"columns": [["a", "<i4", 1.0]]},
        {"columns": [["a", "<i4", ["previous"]]]},
        {"columns": [["a", "<i4", {}]]},
        {"columns": [["a", "<i4", b"previous"]]},
        {"columns": [["a", "<i4", 0], ["b", "<i4"]]},
        {"columns": [["previous", "<i4", 0]]},
        {"columns": [["label.", "<u4", 0]]},
        {"columns": [[f"c{i}", "<i4", 0] for i in range(LIMITS["columns"] + 1)]},
    ],
)
def test_a_start_of_the_wrong_shape_is_damage(change: dict[str, object]) -> None:
    record = msgpack.unpackb(pack_start(Start(0, 0))) | change

    with pytest.raises(FrameError, match=r"start|columns"):
        unpack_start(msgpack.packb(record))


@pytest.mark.parametrize(
    "change",
    [{"segments": [[1, 2]]}, {"segments": [[1, -2, 3, 4, 5]]}, {"segments": 1}, {"digest": b""}, {"commit": []}]
    + [{"segments": [[1, 2, 3, low, high]]} for low, high in ((1 << 62, 1 << 62), (-1 << 62, 0), (0, (1 << 64) - 1))],
)
def test_an_index_of_the_wrong_shape_is_damage(change: dict[str, object]) -> None:
    record = msgpack.unpackb(pack_index(Index((), COMMIT, b"d" * 16))) | change

    with pytest.raises(FrameError):
        unpack_index(msgpack.packb(record))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x9f", b"\x01\x01", b"\x81\x80\x00"])
def test_no_msgpack_is_damage(payload: bytes) -> None:
    for unpack in (unpack_commit, unpack_start, unpack_index):
        with pytest.raises(FrameError):
            unpack(payload)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [b"\x90", b"\x80"])
def test_a_record_of_nothing_but_arrays_or_maps_costs_little(sign: bytes) -> None:
    """As Python objects they would take sixty times their bytes."""
    bomb = b"\xdd\x00\x1f\xff\xff" + sign * 0x1FFFFF
    for unpack, payload in ((unpack_commit, bomb), (unpack_start, bomb), (unpack_index, b"\x81\xa6commit" + bomb)):
        tracemalloc.start()
        try:
            with pytest.raises(FrameError):
                unpack(payload)
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
        finally:
            tracemalloc.stop()
