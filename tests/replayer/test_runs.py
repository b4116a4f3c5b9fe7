import json
from pathlib import Path

import pytest

import captures
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.errors import UsageError
from captures.testing import example_exchanges
from replayer.runs import create_run, discard, machine, new_key, new_run_id, run_header, versions


def test_a_run_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "run", "ab")
    folder.write_json("summary.json", {"verdict": "PASS"})
    header = run_header("replay", 5, ({"path": "a.tape"},), ())
    folder.write_tape("attempts.tape", header, [batch_of(example_exchanges(3))], Confessions(seen=3))
    assert not (tmp_path / "run").exists()

    path = folder.promote()

    assert path == tmp_path / "run"
    assert sorted(one.name for one in path.iterdir()) == ["attempts.tape", "decisions.jsonl", "summary.json"]
    assert json.loads((path / "summary.json").read_text()) == {"verdict": "PASS"}
    assert not (tmp_path / "run.partial").exists()
    with captures.open(path / "attempts.tape") as tape:
        assert (len(tape), tape.sealed, tape.header.kind, tape.header.wall_ns) == (3, True, "run", 5)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        create_run(tmp_path / "there", "ab")

    create_run(tmp_path / "crashed", "ab")
    with pytest.raises(UsageError, match="crashed"):
        create_run(tmp_path / "crashed", "cd")

    late = create_run(tmp_path / "late", "ab")
    (tmp_path / "late").mkdir()
    with pytest.raises(UsageError, match="exists by now"):
        late.promote()


def test_a_folder_that_cannot_be_made_is_the_users_to_know(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot be created"):
        create_run(tmp_path / "file" / "run", "ab")


def test_the_default_name_is_a_time_and_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = new_run_id()

    path = create_run(None, run_id).promote()

    assert path.parent == Path("runs")
    assert path.name.endswith(f"Z-{run_id[:6]}")


def test_a_run_that_never_started_leaves_nothing(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "run", "ab")
    discard(folder)

    assert list(tmp_path.iterdir()) == []


def test_ids_and_keys_are_fresh_and_the_machine_is_described() -> None:
    assert new_run_id() != new_run_id()
    assert len(new_run_id()) == 16
    assert len(new_key()) == 32
    assert new_key() != new_key()
    assert {"platform", "cpus"} <= set(machine())
    assert {"shadowtape", "python", "aiohttp"} <= set(versions())


def test_a_folder_that_vanished_or_is_full_is_told_in_one_line(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "run", "ab")
    (folder.partial / "decisions.jsonl").unlink()
    folder.partial.rmdir()

    with pytest.raises(UsageError, match=r"run\.partial: the run cannot be written: No such file"):
        folder.write_json("summary.json", {})


def test_a_run_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="name the run's folder"):
        create_run(Path(), "ab")
