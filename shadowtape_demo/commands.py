"""``shadowtape demo``: options, the folder, progress on stderr, the table on stdout."""

import importlib.util
import json as stdlib_json
import shutil
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from captures.errors import UsageError
from shadowtape_demo import story as stories
from shadowtape_demo.ending import table
from shadowtape_demo.processes import StepFailedError
from shadowtape_demo.story import Story

MARK = ".made-by-shadowtape-demo"
FAILED = 1


def demo(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for the capture, the runs and their reports.")
    ] = Path("demo-out"),
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", min=2, max=600, help="How long to record.")
    ] = 24.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Arrivals, invented people, drift.")] = 7,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> int:
    """The whole path on real data, on this machine: record, check, replay at 5x, shadow a new model, drift.

    Two scikit-learn models are trained on California housing rows (1990 US
    census) and served by two real HTTP model servers. Real requests, with
    invented secrets in them, pass through [bold]shadowtape record[/bold]; the rest works on
    the capture. Every number is measured in this run. Nothing leaves the machine.

    Ends with 0 when everything did what it should (a FAIL of the new model is a
    finding, not a failure), 1 when the capture is unsound, incomplete or holds a
    secret, 3 when this machine was too busy to keep the replay's schedule.

    [bold]Examples[/bold]

    shadowtape demo

    shadowtape demo --seconds 10 --out /tmp/demo --open

    shadowtape demo --json | jq .shadow.shadow.agreement
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError("the demo trains two models and needs scikit-learn: pip install 'shadowtape[demo]'")
    prepare(out)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    started = time.monotonic()

    def say(step: str) -> None:
        progress.print(f"[bold cyan]{time.monotonic() - started:5.1f} s[/]  {step}")

    def show(command: str) -> None:
        progress.print(f"         $ {command}", style="dim", markup=False)

    told = Story(out=out, seconds=seconds, seed=seed, say=say, show=show)
    try:
        stories.tell(told)
    except StepFailedError as error:
        told.problems.append(str(error))
    told.facts["seconds"] = round(time.monotonic() - started, 1)
    told.facts["report"] = str(out / "shadow" / "report.html")
    code = FAILED if told.problems else stories.INVALID if told.invalid else 0
    conclude(told, code, json=json)
    if open_report and not told.problems:
        webbrowser.open((out / "shadow" / "report.html").resolve().as_uri())
    return code


def prepare(out: Path) -> None:
    """An empty folder; what an earlier demo left in it is removed, anything else is left alone and refused."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: not a folder; choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise UsageError(f"{out}: not empty, and not made by the demo; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def conclude(told: Story, code: int, *, json: bool) -> None:
    if json:
        sys.stdout.write(
            stdlib_json.dumps({"ok": code == 0, "problems": told.problems, "invalid": told.invalid, **told.facts})
            + "\n"
        )
    else:
        Console(highlight=False).print(table(told.facts))
    complaints = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in told.problems:
        complaints.print(f"[bold red]failed[/]  {problem}")
    for reason in told.invalid:
        complaints.print(f"[bold yellow]invalid[/]  {reason}")
    if not code:
        complaints.print(f"[bold green]ok[/]  everything did what it should. Report: {told.facts['report']}")
