"""`shadowtape verify` and `audit`: what is wrong comes from verification.py and privacy/, this file prints it."""

import json as jsonlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from captures.console import CaptureArgument, JsonOption, TapeKeyOption, complain, console, tracked
from captures.errors import UsageError
from captures.frame import SYNC_SIZE
from captures.header import pack_header
from captures.inspect_text import damage_line
from captures.inspection import committed
from captures.opening import being_written, open_capture
from captures.reader import Capture
from captures.tape_key import tape_key
from captures.verification import check, verdict
from captures.wording import plural

FINDINGS_SHOWN = 100


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


def audit(
    capture: CaptureArgument,
    *,
    known: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Values that must not be inside, one a line.", show_default=False),
    ] = None,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """Look for secrets inside a capture: values of your own list, and what looks
    like a credential or a person's.

    Says where, never what. Exits 0 if everything was read and nothing found, 1
    otherwise.

    [bold]Examples[/bold]

      shadowtape audit monday.tape

      shadowtape audit monday.tape --known customers.txt --json
    """
    values = _known_values(known) if known else ()
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        findings, scanned, sought = _findings(opened, values)
        unread = committed(opened) - scanned
        damaged, tail = bool(opened.damage), opened.tail
    clean = not findings and not damaged and not tail
    if json:
        print(jsonlib.dumps({"clean": clean, "findings": findings, "scanned": scanned, "unread": unread}))
    else:
        _show_findings(console(), capture, findings, scanned, clean=clean)
    if sought < len(values):
        complain(f"--known {known}: {len(values) - sought} values were not sought, being too short to mean anything")
    if damaged:
        lost = plural(unread, "exchange") if unread else "some bytes"
        complain(f"{capture}: damaged: {lost} not scanned; see `shadowtape verify`")
    if tail:
        complain(f"{capture}: {tail:,} bytes of an unfinished flush at its end were not scanned")
    return 0 if clean else 1


def _findings(capture: Capture, known: Sequence[bytes]) -> tuple[list[dict[str, Any]], int, int]:
    """Findings, exchanges scanned, known values sought. ``exchange`` is None where the header holds one."""
    from captures.privacy.scan import SHORTEST_SECRET, Needles, scan_exchange  # noqa: PLC0415 - not needed to inspect

    sought = [value for value in known if len(value) >= SHORTEST_SECRET]
    needles, scanned = Needles(sought), 0
    found: list[dict[str, Any]] = []
    if any(needles.are_in(pack_header(header, bytes(SYNC_SIZE))) for header in capture.headers):
        found.append({"exchange": None, "where": "capture header", "kind": "known secret"})
    for ordinal, exchange in tracked(capture.numbered(), "auditing", capture.size, len(capture)):
        scanned += 1
        found += [
            {"exchange": ordinal, "where": where, "kind": kind} for where, kind in scan_exchange(exchange, needles)
        ]
    return found, scanned, len(sought)


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


def _show_findings(console: Console, name: str, findings: list[dict[str, Any]], scanned: int, *, clean: bool) -> None:
    for each in findings[:FINDINGS_SHOWN]:
        whose = "" if each["exchange"] is None else f"exchange {each['exchange']}: "
        console.print(escape(f"{whose}{each['kind']} in {each['where']}"))
    if len(findings) > FINDINGS_SHOWN:
        console.print(f"… and {len(findings) - FINDINGS_SHOWN:,} more (--json has them all)")
    state = "[green]clean[/green]" if clean else "[yellow]nothing found, but not everything could be read[/yellow]"
    if findings:
        state = f"[red]{plural(len(findings), 'finding')}[/red]"
    console.print(f"{escape(name)}: {state}, {plural(scanned, 'exchange')} scanned")


def _known_values(path: Path) -> tuple[bytes, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--known {path}: cannot be read: {error.strerror}") from None
    return tuple(line.strip() for line in lines if line.strip())
