"""Captures in object stores and on web servers: a URL as files that are read in ranges, and files as objects.

A folder is a prefix: the objects directly in it. Reading goes through one cache of blocks for all files of a URL; the connection
is closed with the last of them.
"""

import io
import weakref
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from captures.blocks import READ_AHEAD, BlockCache, Traffic
from captures.capture_file import Stored
from captures.errors import CaptureError, UsageError
from captures.locations import WEB, is_remote, scheme_of, shown
from captures.store import SUFFIX

if TYPE_CHECKING:
    from captures.object_store import ObjectStore, RemoteFile

__all__ = ["Traffic", "check_bucket", "check_new", "is_remote", "remote_files", "remote_sources", "shown", "upload"]


def remote_files(where: str, traffic: Traffic | None = None) -> list[Stored]:
    """The object of this URL, the captures in a folder, or those that a glob in the last part of the URL matches; sorted by name.

    ``traffic`` counts what reading them costs. Raises UsageError: a scheme we do not know, a package that is not installed;
    CaptureError: nothing there, refused, unreachable. So do the ``read_at`` of the files, and where one changed meanwhile.
    """
    store, files = _found(where, traffic or Traffic(), suffix=SUFFIX)
    blocks = BlockCache([file.size for file in files], partial(_fetch, store, files))
    open_files = set(range(len(files)))

    def close(file: int) -> None:
        if file in open_files:
            open_files.remove(file)
            if not open_files:
                store.close()

    return [
        Stored(
            name=file.name,
            size=file.size,
            read_at=partial(blocks.read_at, i),
            close=partial(close, i),
            prefetch=partial(blocks.prefetch, i),
        )
        for i, file in enumerate(files)
    ]


def remote_sources(where: str) -> list[tuple[str, Callable[[], BinaryIO]]]:
    """What importers read: (name, open) of the object, of everything under a folder, or of what a glob matches; sorted by name.

    Raises as `remote_files`; so do the streams.
    """
    store, files = _found(where, Traffic(), suffix="", deep=True)
    blocks = BlockCache([file.size for file in files], partial(_fetch, store, files))
    # Files are opened one after the other, and again: the connection lives as long as somebody may open one.
    weakref.finalize(blocks, store.close)
    return [(file.name, partial(_stream, blocks, i, file.size)) for i, file in enumerate(files)]


def check_new(where: str) -> None:
    """What would fail when an object is uploaded fails at once. Raises UsageError: not a store that can be written, exists
    already; CaptureError: refused, unreachable.
    """
    store, path = _writable(where)
    try:
        store.refuse_existing(path)
    finally:
        store.close()


def check_bucket(where: str) -> None:
    """What would keep everything from being uploaded below a URL. Raises UsageError: not a store that can be written;
    CaptureError: refused, unreachable, no such bucket.
    """
    store, path = _writable(where)
    try:
        store.check_bucket(path)
    finally:
        store.close()


def upload(local: Path, where: str) -> None:
    """A file as an object, which appears whole or not at all and never replaces another.

    Raises UsageError, CaptureError: as `check_new`; CaptureError: what arrived has another size.
    """
    store, path = _writable(where)
    try:
        store.upload(local, path)
    finally:
        store.close()


def _connect(where: str, traffic: Traffic) -> "tuple[ObjectStore, str]":
    from captures.object_store import connect  # noqa: PLC0415 - what lies on this machine is read without fsspec

    return connect(where, traffic)


def _writable(where: str) -> "tuple[ObjectStore, str]":
    if scheme_of(where) in WEB:
        raise UsageError(f"{shown(where)}: cannot be written to; write to s3://, gs://, az:// or a file")
    return _connect(where, Traffic())


def _found(where: str, traffic: Traffic, *, suffix: str, deep: bool = False) -> "tuple[ObjectStore, list[RemoteFile]]":
    store, path = _connect(where, traffic)
    try:
        files = _matching(store, path, suffix, deep=deep)
    except BaseException:
        store.close()
        raise
    return store, files


def _matching(store: "ObjectStore", path: str, suffix: str, *, deep: bool) -> "list[RemoteFile]":
    folder, _, last = path.rpartition("/")
    if store.scheme in WEB or not any(sign in path for sign in "*?["):
        found = store.look_up(path)
        files = [found] if found is not None else []
        if not files and store.scheme not in WEB:
            files = [file for file in store.files_in(path.rstrip("/"), deep=deep) if file.name.endswith(suffix)]
        if not files:
            captures = f", and no folder with {suffix} files" if suffix and store.scheme not in WEB else ""
            raise CaptureError(f"{store.where}: no such object{captures}")
        return files
    if any(sign in folder for sign in "*?["):
        raise UsageError(f"{store.where}: a glob can only stand behind the last slash")
    files = [file for file in store.files_in(folder) if fnmatchcase(file.path.rpartition("/")[2], last)]
    if not files:
        raise CaptureError(f"{store.where}: no object matches")
    return files


def _fetch(
    store: "ObjectStore", files: "Sequence[RemoteFile]", requests: Sequence[tuple[int, int, int]]
) -> list[bytes]:
    return store.read([(files[file], start, stop) for file, start, stop in requests])


class _Stream(io.RawIOBase):
    """An object from front to back."""

    def __init__(self, blocks: BlockCache, file: int, size: int) -> None:
        super().__init__()
        self._blocks, self._file, self._size, self._at = blocks, file, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        room = memoryview(cast("bytearray", buffer))
        data = self._blocks.read_at(self._file, self._at, len(room))
        room[: len(data)] = data
        self._at += len(data)
        return len(data)


def _stream(blocks: BlockCache, file: int, size: int) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Stream(blocks, file, size), READ_AHEAD >> 3))
