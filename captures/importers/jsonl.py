"""Our own JSON Lines: what ``shadowtape export`` writes, and files made by hand in its form. docs/jsonl.md describes both.

A first line that names a policy says that what follows is pseudonymised already. It is believed where it is exactly as it was
exported (see `captures.exporters.jsonl`), and for lines that are; others are dropped as "changed", never taken for pseudonymised.
Without such a line everything is raw: flags, labels and origins that such a file claims are not believed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

from captures.confessions import Confessions
from captures.exchange import Exchange, Flags
from captures.exchange_json import confessions_from, exchange_from, header_from, loads
from captures.exporters.jsonl import FIRST, MARK, SEAL, VERSION, is_sealed, seal_key
from captures.header import Header
from captures.importers.importer import LINE_LIMIT, Dropped, ImportOptions, Provenance, SourceFile
from captures.importers.lines import BOM, Line, lines
from captures.importers.moved import moved

_OURS = re.compile(rb'\s*\{\s*"shadowtape"\s*:\s*"jsonl"')
_OBJECT = re.compile(rb'\s*\{\s*"')
_BY_HAND = (b'"arrival_ns"', b'"request"', b'"method"', b'"target"')
_LONGEST = 6 * LINE_LIMIT  # an exchange of the format's greatest size, as base64
_BELIEVED = Flags.REQUEST_TRUNCATED | Flags.RESPONSE_TRUNCATED | Flags.STREAM


@dataclass(frozen=True, slots=True)
class _First:
    """What the first line of an exported file says. ``key``: of the seals of its lines."""

    header: Header
    confessions: Confessions | None
    exchanges: int | None
    key: bytes

    @property
    def under_policy(self) -> bool:
        return bool(self.header.policy_digest)

    @property
    def of(self) -> tuple[object, ...]:
        """Files that agree in this can become one capture."""
        return (self.header.recording_id, self.header.policy_digest, self.header.key_id, self.header.labels)


@dataclass(frozen=True, slots=True)
class Jsonl:
    """Uses no options."""

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def notes(self) -> tuple[str, ...]:
        return ("a time that a line leaves out is the arrival, a size that of the body",)

    def sniff(self, head: bytes) -> bool:
        first = head.removeprefix(BOM).lstrip().partition(b"\n")[0]
        if _OURS.match(first):
            return True
        return _OBJECT.match(first) is not None and all(word in first for word in _BY_HAND)

    def read(
        self,
        files: Iterable[SourceFile],
        options: ImportOptions,  # noqa: ARG002 - it has none
    ) -> Iterator[Exchange | Dropped | Provenance]:
        """Of several files the first one decides whether they are pseudonymised; files that differ from it are dropped."""
        kind: tuple[object, ...] | None = None
        for file in files:
            rows = _rows(file)
            line = next(rows, None)
            if line is None:
                continue
            if not _OURS.match(line.data):
                first, rows = None, chain((line,), rows)
            elif (first := _first(line)) is None:
                yield Dropped("damaged", f"{file.name} line 1: not the first line of an export")
                yield from _all_dropped(file, rows, "without_header")
                continue
            if first is not None and first.under_policy and not is_sealed(line.data, FIRST):
                yield Dropped("changed", f"{file.name} line 1: not as it was exported")
                yield from _all_dropped(file, rows, "without_header")
                continue
            mine = first.of if first is not None and first.under_policy else ()
            if kind is None:
                kind = mine
                if first is not None and first.under_policy:
                    yield Provenance(first.header, first.confessions or Confessions())
            if mine != kind:
                yield from _all_dropped(file, rows, "other_recording")
            else:
                yield from _exchanges(file, rows, first)


def _exchanges(file: SourceFile, rows: Iterable[Line], first: _First | None) -> Iterator[Exchange | Dropped]:
    seen = 0
    for line in rows:
        seen += 1
        yield _exchange(file, line, first)
    if first is not None and first.exchanges is not None and seen < first.exchanges:
        yield Dropped("missing", f"{file.name} end of file: its first line promises more", first.exchanges - seen)


def _exchange(file: SourceFile, line: Line, first: _First | None) -> Exchange | Dropped:
    where = f"{file.name} line {line.number}"
    if line.too_long:
        return Dropped("too_long", where)
    believed = first is not None and first.under_policy
    if first is not None and believed and not is_sealed(line.data, first.key):
        return Dropped("changed", f"{where}: not as it was exported")
    try:
        data = loads(line.data)
        if first is None and SEAL in data:
            return Dropped("changed", f"{where}: exported, but the first line of the export is missing")
        exchange = exchange_from(data)
        if not believed:
            exchange = _raw(exchange)
    except ValueError:
        return Dropped("damaged", where)
    return exchange if first is None else moved(exchange, first.header.wall_ns)


def _raw(exchange: Exchange) -> Exchange:
    """Without what only a recorder may say. Raises ValueError."""
    response, failure = exchange.response, exchange.failure
    chunks = exchange.request.chunks + (response.chunks if response else ())
    if any(chunk.at_ns < exchange.arrival_ns for chunk in chunks):
        raise ValueError("a chunk before the arrival")
    return replace(
        exchange,
        failure=None if failure is None else replace(failure, detail=""),
        route="",
        codec="opaque",
        model="",
        session=0,
        flags=exchange.flags & _BELIEVED,
        labels=(),
        origin=None,
    )


def _rows(file: SourceFile) -> Iterator[Line]:
    """Lines that are not blank. Only exported ones may be longer than others."""
    number, limit = 0, LINE_LIMIT
    for first in islice(_filled(lines(file.stream)), 1):
        yield first
        number = first.number
        limit = _LONGEST if _OURS.match(first.data) else LINE_LIMIT
    yield from _filled(lines(file.stream, limit, number))


def _filled(rows: Iterable[Line]) -> Iterator[Line]:
    return (line for line in rows if line.too_long or line.data.strip())


def _all_dropped(file: SourceFile, rows: Iterable[Line], reason: str) -> Iterator[Dropped]:
    yield from (Dropped(reason, f"{file.name} line {line.number}") for line in rows)


def _first(line: Line) -> _First | None:
    try:
        data = loads(line.data)
        if data.get(MARK) != "jsonl" or data.get("version") != VERSION:
            return None
        told, promised = data.get("confessions"), data.get("exchanges")
        if promised is not None and (not isinstance(promised, int) or not 0 <= promised < 1 << 48):
            return None
        return _First(
            header_from(data["header"]),
            None if told is None else confessions_from(told),
            promised,
            seal_key(line.data),
        )
    except (ValueError, KeyError):
        return None
