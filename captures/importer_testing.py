"""The public conformance kit of the importer seam: one ``check_importer(...)`` call in a plugin's tests proves what others rely on.

Failures are ``AssertionError`` with one line that says which promise was broken.
"""

import io
import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from typing import BinaryIO, cast

import numpy as np

from captures.batches import batch_of
from captures.exchange import Exchange
from captures.importers.importer import (
    LINE_LIMIT,
    SNIFFED_BYTES,
    Dropped,
    Importer,
    ImportOptions,
    Provenance,
    SourceFile,
)

type Item = Exchange | Dropped | Provenance

GARBAGE: Sequence[bytes] = (
    b"",
    b"\n\n\n",
    b"\0" * 4096,
    bytes(range(256)) * 16,
    b"hello, world\n" * 200,
    b"{}\n",
    b"[]",
    b"null\n",
    b'{"a": 1}\n' * 50,
    b"[" * 3000,
    b"a,b,c\n1,2,3\n",
    b"\x1f\x8b\x08\x00",
    b"PK\x03\x04",
    b"<?xml version='1.0'?><a/>",
    b"GET / HTTP/1.1\r\n\r\n",
    "köln\n".encode("latin-1"),
)
"""What is of no format: nobody's ``sniff`` may say yes, and everybody reads it without raising."""

SAMPLE_FILE = "sample"
_MUTANTS = 120
_REASON = re.compile(r"[a-z][a-z0-9_]{0,40}")
_WHERE_LIMIT = 200
_QUOTED = 20  # bytes of a sample that stand in a message: no accident, and more than the name of a column
_ENDLESS_ITEMS = 600
_READ_AHEAD = 8 << 20  # bytes an importer may be ahead of what it gave
_MEMORY = 48 << 20


def check_importer(
    importer: Importer,
    samples: Sequence[bytes],
    *,
    options: ImportOptions | None = None,
    foreign: Sequence[bytes] = (),
    endless: Callable[[], Iterator[bytes]] | None = None,
    seed: int = 0,
) -> None:
    """Proves, on ``samples`` (well-formed files, decompressed): they are recognised, and neither garbage nor ``foreign`` files are;
    every exchange can be written, with no time before its arrival; the same input gives the same output; whatever is cut or
    flipped, nothing is raised, accounts stay sane and messages quote nothing; reading is lazy and bounded.

    ``endless``: the pieces of a file that never ends, well-formed, where a sample cannot just be repeated.
    """
    options = options or ImportOptions()
    rng = np.random.default_rng(seed)
    _check_names(importer)
    _check_sniffing(importer, samples, [*GARBAGE, *foreign], rng)
    for number, sample in enumerate(samples):
        what = f"{importer.name}, sample {number}"
        items = read_all(importer, [sample], options)
        check_items(items, sample, what)
        assert any(isinstance(item, Exchange) for item in items), f"{what}: gives no exchange"
        assert items == read_all(importer, [sample], options), f"{what}: reads differently the second time"
        _check_damage(importer, sample, items, options, rng, what)
    for junk in GARBAGE:
        check_items(read_all(importer, [junk], options), junk, f"{importer.name}, garbage")
    _check_lazy(importer, endless or (lambda: repeat(samples[0])), options)
    _check_bounded(importer, options)


def read_all(importer: Importer, files: Sequence[bytes], options: ImportOptions | None = None) -> list[Item]:
    """Everything an importer makes of these files, read forward and never rewound."""
    sources = (
        SourceFile(f"{SAMPLE_FILE}-{number}", stream_of(iter((file,))).stream) for number, file in enumerate(files)
    )
    return list(importer.read(sources, options or ImportOptions()))


class Counted(io.RawIOBase):
    """A stream that cannot be rewound, and says how many bytes were ``taken``."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self.taken = 0
        self._pieces, self._waiting = pieces, b""

    @property
    def stream(self) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(self))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        room = memoryview(cast("bytearray", buffer))
        while not self._waiting:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._waiting = piece
        size = min(len(room), len(self._waiting))
        room[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        self.taken += size
        return size


def stream_of(pieces: Iterator[bytes]) -> Counted:
    return Counted(pieces)


def _check_names(importer: Importer) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", importer.name), f"{importer.name!r} is no name for --format"
    assert isinstance(importer.notes, tuple), f"{importer.name}: notes are a tuple"
    assert all(isinstance(note, str) and note for note in importer.notes), f"{importer.name}: notes are lines of text"


def _check_sniffing(
    importer: Importer, samples: Sequence[bytes], others: Sequence[bytes], rng: np.random.Generator
) -> None:
    for number, sample in enumerate(samples):
        head = sample[:SNIFFED_BYTES]
        assert importer.sniff(head) is True, f"{importer.name}: does not recognise sample {number}"
        for mutant in _mutants(head, rng):
            try:
                importer.sniff(mutant)
            except Exception as error:
                raise AssertionError(f"{importer.name}: sniff raises {error!r} for a damaged head") from error
    for other in others:
        said = importer.sniff(other[:SNIFFED_BYTES])
        assert said is False, f"{importer.name}: claims a file that is not of its format: {other[:40]!r}"


def _check_damage(
    importer: Importer,
    sample: bytes,
    whole: Sequence[Item],
    options: ImportOptions,
    rng: np.random.Generator,
    what: str,
) -> None:
    emitted = _exchanges(whole)
    for size in _cuts(len(sample), rng):
        items = _tried(importer, sample[:size], options, f"{what}, cut to {size} bytes")
        check_items(items, sample, f"{what}, cut to {size} bytes")
        assert _exchanges(items) <= emitted, f"{what}, cut to {size} bytes: gives more exchanges than the whole"
    for mutant in _mutants(sample, rng):
        items = _tried(importer, mutant, options, f"{what}, damaged")
        check_items(items, sample, f"{what}, damaged")
        assert _exchanges(items) <= 2 * emitted + 2, f"{what}: damage makes {_exchanges(items)} exchanges of {emitted}"


def _tried(importer: Importer, data: bytes, options: ImportOptions, what: str) -> list[Item]:
    try:
        return read_all(importer, [data], options)
    except Exception as error:
        raise AssertionError(f"{what}: raises {error!r}") from error


def check_items(items: Sequence[Item], sample: bytes, what: str) -> None:
    """What is promised of each item by itself; ``sample`` is what it was read from."""
    for position, item in enumerate(items):
        if isinstance(item, Provenance):
            assert not any(isinstance(each, Exchange) for each in items[:position]), f"{what}: provenance comes late"
        elif isinstance(item, Dropped):
            _check_dropped(item, sample, what)
        else:
            _check_exchange(item, what)


def _check_exchange(exchange: Exchange, what: str) -> None:
    response, failure = exchange.response, exchange.failure
    times = [exchange.request.end_ns, *(chunk.at_ns for chunk in exchange.request.chunks)]
    if response is not None:
        times += [response.first_ns, response.end_ns, *(chunk.at_ns for chunk in response.chunks)]
    if failure is not None:
        times.append(failure.at_ns)
    assert all(at == -1 or at >= exchange.arrival_ns for at in times), f"{what}: a time before the arrival"
    try:
        batch_of([exchange])
    except (ValueError, OverflowError) as error:
        raise AssertionError(f"{what}: an exchange no capture can hold: {error}") from error


def _check_dropped(dropped: Dropped, sample: bytes, what: str) -> None:
    assert dropped.count > 0, f"{what}: drops {dropped.count} for {dropped.reason}"
    assert _REASON.fullmatch(dropped.reason), f"{what}: {dropped.reason!r} is no reason: small letters and underscores"
    rest = dropped.where.replace(SAMPLE_FILE, "").encode()
    assert len(rest) <= _WHERE_LIMIT, f"{what}: {dropped.reason} says where at too great a length"
    windows = (rest[i : i + _QUOTED] for i in range(len(rest) - _QUOTED + 1))
    assert not any(window in sample for window in windows), f"{what}: {dropped.reason} quotes the file"


def _check_lazy(importer: Importer, endless: Callable[[], Iterator[bytes]], options: ImportOptions) -> None:
    counted = stream_of(endless())
    items = iter(importer.read(iter((SourceFile(SAMPLE_FILE, counted.stream),)), options))
    for _ in islice(items, 1):
        assert counted.taken <= _READ_AHEAD, f"{importer.name}: read {counted.taken:,} bytes before it gave anything"
    tracemalloc.start()
    try:
        given = sum(1 for _ in islice(items, _ENDLESS_ITEMS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert given == _ENDLESS_ITEMS, f"{importer.name}: an endless file ended after {given} exchanges"
    assert peak <= _MEMORY, f"{importer.name}: {_ENDLESS_ITEMS} exchanges of an endless file took {peak:,} bytes"


def _check_bounded(importer: Importer, options: ImportOptions) -> None:
    """One line, or one record, that is longer than any may be."""
    piece = b"x" * (1 << 20)
    pieces = LINE_LIMIT // len(piece) + 16
    for head in (b"", b'{"a": "'):
        counted = stream_of(iter((head, *repeat(piece, pieces))) if head else repeat(piece, pieces))
        tracemalloc.start()
        try:
            items = list(importer.read(iter((SourceFile(SAMPLE_FILE, counted.stream),)), options))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert not _exchanges(items), f"{importer.name}: makes exchanges of nothing"
        assert peak <= 4 * LINE_LIMIT, f"{importer.name}: one endless line took {peak:,} bytes"


def _cuts(size: int, rng: np.random.Generator) -> Sequence[int]:
    if size <= _MUTANTS:
        return range(size)
    found: list[int] = sorted(set(rng.integers(0, size, _MUTANTS).tolist()) | set(range(size - 8, size)))
    return found


def _mutants(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Flipped, zeroed, shortened, doubled in parts."""
    if not data:
        return
    for _ in range(_MUTANTS // 4):
        start = int(rng.integers(len(data)))
        stop = min(start + int(rng.integers(1, 40)), len(data))
        yield data[:start] + bytes((data[start] ^ int(rng.integers(1, 256)),)) + data[start + 1 :]
        yield data[:start] + bytes(stop - start) + data[stop:]
        yield data[:start] + data[stop:]
        yield data[:stop] + data[start:stop] + data[stop:]


def _exchanges(items: Sequence[Item]) -> int:
    return sum(isinstance(item, Exchange) for item in items)
