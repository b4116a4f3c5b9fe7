"""CSV files with a header line -> rows by column name, in bounded memory. Pure.

A row is a line: the traces we read have no line breaks inside quotes, and so one damaged quote costs one row.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from captures.importers.importer import Dropped, SourceFile
from captures.importers.lines import Line, lines

LONGEST_LINE = 1 << 16  # bytes
_BOM = "\ufeff"
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    where: str  # file and line, for `Dropped`
    cells: dict[str, str]  # by column name, as the header line spells it


def header_of(head: bytes) -> tuple[str, ...]:
    """The cells of the first line of a file that begins with ``head``; () where it is no CSV line."""
    line, ended, _ = head.partition(b"\n")
    return tuple(_cells(line) or ()) if ended or len(head) < LONGEST_LINE else ()


def csv_rows(file: SourceFile, wanted: frozenset[str]) -> Iterator[Row | Dropped]:
    """The rows of a file whose header line has at least the ``wanted`` columns; blank lines are no rows. What is not a row of as
    many cells is `Dropped`, as "damaged"; without such a header line the whole file is, once, as "not_this_format".
    """
    found = lines(file.stream, LONGEST_LINE)
    first = next(found, None)
    if first is None:
        return
    names = _cells(first.data) or []
    if not wanted <= set(names):
        yield Dropped("not_this_format", f"{file.name}: line 1 does not name the columns {', '.join(sorted(wanted))}")
        return
    for line in found:
        if line.data.strip() or line.too_long:
            yield _row(file.name, line, names)


def count(cell: str) -> int:
    """A number of things. Raises ValueError."""
    if not _COUNT.fullmatch(cell):
        raise ValueError("not a whole number from 0 on")
    return int(cell)


def _row(name: str, line: Line, names: list[str]) -> Row | Dropped:
    where = f"{name}: line {line.number}"
    cells = _cells(line.data)
    if cells is None or len(cells) != len(names):
        return Dropped("damaged", where)
    return Row(where, dict(zip(names, cells, strict=True)))


def _cells(line: bytes) -> list[str] | None:
    """None: not a line of CSV in UTF-8."""
    try:
        text = line.decode("utf-8").removeprefix(_BOM).strip("\r")
        found = next(csv.reader([text], strict=True), None)
    except (UnicodeDecodeError, csv.Error):
        return None
    return None if found is None else [cell.strip() for cell in found]
