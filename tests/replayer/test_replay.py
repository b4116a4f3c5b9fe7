"""The whole path in one process: captures, a real loopback server, a run folder."""

import json
from pathlib import Path

import numpy as np
import pytest

import captures
from captures.errors import RefusedError, UsageError
from captures.exchange import FailureKind, Flags
from captures.header import source_digest
from captures.testing import example_exchange, example_exchanges, example_header, write_example
from replayer.replay import Load, Options, RunResult, dry_run, replay
from replayer.testing import misbehaving
from replayer.verdict import Verdict

MS = 1_000_000
PATH = "/v2/models/house/infer"


def tape(folder: Path, n: int = 20, every_ns: int = 2 * MS, source_digests: tuple[str, ...] = ()) -> Path:
    return write_example(folder / "a.tape", example_exchanges(n, every_ns), source_digests=source_digests)


def run_of(result: RunResult) -> dict[str, object]:
    run: dict[str, object] = json.loads((result.path / "run.json").read_text())
    return run


def test_every_row_reaches_the_target_once_and_the_run_says_so(tmp_path: Path) -> None:
    announced: list[dict[str, object]] = []
    with misbehaving() as server:
        result = replay(
            Load(captures=[tape(tmp_path)], copies=3, seed=5),
            server.url,
            out=tmp_path / "run",
            announce=announced.append,
        )

    assert len(server.hits) == 60
    assert all(body == example_exchange().request.body for _, _, body in server.hits[:1])
    assert announced[0]["rows"] == 60
    assert result.summary["rows"] == {"scheduled": 60, "completed": 60, "failed": 0, "shed": 0, "unsent": 0}
    assert result.path == tmp_path / "run"
    assert json.loads((result.path / "summary.json").read_text()) == json.loads(json.dumps(result.summary, default=str))
    run = run_of(result)
    assert run["seed"] == 5
    assert run["transforms"] == ["amplify:copies=3"]
    assert "<html" in (result.path / "report.html").read_text()
    assert (result.path / "decisions.jsonl").read_text() == ""
    with captures.open(result.path / "attempts.tape") as attempts:
        columns = attempts.columns().columns
        assert (len(attempts), attempts.sealed, attempts.header.kind) == (60, True, "run")
        assert sorted(columns["row"].tolist()) == list(range(60))
        assert set(columns["status"].tolist()) == {200}
        assert set(columns["response_kept"].tolist()) == {0}


def test_arrivals_keep_the_recorded_gaps_at_five_times_the_speed_without_drift(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    recorded_ns = np.cumsum(rng.exponential(15 * MS, size=300)).astype(int)
    exchanges = [example_exchange(arrival_ns=at) for at in recorded_ns.tolist()]
    with misbehaving() as server:
        replay(
            Load(captures=[write_example(tmp_path / "a.tape", exchanges)], speed="5"), server.url, out=tmp_path / "run"
        )

    arrived_ns = np.array([at_ns for at_ns, _, _ in server.hits])
    wanted_ns = (recorded_ns - recorded_ns[0]) / 5
    error_ns = (arrived_ns - arrived_ns[0]) - wanted_ns
    # Order statistics with room for a busy machine; a generator that sleeps each gap is off by milliseconds that grow.
    assert len(arrived_ns) == 300
    assert np.median(np.abs(error_ns - np.median(error_ns))) < 5 * MS
    assert abs(np.median(error_ns[-60:]) - np.median(error_ns[:60])) < 10 * MS


def test_objectives_decide_and_their_answers_are_kept(tmp_path: Path) -> None:
    load = Load(captures=[tape(tmp_path, 5)])
    error = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    with misbehaving({PATH: (error,)}) as server:
        result = replay(load, server.url, require=["errors <= 0%"], out=tmp_path / "run")

    assert (result.summary["status"], result.summary["failures"]) == ({"500": 5}, {})
    objectives = result.summary["objectives"]
    assert isinstance(objectives, list)
    assert (objectives[0]["expr"], objectives[0]["verdict"]) == ("errors <= 0%", "FAIL")
    # A machine too busy to be on time makes it INVALID, which says nothing about this rule.
    assert result.verdict in (Verdict.FAIL, Verdict.INVALID)


def test_a_target_that_answers_something_else_makes_the_run_invalid_unless_expected(tmp_path: Path) -> None:
    path = tape(tmp_path, 5)
    with misbehaving({PATH: (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",)}) as server:
        strict = replay(Load(captures=[path]), server.url, out=tmp_path / "strict")
        lenient = replay(Load(captures=[path]), server.url, Options(expect_status=[404]), out=tmp_path / "lenient")

    assert (strict.verdict, strict.exit_code) == (Verdict.INVALID, 3)
    assert "404 where 200 was recorded" in strict.why[0]
    assert not any("404" in why for why in lenient.why)


def test_kept_answers_pass_the_policy(tmp_path: Path) -> None:
    secret = b'{"note":"Jane Doe, 41 Elm Street","outputs":[]}'
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: sid=hunter2\r\nContent-Length: %d\r\n\r\n"
    )
    with misbehaving({PATH: (answer % len(secret) + secret,)}) as server:
        result = replay(Load(captures=[tape(tmp_path, 3)]), server.url, Options(keep_bodies=True), out=tmp_path / "run")

    with captures.open(result.path / "attempts.tape") as attempts:
        kept = list(attempts.exchanges())
    assert len(kept) == 3
    for one in kept:
        assert one.response is not None
        assert (one.response.status, one.response.size) == (200, len(secret))
        assert b"Jane" not in one.response.body
        assert "hunter2" not in repr(one)
    assert all(b"hunter2" not in file.read_bytes() for file in result.path.iterdir())


def test_credentials_are_sent_and_never_written(tmp_path: Path) -> None:
    options = Options(headers=(("Authorization", "Bearer hunter2"),))
    with misbehaving() as server:
        result = replay(Load(captures=[tape(tmp_path, 2)]), server.url, options, out=tmp_path / "run")

    assert all(b"Authorization: Bearer hunter2" in head for _, head, _ in server.hits)
    assert all(b"hunter2" not in file.read_bytes() for file in result.path.iterdir())
    config = run_of(result)["config"]
    assert isinstance(config, dict)
    assert config["headers"] == ["Authorization"]


def test_what_cannot_be_reached_is_not_started_and_leaves_nothing(tmp_path: Path) -> None:
    with misbehaving() as server:
        gone = server.url
    with pytest.raises(RefusedError, match="cannot be reached"):
        replay(Load(captures=[tape(tmp_path)]), gone, out=tmp_path / "run")

    assert [one.name for one in tmp_path.iterdir()] == ["a.tape"]


def test_the_rails_hold_before_anything_is_sent(tmp_path: Path) -> None:
    with misbehaving() as server:
        digest = source_digest(example_header().recording_id, "127.0.0.1", server.port)
        path = tape(tmp_path, source_digests=(digest,))
        with pytest.raises(RefusedError, match="--allow-source"):
            replay(Load(captures=[path]), server.url, out=tmp_path / "run")
        health = write_example(tmp_path / "b.tape", [example_exchange(flags=Flags.REPLAYABLE)])
        with pytest.raises(RefusedError, match="nothing to send"):
            replay(Load(captures=[health]), server.url, out=tmp_path / "run")
        with pytest.raises(UsageError):
            replay(
                Load(captures=[path]),
                server.url,
                Options(allow_source=True),
                require=["nonsense"],
                out=tmp_path / "run",
            )

    assert server.hits == []
    assert not (tmp_path / "run").exists()


def test_a_dry_run_opens_no_connection_and_writes_nothing(tmp_path: Path) -> None:
    found = dry_run(Load(captures=[tape(tmp_path, 10)], speed="2", transforms=["amplify:copies=2"]))

    assert (found["rows"], found["unsafe"], found["dropped"]) == (20, [], {})
    assert [one.name for one in tmp_path.iterdir()] == ["a.tape"]


def test_at_the_cap_rows_are_shed_and_the_target_is_to_blame(tmp_path: Path) -> None:
    options = Options(max_in_flight=1, timeout_ns=200 * MS)
    with misbehaving({PATH: (30.0,)}) as server:
        result = replay(
            Load(captures=[tape(tmp_path, 10, MS)]), server.url, options, require=["errors <= 0%"], out=tmp_path / "run"
        )

    assert result.summary["rows"] == {"scheduled": 10, "completed": 0, "failed": 1, "shed": 9, "unsent": 0}
    assert result.summary["failures"] == {"timeout": 1, "shed": 9}
    with captures.open(result.path / "attempts.tape") as attempts:
        assert sorted(attempts.columns().columns["failure"].tolist()) == [FailureKind.TIMEOUT] + [FailureKind.SHED] * 9


def test_an_objective_about_pairs_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a replay has one side only"):
        replay(Load(captures=[tmp_path / "none.tape"]), "http://127.0.0.1:1", require=["agreement >= 99%"])
