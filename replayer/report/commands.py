"""``shadowtape report``: show a finished run again."""

import json
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from captures.errors import CaptureError
from replayer.report.html import render
from replayer.report.terminal import print_summary


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's summary as one JSON object.")] = False,
) -> int:
    """Print a finished run's summary and where its report is.

    A report that is missing is made again from the run's numbers. The exit code is 0 whatever the verdict was.

    [bold]Examples[/bold]

    shadowtape report runs/20260105T090000Z-1f2e3d

    shadowtape report runs/20260105T090000Z-1f2e3d --open

    shadowtape report runs/20260105T090000Z-1f2e3d --json | jq .shadow.agreement
    """
    summary = _load(run, "summary.json")
    page = run / "report.html"
    if not page.exists():
        page.write_text(render(summary, _load(run, "run.json")), encoding="utf-8")
    if as_json:
        print(json.dumps({**summary, "path": str(run)}, indent=2, ensure_ascii=False))
    else:
        print_summary(summary, Console())
        print(f"report: {page}")
    if open_it and not webbrowser.open(page.resolve().as_uri()):
        print(f"shadowtape: no browser could be opened; the report is {page}", file=sys.stderr)
    return 0


def _load(run: Path, name: str) -> Mapping[str, object]:
    """Raises CaptureError: not a run, or not readable."""
    path = run / name
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        partial = " (a .partial folder is a run that crashed)" if run.suffix == ".partial" else ""
        raise CaptureError(f"{run}: not a finished run: it has no {name}{partial}") from None
    except (OSError, ValueError) as error:
        raise CaptureError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise CaptureError(f"{path}: cannot be read: not a JSON object")
    return data
