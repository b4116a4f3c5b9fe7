"""Files: names, locks, several readers, a disk that is full."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import captures
from captures.batches import batch_of
from captures.cipher import fingerprint
from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.opening import being_written, open_capture
from captures.store import TapeFile, create_capture
from captures.testing import example_exchange, example_exchanges, example_header, write_example


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """A real short write and a real OSError, as from a full disk (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def create(folder: Path, *, fsync: bool = False) -> TapeFile:
    return create_capture(folder / "a.tape", example_header(), fsync=fsync)


@pytest.mark.parametrize("fsync", [False, True])
def test_what_is_written_is_read(tmp_path: Path, fsync: bool) -> None:
    exchanges = example_exchanges(3)
    with create(tmp_path, fsync=fsync) as tape:
        tape.append(batch_of(exchanges))
        tape.seal(Confessions(seen=3))

    with open_capture(tmp_path / "a.tape") as capture:
        assert list(capture.exchanges()) == exchanges
        assert (capture.sealed, capture.digest, capture.size) == (True, tape.digest, tape.size)
        assert capture.path == str(tmp_path / "a.tape")
    assert (tmp_path / "a.tape").stat().st_mode & 0o077 == 0


def test_the_package_opens_captures(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.tape", [example_exchange()])

    with captures.open(path) as capture:
        assert isinstance(capture, captures.Capture)
    with pytest.raises(AttributeError, match="nothing"):
        captures.nothing  # noqa: B018 - that is the test


def test_a_file_left_unsealed_is_readable(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(2), seal=False)

    with open_capture(path) as capture:
        assert (len(capture), capture.sealed, capture.confessions.seen) == (2, False, 2)


def test_several_readers_read_while_a_recorder_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    with create(tmp_path) as tape:
        readers = []
        for i in range(3):
            tape.append(batch_of([example_exchange(connection=i)]))
            tape.flush(Confessions(seen=i + 1))
            readers.append(open_capture(path))
        assert being_written(path)

        assert [len(reader) for reader in readers] == [1, 2, 3]
        for reader in readers:
            assert [each.connection for each in reader.exchanges()] == list(range(len(reader)))
            assert reader.damage == ()
            reader.close()
    assert not being_written(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.bin", "ends in .tape"),
        ("taken.tape", "exists already"),
        ("nowhere/a.tape", "No such file"),
        ("tape", "ends in"),
    ],
)
def test_paths_that_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "taken.tape").write_bytes(b"precious")

    with pytest.raises(UsageError, match=message):
        create_capture(tmp_path / name, example_header())
    assert (tmp_path / "taken.tape").read_bytes() == b"precious"


def test_a_full_disk_raises_as_it_comes_and_costs_what_did_not_fit(tmp_path: Path) -> None:
    with create(tmp_path) as tape:
        tape.append(batch_of(example_exchanges(2)))
        tape.flush(Confessions(seen=2))
        committed = tape.size
        with files_limited_to(committed + 100):
            tape.append(batch_of(example_exchanges(50)))
            with pytest.raises(OSError, match=r"File too large"):
                tape.flush(Confessions(seen=52))
        assert (tape.committed, tape.path.stat().st_size) == (2, committed)

        tape.append(batch_of([example_exchange(connection=99)]))
        tape.seal(Confessions(seen=53, shed=50))

    with open_capture(tape.path) as capture:
        assert [each.connection for each in capture.exchanges()] == [1, 2, 99]
        assert (capture.sealed, capture.damage, capture.confessions.shed) == (True, (), 50)


def test_a_disk_too_full_for_a_header_leaves_no_file(tmp_path: Path) -> None:
    with files_limited_to(50), pytest.raises(OSError, match="File too large"):
        create(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_closed_tape_takes_nothing_and_closes_again(tmp_path: Path) -> None:
    tape = create(tmp_path)
    tape.close()
    tape.close()

    tape.append(batch_of([example_exchange()]))
    with pytest.raises(ValueError, match="closed"):
        tape.flush(Confessions())


def test_a_capture_is_encrypted_where_a_key_is_given_and_says_with_which(tmp_path: Path) -> None:
    key = bytes(range(32))
    with create_capture(tmp_path / "a.tape", example_header(), key=key) as tape:
        tape.append(batch_of(example_exchanges(2)))
        tape.seal(Confessions(seen=2))
        assert tape.header.encryption["key_id"] == fingerprint(key)

    assert b"house" not in tape.path.read_bytes()
    with pytest.raises(CaptureError, match="no key was given"):
        open_capture(tape.path)
    with pytest.raises(CaptureError, match="encrypted with key"):
        open_capture(tape.path, key=bytes(32))
    with open_capture(tape.path, key=key) as capture:
        assert list(capture.exchanges()) == example_exchanges(2)
        assert (capture.encrypted, capture.tape_key, capture.digest) == (True, key, tape.digest)


def test_sealing_may_be_tried_again_after_the_disk_was_full_and_only_once_after_that(tmp_path: Path) -> None:
    with create(tmp_path) as tape:
        tape.append(batch_of(example_exchanges(2)))
        with files_limited_to(tape.size + 100), pytest.raises(OSError, match="File too large"):
            tape.seal(Confessions(seen=2))
        assert tape.committed == 0
        tape.seal(Confessions(seen=2, shed=2))
        size = tape.size
        with pytest.raises(ValueError, match="sealed"):
            tape.seal(Confessions(seen=2, shed=2))
        assert tape.size == tape.path.stat().st_size == size

    with open_capture(tape.path) as capture:
        assert (len(capture), capture.sealed, capture.damage, capture.confessions.shed) == (0, True, (), 2)


def test_leaving_by_an_exception_keeps_what_was_flushed_and_lets_go_of_the_file(tmp_path: Path) -> None:
    def work(tape: TapeFile) -> None:
        with tape:
            tape.append(batch_of(example_exchanges(2)))
            tape.flush(Confessions(seen=2))
            tape.append(batch_of(example_exchanges(1)))
            assert being_written(tape.path)
            raise RuntimeError("trouble")

    tape = create(tmp_path)
    with pytest.raises(RuntimeError, match="trouble"):
        work(tape)

    assert not being_written(tape.path)
    with open_capture(tape.path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (2, False, ())


def test_a_folder_that_cannot_be_synced_leaves_no_file_and_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, f"{folder}: Input/output error")

    monkeypatch.setattr("captures.store._sync_folder", broken)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="Input/output"):
        create(tmp_path, fsync=True)

    assert (list(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))) == ([], before)


def test_a_capture_is_smaller_where_that_is_asked_for(tmp_path: Path) -> None:
    exchanges = [example_exchange(session=i * 7919 % 10007, arrival_ns=i * 12347) for i in range(600)]
    sizes = []
    for name, small in (("a.tape", False), ("b.tape", True)):
        with create_capture(tmp_path / name, example_header(), small=small) as tape:
            tape.append(batch_of(exchanges))
            tape.seal(Confessions(seen=600))
        sizes.append(tape.size)

    assert sizes[1] < sizes[0]


def test_a_capture_that_fails_before_it_has_its_name_leaves_whoever_took_the_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "a.tape"

    def taken(data: bytes) -> int:
        other.write_bytes(b"of somebody else")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("captures.store.os.pwrite", lambda *_: taken(b""))
    with pytest.raises(OSError, match="No space"):
        create(tmp_path)

    assert other.read_bytes() == b"of somebody else"
