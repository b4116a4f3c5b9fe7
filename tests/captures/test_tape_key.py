"""A file that is named, the environment, or nothing."""

from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.tape_key import FILE_VARIABLE, KEY_VARIABLE, tape_key

KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture(autouse=True)
def no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY_VARIABLE, FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_without_any_nothing_is_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tape_key() is None

    monkeypatch.setenv(KEY_VARIABLE, "")
    monkeypatch.setenv(FILE_VARIABLE, "")
    assert tape_key() is None


@pytest.mark.parametrize("text", [KEY, KEY.hex().encode(), KEY.hex().upper().encode() + b"\n"])
def test_a_file_holds_32_bytes_or_64_digits(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(text)

    assert tape_key(file) == KEY


def test_a_named_file_comes_before_the_environment_and_digits_before_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named").write_bytes(KEY)
    (tmp_path / "from path").write_bytes(OTHER)
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "from path"))
    assert tape_key() == OTHER

    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    assert tape_key() == KEY

    monkeypatch.setenv(KEY_VARIABLE, OTHER.hex())
    assert tape_key(tmp_path / "named") == KEY


@pytest.mark.parametrize("text", ["secret", "z" * 64, "a" * 32, "\udcff" * 64])
def test_a_variable_that_is_no_key_is_named_and_never_quoted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, text)

    with pytest.raises(UsageError, match=KEY_VARIABLE) as raised:
        tape_key()
    assert text not in str(raised.value)


def test_a_file_that_is_no_key_or_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "long").write_bytes(b"x" * 10_000)
    with pytest.raises(UsageError, match="long: not a key"):
        tape_key(tmp_path / "long")
    with pytest.raises(UsageError, match="nowhere: the tape key cannot be read: No such file"):
        tape_key(tmp_path / "nowhere")

    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(UsageError, match=rf"{FILE_VARIABLE}: .*gone: the tape key cannot be read"):
        tape_key()
