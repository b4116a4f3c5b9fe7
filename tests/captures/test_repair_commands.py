"""`recover` and `compact` from the command line: files, reports and exit codes."""

import errno
import json
from pathlib import Path

import pytest

import shadowtape
from captures.frame import Kind
from captures.opening import open_capture
from captures.store import TapeFile, create_capture
from captures.testing import capture_bytes, example_exchanges, example_header, flip, write_example
from captures.writer import CaptureWriter

Output = pytest.CaptureFixture[str]
KEY = bytes(range(32))
EXCHANGES = example_exchanges(9)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.tape"


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Three segments of three exchanges."""
    path = tmp_path / "a.tape"
    path.write_bytes(capture_bytes([EXCHANGES[i : i + 3] for i in (0, 3, 6)], segment_bytes=700))
    return path


@pytest.fixture
def damaged(tape: Path) -> Path:
    with open_capture(tape) as capture:
        piece = next(each for each in capture.segments[1].flushes[0].pieces if each.kind == Kind.MESSAGES)
    tape.write_bytes(flip(tape.read_bytes(), piece.payload_offset))
    return tape


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "recordings"
    where.mkdir()
    for number in (1, 2):
        path = where / f"20260105T080000Z-{number:06}.tape"
        write_example(path, EXCHANGES[number * 3 : number * 3 + 3], number=number, file_id=bytes([number]) * 16)
    return where


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "tape.key"
    path.parent.mkdir()
    path.write_text(KEY.hex())
    path.chmod(0o600)
    return path


def encrypted(path: Path) -> Path:
    path.write_bytes(capture_bytes([EXCHANGES[:3], EXCHANGES[3:6]], key=KEY))
    return path


def test_recover_writes_what_survives_and_says_what_was_lost(damaged: Path, out: Path, capsys: Output) -> None:
    assert shadowtape.run(["recover", str(damaged), str(out)]) == 0

    said = capsys.readouterr().out
    assert "damage at byte" in said
    assert f"{out}: 6 of 9 exchanges recovered, 3 exchanges lost, 3 of them with columns" in said.replace("\n", " ")
    with open_capture(out) as made:
        assert list(made.exchanges()) == EXCHANGES[:3] + EXCHANGES[6:]
        assert (made.sealed, made.confessions.shed) == (True, 3)
    assert shadowtape.run(["verify", str(out)]) == 0


def test_recover_reports_as_json(damaged: Path, out: Path, capsys: Output) -> None:
    assert shadowtape.run(["recover", str(damaged), str(out), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["read"], found["written"], found["lost"], found["bodiless"], found["out"]) == (9, 6, 3, 3, str(out))
    assert [(each["segment"], each["exchanges_lost"]) for each in found["damage"]] == [(1, 3)]
    with open_capture(out) as made:
        assert found["digest"] == made.digest


def test_recover_of_nothing_readable_exits_5_and_writes_nothing(tape: Path, out: Path, capsys: Output) -> None:
    data = bytearray(tape.read_bytes())
    with open_capture(tape) as capture:
        for segment in capture.segments:
            data[segment.offset : segment.end] = bytes(segment.end - segment.offset)
    tape.write_bytes(data)

    assert shadowtape.run(["recover", str(tape), str(out)]) == 5
    assert "nothing to recover" in capsys.readouterr().err
    assert not out.exists()


def test_an_existing_output_is_never_touched(tape: Path, out: Path, capsys: Output) -> None:
    out.write_text("precious")

    for command in ("recover", "compact"):
        assert shadowtape.run([command, str(tape), str(out)]) == 2
        assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "precious"


@pytest.mark.parametrize("command", ["recover", "compact"])
@pytest.mark.parametrize(("error", "code"), [(OSError(errno.ENOSPC, "No space left"), 2), (KeyboardInterrupt(), 130)])
def test_what_is_interrupted_is_not_left_behind(
    command: str,
    error: BaseException,
    code: int,
    tape: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(CaptureWriter, "append", fail)

    assert shadowtape.run([command, str(tape), str(out)]) == code
    assert capsys.readouterr().err.count("\n") == (code == 2)
    assert not out.exists()


def test_compact_merges_a_folder(folder: Path, out: Path, capsys: Output) -> None:
    assert shadowtape.run(["compact", str(folder), str(out), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["exchanges"], found["files"], found["segments_before"], found["segments"]) == (6, 2, 2, 1)
    assert found["size_bytes"] == out.stat().st_size
    assert found["ratio"] == round(found["size_bytes"] / found["size_before"], 4)
    with open_capture(out) as made:
        assert list(made.exchanges()) == EXCHANGES[3:9]
        assert made.digest == found["digest"]
    assert shadowtape.run(["verify", str(out)]) == 0


def test_compact_says_how_much_smaller_it_got(tape: Path, out: Path, capsys: Output) -> None:
    assert shadowtape.run(["compact", str(tape), str(out)]) == 0

    said = capsys.readouterr().out
    assert "9 exchanges of 1 file" in said
    assert "3 segments -> 1" in said
    assert out.stat().st_size < tape.stat().st_size


def test_compact_refuses_damage_and_points_to_recover(damaged: Path, out: Path, capsys: Output) -> None:
    assert shadowtape.run(["compact", str(damaged), str(out)]) == 5
    assert "shadowtape recover" in capsys.readouterr().err
    assert not out.exists()


def test_compact_refuses_what_is_still_being_recorded(tmp_path: Path, out: Path, capsys: Output) -> None:
    with create_capture(tmp_path / "a.tape", example_header()):
        assert shadowtape.run(["compact", str(tmp_path / "a.tape"), str(out)]) == 2
    assert "still being recorded" in capsys.readouterr().err

    # Killed, it is whole as far as it goes.
    assert shadowtape.run(["compact", str(tmp_path / "a.tape"), str(out)]) == 0


def test_a_missing_file_of_a_folder_is_damage_too(folder: Path, out: Path, capsys: Output) -> None:
    (folder / "20260105T080000Z-000002.tape").rename(folder / "away")
    path = folder / "20260105T080000Z-000003.tape"
    write_example(path, EXCHANGES[:1], number=3, file_id=b"3" * 16)

    assert shadowtape.run(["compact", str(folder), str(out)]) == 5
    assert "file 2 of the recording is missing" in capsys.readouterr().err
    assert shadowtape.run(["recover", str(folder), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["written"], found["damage"][0]["exchanges_lost"]) == (4, None)


@pytest.mark.parametrize("command", ["recover", "compact"])
def test_encrypted_stays_encrypted_with_the_same_key(
    command: str, tmp_path: Path, out: Path, key_file: Path, capsys: Output
) -> None:
    tape = encrypted(tmp_path / "a.tape")
    assert shadowtape.run([command, str(tape), str(out)]) == 5
    assert "no key was given" in capsys.readouterr().err

    assert shadowtape.run([command, str(tape), str(out), "--tape-key", str(key_file)]) == 0

    assert shadowtape.run(["verify", str(out)]) == 5
    assert shadowtape.run(["verify", str(out), "--tape-key", str(key_file)]) == 0
    with open_capture(out, key=KEY) as made:
        assert list(made.exchanges()) == EXCHANGES[:6]


def test_compact_encrypts_on_request(tape: Path, out: Path, key_file: Path) -> None:
    assert shadowtape.run(["compact", str(tape), str(out), "--encrypt", str(key_file)]) == 0

    assert EXCHANGES[0].request.target.encode() not in out.read_bytes()
    with open_capture(out, key=KEY) as made:
        assert made.encrypted
        assert list(made.exchanges()) == EXCHANGES


def test_compact_makes_a_missing_key_and_none_beside_the_capture(
    tape: Path, out: Path, tmp_path: Path, capsys: Output
) -> None:
    assert shadowtape.run(["compact", str(tape), str(out), "--encrypt", str(out.parent / "k")]) == 2
    assert "keep the key away from the capture" in capsys.readouterr().err

    key = tmp_path / "keys" / "k"
    key.parent.mkdir()
    assert shadowtape.run(["compact", str(tape), str(out), "--encrypt", str(key)]) == 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert shadowtape.run(["verify", str(out), "--tape-key", str(key)]) == 0


@pytest.mark.parametrize("command", ["inspect", "verify", "audit", "recover", "compact"])
def test_an_expired_capture_is_refused_by_every_command(
    command: str, tmp_path: Path, out: Path, capsys: Output
) -> None:
    tape = write_example(tmp_path / "a.tape", EXCHANGES, expires_ns=1)

    outputs = [str(out)] if command in ("recover", "compact") else []
    assert shadowtape.run([command, str(tape), *outputs]) == 5

    assert "expired on 1970-01-01" in capsys.readouterr().err
    assert not out.exists()


def test_an_output_that_cannot_be_one_costs_no_reading(
    tape: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(TapeFile, "append", lambda *_: pytest.fail("it was read"))
    for command in ("recover", "compact"):
        assert shadowtape.run([command, str(tape), "/nowhere/out.tape"]) == 2
        assert "no folder /nowhere" in capsys.readouterr().err
        assert shadowtape.run([command, str(tape), "out.zip"]) == 2
        assert "ends in .tape" in capsys.readouterr().err
