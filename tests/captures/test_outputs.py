import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from captures.batches import batch_of
from captures.confessions import Confessions
from captures.errors import ShadowtapeError, UsageError
from captures.frame import TRAILER_SIZE, unpack_trailer
from captures.outputs import check_output, create_output
from captures.testing import example_exchanges, example_header


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def write(where: str, key: bytes | None = None, error: BaseException | None = None, *, seal: bool = True) -> None:
    with create_output(where, example_header(), key=key) as tape:
        tape.append(batch_of(example_exchanges(3)))
        tape.flush(Confessions(seen=3))
        if error:
            raise error
        if seal:
            tape.seal(Confessions(seen=3))


def test_a_path_becomes_a_sealed_file(tmp_path: Path) -> None:
    write(str(tmp_path / "a.tape"))

    assert unpack_trailer((tmp_path / "a.tape").read_bytes()[-TRAILER_SIZE:]) is not None


def test_a_url_becomes_a_sealed_object_and_leaves_nothing_here(memory: Any, scratch: Path) -> None:
    write("memory://bucket/a.tape")

    assert unpack_trailer(memory.cat("/bucket/a.tape")[-TRAILER_SIZE:]) is not None
    assert list(scratch.iterdir()) == []


def test_a_key_encrypts_what_is_uploaded(memory: Any) -> None:
    write("memory://bucket/a.tape", key=bytes(32))

    assert memory.cat("/bucket/a.tape")[7] == 2
    assert b"model_name" not in memory.cat("/bucket/a.tape")


@pytest.mark.parametrize("where", ["memory://bucket/a.tape", "{tmp}/a.tape"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), UsageError("no")])
def test_what_an_error_interrupts_is_nowhere(
    where: str, error: BaseException, memory: Any, tmp_path: Path, scratch: Path
) -> None:
    place = where.format(tmp=tmp_path)
    with pytest.raises(type(error)):
        write(place, error=error)

    assert memory.find("/") == []
    assert list(tmp_path.iterdir()) == [scratch]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("where", ["memory://bucket/a.tape", "{tmp}/a.tape"])
def test_what_is_not_sealed_is_uploaded_nowhere_and_says_so(
    where: str, memory: Any, tmp_path: Path, scratch: Path
) -> None:
    with pytest.raises(ValueError, match="without being sealed"):
        write(where.format(tmp=tmp_path), seal=False)

    assert memory.find("/") == []
    assert list(tmp_path.iterdir()) == [scratch]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("{tmp}/a.txt", "a capture's name ends in .tape"),
        ("memory://bucket/a.txt", "a capture's name ends in .tape"),
        ("{tmp}/nowhere/a.tape", "there is no folder"),
        ("{tmp}/old.tape", "exists already; captures are never overwritten"),
        ("memory://bucket/old.tape", "exists already; captures are never overwritten"),
        ("https://user:word@host/a.tape", "https://host/a.tape: cannot be written to"),
        ("ftp://host/a.tape", "captures are read from s3://, gs://, az:// and https://, not ftp://"),
    ],
)
def test_what_would_fail_at_the_end_fails_at_once(where: str, message: str, memory: Any, tmp_path: Path) -> None:
    (tmp_path / "old.tape").write_bytes(b"older")
    memory.pipe("/bucket/old.tape", b"older")
    place = where.format(tmp=tmp_path)

    for what in (check_output, write):
        with pytest.raises(ShadowtapeError) as caught:
            what(place)
        assert message in str(caught.value)
        assert caught.value.exit_code == 2
    assert (tmp_path / "old.tape").read_bytes() == memory.cat("/bucket/old.tape") == b"older"


def test_an_object_that_appeared_meanwhile_is_left_as_it_is(memory: Any) -> None:
    def meanwhile() -> None:
        with create_output("memory://bucket/a.tape", example_header()) as tape:
            memory.pipe("/bucket/a.tape", b"theirs")
            tape.seal(Confessions())

    with pytest.raises(UsageError, match="exists already"):
        meanwhile()

    assert memory.cat("/bucket/a.tape") == b"theirs"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="cannot be written: No space left on device"),
        create_output(str(tmp_path / "a.tape"), example_header()),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert not (tmp_path / "a.tape").exists()


def test_any_other_error_of_the_system_goes_on_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), create_output(str(tmp_path / "a.tape"), example_header()):
        (tmp_path / "nothing").open()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit) as caught,
        create_output(str(tmp_path / "a.tape"), example_header()),
    ):
        signal.raise_signal(number)

    assert caught.value.code == 128 + number
    assert not (tmp_path / "a.tape").exists()
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with create_output(str(tmp_path / "a.tape"), example_header()) as tape:
            signal.raise_signal(signal.SIGHUP)
            tape.seal(Confessions())
    finally:
        signal.signal(signal.SIGHUP, before)

    assert (tmp_path / "a.tape").exists()
