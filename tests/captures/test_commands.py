"""What the commands print and exit with."""

import json
from pathlib import Path

import pytest

import shadowtape
from captures.commands import size, sparkline
from captures.exchange import Flags
from captures.store import open_capture
from captures.testing import example_exchange, example_exchanges, flip, write_example

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


def test_inspect_prints_one_json_object(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(tape), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["exchanges"], found["duration_s"], found["size_bytes"]) == (5, 1.2, tape.stat().st_size)


def test_inspect_is_readable(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(tape)]) == 0

    out = capsys.readouterr().out
    for words in (
        "5 exchanges in 1.200 s",
        "/v2/models/{model}/infer",
        "200 OK: 5",
        "p99",
        "sampling_rate 1",
        "sealed",
    ):
        assert words in out


def test_inspect_shows_nothing_but_counts_of_an_empty_capture(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "empty.tape", [])

    assert shadowtape.run(["inspect", str(tmp_path / "empty.tape")]) == 0
    assert "0 exchanges" in capsys.readouterr().out


def test_many_routes_are_cut_short_and_say_so(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "a.tape", [example_exchange(route=f"POST /[{i}]") for i in range(32)])

    shadowtape.run(["inspect", str(tmp_path / "a.tape")])

    out = capsys.readouterr().out
    assert "and 2 more" in out
    assert "/[7]" in out


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


def test_sizes_and_sparklines() -> None:
    assert [size(0), size(1023), size(1536), size(5 << 20), size(3 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 1, 1000]) == " ▁█"
    assert sparkline([]) == ""


def test_flags_are_counted(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "a.tape", [example_exchange(flags=Flags.STREAM), example_exchange()])

    shadowtape.run(["inspect", str(tmp_path / "a.tape"), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (found["streams"], found["replayable"], found["recorded_valid"]) == (1, 1, 1)
