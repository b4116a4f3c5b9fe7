"""Opens what is imported: a file, a folder, a glob, a URL or stdin, decompressed by content, streaming and bounded.

Compression is known by its first bytes, never by a name. What a decompressor makes of one piece of input is bounded, so that a bomb
costs time and no memory. Compressed data that was cut off or damaged just ends, and is reported in ``damage``.
"""

import bz2
import contextlib
import glob
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from captures.errors import CaptureError
from captures.importers.importer import SNIFFED_BYTES, Dropped, SourceFile

STDIN = "-"
PIECE = 1 << 18  # bytes read, and given out, at a time
ZSTD_SLICE = 1 << 10  # a zstd block of 4 bytes may hold 128 KiB: 32 MiB is the most that comes of one slice
ZSTD_WINDOW = 128 << 20  # what `zstd --long` writes without asking its reader for more
_GZIP, _BZIP, _ZSTD = b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"


class Source:
    """``names`` in the order they are read; ``size`` of all of them as stored (0: unknown); ``taken``: bytes of it read so far;
    ``damage``: what was found wrong with compressed files, one each.
    """

    def __init__(self, where: str) -> None:
        """Raises CaptureError: there is nothing, or it cannot be opened."""
        self.where = where
        self.damage: list[Dropped] = []
        self.taken = 0
        self.size, self._openers = _found(where)
        self.names = tuple(name for name, _ in self._openers)
        self._ahead: dict[str, tuple[bytes, Iterator[bytes]]] = {}  # what was read of stdin to recognise it

    def heads(self) -> Iterator[tuple[str, bytes]]:
        """(name, first SNIFFED_BYTES of the decompressed content) of each file, in turn. Raises CaptureError."""
        for name, opener in self._openers:
            if name == STDIN:
                head, _ = self._ahead.setdefault(name, _headed(self._pieces(name, opener)))
            else:
                with contextlib.closing(self._pieces(name, opener, quiet=True)) as pieces:
                    head, _ = _headed(pieces)
            yield name, head

    def files(self) -> Iterator[SourceFile]:
        """Every file, once, each closed when the next is asked for. Their streams raise CaptureError where reading fails."""
        for name, opener in self._openers:
            head, rest = self._ahead.pop(name, (b"", None))
            pieces = self._pieces(name, opener) if rest is None else rest
            stream = io.BufferedReader(_Pieces(head, pieces), PIECE)
            try:
                yield SourceFile(name, cast("BinaryIO", stream))
            finally:
                stream.close()

    def _pieces(self, name: str, opener: Callable[[], BinaryIO], *, quiet: bool = False) -> Generator[bytes]:
        """The decompressed content. ``quiet``: it will be read again, so nothing is counted."""
        try:
            with opener() as file:
                yield from _decompressed(self._counted(file, quiet=quiet))
        except _DamagedError as error:
            if not quiet:
                self.damage.append(Dropped("damaged", f"{name}: {error}"))
        except OSError as error:
            raise CaptureError(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from None

    def _counted(self, file: BinaryIO, *, quiet: bool) -> Iterator[bytes]:
        while data := file.read(PIECE):
            if not quiet:
                self.taken += len(data)
            yield data


class _DamagedError(Exception):
    """Compressed data that does not go on. Where and how, in our own words."""


class _Pieces(io.RawIOBase):
    """A stream over pieces of bytes."""

    def __init__(self, head: bytes, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._waiting = memoryview(head)
        self._pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while not self._waiting:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._waiting = memoryview(piece)
        room = memoryview(cast("bytearray", buffer))
        size = min(len(room), len(self._waiting))
        room[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size

    def close(self) -> None:
        self._waiting = memoryview(b"")
        closing = getattr(self._pieces, "close", None)
        if closing is not None:
            closing()
        super().close()


def _headed(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    head = b""
    while len(head) < SNIFFED_BYTES and (piece := next(pieces, None)) is not None:
        head += piece
    return head, pieces


# -- what there is


def _found(where: str) -> tuple[int, list[tuple[str, Callable[[], BinaryIO]]]]:
    if where == STDIN:
        return 0, [(STDIN, lambda: os.fdopen(os.dup(sys.stdin.fileno()), "rb"))]
    if "://" in where:
        from captures.remote import remote_sources  # noqa: PLC0415 - fsspec is not needed for what is on this machine

        return 0, list(remote_sources(where))
    path = Path(where)
    if path.is_dir():
        files = sorted(_in_folder(path))
        if not files:
            raise CaptureError(f"{where}: no files in this folder")
        return _local([(str(file.relative_to(path)), file) for file in files])
    if path.exists():
        return _local([(path.name, path)])
    files = sorted(path for path in map(Path, glob.iglob(where, recursive=True)) if path.is_file())  # noqa: PTH207 - any root
    if not files:
        raise CaptureError(f"{where}: no such file" if not glob.has_magic(where) else f"{where}: no file matches")
    return _local([(str(file), file) for file in files])


def _in_folder(folder: Path) -> Iterator[Path]:
    """Recursively; hidden files and folders are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in files if not name.startswith(".") and _is_readable(path := Path(root, name)))


def _is_readable(path: Path) -> bool:
    """Not a pipe, a socket or a device, which may never end. A link to nothing stays: opening it will say so."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _local(files: list[tuple[str, Path]]) -> tuple[int, list[tuple[str, Callable[[], BinaryIO]]]]:
    size = 0
    for _, path in files:
        with contextlib.suppress(OSError):  # opening it will say so
            size += path.stat().st_size
    return size, [(name, _opener(path)) for name, path in files]


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


# -- compression


def _decompressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Raises _DamagedError."""
    first = b""
    while len(first) < len(_ZSTD) and (piece := next(pieces, None)) is not None:
        first += piece
    if not first:
        return
    for magic, read in ((_GZIP, _gzip), (_BZIP, _bzip), (_ZSTD, _zstd)):
        if first.startswith(magic):
            yield from read(_Ahead(first, pieces))
            return
    yield first
    yield from pieces


class _Ahead:
    """Compressed bytes, with what one member of a file left over for the next."""

    def __init__(self, first: bytes, pieces: Iterator[bytes]) -> None:
        self._waiting, self._pieces, self.offset = first, pieces, 0

    def take(self, size: int = PIECE) -> bytes:
        """b"" at the end."""
        if not self._waiting:
            self._waiting = next(self._pieces, b"")
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        self.offset += len(data)
        return data

    def give_back(self, data: bytes) -> None:
        self._waiting = data + self._waiting
        self.offset -= len(data)

    def starts_with(self, magic: bytes) -> bool:
        while len(self._waiting) < len(magic) and (piece := next(self._pieces, b"")):
            self._waiting += piece
        return self._waiting.startswith(magic)

    def cut(self) -> _DamagedError:
        return _DamagedError(f"byte {self.offset} as stored: the compressed data is cut off")

    def broken(self) -> _DamagedError:
        return _DamagedError(f"byte {self.offset} as stored: the compressed data is damaged")


def _gzip(data: _Ahead) -> Iterator[bytes]:
    while data.starts_with(_GZIP):
        member = zlib.decompressobj(wbits=31)
        waiting = b""
        while not member.eof:
            waiting = waiting or data.take()
            if not waiting:
                raise data.cut()
            try:
                out = member.decompress(waiting, PIECE)
            except zlib.error:
                raise data.broken() from None
            waiting = member.unconsumed_tail
            if out:
                yield out
        data.give_back(member.unused_data)
    _nothing_left(data)


def _bzip(data: _Ahead) -> Iterator[bytes]:
    while data.starts_with(_BZIP):
        member = bz2.BZ2Decompressor()
        while not member.eof:
            waiting = data.take() if member.needs_input else b""
            if member.needs_input and not waiting:
                raise data.cut()
            try:
                out = member.decompress(waiting, PIECE)
            except OSError:
                raise data.broken() from None
            if out:
                yield out
        data.give_back(member.unused_data)
    _nothing_left(data)


def _zstd(data: _Ahead) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    while data.starts_with(_ZSTD):
        frame = decompressor.decompressobj()
        while not frame.eof:
            waiting = data.take(ZSTD_SLICE)
            if not waiting:
                raise data.cut()
            try:
                out = frame.decompress(waiting)
            except zstandard.ZstdError:
                raise data.broken() from None
            if out:
                yield out
        data.give_back(frame.unused_data)
    _nothing_left(data)


def _nothing_left(data: _Ahead) -> None:
    """Zeros behind the last member are padding (as gzip reads tapes); anything else is damage."""
    while rest := data.take():
        if rest.strip(b"\0"):
            raise data.broken()
