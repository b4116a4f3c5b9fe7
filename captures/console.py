"""What the commands on captures share: their arguments, and where they print."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.progress import track

PIPE_WIDTH = 120
PROGRESS_FROM_BYTES = 64 << 20  # a smaller capture is done before a bar can be read

CaptureArgument = Annotated[
    str, typer.Argument(metavar="CAPTURE", help="A capture: a file, a folder, a glob or a URL.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TapeKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--tape-key",
        metavar="FILE",
        help="Key of an encrypted capture. Default: SHADOWTAPE_TAPE_KEY or SHADOWTAPE_TAPE_KEY_FILE.",
        show_default=False,
    ),
]


def console() -> Console:
    """Wraps between words where somebody looks at it; a line stays a line in a pipe, where tables may be wider too."""
    piped = not sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=piped, width=PIPE_WIDTH if piped else None)


def show(drawing: RenderableType) -> None:
    """Print something with tables in it; in a pipe nothing trails behind a line."""
    out = console()
    if out.is_terminal:
        out.print(drawing)
        return
    with out.capture() as captured:
        out.print(drawing)
    print("\n".join(text.rstrip() for text in captured.get().splitlines()))


def complain(message: str) -> None:
    print(f"shadowtape: {message}", file=sys.stderr)


def tracked[T](steps: Iterable[T], what: str, size: int, total: int) -> Iterable[T]:
    """With a bar on stderr where somebody looks at it and waits long enough to. ``size``: bytes there are to read."""
    if size < PROGRESS_FROM_BYTES or not sys.stderr.isatty():
        return steps
    return track(steps, what, total=total, console=Console(stderr=True), transient=True)
