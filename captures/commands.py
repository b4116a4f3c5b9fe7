"""placeholder"""

from pathlib import Path
from typing import Annotated

import typer

from captures.errors import CaptureError


def inspect(
    capture: Annotated[Path, typer.Argument(help="x")], json: Annotated[bool, typer.Option("--json")] = False
) -> int:
    raise CaptureError(f"{capture}: no such file")
