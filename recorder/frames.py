"""What travels between processes: a four-byte little-endian length, then that many bytes of msgpack.

Worker to spool: ``[counts, exchange]``, the first numbers of the worker's row (`recorder.board.Count`, BEGAN to HOOK_ERRORS) and a
packed `WireExchange`, or nil where only the counts changed; nil alone is goodbye. The format is private to one version of the
program: both ends are the same files.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from recorder.wire import WireExchange

_PREFIX = 4


def frame(value: object) -> bytes:
    body: bytes = msgpack.packb(value)
    return len(body).to_bytes(_PREFIX, "little") + body


def write_all(write: Callable[[memoryview], int], data: bytes) -> None:
    """``write`` is like os.write on a pipe: it may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[write(view) :]


class Frames:
    """Bytes as they arrive -> whole frames. What is left of a cut-off last frame is never returned."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = _PREFIX  # bytes that the next frame takes, as far as that is known

    def feed(self, data: bytes) -> Iterator[Any]:
        """``()`` stands for a frame that is none."""
        self._buffer += data
        found: list[Any] = []
        if len(self._buffer) < self._wanted:
            return iter(found)
        whole, at = bytes(self._buffer), 0
        self._wanted = _PREFIX
        while len(whole) - at >= _PREFIX:
            stop = at + _PREFIX + int.from_bytes(whole[at : at + _PREFIX], "little")
            if len(whole) < stop:
                self._wanted = stop - at
                break
            try:
                found.append(msgpack.unpackb(whole[at + _PREFIX : stop], use_list=False))
            except (ValueError, msgpack.UnpackException):
                found.append(())
            at = stop
        del self._buffer[:at]
        return iter(found)


def pack_wire(exchange: WireExchange) -> tuple[object, ...]:
    request, response = exchange.request, exchange.response
    return (
        exchange.arrival_ns,
        exchange.connection,
        exchange.request_head,
        (request.chunks, request.size, request.end_ns, request.truncated),
        exchange.response_head,
        exchange.first_ns,
        (response.chunks, response.size, response.end_ns, response.truncated),
        int(exchange.failure),
        exchange.failed_ns,
    )
