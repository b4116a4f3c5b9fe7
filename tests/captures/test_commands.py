"""What the commands print and exit with."""

import json
from pathlib import Path

import pytest

import shadowtape
from captures.frame import Kind
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


def test_audit_finds_known_values_and_says_where_never_what(tape: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "known.txt").write_text("model.example\n\nab\n")
    assert shadowtape.run(["audit", str(tape)]) == 0
    assert "clean" in capsys.readouterr().out

    assert shadowtape.run(["audit", str(tape), "--known", str(tmp_path / "known.txt")]) == 1
    said = capsys.readouterr()
    assert "known secret in request header 0" in said.out
    assert "model.example" not in said.out + said.err
    assert "1 values were not sought" in said.err


def test_audit_looks_into_the_header_too(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(1), notes={"host": "secret.internal"})
    (tmp_path / "known.txt").write_text("secret.internal")

    assert shadowtape.run(["audit", str(path), "--known", str(tmp_path / "known.txt"), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert found["findings"] == [{"exchange": None, "where": "capture header", "kind": "known secret"}]
    assert (found["clean"], found["scanned"]) == (False, 1)


def test_audit_says_what_it_could_not_scan(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["audit", str(damaged(tape)), "--json"]) == 1

    said = capsys.readouterr()
    assert json.loads(said.out) == {"clean": False, "findings": [], "scanned": 0, "unread": 5}
    assert "damaged: 5 exchanges not scanned" in said.err
    assert shadowtape.run(["audit", str(tape)]) == 1
    assert "clean" not in capsys.readouterr().out


def test_audit_counts_what_damage_hides_altogether(tape: Path, capsys: Output) -> None:
    """Damaged columns: the exchanges are not even in the length of the capture."""
    with open_capture(tape) as opened:
        (start,) = (segment.offset for segment in opened.segments)
    octets = tape.read_bytes()
    for offset in range(start, len(octets), 97):
        tape.write_bytes(octets[:offset] + bytes((octets[offset] ^ 1,)) + octets[offset + 1 :])
        assert shadowtape.run(["audit", str(tape), "--json"]) == 1, offset
        assert not json.loads(capsys.readouterr().out)["clean"]


def test_audit_is_not_clean_with_an_unfinished_flush_at_the_end(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(2), seal=False)
    assert shadowtape.run(["audit", str(path)]) == 0
    with path.open("ab") as file:
        file.write(b"secret")

    assert shadowtape.run(["audit", str(path)]) == 1

    said = capsys.readouterr()
    assert "6 bytes of an unfinished flush at its end were not scanned" in said.err


def test_audit_needs_its_list(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["audit", str(tape), "--known", "/nowhere.txt"]) == 2
    assert "cannot be read" in capsys.readouterr().err


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


def test_audit_reads_a_folder_and_every_header_in_it(tmp_path: Path, capsys: Output) -> None:
    for number in (1, 2):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        notes = {"host": "secret.internal"} if number == 2 else {}
        write_example(path, example_exchanges(2), number=number, file_id=bytes([number]) * 16, notes=notes)
    (tmp_path / "known.txt").write_text("secret.internal")

    assert shadowtape.run(["audit", str(tmp_path), "--known", str(tmp_path / "known.txt"), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert (found["scanned"], [each["where"] for each in found["findings"]]) == (4, ["capture header"])


def test_audit_counts_an_exchange_without_columns_once(tape: Path, capsys: Output) -> None:
    with open_capture(tape) as opened:
        columns = next(each for each in opened.segments[0].flushes[0].pieces if each.kind == Kind.COLUMNS)
    tape.write_bytes(flip(tape.read_bytes(), columns.payload_offset))

    assert shadowtape.run(["audit", str(tape), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert (found["scanned"], found["unread"]) == (0, 5)
