"""Azure LLM inference traces of 2023 and 2024 (CSV): arrivals and lengths in tokens, no contents."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from captures.exchange import Exchange
from captures.importers.csv_rows import count, csv_rows, header_of
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.instants import instant_ns
from captures.importers.synthesis import MADE_UP, Endpoint, endpoint_of, text_of, why_not

_AT, _PROMPT, _OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
_COLUMNS = frozenset((_AT, _PROMPT, _OUTPUT))


@dataclass(frozen=True, slots=True)
class AzureLlm:
    """Uses ``model`` (required), ``path_template`` and ``seed``. The text of a prompt is that of (seed, row of the import)."""

    name: str = "azure-llm"
    notes: tuple[str, ...] = (*MADE_UP, "Times without a zone (all of 2023) are read as UTC.")

    def sniff(self, head: bytes) -> bool:
        return frozenset(header_of(head)) == _COLUMNS

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
                at_ns = instant_ns(row.cells[_AT])
                prompt, output = count(row.cells[_PROMPT]), count(row.cells[_OUTPUT])
            except ValueError:
                yield Dropped("damaged", row.where)
                continue
            if reason := why_not(prompt, output):
                yield Dropped(reason, row.where)
            else:
                yield endpoint.exchange(at_ns, text_of(f"azure-llm/{seed}/{number}", prompt), output)
