from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.policy_files import read_key, read_policy
from captures.privacy.policy import Policy


def test_the_default_policy_is_that_of_no_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("labels: [approve]\n")

    assert read_policy(None) == Policy()
    assert read_policy(tmp_path / "p.yaml") == Policy(labels=("approve",))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_policy_that_cannot_be_read_says_so(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "p.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"--policy .*p\.yaml: cannot be read: (No such file|not UTF-8)"):
        read_policy(tmp_path / "p.yaml")


@pytest.mark.parametrize("out", ["out/x.tape", "s3://bucket/x.tape"])
def test_a_key_is_made_once_and_found_again(out: str, tmp_path: Path) -> None:
    out = out if "://" in out else str(tmp_path / out)
    key = read_key(tmp_path / "k", out)

    assert len(key) == 32
    assert read_key(tmp_path / "k", out) == key
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_beside_the_capture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--encrypt .*k: keep the key away from the capture"):
        read_key(tmp_path / "k", str(tmp_path / "x.tape"), "--encrypt")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "k").write_text("0" * 64)
    (tmp_path / "k").chmod(mode)
    with pytest.raises(UsageError, match="others can read it"):
        read_key(tmp_path / "k", str(tmp_path / "out/x.tape"))


def test_a_key_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made: No such file or directory"):
        read_key(tmp_path / "no/k", str(tmp_path / "x.tape"))


def test_a_key_is_beside_the_capture_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "out")
    (tmp_path / "k").symlink_to(tmp_path / "out" / "real")
    for key in (tmp_path / "alias" / "k", tmp_path / "k", tmp_path / "out" / ".." / "out" / "k"):
        for out, folder in ((tmp_path / "out" / "x.tape", False), (tmp_path / "out", True)):
            with pytest.raises(UsageError, match="another folder"):
                read_key(key, str(out), folder=folder)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_holds_no_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("hunter2 is not a key")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(UsageError, match="not a key") as caught:
        read_key(tmp_path / "k", str(tmp_path / "out/x.tape"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [", b"no_such_field: 1"])
def test_a_policy_that_makes_no_sense_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"--policy .*p\.yaml"):
        read_policy(tmp_path / "p.yaml")
