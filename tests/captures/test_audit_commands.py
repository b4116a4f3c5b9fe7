"""What `shadowtape audit` prints and exits with."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

import shadowtape
from captures import audit_commands
from captures.exchange import Chunk, Exchange
from captures.frame import Kind
from captures.opening import open_capture
from captures.privacy.scan import KINDS
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


def saying(body: bytes) -> Exchange:
    example = example_exchange()
    assert example.response is not None
    return replace(example, response=replace(example.response, chunks=(Chunk(1, body[:9]), Chunk(2, body[9:]))))


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
    assert json.loads(said.out) == {
        "clean": False,
        "findings": [],
        "scanned": 0,
        "unread": 5,
        "kinds": {},
        "unlisted": 0,
    }
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


def test_audit_looks_under_the_surface_and_never_says_what(tmp_path: Path, capsys: Output) -> None:
    coded = base64.b64encode(b'{"mail":"ada@example.org"}').decode()
    path = write_example(tmp_path / "a.tape", [saying(json.dumps({"text": coded}).encode())])

    assert shadowtape.run(["audit", str(path), "--json"]) == 1

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {(each["exchange"], each["kind"]) for each in found["findings"]} == {(0, "e-mail")}
    assert found["findings"][0]["where"].startswith("response body byte 9, base64")
    assert found["kinds"] == {"e-mail": len(found["findings"])}
    assert "ada" not in said.out + said.err


def test_a_kind_that_means_nothing_here_can_be_ignored(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", [saying(b'{"a":"4111 1111 1111 1111"}')])
    assert shadowtape.run(["audit", str(path)]) == 1
    assert "exchange 0: card number in response body byte 5" in capsys.readouterr().out
    assert shadowtape.run(["audit", str(path), "--ignore", "card number"]) == 0

    assert shadowtape.run(["audit", str(path), "--ignore", "cards"]) == 2
    said = capsys.readouterr().err
    assert all(kind in said for kind in KINDS)


def test_findings_beyond_a_limit_are_counted_and_not_kept(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_commands, "FINDINGS_KEPT", 3)
    path = write_example(tmp_path / "a.tape", [saying(json.dumps(["ada@example.org"] * 5).encode())])

    assert shadowtape.run(["audit", str(path), "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert (len(found["findings"]), found["unlisted"], found["kinds"]) == (3, 2, {"e-mail": 5})


def test_many_findings_end_in_a_sum_by_kind(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", [saying(json.dumps(["ada@example.org"] * 120).encode())])

    assert shadowtape.run(["audit", str(path)]) == 1

    out = capsys.readouterr().out
    assert "and 20 more" in out
    assert "by kind: e-mail 120" in out
    assert "120 findings" in out


def test_what_the_policy_in_the_header_says_is_looked_at_too(tmp_path: Path, capsys: Output) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(1), policy={"labels": ["ada@example.org"]})
    assert shadowtape.run(["audit", str(path)]) == 1
    assert "e-mail in capture header" in capsys.readouterr().out


def test_a_known_value_that_is_a_word_of_ours_is_not_sought_where_prompts_are_replaced_by_words(
    tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "known.txt").write_text("Ability\nmodel.example\n")
    arguments = ["--known", str(tmp_path / "known.txt"), "--ignore", "e-mail"]
    words = write_example(tmp_path / "a.tape", [saying(b'["the ability to"]')])
    tokens = write_example(tmp_path / "b.tape", [saying(b'["the ability to"]')], policy={"text": "token"})

    shadowtape.run(["audit", str(words), *arguments])
    said = capsys.readouterr()
    assert "response body" not in said.out
    assert "1 values were not sought, being words that prompts are replaced by" in said.err

    shadowtape.run(["audit", str(tokens), *arguments])
    said = capsys.readouterr()
    assert "known secret in response body" in said.out
    assert said.err == ""
