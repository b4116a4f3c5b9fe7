"""BurstGPT traces (CSV by column name; the third one adds Session ID and Elapsed time): arrivals and lengths, no contents."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from captures.exchange import Exchange
from captures.importers.csv_rows import count, csv_rows, header_of
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.instants import decimal_ns
from captures.importers.synthesis import (
    MADE_UP,
    SESSION_HEADER,
    Endpoint,
    endpoint_of,
    session_of,
    text_of,
    why_not,
)

_AT, _PROMPT, _OUTPUT, _SESSION = "Timestamp", "Request tokens", "Response tokens", "Session ID"
_COLUMNS = frozenset((_AT, _PROMPT, _OUTPUT))
_HEADER = _COLUMNS | {"Model", "Total tokens", "Log Type"}
_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class BurstGpt:
    """Uses ``model`` (required), ``path_template`` and ``seed``. The text of a prompt is that of (seed, row of the import)."""

    name: str = "burstgpt"
    notes: tuple[str, ...] = (
        *MADE_UP,
        "The trace has no date: its seconds are counted from 1970.",
        "The model column (ChatGPT, GPT-4) is left out: every request names the model of --model.",
        f"Session ids, where there are any, are hashed: they are sessions, and stand in the header {SESSION_HEADER}.",
        "Rows that were given no answer are requests like the others: one token of output is asked for.",
    )

    def sniff(self, head: bytes) -> bool:
        return frozenset(header_of(head)) >= _HEADER

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        return _read(files, endpoint_of(self.name, options), options.seed)


def _read(files: Iterable[SourceFile], endpoint: Endpoint, seed: int) -> Iterator[Exchange | Dropped]:
    number = 0
    for file in files:
        for row in csv_rows(file, _COLUMNS):
            number += 1
            if isinstance(row, Dropped):
                yield row
                continue
            try:
                at_ns = decimal_ns(row.cells[_AT], _SECOND_NS)
                prompt, output = count(row.cells[_PROMPT]), count(row.cells[_OUTPUT])
            except ValueError:
                yield Dropped("damaged", row.where)
                continue
            session = row.cells.get(_SESSION, "")
            if reason := why_not(prompt, output):
                yield Dropped(reason, row.where)
            else:
                yield endpoint.exchange(
                    at_ns,
                    text_of(f"burstgpt/{seed}/{number}", prompt),
                    output,
                    session_of(seed, session) if session else 0,
                )
