"""The files a user names: keys and folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.rotation import Rotation
from recorder.named_files import check_keys, check_storage, read_keys, state_folder
from recorder.options import Storage


def tape(folder: Path) -> Storage:
    return Storage(out="x.tape", path=folder / "x.tape")


def folder(path: Path, **changes: str) -> Storage:
    return Storage(out=path.name, path=path, rotation=Rotation(), **changes)  # type: ignore[arg-type]  # passed on as they are


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        check_storage(tape(tmp_path / "missing"))


def test_a_key_stays_out_of_the_folder_of_a_tape_and_of_the_whole_folder_of_tapes(tmp_path: Path) -> None:
    (tmp_path / "tapes" / "deep").mkdir(parents=True)
    for storage, key in (
        (tape(tmp_path), tmp_path / "k"),
        (folder(tmp_path / "tapes"), tmp_path / "tapes" / "deep" / "k"),
    ):
        with pytest.raises(UsageError, match=r"--key .*another folder"):
            read_keys(key, storage)
        with pytest.raises(UsageError, match=r"--encrypt .*another folder"):
            read_keys(None, replace(storage, encrypt=key))
    assert len(read_keys(tmp_path / "k", folder(tmp_path / "tapes"))[0]) == 32


def test_without_a_key_file_the_key_is_a_new_one_each_time(tmp_path: Path) -> None:
    one, other = (read_keys(None, tape(tmp_path)) for _ in range(2))
    assert one[0] != other[0]
    assert one[1] is other[1] is None


def test_a_copy_of_the_key_of_the_tokens_is_not_the_key_of_the_tape(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key, copy = tmp_path / "keys" / "a", tmp_path / "keys" / "b"
    storage = replace(tape(tmp_path), encrypt=copy)
    secret, tape_key = read_keys(key, storage)
    assert secret != tape_key
    copy.unlink()
    copy.hardlink_to(key)
    with pytest.raises(UsageError, match="two secrets need two keys"):
        read_keys(key, storage)


def test_a_tape_and_its_tokens_have_two_keys(tmp_path: Path) -> None:
    check_keys(tmp_path / "a", tmp_path / "b")
    check_keys(None, tmp_path / "b")
    with pytest.raises(UsageError, match="two secrets need two files"):
        check_keys(tmp_path / "a", tmp_path / "x" / ".." / "a")


def test_a_folder_that_is_not_there_yet_needs_a_home(tmp_path: Path) -> None:
    check_storage(folder(tmp_path / "tapes"))
    check_storage(folder(tmp_path))
    check_storage(folder(tmp_path / "not" / "yet" / "there", url="s3://b"))
    with pytest.raises(UsageError, match="make it first"):
        check_storage(folder(tmp_path / "missing" / "tapes"))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        check_storage(folder(tmp_path / "file"))


def test_a_folder_without_rights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UsageError, match="not writable"):
        check_storage(folder(tmp_path))


def test_the_state_folder_is_where_the_user_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert state_folder() == Path("/var/state")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local" / "state"
