"""Exporters by name and by the suffix of a file's name. They are loaded when they are used: pyarrow takes half a second."""

import importlib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from captures.errors import UsageError
from captures.exporters.exporter import Exporter


@dataclass(frozen=True, slots=True)
class Row:
    where: str  # "module:Class"
    suffixes: tuple[str, ...]


EXPORTERS = {
    "gor": Row("captures.exporters.gor:GorExporter", (".gor", ".gor.gz")),
    "har": Row("captures.exporters.har:HarExporter", (".har", ".har.gz")),
    "jsonl": Row("captures.exporters.jsonl:JsonlExporter", (".jsonl", ".jsonl.gz")),
    "parquet": Row("captures.exporters.parquet:ParquetExporter", (".parquet",)),
}


def format_of(out: str) -> str:
    """The format that a file of this name has. Raises UsageError: its suffix says none."""
    found = next((name for name, row in EXPORTERS.items() if out.lower().endswith(row.suffixes)), None)
    if found is None:
        suffixes = ", ".join(suffix for row in EXPORTERS.values() for suffix in row.suffixes)
        raise UsageError(f"{out}: its name does not say a format ({suffixes}); say --format")
    return found


def exporter_named(name: str, **wanted: object) -> Exporter:
    """``wanted``: values for those fields of the exporter that it has. Raises UsageError: one line that lists what exists."""
    row = EXPORTERS.get(name)
    if row is None:
        close = get_close_matches(name, EXPORTERS, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(f"--format {name}: no such format{meant}; there are: {', '.join(EXPORTERS)}")
    module, _, attribute = row.where.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), attribute)
    except ImportError as error:  # pyarrow is an extra
        raise UsageError(f"--format {name}: needs a package that is not installed ({error.name})") from None
    known = {item.name for item in fields(made)}
    exporter: Exporter = made(**{key: value for key, value in wanted.items() if key in known})
    return exporter
