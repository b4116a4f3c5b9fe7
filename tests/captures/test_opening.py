"""Paths, folders and globs as one capture: order, gaps, expiry, keys, and files that grow while they are read."""

import os
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures.batches import batch_of
from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.exchange import Exchange, Origin
from captures.frame import Kind
from captures.header import Header
from captures.opening import OPEN_FILES, being_written, open_capture
from captures.reader import Capture
from captures.store import create_capture
from captures.testing import example_exchange, example_exchanges, example_header, flip, write_example

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
WALL_NS = example_header().wall_ns
PAST_NS, FUTURE_NS = 1_700_000_000 * 10**9, 4_000_000_000 * 10**9


def numbered(number: int, *, recording: int = 0, **changes: Any) -> Header:
    """The header of a rotated file; every file has an id of its own."""
    return replace(
        example_header(),
        file_id=bytes((recording, number)) * 8,
        recording_id=bytes((recording,)) * 16,
        number=number,
        **changes,
    )


def write(
    folder: Path,
    header: Header,
    exchanges: list[Exchange],
    *,
    seal: bool = True,
    key: bytes | None = None,
    name: str = "",
) -> Path:
    path = folder / f"{name or f'{header.recording_id[0]}-{header.number:06}'}.tape"
    with create_capture(path, header, key=key) as tape:
        tape.append(batch_of(exchanges))
        tape.flush(Confessions(seen=len(exchanges)))
        if seal:
            tape.seal(Confessions(seen=len(exchanges)))
    return path


def connections(capture: Capture) -> list[int]:
    return [each.connection for each in capture.exchanges()]


def rotated(folder: Path, numbers: range | list[int], per_file: int = 2, **changes: Any) -> list[Path]:
    """Exchanges of which the connection is 100 · number + i."""
    return [
        write(
            folder,
            numbered(number, **changes),
            [example_exchange(arrival_ns=number * 1000 + i, connection=number * 100 + i) for i in range(per_file)],
        )
        for number in numbers
    ]


# One file


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.tape").touch()
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("missing.tape", "missing.tape: no such file"),
        ("folder", "folder: no file in this folder ends in .tape"),
        ("no*thing", r"no\*thing: no file matches"),
        ("pipe", "pipe: not a regular file"),
        ("empty.tape", "empty.tape: empty"),
    ):
        with pytest.raises(CaptureError, match=message):
            open_capture(tmp_path / name)


def test_an_expired_capture_is_refused_with_its_date(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.tape", [example_exchange()], expires_ns=PAST_NS)
    with pytest.raises(CaptureError, match=r"a.tape: expired on 2023-11-14 22:13 UTC; delete it"):
        open_capture(path)

    open_capture(write_example(tmp_path / "b.tape", [example_exchange()], expires_ns=FUTURE_NS)).close()


def test_a_name_with_signs_of_a_glob_is_that_file(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a[1].tape", example_exchanges(2))

    with open_capture(path) as capture:
        assert len(capture) == 2


# Several files


@pytest.mark.parametrize("where", ["", "*.tape", "0-00000[123].tape"])
def test_a_folder_or_a_glob_reads_as_one(tmp_path: Path, where: str) -> None:
    rotated(tmp_path, [3, 1, 2])

    with open_capture(tmp_path / where) as capture:
        assert connections(capture) == [100, 101, 200, 201, 300, 301]
        assert capture.columns().columns["connection"].tolist() == connections(capture)
        assert [each.connection for each in capture.read(np.array([5, 0, 3]))] == [301, 100, 201]
        assert list(capture.exchanges(1, 4)) == capture.read(np.array([1, 2, 3]))
        assert [header.number for header in capture.headers] == [1, 2, 3]
        assert (capture.sealed, capture.damage, capture.expired) == (True, (), 0)
        assert capture.confessions == Confessions(seen=6)
        assert capture.window(2000, 3001).tolist() == [2, 3, 4]
        assert capture.first_ns == 1000
        assert len(capture.segments) == 3
        assert len({capture.digest, *(file.digest for file in capture.files)}) == 4


def test_files_of_another_recording_come_after_it_at_their_own_time(tmp_path: Path) -> None:
    origin = Origin(row=1, source=0, variant=0, target="target", intended_ns=7)
    first, second = (
        example_exchange(arrival_ns=5, connection=1),
        example_exchange(arrival_ns=3, connection=2, origin=origin),
    )
    write(tmp_path, numbered(1, recording=9), [first])
    write(tmp_path, numbered(1, recording=1, wall_ns=WALL_NS + 1_000_000_000), [second])

    with open_capture(tmp_path) as capture:
        found = list(capture.exchanges())
        arrivals = capture.columns().columns["arrival_ns"].tolist()

    assert found[0] == first
    assert (found[1].arrival_ns, found[1].connection) == (1_000_000_003, 2)
    assert found[1].origin == replace(origin, intended_ns=1_000_000_007)
    assert found[1].response is not None
    assert second.response is not None
    assert found[1].response.end_ns == second.response.end_ns + 1_000_000_000
    assert found[1].response.chunks[0].at_ns == second.response.chunks[0].at_ns + 1_000_000_000
    assert arrivals == [5, 1_000_000_003]
    with open_capture(tmp_path) as capture:
        assert capture.window(1_000_000_000, 2_000_000_000).tolist() == [1]


def test_labels_of_all_files_are_columns_of_each(tmp_path: Path) -> None:
    write(tmp_path, numbered(1, labels=("region",)), [example_exchange(labels=(("region", "eu"),))])
    write(tmp_path, numbered(2, labels=("tier",)), [example_exchange(labels=(("tier", "gold"),))])

    with open_capture(tmp_path) as capture:
        batch = capture.columns()
        parts = [set(part.columns) for _, part in capture.parts()]

    assert [batch.names[i] for i in batch.columns["label.region"].tolist()] == ["eu", ""]
    assert [batch.names[i] for i in batch.columns["label.tier"].tolist()] == ["", "gold"]
    assert parts == [set(batch.columns)] * 2


@pytest.mark.parametrize(
    ("numbers", "oldest", "missing"),
    [
        ([1, 2, 3], 1, []),
        ([1, 3], 1, ["file 2 of the recording is missing"]),
        ([2, 3], 1, ["file 1 of the recording is missing"]),
        ([2, 3], 2, []),
        ([5, 6, 9], 5, ["files 7 to 8 of the recording are missing"]),
        ([1, 5, 6], 5, []),
        ([7, 9], 4, ["files 4 to 6 of the recording are missing", "file 8 of the recording is missing"]),
    ],
)
def test_a_gap_in_the_numbers_is_damage_down_to_what_retention_kept(
    tmp_path: Path, numbers: list[int], oldest: int, missing: list[str]
) -> None:
    rotated(tmp_path, numbers[:-1])
    rotated(tmp_path, numbers[-1:], oldest=oldest)

    with open_capture(tmp_path) as capture:
        assert [each.reason for each in capture.damage] == missing
        assert all(each.file.endswith(".tape") and each.exchanges_lost is None for each in capture.damage)
        assert connections(capture) == [100 * number + i for number in numbers for i in range(2)]


def test_one_file_of_a_recording_is_no_gap(tmp_path: Path) -> None:
    with open_capture(rotated(tmp_path, [5])[0]) as capture:
        assert capture.damage == ()


def test_a_number_of_two_files_is_damage_and_both_are_read(tmp_path: Path) -> None:
    rotated(tmp_path, [1])
    write(tmp_path, replace(numbered(1), file_id=b"another file id!"), [example_exchange(connection=7)], name="z")

    with open_capture(tmp_path) as capture:
        assert connections(capture) == [100, 101, 7]
        assert ["twice" in each.reason for each in capture.damage] == [True]


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    (path,) = rotated(tmp_path, [1])
    shutil.copy(path, tmp_path / "copy.tape")

    with pytest.raises(CaptureError, match=r"copy.tape: the same file as .*0-000001.tape"):
        open_capture(tmp_path)


def test_files_of_different_kinds_are_refused(tmp_path: Path) -> None:
    rotated(tmp_path, [1])
    write(tmp_path, numbered(1, recording=1, kind="run"), [example_exchange()])

    with pytest.raises(CaptureError, match=r"is of kind recording, .* of kind run"):
        open_capture(tmp_path)


def test_expired_files_are_left_out_counted_and_no_gap(tmp_path: Path) -> None:
    rotated(tmp_path, [1, 2], expires_ns=PAST_NS)
    rotated(tmp_path, [3, 4], expires_ns=FUTURE_NS)

    with open_capture(tmp_path) as capture:
        assert (connections(capture), capture.expired, capture.damage) == ([300, 301, 400, 401], 2, ())


def test_where_all_files_have_expired_it_says_so(tmp_path: Path) -> None:
    rotated(tmp_path, [1, 2], expires_ns=PAST_NS)

    with pytest.raises(CaptureError, match="all 2 files have expired, the last on 2023-11-14"):
        open_capture(tmp_path)


def test_a_file_that_never_came_to_be_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    rotated(tmp_path, [1, 2])
    (tmp_path / "0-000003.tape").write_bytes(b"")

    with open_capture(tmp_path) as capture:
        assert connections(capture) == [100, 101, 200, 201]
        assert [(Path(each.file).name, each.reason) for each in capture.damage] == [
            ("0-000003.tape", "empty; a capture starts with a header")
        ]


def test_damage_says_in_which_file_it_is(tmp_path: Path) -> None:
    paths = rotated(tmp_path, [1, 2, 3])
    with open_capture(paths[1]) as capture:
        piece = next(each for each in capture.segments[0].flushes[0].pieces if each.kind == Kind.MESSAGES)
    paths[1].write_bytes(flip(paths[1].read_bytes(), piece.payload_offset))

    with open_capture(tmp_path) as capture:
        assert connections(capture) == [100, 101, 300, 301]
        assert [(each.file, each.offset, each.exchanges_lost) for each in capture.damage] == [
            (str(paths[1]), piece.offset, 2)
        ]
        with pytest.raises(CaptureError, match=r"0-000002.tape: exchange 2 cannot be read"):
            capture.read(np.array([2]))


@pytest.mark.slow
def test_more_files_than_may_be_open_at_once_are_read(tmp_path: Path) -> None:
    rotated(tmp_path, range(1, OPEN_FILES + 20), per_file=1)

    with open_capture(tmp_path) as capture:
        assert len(list(Path("/proc/self/fd").iterdir())) < OPEN_FILES + 50
        assert connections(capture) == [100 * number for number in range(1, OPEN_FILES + 20)]


# Files that grow


def test_a_capture_takes_in_flushes_a_seal_and_new_files(tmp_path: Path) -> None:
    with create_capture(tmp_path / "a.tape", numbered(1)) as tape:
        tape.append(batch_of([example_exchange(connection=1)]))
        tape.flush(Confessions(seen=1))
        with open_capture(tmp_path) as capture:
            assert not capture.refresh()
            tape.append(batch_of([example_exchange(connection=2)]))
            tape.flush(Confessions(seen=2))
            assert connections(capture) == [1]
            assert being_written(tmp_path)

            assert capture.refresh()
            assert (connections(capture), capture.sealed) == ([1, 2], False)
            assert capture.digest == tape.digest

            tape.append(batch_of([example_exchange(connection=3)]))
            tape.seal(Confessions(seen=3))
            write(tmp_path, numbered(2), [example_exchange(connection=4)])
            assert capture.refresh()
            assert (connections(capture), capture.sealed, capture.damage) == ([1, 2, 3, 4], True, ())
            assert capture.confessions.seen == 4
            assert not capture.refresh()


@pytest.mark.slow
def test_a_file_cut_anywhere_and_grown_again_reads_as_if_opened_then(tmp_path: Path) -> None:
    path = tmp_path / "whole.tape"
    flushes = [[example_exchange(connection=3 * i + j) for j in range(3)] for i in range(6)]
    with create_capture(path, numbered(1), segment_bytes=2000) as tape:
        for i, exchanges in enumerate(flushes):
            tape.append(batch_of(exchanges))
            tape.flush(Confessions(seen=3 * i + 3))
        tape.seal(Confessions(seen=18))
    data, growing = path.read_bytes(), tmp_path / "growing.tape"
    growing.write_bytes(data[:700])
    with open_capture(growing) as capture:
        for size in [*range(750, len(data), 97), len(data)]:
            growing.write_bytes(data[:size])
            capture.refresh()
            with open_capture(growing) as fresh:
                assert connections(capture) == connections(fresh)
                assert (capture.digest, capture.tail, capture.sealed) == (fresh.digest, fresh.tail, fresh.sealed)
                assert (capture.damage, len(capture)) == (fresh.damage, len(fresh)) == ((), len(connections(fresh)))
        assert capture.sealed


def _read_all(path: str) -> list[int]:
    with open_capture(path) as capture:
        return connections(capture)


@pytest.mark.slow
def test_several_readers_read_while_a_recorder_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    found: dict[int, list[list[int]]] = {reader: [] for reader in range(3)}
    done = threading.Event()

    def read(reader: int) -> None:
        while not done.is_set():
            found[reader].append(_read_all(str(path)))

    with create_capture(path, example_header(), segment_bytes=4000) as tape:
        threads = [threading.Thread(target=read, args=(reader,)) for reader in found]
        for thread in threads:
            thread.start()
        try:
            for i in range(60):
                tape.append(batch_of([example_exchange(connection=i)]))
                tape.flush(Confessions(seen=i + 1))
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert all(each == list(range(len(each))) for reads in found.values() for each in reads)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            assert list(pool.map(_read_all, [str(path)] * 2)) == [list(range(60))] * 2


# Encryption


def test_an_encrypted_capture_reads_with_its_key(tmp_path: Path) -> None:
    exchanges = example_exchanges(5)
    path = write(tmp_path, numbered(1), exchanges, key=KEY)

    with open_capture(path, key=KEY) as capture:
        assert list(capture.exchanges()) == exchanges
        assert (capture.encrypted, capture.tape_key, capture.damage) == (True, KEY, ())
        assert capture.columns().columns["connection"].tolist() == [1, 2, 3, 4, 5]


def test_a_missing_or_another_key_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHADOWTAPE_TAPE_KEY", "SHADOWTAPE_TAPE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    path = write(tmp_path, numbered(1), example_exchanges(2), key=KEY)
    for where in (path, tmp_path):
        with pytest.raises(CaptureError, match=r"no key was given: it needs key [0-9a-f]{16}; .*--tape-key FILE"):
            open_capture(where)
        with pytest.raises(CaptureError, match=r"encrypted with key [0-9a-f]{16}, and the key given is [0-9a-f]{16}"):
            open_capture(where, key=OTHER_KEY)


def test_the_environment_has_the_key_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, numbered(1), example_exchanges(2), key=KEY)
    monkeypatch.setenv("SHADOWTAPE_TAPE_KEY", KEY.hex())

    with open_capture(path) as capture:
        assert len(list(capture.exchanges())) == 2


def test_a_capture_in_clear_needs_no_key_and_hands_none_on(tmp_path: Path) -> None:
    with open_capture(rotated(tmp_path, [1])[0], key=KEY) as capture:
        assert (capture.encrypted, capture.tape_key) == (False, None)


def test_an_encrypted_file_still_being_written_is_read(tmp_path: Path) -> None:
    with create_capture(tmp_path / "a.tape", numbered(1), key=KEY) as tape:
        tape.append(batch_of(example_exchanges(3)))
        tape.flush(Confessions(seen=3))
        with open_capture(tmp_path / "a.tape", key=KEY) as capture:
            tape.append(batch_of(example_exchanges(4)))
            tape.flush(Confessions(seen=7))
            assert capture.refresh()
            assert list(capture.exchanges()) == example_exchanges(3) + example_exchanges(4)
