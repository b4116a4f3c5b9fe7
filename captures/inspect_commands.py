"""`shadowtape inspect`: facts come from inspection.py, the shape from inspect_text.py; this file prints, and follows."""

import json as jsonlib
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from captures.console import CaptureArgument, JsonOption, TapeKeyOption, console, show
from captures.errors import UsageError
from captures.following import Update, follow, line, record
from captures.inspect_text import view
from captures.inspection import facts, facts_of
from captures.locations import is_remote, shown
from captures.opening import being_written, open_capture
from captures.reader import Capture
from captures.tape_key import tape_key

FOLLOW_EVERY_S = 1.0
BETWEEN_FILES = 3  # looks at a folder in which nobody writes, until the recording is over


def inspect(
    capture: CaptureArgument,
    *,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on while it is being recorded, until it is sealed or Ctrl-C.")
    ] = False,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """What a capture holds: routes, rates, service times, confessions.

    Reads columns only, never a body: seconds for gigabytes. With --follow it is
    drawn again every second; in a pipe, a line for every second in which
    something came (with --json, one JSON object a line).

    Exits 0, or 5 if the capture cannot be read. Ctrl-C ends --follow with 0.

    [bold]Examples[/bold]

      shadowtape inspect monday.tape

      shadowtape inspect recordings/ --follow

      shadowtape inspect monday.tape --json | jq .confessions
    """
    if following and is_remote(capture):
        raise UsageError(f"{shown(capture)}: cannot be followed: only a capture on this machine is being written")
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        if following:
            _follow(opened, capture, json=json)
        elif json:
            print(jsonlib.dumps(facts(opened)))
        else:
            show(view(shown(capture), facts(opened)))
    return 0


def _follow(capture: Capture, where: str, *, json: bool) -> None:
    updates = follow(
        capture,
        wait=lambda: time.sleep(FOLLOW_EVERY_S),
        written=lambda: being_written(where),
        patience=1 if Path(where).is_file() else BETWEEN_FILES,
    )
    with suppress(KeyboardInterrupt):
        if sys.stdout.isatty() and not json:
            _draw(capture, where, updates)
        else:
            _print(capture, updates, json=json)


def _draw(capture: Capture, where: str, updates: Iterable[Update]) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        for update in updates:
            live.update(view(where, facts_of(update.whole, capture)), refresh=True)


def _print(capture: Capture, updates: Iterable[Update], *, json: bool) -> None:
    """Nothing for a second in which nothing came, but how it ended."""
    for update in updates:
        if update.new.n or update.over:
            found = record(update, capture, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            print(jsonlib.dumps(found) if json else line(found), flush=True)
