"""The exporter contract: a capture into a foreign format, and a statement of what was lost on the way."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from captures.exchange import Exchange
from captures.header import Header


class Exporter(Protocol):
    """A frozen value without state. ``name`` is what ``--format`` takes; ``suffixes``: the names of files it is the default for."""

    @property
    def name(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def write(self, header: Header, exchanges: Iterable[Exchange], losses: dict[str, int]) -> Iterator[bytes]:
        """The file, in pieces, lazily and in bounded memory. ``losses`` is filled meanwhile: what the format cannot keep, and of
        how many exchanges. Exchanges have times from the capture's zero, which ``header.wall_ns`` anchors.
        """
        ...
