"""`shadowtape recover` and `compact`: a new capture from what is left of one, or from many small pieces."""

import json as jsonlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from captures.compaction import compacted, compacted_confessions, compacted_header, damaged_error
from captures.console import PROGRESS_FROM_BYTES, CaptureArgument, JsonOption, TapeKeyOption, console
from captures.errors import UsageError
from captures.header import ID_SIZE
from captures.inspect_text import damage_line
from captures.locations import shown
from captures.opening import being_written, open_capture
from captures.outputs import check_output, create_output
from captures.policy_files import read_key
from captures.reader import Capture
from captures.recovery import recovered_confessions, recovered_header, report, survey, survivors
from captures.tape_key import tape_key
from captures.version import __version__
from captures.wording import plural, size_text

OutArgument = Annotated[
    str, typer.Argument(metavar="OUT", help="The capture to write; a new name that ends in .tape.", show_default=False)
]


def recover(
    capture: CaptureArgument,
    out: OutArgument,
    *,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """What survives of a damaged capture, as a new sound one.

    Order and times stay as they are. What cannot be read whole is left out,
    counted as shed in the new capture, and reported with its place. Exits 0
    when OUT is written, even if exchanges were lost; 5 if nothing can be read.

    [bold]Examples[/bold]

      shadowtape recover monday.tape monday-recovered.tape

      shadowtape recover monday.tape sound.tape --json | jq .lost
    """
    check_output(out)
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        with _progress("reading", opened.size, len(opened)) as advance:
            found = survey(opened, advance)
        header = recovered_header(opened, found, file_id=os.urandom(ID_SIZE), producer=_producer("recover"))
        with (
            create_output(out, header, key=opened.tape_key) as tape,
            _progress("writing", opened.size, found.whole) as advance,
        ):
            for batch in survivors(opened):
                tape.append(batch)
                advance(len(batch))
            tape.seal(recovered_confessions(opened, found))
        with open_capture(out, key=opened.tape_key) as made:
            result = report(found) | {"digest": made.digest, "out": shown(out)}
    if json:
        print(jsonlib.dumps(result))
    else:
        _show_recovery(console(), capture, result)
    return 0


def compact(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE…", help="Captures, in the order they are to stand.", show_default=False),
    ],
    out: OutArgument,
    *,
    encrypt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Encrypt OUT with the key in FILE, made if missing, never beside OUT.",
            show_default=False,
        ),
    ] = None,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """Merge small segments, flushes and files into one sealed capture.

    A recording at low traffic, or a folder of rotated files, becomes one file
    of full segments: smaller, and faster to read. Exchanges, times, labels and
    counts stay as they are. A damaged capture is refused: recover it first.

    [bold]Examples[/bold]

      shadowtape compact recordings/ monday.tape

      shadowtape compact 'recordings/20260105T*.tape' monday.tape

      shadowtape compact monday.tape locked.tape --encrypt keys/tape.key
    """
    check_output(out)
    key = tape_key(tape_key_file)
    with ExitStack() as stack:
        inputs = [stack.enter_context(open_capture(each, key=key)) for each in captures]
        for each in inputs:
            _check_whole(each)
        header = compacted_header(
            inputs, file_id=os.urandom(ID_SIZE), new_id=os.urandom(ID_SIZE), producer=_producer("compact")
        )
        out_key = (
            read_key(encrypt, out, "--encrypt")
            if encrypt
            else next((each.tape_key for each in inputs if each.encrypted), None)
        )
        before, total = sum(each.size for each in inputs), sum(map(len, inputs))
        with (
            create_output(out, header, key=out_key, small=True) as tape,
            _progress("compacting", before, total) as advance,
        ):
            for batch in compacted(inputs, header):
                tape.append(batch)
                advance(len(batch))
            tape.seal(compacted_confessions(inputs))
        with open_capture(out, key=out_key) as made:
            result = {
                "exchanges": len(made),
                "files": sum(len(each.files) for each in inputs),
                "segments_before": sum(len(each.segments) for each in inputs),
                "segments": len(made.segments),
                "size_before": before,
                "size_bytes": made.size,
                "ratio": round(made.size / before, 4),
                "digest": made.digest,
                "out": shown(out),
            }
    if json:
        print(jsonlib.dumps(result))
    else:
        _show_compaction(console(), result)
    return 0


def _producer(command: str) -> str:
    return f"shadowtape {__version__} {command}"


def _check_whole(capture: Capture) -> None:
    """Raises CaptureError: damaged, or still being recorded."""
    if capture.damage:
        raise damaged_error(capture)
    if not capture.sealed and being_written(capture.path):
        raise UsageError(f"{shown(capture.path)}: still being recorded; stop the recording first")


@contextmanager
def _progress(what: str, size: int, total: int) -> Iterator[Callable[[int], object]]:
    """A bar on stderr where somebody watches and waits."""
    if size < PROGRESS_FROM_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _show_recovery(console: Console, name: str, found: dict[str, Any]) -> None:
    for each in found["damage"]:
        console.print(damage_line(each))
    if found["tail_bytes"]:
        console.print(f"{found['tail_bytes']:,} bytes of an unfinished flush at its end were never committed")
    lost = "nothing lost"
    if found["lost"]:
        lost = f"[yellow]{plural(found['lost'], 'exchange')} lost[/yellow]"
        if found["bodiless"]:
            lost += f", {found['bodiless']:,} of them with columns that could still be read"
    written = f"{found['written']:,} of {plural(found['read'], 'exchange')}"
    console.print(f"{escape(name)} -> {escape(found['out'])}: {written} recovered, {lost}")


def _show_compaction(console: Console, found: dict[str, Any]) -> None:
    smaller = f"{size_text(found['size_before'])} -> {size_text(found['size_bytes'])} ({100 * found['ratio']:.0f} %)"
    segments = f"{plural(found['segments_before'], 'segment')} -> {found['segments']:,}"
    files = plural(found["files"], "file")
    console.print(f"{escape(found['out'])}: {plural(found['exchanges'], 'exchange')} of {files}; {smaller}, {segments}")
