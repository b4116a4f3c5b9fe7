"""`shadowtape export`: a capture in another format, and what was lost on the way."""

import gzip
import json as jsonlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.markup import escape

from captures.console import CaptureArgument, JsonOption, TapeKeyOption, complain, console
from captures.errors import UsageError
from captures.exchange import Exchange
from captures.exporters.catalogue import exporter_named, format_of
from captures.exporters.exporter import Exporter
from captures.locations import is_remote, shown
from captures.opening import open_capture
from captures.outputs import unwound_by_signals
from captures.reader import Capture
from captures.tape_key import tape_key
from captures.wording import plural

EXIT_DAMAGED = 1
STDOUT = "-"


def export(
    capture: CaptureArgument,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="The file to write, a new name; - writes JSON lines to stdout.", show_default=False
        ),
    ],
    *,
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="Default: by OUT's name.", show_default=False)
    ] = "",
    tensors: Annotated[bool, typer.Option("--tensors", help="parquet: decoded features and predictions, too.")] = False,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """A capture in another format: jsonl, har, gor or parquet.

    By OUT's name: .jsonl, .har, .gor (all also with .gz) and .parquet. jsonl
    keeps everything; what another format cannot hold is said. Exits 1 if the
    capture is damaged: what could be read is exported.

    [bold]Examples[/bold]

      shadowtape export monday.tape monday.jsonl.gz

      shadowtape export monday.tape monday.parquet --tensors

      shadowtape export monday.tape - | jq 'select(.response.status >= 500)'
    """
    name = format_ or ("jsonl" if out == STDOUT else format_of(out))
    _check_export(out, name, tensors=tensors, json=json)
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        if opened.encrypted:
            complain(f"{capture} is encrypted; {'what is printed' if out == STDOUT else shown(out)} is in clear")
        counted = _Counted(opened)
        exporter = exporter_named(name, tensors=tensors, confessions=opened.confessions, exchanges=len(opened))
        losses: dict[str, int] = {}
        size = _write(out, _pieces(exporter, counted, losses))
        damaged = bool(opened.damage)
        # A sealed capture counts what it has lost, an unsealed one only what its damage tells of.
        unreadable = max(len(opened) - counted.given, sum(each.exchanges_lost or 0 for each in opened.damage))
        result = {
            "written": counted.given,
            "unreadable": unreadable,
            "lost": losses,
            "format": name,
            "size_bytes": size,
            "out": shown(out),
        }
    if json:
        print(jsonlib.dumps(result))
    else:
        for what, count in losses.items():
            complain(f"{shown(out)}: {name} cannot keep {what.replace('_', ' ')}: lost in {plural(count, 'exchange')}")
        if out != STDOUT:
            console().print(f"{escape(shown(out))}: {plural(counted.given, 'exchange')} as {name}")
    if damaged:
        complain(f"{capture}: damaged: {plural(unreadable, 'exchange')} not exported; see `shadowtape verify`")
    return EXIT_DAMAGED if damaged else 0


def _check_export(out: str, name: str, *, tensors: bool, json: bool) -> None:
    """What would fail at the end fails at once. Raises UsageError."""
    if tensors and name != "parquet":
        raise UsageError(f"--tensors: of parquet only, not of {name}")
    if out == STDOUT:
        if name != "jsonl":
            raise UsageError(f"--format {name}: stdout takes jsonl only; name a file")
        if json:
            raise UsageError("--json: stdout is taken by the export; name a file")
        return
    if is_remote(out):
        raise UsageError(f"{shown(out)}: exports are written to files on this machine; upload what was written")
    path = Path(out)
    if path.exists():
        raise UsageError(f"{out}: exists already; choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {path.parent}")


class _Counted:
    """A capture that counts the exchanges it gives; in a second pass, anew."""

    def __init__(self, capture: Capture) -> None:
        self.header = capture.header
        self.given = 0
        self._capture = capture

    def exchanges(self) -> Iterator[Exchange]:
        self.given = 0
        for exchange in self._capture.exchanges():
            self.given += 1
            yield exchange

    def parts(self) -> Iterator[tuple[int, Any]]:
        return self._counted(self._capture.parts())

    def batches(self) -> Iterator[tuple[int, Any]]:
        return self._counted(self._capture.batches())

    def _counted(self, parts: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        self.given = 0
        for first, batch in parts:
            self.given += len(batch)
            yield first, batch


def _pieces(exporter: Exporter, counted: _Counted, losses: dict[str, int]) -> Iterator[bytes]:
    """Columns are not made into exchanges and back where the format is one of columns."""
    write_capture = getattr(exporter, "write_capture", None)
    if write_capture is not None:
        pieces: Iterator[bytes] = write_capture(counted, losses)
        return pieces
    return exporter.write(counted.header, counted.exchanges(), losses)


def _write(out: str, pieces: Iterator[bytes]) -> int:
    """Under another name until it is whole; how many bytes it has. Raises UsageError: it cannot be written."""
    if out == STDOUT:
        return _print(pieces)
    path = Path(out)
    with unwound_by_signals():
        return _write_file(path, pieces)


def _print(pieces: Iterable[bytes]) -> int:
    size = 0
    try:
        sys.stdout.flush()
        for piece in pieces:
            size += sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader (head) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return size


def _write_file(path: Path, pieces: Iterable[bytes]) -> int:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _write_all(file, path.name, pieces)
                size = file.tell()
            os.link(name, path)  # unlike a rename it never replaces what came to be meanwhile
        finally:
            Path(name).unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None
    return size


def _write_all(file: IO[bytes], out: str, pieces: Iterable[bytes]) -> None:
    if not out.endswith(".gz"):
        file.writelines(pieces)
        return
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
        compressed.writelines(pieces)
