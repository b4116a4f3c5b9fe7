"""docs/format.md and the code say the same."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from captures import frame
from captures.codecs import registry
from captures.codecs.opaque import OpaqueCodec
from captures.columns import COLUMNS, NAME_COLUMNS, Head
from captures.exchange import FailureKind, Flags
from captures.frame import CRC_SIZE, LIMITS, MAGIC, MAGIC_SIZE, PIECE_HEADER_SIZE, SYNC_SIZE, TRAILER_SIZE, Kind
from captures.header import Header
from captures.index import Commit
from captures.testing import EXAMPLE_SYNC, capture_of
from captures.writer import SEGMENT_BYTES

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/format.md").read_text(encoding="utf-8")
TINY = (ROOT / "tests/golden/v1-tiny.tape").read_bytes()


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head; backticks are dropped."""
    section = re.split(rf"^#+ {re.escape(heading)}$", DOC, flags=re.MULTILINE)[1]
    rows: list[list[str]] = []
    for line in section.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def test_kinds_of_pieces() -> None:
    assert [(int(row[0]), row[1]) for row in table("Kinds of pieces")] == [(int(k), k.name.lower()) for k in Kind]


def test_flags_of_pieces() -> None:
    expected = [(int(flag), str(flag.name).lower()) for flag in frame.PieceFlags]

    assert [(int(row[0]), row[1]) for row in table("Flags of pieces")] == expected


def test_codecs() -> None:
    assert {row[0] for row in table("Codecs")} == {codec.name for codec in (*registry._built_in(), OpaqueCodec())}


def test_flags_of_exchanges_and_kinds_of_failures() -> None:
    flags = [(int(flag), str(flag.name).lower()) for flag in Flags]
    failures = [(int(kind), kind.name.lower()) for kind in FailureKind]

    assert [(int(number), name) for number, name in table("Flags of exchanges")] == flags
    assert [(int(number), name) for number, name in table("Kinds of failures")] == failures


def test_columns() -> None:
    section = DOC.split("The columns of version 1:")[1]
    rows = re.findall(r"^\| (\w+) \| `(\S+)` \| (.*?) \| (-?\d+) \|$", section, flags=re.MULTILINE)

    assert rows == [(each.name, each.dtype, each.meaning, str(each.absent)) for each in COLUMNS]
    assert f"Name columns ({', '.join(f'`{name}`' for name in NAME_COLUMNS)})" in section


def test_records() -> None:
    assert [row[0] for row in table("Header")] == [item.name for item in fields(Header)] + ["sync"]
    assert [(int(row[0]), row[1]) for row in table("Heads")] == list(enumerate(item.name for item in fields(Head)))
    assert [(int(row[0]), row[1]) for row in table("Commit")] == list(enumerate(item.name for item in fields(Commit)))
    assert [row[0] for row in table("Index and trailer")] == ["segments", "commit", "digest"]


def test_limits_and_sizes() -> None:
    assert [(row[0], int(row[1])) for row in table("Limits")] == list(LIMITS.items())
    assert sum(int(row[0]) for row in table("Piece")[:5]) == PIECE_HEADER_SIZE
    assert [int(row[0]) for row in table("Magic")] == [len(MAGIC), 1]
    assert f"The trailer is {TRAILER_SIZE} bytes" in DOC
    assert f"have reached {SEGMENT_BYTES >> 20} MiB" in DOC


def hexdump(offset: int, data: bytes, what: str) -> str:
    shown = data[:14].hex(" ") + (" …" if len(data) > 14 else "")
    return f"{offset:04x}  {shown:<43}  {len(data):>4}  {what}"


def annotated(data: bytes) -> list[str]:
    """A capture, one line per part of a frame."""
    capture = capture_of(data)
    lines = [hexdump(0, data[:MAGIC_SIZE], "magic and version")]
    position = MAGIC_SIZE
    while position < len(data):
        if data[position : position + SYNC_SIZE] == EXAMPLE_SYNC:
            lines.append(hexdump(position, EXAMPLE_SYNC, "sync marker"))
            position += SYNC_SIZE
            continue
        if position == len(data) - TRAILER_SIZE:
            lines.append(hexdump(position, data[position:], "trailer"))
            break
        piece = frame.unpack_piece_header(data[position : position + PIECE_HEADER_SIZE], position)
        name = Kind(piece.kind).name.lower()
        lines.append(hexdump(position, data[position : piece.payload_offset], f"{name}: piece header"))
        stop = piece.end - CRC_SIZE
        what = f"payload, {piece.raw} bytes raw" if piece.flags else "payload"
        lines.append(hexdump(piece.payload_offset, data[piece.payload_offset : stop], what))
        lines.append(hexdump(stop, data[stop : piece.end], "payload checksum"))
        position = piece.end
    assert capture.sealed
    return lines


def test_the_worked_example_is_a_real_file() -> None:
    block = re.search(r"^```hexdump\n(.*?)^```$", DOC, flags=re.MULTILINE | re.DOTALL)
    expected = "\n".join(annotated(TINY))

    assert block is not None, f"paste into docs/format.md:\n{expected}"
    assert block.group(1).rstrip() == expected, f"paste into docs/format.md:\n{expected}"


def test_the_words_below_the_worked_example_are_about_this_file() -> None:
    capture = capture_of(TINY)
    (flush,) = capture.segments[0].flushes
    columns, commit = flush.pieces[0], flush.pieces[-1]
    assert capture.index is not None

    assert f"The piece at `{columns.offset:04x}`, in full" in DOC
    assert f"{columns.stored} bytes stored" in DOC
    assert f"= {columns.raw} bytes raw: the {len(COLUMNS)} columns" in DOC
    assert f"The commit's payload at `{commit.payload_offset:04x}`" in DOC
    assert f"the index piece starts at `{capture.segments[0].end:04x}`" in DOC


@pytest.mark.parametrize("rule", ["Readers MUST skip pieces of a kind they do not know", "Written bytes never change"])
def test_the_rules_others_rely_on_stay(rule: str) -> None:
    assert rule in DOC
