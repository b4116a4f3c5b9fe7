"""What the commands print and exit with."""

import json
from pathlib import Path

import pytest

import shadowtape
from captures.opening import open_capture
from captures.testing import example_exchanges, flip, write_example

Output = pytest.CaptureFixture[str]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_example(tmp_path / "a.tape", example_exchanges(5, 300_000_000))


def damaged(tape: Path) -> Path:
    data = tape.read_bytes()
    with open_capture(tape) as capture:
        offset = capture.segments[0].flushes[0].pieces[-2].payload_offset
    tape.write_bytes(flip(data, offset))
    return tape


def test_verify_exits_0_for_a_sound_file(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["verify", str(tape)]) == 0
    assert capsys.readouterr().out == f"{tape}: sound, 5 exchanges, 1 segment\n"

    assert shadowtape.run(["verify", str(tape), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"sound", "exchanges", "segments", "sealed", "damage"} <= set(found)


def test_verify_exits_1_for_damage_and_says_where(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["verify", str(damaged(tape))]) == 1
    out = capsys.readouterr().out
    assert "damage at byte" in out
    assert "lost: 5 exchanges" in out

    assert shadowtape.run(["verify", str(tape), "--json"]) == 1
    (damage,) = json.loads(capsys.readouterr().out)["damage"]
    assert set(damage) == {"offset", "segment", "reason", "exchanges_lost"}


def test_verify_exits_1_for_a_file_that_was_never_sealed(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(2), seal=False)
    assert shadowtape.run(["verify", str(path)]) == 1
    assert "not sealed: the recorder was killed" in capsys.readouterr().out

    with path.open("ab") as file:
        file.write(b"x" * 5)
    assert shadowtape.run(["verify", str(path)]) == 1
    assert "5 bytes of an unfinished flush" in capsys.readouterr().out


def test_what_cannot_be_read_exits_5_in_one_line(tmp_path: Path, capsys: Output) -> None:
    for command in ("inspect", "verify", "audit"):
        assert shadowtape.run([command, str(tmp_path / "missing.tape")]) == 5
        assert capsys.readouterr().err == f"shadowtape: {tmp_path / 'missing.tape'}: no such file\n"


def test_a_folder_is_verified_file_by_file(tmp_path: Path, capsys: Output) -> None:
    for number in (1, 2):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        write_example(path, example_exchanges(2), number=number, file_id=bytes([number]) * 16)
    assert shadowtape.run(["verify", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count(": sound, 2 exchanges, 1 segment\n") == 2
    assert "all sound: 2 files, 4 exchanges, 2 segments" in out

    path.rename(tmp_path / "20260105T080000Z-000003.tape")
    write_example(path, example_exchanges(1), number=4, file_id=b"4" * 16)
    assert shadowtape.run(["verify", str(tmp_path)]) == 1
    assert "file 3 of the recording is missing" in capsys.readouterr().out


def test_several_captures_are_verified_together(tape: Path, tmp_path: Path, capsys: Output) -> None:
    other = damaged(write_example(tmp_path / "b.tape", example_exchanges(2)))

    assert shadowtape.run(["verify", str(tape), str(other), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert [(each["file"], each["sound"]) for each in found["files"]] == [(str(tape), True), (str(other), False)]
    assert {each["file"] for each in found["damage"]} == {str(other)}
    assert (found["exchanges"], found["readable"], found["unreadable"]) == (7, 5, 2)
