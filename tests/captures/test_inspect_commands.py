"""What `inspect` prints."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import shadowtape
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.exchange import Failure, FailureKind, Flags
from captures.inspect_text import view
from captures.inspection import facts
from captures.store import create_capture
from captures.testing import (
    capture_bytes,
    capture_of,
    example_exchange,
    example_exchanges,
    example_header,
    flip,
    write_example,
)

Output = pytest.CaptureFixture[str]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_example(tmp_path / "a.tape", example_exchanges(5, 300_000_000))


def test_inspect_prints_one_json_object(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(tape), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["exchanges"], found["duration_s"], found["size_bytes"]) == (5, 1.2, tape.stat().st_size)


def test_inspect_is_readable(tape: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(tape)]) == 0

    out = capsys.readouterr().out
    for words in (
        "exchanges   5 in 1.200 s",
        "/v2/models/{model}/infer",
        "200 OK: 5",
        "p99",
        "left out    nothing\n",
        "sealed",
    ):
        assert words in out


def test_inspect_shows_nothing_but_counts_of_an_empty_capture(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "empty.tape", [])

    assert shadowtape.run(["inspect", str(tmp_path / "empty.tape")]) == 0
    out = capsys.readouterr().out
    assert "exchanges   none\n" in out
    assert "p50" not in out


def test_many_routes_are_cut_short_and_say_so(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "a.tape", [example_exchange(route=f"POST /[{i}]") for i in range(32)])

    shadowtape.run(["inspect", str(tmp_path / "a.tape")])

    out = capsys.readouterr().out
    assert "and 20 more" in out
    assert "/[10]" in out


def test_flags_are_counted(tmp_path: Path, capsys: Output) -> None:
    write_example(tmp_path / "a.tape", [example_exchange(flags=Flags.STREAM), example_exchange()])

    shadowtape.run(["inspect", str(tmp_path / "a.tape"), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (found["streams"], found["replayable"], found["recorded_valid"]) == (1, 1, 1)


def drawn(data: bytes, width: int) -> list[str]:
    """The lines of a view in a terminal of this width, as text."""
    console = Console(width=width, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(view("monday.tape", facts(capture_of(data))))
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in captured.get().splitlines()]


def busy() -> bytes:
    models = [example_exchange(arrival_ns=i * 40_000_000, model=("house", "fraud")[i % 7 == 0]) for i in range(60)]
    labelled = [
        example_exchange(arrival_ns=10**9 + i, labels=(("region", ("eu", "us")[i % 3 == 0]),)) for i in range(9)
    ]
    streamed = example_exchange(arrival_ns=5, flags=Flags.STREAM | Flags.REPLAYABLE, route="POST /v1/chat")
    failed = example_exchange(arrival_ns=6, response=None, failure=Failure(FailureKind.CLIENT_DISCONNECT, 7))
    return capture_bytes([[*models, *labelled, streamed, failed]], labels=("region",))


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal_and_the_most_important_comes_first(width: int) -> None:
    lines = drawn(busy(), width)

    assert all(len(line) <= width for line in lines)
    order = [
        "monday.tape",
        "exchanges",
        "rate",
        "answers",
        "usable",
        "left out",
        "to first byte",
        "call",
        "model",
        "digest",
    ]
    places = [next(i for i, line in enumerate(lines) if line.startswith(word)) for word in order]
    assert places == sorted(places)


def test_everything_that_was_asked_for_is_there() -> None:
    text = "\n".join(drawn(busy(), 120))

    for words in (
        "200 OK: 70 (98.6 %)",
        "client disconnect: 1 (1.4 %)",
        "streams: to first byte",
        "label region  none 87.3 %",
        "POST /v1/chat",
        "fraud",
        "left out      nothing",
        "1 connection",
    ):
        assert " ".join(words.split()) in " ".join(text.split()), words


def test_damage_comes_before_the_figures() -> None:
    data = capture_bytes([example_exchanges(2), example_exchanges(2)], segment_bytes=600, seal=False)
    piece = capture_of(data).segments[0].flushes[0].pieces[0]

    lines = drawn(flip(data, piece.payload_offset), 80)

    assert "not sealed" in lines[0]
    assert lines[1].startswith("damage at byte")
    assert any(line.startswith("left out") and "2 exchanges lost to damage" in line for line in lines)


def test_what_is_missing_is_said_in_words(tmp_path: Path, capsys: Output) -> None:
    with create_capture(tmp_path / "a.tape", example_header(sampling_rate=0.5)) as tape:
        tape.append(batch_of(example_exchanges(2)))
        tape.seal(Confessions(seen=5, shed=1, sampled_out=2, sampling_rate=0.5))

    assert shadowtape.run(["inspect", str(tmp_path / "a.tape")]) == 0

    assert "left out    2 sampled out (50 % was to be kept); 1 exchange shed" in capsys.readouterr().out


def test_markup_in_a_capture_is_text(tmp_path: Path, capsys: Output) -> None:
    hostile = example_exchange(route="POST /[red]x", model="[/bold]m", codec="[b]c", labels=(("[l]", "[v]"),))
    write_example(tmp_path / "a.tape", [hostile, example_exchange()], labels=("[l]",), notes={"[n]": "[/x]"})

    assert shadowtape.run(["inspect", str(tmp_path / "a.tape")]) == 0

    out = capsys.readouterr().out
    for words in ("/[red]x", "[/bold]m", "[b]c", "label [l]", "[v]", "[/x]"):
        assert words in out


def test_a_folder_says_so(tmp_path: Path, capsys: Output) -> None:
    for number in (1, 2):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        write_example(path, example_exchanges(2), number=number, file_id=bytes([number]) * 16)

    assert shadowtape.run(["inspect", str(tmp_path)]) == 0

    out = capsys.readouterr().out
    assert "2 files" in out
    assert "numbers 1 to 2, all sealed" in out


def test_a_folder_of_several_recordings_says_so(tmp_path: Path, capsys: Output) -> None:
    for number in (1, 2):
        path, own = tmp_path / f"20260105T08000{number}Z-000001.tape", bytes([number]) * 16
        write_example(path, example_exchanges(2), number=1, file_id=own, recording_id=own)

    assert shadowtape.run(["inspect", str(tmp_path)]) == 0

    assert "2 files, of 2 recordings, all sealed" in capsys.readouterr().out


def test_expired_files_of_a_folder_are_left_out_and_counted(tmp_path: Path, capsys: Output) -> None:
    for number, expires_ns in ((1, 1), (2, 0)):
        path = tmp_path / f"20260105T080000Z-{number:06}.tape"
        write_example(path, example_exchanges(2), number=number, file_id=bytes([number]) * 16, expires_ns=expires_ns)

    assert shadowtape.run(["inspect", str(tmp_path), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["exchanges"], found["expired_files"], found["damage"]) == (2, 1, [])


def test_an_encrypted_capture_needs_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    path, key = tmp_path / "a.tape", bytes(range(32))
    path.write_bytes(capture_bytes([example_exchanges(2)], key=key))
    (tmp_path / "right.key").write_text(key.hex())
    (tmp_path / "wrong.key").write_text("00" * 32)

    for command in ("inspect", "verify", "audit"):
        assert shadowtape.run([command, str(path)]) == 5
        assert "no key was given" in capsys.readouterr().err
        assert shadowtape.run([command, str(path), "--tape-key", str(tmp_path / "wrong.key")]) == 5
        assert "the key given is" in capsys.readouterr().err
        assert shadowtape.run([command, str(path), "--tape-key", str(tmp_path / "right.key")]) == 0
    monkeypatch.setenv("SHADOWTAPE_TAPE_KEY", key.hex())
    assert shadowtape.run(["inspect", str(path)]) == 0
    assert "AES-256-GCM" in capsys.readouterr().out
