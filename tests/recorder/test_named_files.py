"""The files a user names: keys, policies, folders."""

import stat
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.privacy.policy import Policy
from captures.rotation import Rotation
from recorder.named_files import check_keys, check_storage, read_key, read_policy, state_folder
from recorder.options import Storage


def tape(folder: Path) -> Storage:
    return Storage(out="x.tape", path=folder / "x.tape")


def folder(path: Path, **changes: str) -> Storage:
    return Storage(out=path.name, path=path, rotation=Rotation(), **changes)  # type: ignore[arg-type]  # passed on as they are


def test_a_missing_key_file_is_made_for_its_owner_only_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    made = read_key(path, tape(tmp_path))
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path, tape(tmp_path)) == made


def test_a_key_beside_the_tape_is_refused_even_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="another folder"):
        read_key(tmp_path / "alias" / "k", tape(tmp_path))
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    path.write_text("ab" * 32)
    path.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        read_key(path, tape(tmp_path))


def test_a_file_that_holds_no_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    path.write_text("hunter2 is not a key")
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_key(path, tape(tmp_path))
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        check_storage(tape(tmp_path / "missing"))


def test_without_a_policy_file_the_default_denies() -> None:
    assert read_policy(None) == Policy()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"no_such_field: 1"])
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"policy\.yaml"):
        read_policy(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_policy(tmp_path / "missing.yaml")


def test_a_key_anywhere_in_a_folder_of_tapes_is_refused_and_beside_the_folder_is_not(tmp_path: Path) -> None:
    out = tmp_path / "tapes"
    (out / "deep").mkdir(parents=True)
    for inside in (out / "k", out / "deep" / "k", out / ".." / "tapes" / "k"):
        with pytest.raises(UsageError, match=r"--encrypt .*another folder"):
            read_key(inside, folder(out), "--encrypt")
    assert len(read_key(tmp_path / "k", folder(out))) == 32


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
