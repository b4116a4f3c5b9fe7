"""The command itself, as people start it: exit codes, one line of complaint, one JSON object."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.testing import example_exchanges, write_example
from replayer.commands import read_duration_ns, read_header, told
from replayer.testing import misbehaving
from shadowtape import run

MS = 1_000_000
HOUSE = Path(__file__).parents[2]


def shadowtape(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HOUSE / "shadowtape.py", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(HOUSE), "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_example(tmp_path / "a.tape", example_exchanges(20, 2 * MS))


@pytest.mark.slow
def test_a_replay_prints_one_object_and_exits_with_its_verdict(tape: Path, tmp_path: Path) -> None:
    with misbehaving() as server:
        done = shadowtape("replay", tape, "--target", server.url, "--speed", "2", "--json", cwd=tmp_path)

    summary = json.loads(done.stdout)
    assert done.returncode == {"UNJUDGED": 0, "INVALID": 3}[summary["verdict"]]
    assert summary["rows"]["completed"] == len(server.hits) == 20
    assert "20 rows in" in done.stderr
    assert (tmp_path / summary["path"] / "report.html").exists()
    assert not list((tmp_path / "runs").glob("*.partial"))


@pytest.mark.slow
def test_people_get_text_and_the_name_of_the_run(tape: Path, tmp_path: Path) -> None:
    with misbehaving() as server:
        done = shadowtape(
            "replay", tape, "--target", server.url, "--require", "errors < 50%", "--out", "mine", cwd=tmp_path
        )

    assert done.returncode in (0, 3, 4)
    assert "run: mine" in done.stdout
    assert "errors < 50%" in done.stdout


def test_a_dry_run_needs_nobody_to_be_there(tape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["replay", str(tape), "--target", "http://prod.example", "--copies", "3", "--dry-run"]

    code = run([*arguments, "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert (code, figures["rows"]) == (0, 60)
    assert {"duration_s", "peak_rps", "bytes", "unsafe", "load"} <= set(figures)

    assert run(arguments) == 0
    assert "60 rows in" in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["a.tape"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["replay", "a.tape"], 2, "--target"),
        (["replay", "a.tape", "--target", "nonsense"], 2, "http://HOST"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--bogus"], 2, "--bogus"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--speed", "0"], 2, "--speed is"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--copies", "many"], 2, "copies"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "-t", "nois:x=1"], 2, "nois"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--require", "latency < 5"], 2, "latency"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--timeout", "soon"], 2, "--timeout"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1", "--header", "A: env:NOT_THERE"], 2, "NOT_THERE"),
        (["replay", "missing.tape", "--target", "http://127.0.0.1:1"], 5, "no such file"),
        (["replay", "text.tape", "--target", "http://127.0.0.1:1"], 5, "not a capture"),
        (["replay", "a.tape", "--target", "http://127.0.0.1:1"], 6, "cannot be reached"),
        (["replay", "a.tape", "--target", "http://192.0.2.1:80"], 6, "--allow-host"),
    ],
)
@pytest.mark.usefixtures("tape")
def test_what_cannot_work_is_told_in_one_line(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tape").write_text("hello, this is only text and long enough to be read")

    exited = run(arguments)

    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("shadowtape:")]
    assert (exited, out) == (code, "")
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.slow
def test_a_refusal_is_an_exit_code_and_no_traceback(tape: Path, tmp_path: Path) -> None:
    done = shadowtape("replay", tape, "--target", "http://127.0.0.1:1", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (6, "")
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_damage_is_confessed_and_what_is_whole_is_sent(tmp_path: Path) -> None:
    path = write_example(tmp_path / "a.tape", example_exchanges(20, 2 * MS))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)

    with misbehaving() as server:
        done = shadowtape("replay", path, "--target", server.url, "--json", cwd=tmp_path)

    if done.returncode == 6:  # everything stood in the segment that was hit
        assert "damaged" in done.stderr
        return
    summary = json.loads(done.stdout)
    assert any("damaged" in note for note in summary["notes"])
    assert len(server.hits) == summary["rows"]["scheduled"]


@pytest.mark.slow
def test_ctrl_c_ends_with_a_complete_partial_report(tmp_path: Path) -> None:
    path = write_example(tmp_path / "long.tape", example_exchanges(6000, 10 * MS))
    with misbehaving() as server:
        running = subprocess.Popen(
            [sys.executable, HOUSE / "shadowtape.py", "replay", path, "--target", server.url, "--out", "run", "--json"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(HOUSE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while not server.hits and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=30)

    summary = json.loads(stdout)
    assert running.returncode == 130
    assert "Traceback" not in stderr
    assert summary["ended"] == "interrupted"
    assert "interrupted" in summary["why"][0]
    assert summary["rows"]["completed"] >= 1
    assert summary["rows"]["unsent"] > 0
    assert sum(summary["rows"][name] for name in ("completed", "failed", "shed", "unsent")) == 6000
    assert {one.name for one in (tmp_path / "run").iterdir()} >= {
        "attempts.tape",
        "run.json",
        "summary.json",
        "report.html",
    }


def test_a_header_takes_its_value_from_the_environment_only() -> None:
    assert read_header("Authorization: env:TOKEN", {"TOKEN": "Bearer x"}) == ("Authorization", "Bearer x")
    for text in ("Authorization: Bearer hunter2", "Authorization", "Bad Name: env:TOKEN", ": env:TOKEN"):
        with pytest.raises(UsageError) as refused:
            read_header(text, {"TOKEN": "x"})
        assert "hunter2" not in str(refused.value)
    for name in ("Host", "content-length", "X-Shadowtape-Run"):
        with pytest.raises(UsageError, match="by every replay"):
            read_header(f"{name}: env:TOKEN", {"TOKEN": "x"})
    for value in ("", "a\r\nX-Evil: 1", "ü"):
        with pytest.raises(UsageError, match="TOKEN"):
            read_header("Authorization: env:TOKEN", {"TOKEN": value})


def test_durations_are_written_as_people_write_them() -> None:
    assert [read_duration_ns(text, "--timeout") for text in ("30s", "1.5s", "500ms", "2m")] == [
        30_000 * MS,
        1_500 * MS,
        500 * MS,
        120_000 * MS,
    ]
    for text in ("", "30", "s", "-1s", "0s", "1 fortnight"):
        with pytest.raises(UsageError, match="--timeout"):
            read_duration_ns(text, "--timeout")


def test_what_will_be_sent_is_told_with_what_is_left_out_and_what_is_dangerous() -> None:
    said = told(
        {
            "rows": 1200,
            "duration_s": 60.0,
            "peak_rps": 40,
            "bytes": 5_000_000,
            "dropped": {"not_inference": 3},
            "unsafe": [{"method": "POST", "route": "POST /unload", "rows": 2}],
            "load": {"recording": 5.0, "production": None},
        }
    )

    assert said.splitlines() == [
        "1,200 rows in 60.0 s, busiest second 40 rows, 5,000,000 bytes (5 x recording)",
        "left out: 3 not_inference",
        "may change the target: 2 x POST /unload",
    ]


@pytest.mark.parametrize("text", ["0s", "5", "99999999999999m", "86401s"])
def test_a_timeout_is_a_duration_of_a_day_at_most(text: str) -> None:
    with pytest.raises(UsageError, match="a day at most"):
        read_duration_ns(text, "--timeout")
