"""What a worker process does between the supervisor that started it and the spool that writes: relaying, or taking copies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from recorder.board import Board

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place. It inherits an open ``listener`` and its ``control`` socket to the supervisor (a Unix stream of frames).
    ``zero_ns``: the monotonic zero of the recording.
    """

    worker: int  # from 0
    workers: int
    listener: "socket.socket"
    control: "socket.socket"
    board: Board
    zero_ns: int

    def connection(self, ordinal: int) -> int:
        """The number of this worker's ``ordinal``-th connection (from 1), different from every other worker's."""
        return (ordinal - 1) * self.workers + self.worker + 1


class Service(Protocol):
    """What runs in the worker's event loop. Errors of start are UsageError."""

    async def start(self) -> None:
        """Accept on the seat's listener."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting; return when what is in flight has reached its client, or after ``timeout_s``."""
        ...

    async def close(self) -> None:
        """Cut what is left."""
        ...
