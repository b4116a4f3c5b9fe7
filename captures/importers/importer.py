"""The importer contract. `captures.testing.check_importer` proves it for any importer, ours or a plugin's.

An importer turns files of a foreign format into exchanges and an account: every unit it reads is emitted or dropped with a reason,
so that rows read = emitted + dropped. It is lazy, its memory is bounded, it never raises for what is in a file, and it reads
raw traffic: whoever calls it applies the policy before anything is written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from captures.confessions import Confessions
from captures.exchange import Exchange
from captures.header import Header

SNIFFED_BYTES = 64 << 10
LINE_LIMIT = 64 << 20
"""Bytes of one line or record of a foreign file; what is longer is skipped as damage and never allocated for."""
PENDING_LIMIT = 10_000
"""Requests that wait for their response at a time; the oldest is emitted without one."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """``count`` units that were read and give no exchange. ``reason`` is one of a few words with underscores ("damaged",
    "response_without_request"); ``where`` says file and offset or line for the first of them. Never a byte of traffic.
    """

    reason: str
    where: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Provenance:
    """What follows was exported from this capture and is as it was written then: pseudonymised already, classified, and with every
    flag. Comes first or not at all. Only our own JSONL can say so; whatever else is imported is raw.
    """

    header: Header
    confessions: Confessions


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, in the order of their names. ``stream`` is decompressed and read once, forward; a compressed file
    that was cut off just ends.
    """

    name: str
    stream: BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a format does not say. Each importer documents which of these it uses.

    ``path_template``: request-target with {model}, {version}, for formats that record no path. ``model``: name of the model, for
    formats that record none. ``seed``: of what is synthesised.
    """

    path_template: str = ""
    model: str = ""
    seed: int = 0


class Importer(Protocol):
    """A frozen value without state. ``name`` is what ``--format`` takes; ``notes`` says, a line each, what the format cannot tell
    and what is made up for it: they go into the header of the capture.
    """

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def sniff(self, head: bytes) -> bool:
        """Whether a file whose decompressed content begins so (up to SNIFFED_BYTES) is of this format. By content only; at most one
        importer says yes to a file. Never raises.
        """
        ...

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped | Provenance]:
        """Exchanges as they were, nothing pseudonymised. Every time is unix time in ns (the caller moves it to the capture's zero),
        and no time of an exchange lies before its arrival. ``flags``: only what the format knows (REQUEST_TRUNCATED, …, STREAM,
        SYNTHETIC). Route, codec, model and session are found by the caller; ``connection`` where the format tells, from 1.

        Raises UsageError where an option is missing or cannot be (before the first file is read), and nothing else.
        """
        ...
