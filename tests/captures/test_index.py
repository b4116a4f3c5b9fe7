"""Start, commit and index records."""

import tracemalloc
from dataclasses import astuple

import msgpack
import pytest

from captures.columns import Declared
from captures.confessions import Confessions
from captures.frame import FrameError
from captures.index import (
    Commit,
    Entry,
    Index,
    Start,
    pack_commit,
    pack_index,
    pack_start,
    unpack_commit,
    unpack_index,
    unpack_start,
)

CONFESSIONS = Confessions(
    seen=9, shed=1, sampled_out=2, own=3, truncated=4, unparsed=5, hook_errors=6, sampling_rate=0.5
)
COMMIT = Commit(exchanges=3, pieces=5, min_arrival_ns=10, max_arrival_ns=20, total_exchanges=7).confessing(CONFESSIONS)


def test_records_read_back() -> None:
    index = Index((Entry(1, 2, 3, 4, 5), Entry(6, 7, 0, 0, -1)), COMMIT, b"d" * 16)

    assert unpack_commit(pack_commit(COMMIT)) == COMMIT
    assert COMMIT.confessions == CONFESSIONS
    assert unpack_start(pack_start(Start(3, 17))) == Start(3, 17)
    assert unpack_index(pack_index(index)) == index


def test_elements_and_keys_of_a_later_version_are_ignored() -> None:
    start = {"number": 1, "before": 2, "columns": [["a", "<i4"]], "new": 0}
    index = {"segments": [[1, 2, 3, 4, 5, 6]], "commit": [*astuple(COMMIT), 1], "digest": b"d" * 16, "new": 0}

    assert unpack_commit(msgpack.packb([*astuple(COMMIT), 1, 2])) == COMMIT
    assert unpack_start(msgpack.packb(start)) == Start(1, 2, (Declared("a", "<i4"),), planes=False)
    assert unpack_index(msgpack.packb(index)) == Index((Entry(1, 2, 3, 4, 5),), COMMIT, b"d" * 16)


def changed(position: int, value: object) -> list[object]:
    record: list[object] = list(astuple(COMMIT))
    record[position] = value
    return record


@pytest.mark.parametrize(
    "record",
    [None, {}, [], list(astuple(COMMIT))[:-1], changed(0, -1), changed(1, "2"), changed(2, 1.5), changed(-1, None)],
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
    ],
)
def test_a_start_of_the_wrong_shape_is_damage(change: dict[str, object]) -> None:
    record = msgpack.unpackb(pack_start(Start(0, 0))) | change

    with pytest.raises(FrameError, match=r"start|columns"):
        unpack_start(msgpack.packb(record))


@pytest.mark.parametrize(
    "change",
    [{"segments": [[1, 2]]}, {"segments": [[1, -2, 3, 4, 5]]}, {"segments": 1}, {"digest": b""}, {"commit": []}],
)
def test_an_index_of_the_wrong_shape_is_damage(change: dict[str, object]) -> None:
    record = msgpack.unpackb(pack_index(Index((), COMMIT, b"d" * 16))) | change

    with pytest.raises(FrameError):
        unpack_index(msgpack.packb(record))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x9f", b"\x01\x01"])
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
