"""The Transport contract: one way to put rows on the wire, whatever library does it.

``submit`` is never awaited and starts no task per row on our side of the seam; what happens is told through ``on_event``,
called on the event loop's thread, each event at most once per row and target and always ending in DONE or FAILED.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from captures.exchange import FailureKind, Headers


class Event(IntEnum):
    CONNECTED = 0  # value: ns spent connecting; only where a new connection was made
    HEAD = 1  # value: status; payload: the response's headers
    CHUNK = 2  # payload: body bytes
    DONE = 3  # value: body bytes received
    FAILED = 4  # value: FailureKind; payload: our own words


type OnEvent = Callable[[int, Event, int, int, object], None]
"""(row, event, at_ns, value, payload)"""


@dataclass(frozen=True, slots=True)
class Wire:
    """One request, ready to go: bytes already decided, nothing left to compute."""

    method: str
    target: str
    headers: Headers
    body: bytes


class Transport(Protocol):
    async def open(self) -> None:
        """Resolve, connect once, raise RefusedError where the target cannot be reached."""
        ...

    def submit(self, row: int, wire: Wire, on_event: OnEvent) -> None: ...

    async def close(self) -> None:
        """Abort what is still in flight: each such row gets FAILED(UNSENT is never used here, TIMEOUT is)."""
        ...


__all__ = ["Event", "FailureKind", "OnEvent", "Transport", "Wire"]
