"""`shadowtape export`: whole or not there, nothing overwritten, and what was lost is said."""

import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import shadowtape
from captures import export_commands
from captures.batches import batch_of
from captures.cipher import KEY_BYTES
from captures.confessions import Confessions
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.store import create_capture
from captures.testing import capture_bytes, example_exchanges, example_header, flip, write_example

Output = pytest.CaptureFixture[str]


def run(*arguments: object) -> int:
    return shadowtape.run([str(argument) for argument in arguments])


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    policy = Policy()
    return write_example(
        tmp_path / "a.tape",
        [replace(exchange, labels=(("region", "eu"),)) for exchange in example_exchanges(5)],
        labels=("region",),
        policy=policy.as_data(),
        policy_digest=policy.digest,
    )


def exported(capsys: Output, *arguments: object, code: int = 0) -> dict[str, Any]:
    assert run("export", *arguments, "--json") == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_export_and_import_give_the_same_capture(name: str, tape: Path, tmp_path: Path, capsys: Output) -> None:
    back = tmp_path / "back.tape"
    told = exported(capsys, tape, tmp_path / name)
    assert run("import", tmp_path / name, back) == 0

    assert (told["written"], told["unreadable"], told["lost"], told["format"]) == (5, 0, {}, "jsonl")
    with open_capture(tape) as one, open_capture(back) as two:
        assert list(one.exchanges()) == list(two.exchanges())
        assert one.confessions == two.confessions
        assert replace(one.header, file_id=two.header.file_id) == two.header
    assert run("verify", back) == 0


@pytest.mark.parametrize(
    ("name", "starts"),
    [("x.har", b'{"log"'), ("x.gor", b"1 0000000000000001"), ("x.parquet", b"PAR1"), ("x.jsonl", b'{"shadowtape"')],
)
def test_the_name_says_the_format(name: str, starts: bytes, tape: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / name
    told = exported(capsys, tape, out)

    assert out.read_bytes().startswith(starts)
    assert told["size_bytes"] == out.stat().st_size
    assert told["written"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.tape", name])


def test_format_is_stronger_than_a_name(tape: Path, tmp_path: Path) -> None:
    assert run("export", tape, tmp_path / "x.data.gz", "--format", "gor") == 0

    assert gzip.decompress((tmp_path / "x.data.gz").read_bytes()).startswith(b"1 0000000000000001")


def test_what_is_lost_is_said(tape: Path, tmp_path: Path, capsys: Output) -> None:
    assert run("export", tape, tmp_path / "x.gor") == 0

    told = capsys.readouterr()
    assert "5 exchanges as gor" in told.out
    assert "gor cannot keep labels: lost in 5 exchanges\n" in told.err
    assert exported(capsys, tape, tmp_path / "y.gor")["lost"]["labels"] == 5


def test_stdout_takes_json_lines(tape: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("export", tape, "-") == 0

    told = capfdbinary.readouterr()
    assert len(told.out.splitlines()) == 6
    assert told.err == b""


def test_tensors_are_columns_of_parquet(tape: Path, tmp_path: Path, capsys: Output) -> None:
    assert exported(capsys, tape, tmp_path / "x.parquet", "--tensors")["written"] == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x.csv",), "its name does not say a format"),
        (("x.jsonl", "--format", "goor"), "did you mean gor?"),
        (("taken.jsonl",), "exists already"),
        (("no/x.jsonl",), "there is no folder"),
        (("-", "--format", "har"), "stdout takes jsonl only"),
        (("-", "--json"), "stdout is taken"),
        (("x.jsonl", "--tensors"), "of parquet only"),
        (("s3://bucket/x.jsonl",), "written to files on this machine"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    arguments: tuple[str, ...], said: str, tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.jsonl").write_text("mine")

    assert run("export", tape, *arguments) == 2

    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert Path("taken.jsonl").read_text() == "mine"


def test_what_came_to_be_meanwhile_is_not_overwritten(
    tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    out = tmp_path / "x.jsonl"
    check = export_commands._check_export

    def late(*arguments: Any, **more: Any) -> None:
        check(*arguments, **more)
        out.write_text("mine")

    monkeypatch.setattr(export_commands, "_check_export", late)

    assert run("export", tape, out) == 2
    assert "File exists" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_damage_is_said_and_the_rest_is_exported(tmp_path: Path, capsys: Output) -> None:
    tape = tmp_path / "a.tape"
    data = capture_bytes([example_exchanges(4)], segment_bytes=1)  # a segment each
    tape.write_bytes(data)
    with open_capture(tape) as capture:
        offset = capture.segments[0].flushes[0].pieces[-1].payload_offset
    tape.write_bytes(flip(data, offset))

    told = exported(capsys, tape, tmp_path / "x.jsonl", code=1)

    assert (told["written"], told["unreadable"]) == (3, 1)
    assert run("export", tape, tmp_path / "y.jsonl") == 1
    assert "damaged: 1 exchange not exported; see `shadowtape verify`" in capsys.readouterr().err
    assert run("import", tmp_path / "x.jsonl", tmp_path / "back.tape", "--json") == 0


def test_an_export_of_an_encrypted_capture_says_that_it_is_in_clear(tmp_path: Path, capsys: Output) -> None:
    tape, key, out = tmp_path / "a.tape", tmp_path / "key", tmp_path / "x.jsonl"
    key.write_bytes(bytes(range(KEY_BYTES)).hex().encode())
    with create_capture(tape, example_header(), key=bytes(range(KEY_BYTES))) as file:
        file.append(batch_of(example_exchanges(2)))
        file.seal(Confessions(seen=2))

    assert run("export", tape, out) == 5
    capsys.readouterr()
    assert run("export", tape, out, "--tape-key", key) == 0

    assert f"{tape} is encrypted; {out} is in clear" in capsys.readouterr().err
    assert out.stat().st_mode & 0o077 == 0


def test_nothing_is_left_of_an_export_that_failed(
    tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_commands, "_write_all", full)

    assert run("export", tape, tmp_path / "x.jsonl") == 2
    assert "x.jsonl: cannot be written: No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.tape"]


def test_a_signal_leaves_nothing_of_an_export(tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_commands, "_write_all", lambda *_: signal.raise_signal(signal.SIGTERM))

    with pytest.raises(SystemExit, match="143"):
        run("export", tape, tmp_path / "x.jsonl")

    assert [path.name for path in tmp_path.iterdir()] == ["a.tape"]


def test_a_reader_that_has_seen_enough_is_no_error(tape: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys, shadowtape; sys.exit(shadowtape.run(sys.argv[1:]))",
        "export",
        tape,
        "-",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*map(str, command)], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")
