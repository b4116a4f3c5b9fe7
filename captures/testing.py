"""For tests, ours and yours: example exchanges, example captures, and ways to break one on purpose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from captures.batches import batch_of
from captures.capture_file import CaptureFile, Stored
from captures.codec_testing import check_codec
from captures.confessions import Confessions
from captures.exchange import Chunk, Exchange, Flags, Request, Response
from captures.header import Header
from captures.importer_testing import check_importer
from captures.reader import Capture, Listing
from captures.store import create_capture
from captures.writer import SEGMENT_BYTES, CaptureWriter

__all__ = [
    "EXAMPLE_SYNC",
    "capture_bytes",
    "capture_of",
    "check_codec",
    "check_importer",
    "cut",
    "example_exchange",
    "example_exchanges",
    "example_header",
    "flip",
    "stored_of",
    "swap_segments",
    "write_example",
    "zero",
]

EXAMPLE_SYNC = b"sync marker 16 b"
_REQUEST = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"data":[1.5,-2.0]}]}'
_RESPONSE = b'{"model_name":"house","outputs":[{"name":"y","datatype":"FP64","shape":[1],"data":[0.25]}]}'


def example_header(**changes: Any) -> Header:
    header = Header(
        file_id=b"file id 16 bytes",
        recording_id=b"recording id 16b",
        wall_ns=1_700_000_000_000_000_000,
        producer="example",
    )
    return replace(header, **changes)


def example_exchange(*, arrival_ns: int = 1_000_000, **changes: Any) -> Exchange:
    """One answered Open Inference Protocol call: 0.1 ms to send, first byte after 4 ms, done after 5 ms.

    Every time follows ``arrival_ns``; any field of `Exchange` can be given instead.
    """
    at = arrival_ns
    exchange = Exchange(
        arrival_ns=at,
        request=Request(
            method="POST",
            target="/v2/models/house/infer",
            headers=(("Host", "model.example"), ("Content-Type", "application/json")),
            chunks=(Chunk(at + 100_000, _REQUEST),),
            end_ns=at + 100_000,
            size=len(_REQUEST),
        ),
        response=Response(
            status=200,
            reason="OK",
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(at + 5_000_000, _RESPONSE),),
            first_ns=at + 4_000_000,
            end_ns=at + 5_000_000,
            size=len(_RESPONSE),
        ),
        route="POST /v2/models/{model}/infer",
        codec="oip-v2",
        model="house",
        session=7,
        connection=1,
        flags=Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE,
    )
    return replace(exchange, **changes)


def example_exchanges(count: int, every_ns: int = 1_000_000) -> list[Exchange]:
    """Arrivals at 0, every_ns, 2·every_ns, …, each of its own connection and session."""
    return [example_exchange(arrival_ns=i * every_ns, session=i + 1, connection=i + 1) for i in range(count)]


def write_example(
    path: Path, exchanges: Sequence[Exchange], *, seal: bool = True, key: bytes | None = None, **header: Any
) -> Path:
    """A capture file of these exchanges; ``header``: changes to `example_header`."""
    confessions = Confessions(seen=len(exchanges))
    with create_capture(path, example_header(**header), key=key) as tape:
        tape.append(batch_of(exchanges))
        tape.flush(confessions)
        if seal:
            tape.seal(confessions)
    return path


def capture_bytes(
    flushes: Sequence[Sequence[Exchange]],
    *,
    seal: bool = True,
    segment_bytes: int = SEGMENT_BYTES,
    key: bytes | None = None,
    **header: Any,
) -> bytes:
    """The same capture every time: one flush per item. A small ``segment_bytes`` makes every flush a segment."""
    data = bytearray()
    writer = CaptureWriter(
        data.extend, example_header(**header), sync_marker=EXAMPLE_SYNC, segment_bytes=segment_bytes, key=key
    )
    seen = 0
    for exchanges in flushes:
        seen += len(exchanges)
        writer.append(batch_of(exchanges))
        writer.flush(Confessions(seen=seen))
    if seal:
        writer.seal(Confessions(seen=seen))
    return bytes(data)


def capture_of(data: bytes, path: str = "in memory", *, key: bytes | None = None) -> Capture:
    """Read a capture from bytes."""
    return Capture(path, Listing([CaptureFile(stored_of(data, path), key)]))


def stored_of(data: bytes, name: str = "in memory") -> Stored:
    """Bytes as a file."""
    return Stored(name, len(data), lambda offset, size: data[offset : offset + size])


# Ways to break a file. All of them return new bytes.


def flip(data: bytes, offset: int, mask: int = 0xFF) -> bytes:
    """One byte is another."""
    return data[:offset] + bytes((data[offset] ^ mask,)) + data[offset + 1 :]


def cut(data: bytes, size: int) -> bytes:
    """Only the first ``size`` bytes came to be."""
    return data[:size]


def zero(data: bytes, start: int, stop: int) -> bytes:
    """A range reads as zeros."""
    return data[:start] + bytes(min(stop, len(data)) - start) + data[stop:]


def swap_segments(data: bytes, first: int, second: int) -> bytes:
    """Two segments of a sound file change places."""
    segments = capture_of(data).segments
    a, b = segments[min(first, second)], segments[max(first, second)]
    return b"".join(
        (data[: a.offset], data[b.offset : b.end], data[a.end : b.offset], data[a.offset : a.end], data[b.end :])
    )
