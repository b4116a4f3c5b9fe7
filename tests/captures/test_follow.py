"""Following a capture while somebody writes it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import shadowtape
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.following import Update, follow, line, record
from captures.inspection import facts, facts_of
from captures.opening import being_written, open_capture
from captures.reader import Capture
from captures.store import TapeFile, create_capture
from captures.testing import example_exchange, example_exchanges, example_header, write_example

Output = pytest.CaptureFixture[str]


def flushed(tape: TapeFile, count: int, **changes: int) -> TapeFile:
    tape.append(batch_of([example_exchange(arrival_ns=tape.committed + i, **changes) for i in range(count)]))
    tape.flush(Confessions(seen=tape.committed + count))
    return tape


def sealed(tape: TapeFile) -> None:
    tape.seal(Confessions(seen=tape.committed))
    tape.close()


def updates(capture: Capture, steps: Sequence[Callable[[], object]], path: Path, patience: int = 1) -> Iterator[Update]:
    """Every wait lets the writer take its next step; a writer without one has gone wrong."""
    left = iter(steps)
    return follow(
        capture,
        wait=lambda: next(left)(),  # noqa: PLW0108 - the next one each time
        written=lambda: being_written(path),
        patience=patience,
    )


def test_what_is_written_is_seen_until_it_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    tape = create_capture(path, example_header())
    flushed(tape, 2)
    steps = [lambda: flushed(tape, 3), lambda: None, lambda: sealed(flushed(tape, 1))]
    with open_capture(path) as capture:
        found = [(each.new.n, each.whole.n, each.over) for each in updates(capture, steps, path)]

        assert found == [(2, 2, False), (3, 5, False), (0, 5, False), (1, 6, True)]
        assert capture.sealed


def test_at_the_end_the_facts_are_those_of_reading_it_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    tape = create_capture(path, example_header())
    flushed(tape, 2)
    steps = [lambda: flushed(tape, 3, session=9), lambda: sealed(tape)]
    with open_capture(path) as capture:
        *_, last = updates(capture, steps, path)
        followed = facts_of(last.whole, capture)
    with open_capture(path) as capture:
        assert followed == facts(capture)


def test_a_writer_that_dies_ends_it_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    tape = create_capture(path, example_header())
    with open_capture(path) as capture:
        found = [each.over for each in updates(capture, [lambda: flushed(tape, 1), tape.close], path)]

        assert found == [False, False, True]
        assert not capture.sealed


def test_a_sealed_capture_is_over_at_once(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(2))
    with open_capture(path) as capture:
        (only,) = updates(capture, [], path)

    assert (only.new.n, only.over) == (2, True)


def test_a_folder_goes_on_in_the_next_file(tmp_path: Path) -> None:
    """Between two files nobody writes, for a moment."""
    tapes: list[TapeFile] = []

    def begin() -> None:
        number = len(tapes) + 1
        header = replace(example_header(number=number), file_id=bytes([number]) * 16)
        tapes.append(create_capture(tmp_path / f"20260105T080000Z-{number:06}.tape", header))
        flushed(tapes[-1], number)

    begin()
    steps = [lambda: sealed(tapes[0]), begin, lambda: sealed(tapes[1]), lambda: None]
    with open_capture(tmp_path) as capture:
        found = [(each.new.n, each.whole.n) for each in updates(capture, steps, tmp_path, patience=2)]

        assert found == [(1, 1), (0, 1), (2, 3), (0, 3), (0, 3)]
        assert (len(capture.files), capture.sealed) == (2, True)


def test_a_record_is_about_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    tape = create_capture(path, example_header())
    flushed(tape, 2)
    with open_capture(path) as capture:
        _, second, _ = updates(capture, [lambda: flushed(tape, 3), lambda: sealed(tape)], path)
        found = record(second, capture, "08:00:00")
        said = line(found)

    assert (found["exchanges"], found["new"], found["status"], found["service_ms"]["p50"]) == (5, 3, {"200": 3}, 5.0)
    assert (found["at"], found["over"]) == ("08:00:00", False)
    assert "+3" in said
    assert "p50 5.00 ms" in said
    assert "200: 3" in said


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A capture whose writer flushes three exchanges in the first second, nothing in the second, and seals in the third."""
    path = tmp_path / "a.tape"
    with create_capture(path, example_header()) as tape:
        flushed(tape, 2)
        steps: Iterator[Callable[[], object]] = iter([lambda: flushed(tape, 3), lambda: None, lambda: sealed(tape)])
        monkeypatch.setattr("time.sleep", lambda _: next(steps)())
        yield path


def test_a_pipe_gets_a_line_for_every_second_in_which_something_came(written: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(written), "--follow"]) == 0

    first, second, last = capsys.readouterr().out.splitlines()
    assert "+2" in first
    assert "+3" in second
    assert "sealed" in last


def test_json_lines_add_up(written: Path, capsys: Output) -> None:
    assert shadowtape.run(["inspect", str(written), "--follow", "--json"]) == 0

    found = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [each["new"] for each in found] == [2, 3, 0]
    assert (found[-1]["exchanges"], found[-1]["sealed"], found[-1]["over"]) == (5, True, True)


def test_ctrl_c_ends_it_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with create_capture(tmp_path / "a.tape", example_header()) as tape:
        flushed(tape, 1)

        assert shadowtape.run(["inspect", str(tmp_path / "a.tape"), "--follow"]) == 0
    assert "+1" in capsys.readouterr().out


def test_what_nobody_writes_here_cannot_be_followed(capsys: Output) -> None:
    assert shadowtape.run(["inspect", "http://127.0.0.1:1/a.tape", "--follow"]) == 2
    assert "cannot be followed" in capsys.readouterr().err
