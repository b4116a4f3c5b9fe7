import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.errors import CaptureError, UsageError
from captures.exchange import Flags
from captures.opening import open_capture
from captures.testing import write_example
from transforms.commands import transform
from transforms.testing import example_exchange


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    exchanges = [example_exchange(number) for number in range(40)]
    exchanges.append(replace(example_exchange(40), flags=Flags.REQUEST_TRUNCATED))
    return write_example(
        tmp_path / "in.tape", exchanges, key_id="k1", policy={"keep": "x"}, policy_digest="pd", source_digests=("s",)
    )


def run(tape: Path, *steps: str, capsys: pytest.CaptureFixture[str], out: str = "out.tape") -> dict[str, Any]:
    assert transform(str(tape), str(tape.parent / out), list(steps), seed=7, as_json=True) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    result: dict[str, Any] = json.loads(printed.out)
    return result


def test_a_derived_capture_holds_what_would_be_sent(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tape, "time_scale:factor=5", "amplify:copies=2", capsys=capsys)
    with open_capture(tape.parent / "out.tape") as made, open_capture(tape) as recorded:
        assert made.sealed
        assert len(made) == 80 == result["rows_out"]
        assert made.header.kind == "derived"
        assert made.header.recording_id == recorded.header.recording_id
        assert made.header.file_id != recorded.header.file_id
        assert (made.header.key_id, made.header.policy, made.header.policy_digest) == ("k1", {"keep": "x"}, "pd")
        assert made.header.source_digests == ("s",)
        assert made.header.inputs[0]["digest"] == recorded.digest
        assert made.header.notes["chain"] == ["time_scale:factor=5", "amplify:copies=2"]
        assert made.header.wall_ns == recorded.header.wall_ns
        assert made.confessions.seen == 80
        first = next(iter(made.exchanges()))
        assert first.response is not None

    assert {key: result[key] for key in ("rows_in", "dropped", "seed")} == {
        "rows_in": 41,
        "dropped": {"request_truncated": 1},
        "seed": 7,
    }
    assert result["duration_s"] == pytest.approx(0.17, abs=0.03)
    assert result["peak_rps"] == 80
    assert result["receipt"]["contents"]["responses_dropped"] == 0


def test_the_same_seed_gives_the_same_requests(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        run(tape, "amplify:copies=2.5", "noise:feature=rate,sd=1", capsys=capsys, out=out)["receipt"]
        for out in ("one.tape", "two.tape")
    ]
    with open_capture(tape.parent / "one.tape") as one, open_capture(tape.parent / "two.tape") as two:
        assert list(one.exchanges()) == list(two.exchanges())

    assert results[0] == results[1]


def test_answers_to_what_is_no_longer_asked_are_dropped_and_counted(
    tape: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tape, "noise:feature=amount,sd=0.5", capsys=capsys)
    with open_capture(tape.parent / "out.tape") as made:
        assert all(exchange.response is None for exchange in made.exchanges())

    assert result["receipt"]["contents"]["responses_dropped"] == 40


def test_what_was_derived_can_be_derived_from_again(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tape, "amplify:copies=2", capsys=capsys)
    result = run(tape.parent / "out.tape", "noise:feature=amount,sd=1", capsys=capsys, out="again.tape")

    assert result["rows_in"] == result["rows_out"] == 80


def test_the_receipt_is_kept_where_asked_and_told_to_people(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tape.parent / "receipt.json"
    transform(str(tape), str(tape.parent / "out.tape"), ["amplify:copies=2"], receipt_file=kept)

    assert json.loads(kept.read_text(encoding="utf-8"))["rows"]["out"] == 80
    assert "rows       41 in, 80 out; dropped: 1 request_truncated" in capsys.readouterr().out
    assert sorted(path.name for path in tape.parent.iterdir()) == ["in.tape", "out.tape", "receipt.json"]


@pytest.mark.parametrize(
    ("out", "steps", "complaint"),
    [
        ("out.tape", [], "nothing to do: add -t"),
        ("out.txt", ["amplify:copies=2"], "ends in .tape"),
        ("in.tape", ["amplify:copies=2"], "exists already"),
        ("no/out.tape", ["amplify:copies=2"], "there is no folder"),
        ("out.tape", ["noise:feature=nope,sd=1"], "no feature named 'nope'; there are: amount"),
        ("out.tape", ["nope"], "no transform named"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_is_written(
    tape: Path, out: str, steps: list[str], complaint: str
) -> None:
    before = tape.read_bytes()
    with pytest.raises(UsageError, match=complaint):
        transform(str(tape), str(tape.parent / out), steps)

    assert [path.name for path in tape.parent.iterdir()] == ["in.tape"]
    assert tape.read_bytes() == before


def test_a_receipt_is_not_overwritten(tape: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        transform(str(tape), str(tape.parent / "out.tape"), ["amplify:copies=2"], receipt_file=tape)


def test_a_capture_with_nothing_to_send_says_why(tmp_path: Path) -> None:
    tape = write_example(tmp_path / "in.tape", [replace(example_exchange(0), flags=Flags.REQUEST_DROPPED)])

    with pytest.raises(UsageError, match="nothing in it can be sent again: 1 request_dropped"):
        transform(str(tape), str(tmp_path / "out.tape"), ["amplify:copies=2"])


def test_a_capture_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        transform(str(tmp_path / "in.tape"), str(tmp_path / "out.tape"), ["amplify:copies=2"])


def test_half_a_derived_capture_is_removed(tape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("transforms.commands.derive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        transform(str(tape), str(tape.parent / "out.tape"), ["amplify:copies=2"])

    assert [path.name for path in tape.parent.iterdir()] == ["in.tape"]
