"""`shadowtape verify`: what is wrong comes from verification.py, this file prints it."""

import json as jsonlib
from contextlib import ExitStack
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from captures.console import JsonOption, TapeKeyOption, console, tracked
from captures.inspect_text import damage_line
from captures.opening import being_written, open_capture
from captures.tape_key import tape_key
from captures.verification import check, verdict
from captures.wording import plural


def verify(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE…", help="Files, folders, globs or URLs of captures.", show_default=False),
    ],
    *,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """Check every checksum and claim of a capture.

    Exits 0 if all of it is sound, 1 if anything is damaged, missing from a
    folder or was never sealed, 5 if a capture cannot be read at all.

    [bold]Examples[/bold]

      shadowtape verify monday.tape

      shadowtape verify recordings/

      shadowtape verify monday.tape --json | jq '.damage[]'
    """
    key = tape_key(tape_key_file)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_capture(each, key=key)) for each in captures]
        size, segments = (
            sum(each.size for each in opened),
            sum(len(file.places) for each in opened for file in each.files),
        )
        steps = (readable for each in opened for readable in check(each))
        found = verdict(opened, sum(tracked(steps, "verifying", size, segments)))
    if json:
        print(jsonlib.dumps(found))
    else:
        _show_verdict(console(), found)
    return 0 if found["sound"] else 1


def _show_verdict(console: Console, found: dict[str, Any]) -> None:
    """A line for a file that is sound, what is wrong with the others, and the sum where there are several."""
    for each in found["files"]:
        name = escape(each["file"])
        if each["sound"]:
            what = f"{plural(each['exchanges'], 'exchange')}, {plural(each['segments'], 'segment')}"
            console.print(f"{name}: [green]sound[/green], {what}")
        elif not each["sealed"]:
            tail = f"; {each['tail_bytes']:,} bytes of an unfinished flush at its end" if each["tail_bytes"] else ""
            console.print(f"{name}: [yellow]not sealed[/yellow]: {_why_unsealed(each['file'])}{tail}")
        else:
            console.print(f"{name}: [red]damaged[/red]")
    for damage in found["damage"]:
        console.print(damage_line(damage))
    if not found["sound"]:
        console.print(
            f"{found['readable']:,} of {plural(found['exchanges'], 'exchange')} can be read{_what_now(found)}"
        )
    elif len(found["files"]) > 1:
        files, exchanges = plural(len(found["files"]), "file"), plural(found["exchanges"], "exchange")
        console.print(f"all [green]sound[/green]: {files}, {exchanges}, {plural(found['segments'], 'segment')}")


def _what_now(found: dict[str, Any]) -> str:
    over = not any(being_written(each["file"]) for each in found["files"] if not each["sealed"])
    return ": save them with `shadowtape recover`" if found["readable"] and over else ""


def _why_unsealed(path: str) -> str:
    if being_written(path):
        return "it is still being recorded"
    return "the recorder was killed, or could not write on, before it could seal it"
