"""What travels between relay and spool: a four-byte little-endian length, then that many bytes of msgpack.

Relay to spool: first one map of settings, then ``[counts, exchange]`` (exchange is nil where only the counts changed).
Spool to relay: maps with a ``kind``. The format is private to one version of the program: both ends are the same files.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Request, Response

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

    def feed(self, data: bytes) -> Iterator[Any]:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _PREFIX:
            stop = at + _PREFIX + int.from_bytes(self._buffer[at : at + _PREFIX], "little")
            if len(self._buffer) < stop:
                break
            yield msgpack.unpackb(bytes(self._buffer[at + _PREFIX : stop]), use_list=False)
            at = stop
        del self._buffer[:at]


def pack_exchange(exchange: Exchange) -> tuple[object, ...]:
    """What an assembler fills in, and no more: route, codec, model and session are the spool's to find."""
    request, response, failure = exchange.request, exchange.response, exchange.failure
    return (
        exchange.arrival_ns,
        exchange.connection,
        int(exchange.flags),
        (
            request.method,
            request.target,
            request.headers,
            _pack_chunks(request.chunks),
            request.end_ns,
            request.size,
            request.http_version,
        ),
        None
        if response is None
        else (
            response.status,
            response.headers,
            _pack_chunks(response.chunks),
            response.first_ns,
            response.end_ns,
            response.size,
            response.reason,
        ),
        None if failure is None else (int(failure.kind), failure.at_ns, failure.detail),
    )


def unpack_exchange(packed: tuple) -> Exchange:  # type: ignore[type-arg]  # whatever msgpack read; our own bytes
    arrival_ns, connection, flags, request, response, failure = packed
    method, target, headers, chunks, end_ns, size, http_version = request
    return Exchange(
        arrival_ns=arrival_ns,
        connection=connection,
        flags=Flags(flags),
        request=Request(
            method=method,
            target=target,
            headers=headers,
            chunks=_unpack_chunks(chunks),
            end_ns=end_ns,
            size=size,
            http_version=http_version,
        ),
        response=None if response is None else _unpack_response(response),
        failure=None if failure is None else Failure(FailureKind(failure[0]), failure[1], failure[2]),
    )


def _unpack_response(packed: tuple) -> Response:  # type: ignore[type-arg]  # as above
    status, headers, chunks, first_ns, end_ns, size, reason = packed
    return Response(
        status=status,
        headers=headers,
        chunks=_unpack_chunks(chunks),
        first_ns=first_ns,
        end_ns=end_ns,
        size=size,
        reason=reason,
    )


def _pack_chunks(chunks: Sequence[Chunk]) -> tuple[tuple[int, bytes], ...]:
    return tuple((chunk.at_ns, chunk.data) for chunk in chunks)


def _unpack_chunks(packed: Sequence[tuple[int, bytes]]) -> tuple[Chunk, ...]:
    return tuple(Chunk(at_ns, data) for at_ns, data in packed)
