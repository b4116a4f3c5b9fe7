import json
from pathlib import Path

import pytest
from rich.console import Console

from captures.errors import UsageError
from shadowtape_demo.commands import MARK, conclude, prepare
from shadowtape_demo.ending import table
from shadowtape_demo.story import Story

FACTS: dict[str, object] = {
    "models": {"baseline": {"features": 8, "accuracy": 0.8039, "ready_s": 1.5}},
    "traffic": {
        "requests": 1512,
        "seconds": 25.0,
        "mean_rps": 60.5,
        "peak_rps": 118,
        "statuses": {200: 1512},
        "failures": {},
    },
    "verify": {"sound": True, "exchanges": 1512},
    "inspect": {"size_bytes": 400_000, "recorded_valid": 1400, "confessions": {"shed": 0}},
    "audit": {"clean": True, "findings": 0, "raw_findings": 0, "secrets": 520},
    "shadow": {
        "verdict": "FAIL",
        "why": ["agreement 97.3 % is below 99 %"],
        "shadow": {"pairs": 1400, "flips": 38, "agreement": {"value": 0.973, "low": 0.963, "high": 0.981, "n": 1400}},
    },
    "seconds": 63.2,
}


def story(out: Path) -> Story:
    return Story(out=out, seconds=5, seed=1, say=lambda _: None, show=lambda _: None, facts=dict(FACTS))


def text_of(facts: dict[str, object]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(facts))
    return captured.get()


def test_a_new_folder_is_made_and_marked(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "demo-out")

    assert (tmp_path / "a" / "demo-out" / MARK).exists()


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    prepare(tmp_path / "demo-out")
    (tmp_path / "demo-out" / "housing.tape").touch()

    prepare(tmp_path / "demo-out")

    assert [path.name for path in (tmp_path / "demo-out").iterdir()] == [MARK]


def test_somebody_elses_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(UsageError, match="not made by the demo"):
        prepare(tmp_path)

    assert (tmp_path / "thesis.tex").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo-out").touch()

    with pytest.raises(UsageError, match="not a folder"):
        prepare(tmp_path / "demo-out")


def test_the_table_shows_what_was_measured() -> None:
    text = text_of(FACTS)

    for part in (
        "80.4%",
        "1,512 requests",
        "sound: 1,512 exchanges",
        "0 findings of 520",
        "FAIL, agreement 97.3%",
        "63 s",
    ):
        assert part in text


def test_the_table_leaves_out_what_was_not_reached() -> None:
    text = text_of({"models": FACTS["models"]})

    assert "capture" not in text
    assert "baseline" in text


def test_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = story(tmp_path)
    told.expect(False, "one exchange is missing")

    conclude(told, 1, json=True)

    printed = capsys.readouterr()
    assert json.loads(printed.out)["ok"] is False
    assert json.loads(printed.out)["problems"] == ["one exchange is missing"]
    assert "one exchange is missing" in printed.err
