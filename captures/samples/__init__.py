"""Small real captures that ship with the package, for examples and tests.

``housing.tape``: 232 requests of the demo's client (California housing rows, Open Inference Protocol V2) and a health
check, recorded by ``shadowtape record``.
"""

from importlib.resources import files
from pathlib import Path


def sample(name: str) -> Path:
    """The path of a sample, ``housing.tape``. Raises ValueError where there is none of that name."""
    path = Path(str(files("captures.samples") / name))
    if not path.is_file():
        raise ValueError(f"no sample {name!r}")
    return path
