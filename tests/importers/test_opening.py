"""Sources: what is read, in which order, and what compression may do to it."""

import bz2
import gzip
import io
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from captures.errors import CaptureError
from captures.importers.importer import SNIFFED_BYTES, Dropped
from captures.importers.opening import Source

CONTENT = bytes(range(256)) * 2000


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "zst": zstd,
}
PACKED = [name for name in COMPRESSORS if name != "plain"]


def read(source: Source) -> dict[str, bytes]:
    return {file.name: file.stream.read() for file in source.files()}


@pytest.mark.parametrize("packed", COMPRESSORS)
def test_compression_is_known_by_content(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "no-suffix"
    path.write_bytes(COMPRESSORS[packed](CONTENT))
    source = Source(str(path))

    assert list(source.heads()) == [("no-suffix", CONTENT[: len(dict(source.heads())["no-suffix"])])]
    assert len(dict(source.heads())["no-suffix"]) >= SNIFFED_BYTES
    assert read(source) == {"no-suffix": CONTENT}
    assert source.damage == []
    assert source.taken == source.size == path.stat().st_size


@pytest.mark.parametrize("packed", PACKED)
def test_members_follow_one_another(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(COMPRESSORS[packed](b"one ") + COMPRESSORS[packed](b"two") + bytes(100))

    assert read(source := Source(str(path))) == {"x": b"one two"}
    assert source.damage == []


@pytest.mark.parametrize("packed", PACKED)
def test_a_file_that_was_cut_off_just_ends(packed: str, tmp_path: Path) -> None:
    whole = COMPRESSORS[packed](os.urandom(300_000))
    path = tmp_path / "x"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    source = Source(str(path))
    list(source.heads())

    (content,) = read(source).values()

    assert 0 <= len(content) < 300_000
    (damage,) = source.damage
    assert damage == Dropped("damaged", f"x: byte {path.stat().st_size} as stored: the compressed data is cut off")


@pytest.mark.parametrize("packed", PACKED)
def test_damage_ends_a_file_and_not_the_next(packed: str, tmp_path: Path) -> None:
    whole = COMPRESSORS[packed](CONTENT)
    (tmp_path / "a").write_bytes(whole[:20] + b"\xff\xff\xff\xff" + whole[24:-30] + bytes(30))
    (tmp_path / "b").write_bytes(whole + b"rubbish")
    (tmp_path / "c").write_bytes(whole)
    source = Source(str(tmp_path))

    found = read(source)

    assert (found["b"], found["c"]) == (CONTENT, CONTENT)
    assert [dropped.reason for dropped in source.damage] == ["damaged", "damaged"]
    assert [dropped.where[:1] for dropped in source.damage] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("packed", PACKED)
def test_a_bomb_costs_no_memory(packed: str, tmp_path: Path) -> None:
    bomb = COMPRESSORS[packed](bytes(100 << 20))
    assert len(bomb) < 1 << 18
    (tmp_path / "x").write_bytes(bomb)
    size = 0
    tracemalloc.start()
    for file in Source(str(tmp_path / "x")).files():
        while data := file.stream.read(1 << 16):
            size += len(data)
            if size > 64 << 20:
                break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert size > 64 << 20
    assert peak < 80 << 20


def test_a_folder_is_read_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", ".hidden", "b/.hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())

    assert read(Source(str(tmp_path))) == {"a": b"a", "b/1": b"b/1", "b/2": b"b/2"}


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    os.mkfifo(tmp_path / "b")

    assert Source(str(tmp_path)).names == ("a",)


def test_a_link_to_nothing_in_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(CaptureError, match="loop: cannot be read"):
        list(Source(str(tmp_path)).heads())


def test_a_glob_is_read_in_order(tmp_path: Path) -> None:
    for name in ("x2.gor", "x1.gor", "y.gor"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x3.gor").mkdir()

    source = Source(str(tmp_path / "x*.gor"))

    assert [Path(name).name for name in source.names] == ["x1.gor", "x2.gor"]


@pytest.mark.parametrize("where", ["missing", "*.none", "empty"])
def test_nothing_there_is_an_error(where: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptureError, match=r"no such file|no file matches|no files in this folder"):
        Source(str(tmp_path / where))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    source = Source(str(path))
    path.unlink()
    with pytest.raises(CaptureError, match="x: cannot be read: No such file"):
        read(source)


def test_stdin_is_read_once_and_not_rewound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(CONTENT))
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.FileIO(os.dup(file.fileno())))))
        source = Source("-")
        ((name, head),) = source.heads()
        assert CONTENT.startswith(head)
        assert read(source) == {name: CONTENT}
        sys.stdin.close()


def test_gzip_without_its_trailer_gives_all_its_content(tmp_path: Path) -> None:
    """A recorder that was killed: GoReplay never closes its files then."""
    packer = zlib.compressobj(wbits=31)
    (tmp_path / "x").write_bytes(packer.compress(CONTENT) + packer.flush(zlib.Z_SYNC_FLUSH))
    source = Source(str(tmp_path / "x"))

    assert read(source) == {"x": CONTENT}
    assert [dropped.reason for dropped in source.damage] == ["damaged"]
