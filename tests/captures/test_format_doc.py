"""docs/format.md and the code say the same. That its words are enough to read a file by: test_format_second_reader.py."""

import re
from dataclasses import fields
from pathlib import Path
from unittest.mock import ANY

import msgpack
import pytest
import zstandard

from captures import frame
from captures.chunk_rows import CHUNK_ROW
from captures.cipher import CIPHER, KEY_BYTES, OUTSIDE, fingerprint
from captures.codecs import registry
from captures.codecs.opaque import OpaqueCodec
from captures.columns import COLUMNS, HEAD_KEPT, LABEL_DTYPE, LABEL_PREFIX, NAME_COLUMNS, PREVIOUS, Head
from captures.exchange import FailureKind, Flags
from captures.frame import (
    CIPHER_OVERHEAD,
    CRC_SIZE,
    LIMITS,
    MAGIC,
    MAGIC_SIZE,
    NONCE_SIZE,
    PIECE_HEADER_SIZE,
    SYNC_SIZE,
    TAG_SIZE,
    TRAILER_SIZE,
    Kind,
)
from captures.header import KINDS, Header
from captures.index import DIGEST_SIZE, Commit, Index, pack_index, pack_start, start_of
from captures.planes import BEFORE_THE_FIRST
from captures.testing import EXAMPLE_SYNC, capture_of
from captures.writer import EXCHANGE_LIMIT, SEGMENT_BYTES

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/format.md").read_text(encoding="utf-8")
TINY = (ROOT / "tests/golden/v2-tiny.tape").read_bytes()


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
    rows = table("Kinds of pieces")

    assert [(int(row[0]), row[1]) for row in rows] == [(int(kind), kind.name.lower()) for kind in Kind]
    assert [row[1] for row in rows if row[2].startswith("zstd")] == [kind.name.lower() for kind in frame.STREAM_KINDS]
    assert [row[1] for row in rows if "version 1 only" in row[2]] == ["heads", "bodies"]
    assert [row[1] for row in rows if row[2].startswith("msgpack")] == [
        kind.name.lower() for kind in Kind if kind in frame.META_KINDS
    ]
    streams = "Only `columns`, `names`, `heads`, `chunks`, `bodies` and `messages` may have the flag `zstd`"
    assert streams in DOC


def test_flags_of_pieces() -> None:
    expected = [(int(flag), str(flag.name).lower()) for flag in frame.PieceFlags]

    assert [(int(row[0]), row[1]) for row in table("Flags of pieces")] == expected


def test_kinds_of_headers_and_versions() -> None:
    assert [row[0] for row in table("Kinds of headers")] == list(KINDS)
    assert [int(row[0]) for row in table("Versions")] == list(range(1, frame.FORMAT_VERSION + 1))
    assert frame.FORMAT_VERSION == TINY[MAGIC_SIZE - 1] == 2
    assert "# The capture file, formats 1 and 2\n" in DOC
    assert "Format 2 is what is written" in DOC
    assert [row[1] for row in table("Magic")] == [MAGIC.hex(" ").upper(), "01 or 02"]


def test_codecs() -> None:
    assert {row[0] for row in table("Codecs")} == {codec.name for codec in (*registry._built_in(), OpaqueCodec())}


def test_flags_of_exchanges_and_kinds_of_failures() -> None:
    flags = [(int(flag), str(flag.name).lower()) for flag in Flags]
    failures = [(int(kind), kind.name.lower()) for kind in FailureKind]

    assert [(int(number), name) for number, name in table("Flags of exchanges")] == flags
    assert [(int(number), name) for number, name in table("Kinds of failures")] == failures


def test_columns() -> None:
    *declared, head_kept = start_of(0, 0, ()).columns
    expected = [
        [each.name, each.dtype, each.meaning, str(each.absent), str(stored.minus)]
        for each, stored in zip(COLUMNS, declared, strict=True)
    ]

    assert table("Columns") == expected
    assert f"Name columns ({', '.join(f'`{name}`' for name in NAME_COLUMNS)}, and every label)" in DOC
    assert head_kept == HEAD_KEPT
    assert f"`{HEAD_KEPT.name}`, dtype `{HEAD_KEPT.dtype}`, minus {HEAD_KEPT.minus}," in DOC
    assert f"- `{PREVIOUS}`: the value of the row before" in DOC
    assert f"in front of the segment's first row stands {BEFORE_THE_FIRST};" in DOC


def test_a_label_is_declared_behind_the_columns_with_minus_0() -> None:
    label = start_of(0, 0, [LABEL_PREFIX + "tier"]).columns[-1]

    assert (label.dtype, label.minus) == (LABEL_DTYPE, 0)
    assert f"`{LABEL_PREFIX}` and its name, of dtype `{LABEL_DTYPE}` and minus 0" in DOC


def test_chunks() -> None:
    described = " and ".join(f"`{each.name}` (`{each.dtype}`)" for each in CHUNK_ROW)

    assert {each.minus for each in CHUNK_ROW} == {0}
    assert f"rows of two columns with minus 0, one row per chunk of the flush: {described}." in DOC


def test_records() -> None:
    assert [row[0] for row in table("Header")] == [item.name for item in fields(Header)] + ["sync"]
    assert [(int(row[0]), row[1]) for row in table("Messages")] == list(enumerate(item.name for item in fields(Head)))
    assert [(int(row[0]), row[1]) for row in table("Commit")] == list(enumerate(item.name for item in fields(Commit)))
    for heading, record in (
        ("Segment", pack_start(start_of(0, 0, ()))),
        ("Index and trailer", pack_index(Index((), Commit(), bytes(DIGEST_SIZE)))),
    ):
        assert [row[0] for row in table(heading)] == list(msgpack.unpackb(record)), heading


def tables_of(heading: str) -> list[list[list[str]]]:
    """All tables under a heading, each without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", DOC, flags=re.MULTILINE)[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [
        [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in blocks
    ]


def test_encryption() -> None:
    keys, payload, associated = tables_of("Encryption")

    assert [(row[0], row[2].split(";")[0]) for row in keys] == [("cipher", CIPHER), ("key_id", ANY)]
    assert (int(payload[0][0]), int(payload[2][0])) == (NONCE_SIZE, TAG_SIZE)
    assert f"stored - {CIPHER_OVERHEAD}" in payload[1][0]
    assert f"{CIPHER_OVERHEAD} bytes longer than what it hides" in DOC
    assert sum(int(row[0]) for row in associated) == 30
    assert str(OUTSIDE) in associated[4][3]
    assert f"below {OUTSIDE}" in {row[0]: row[2] for row in table("Segment")}["number"]
    assert f"a **tape key** of {KEY_BYTES} random bytes" in DOC
    assert len(bytes.fromhex(fingerprint(bytes(KEY_BYTES)))) == 8


def test_limits_and_sizes() -> None:
    assert [(row[0], int(row[1])) for row in table("Limits")] == list(LIMITS.items())
    assert sum(int(row[0]) for row in table("Piece")[:5]) == PIECE_HEADER_SIZE
    assert [int(row[0]) for row in table("Magic")] == [len(MAGIC), 1]
    assert LIMITS["raw"] > (EXCHANGE_LIMIT + SEGMENT_BYTES)  # or a writer could not keep to the table
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
    columns, _, chunks, messages, commit = flush.pieces
    (exchange,) = capture.exchanges()
    assert capture.files[0].index is not None
    assert exchange.response is not None

    def raw(piece: frame.Piece) -> bytes:
        return zstandard.ZstdDecompressor().decompressobj().decompress(TINY[piece.payload_offset :][: piece.stored])

    assert f"The piece at `{columns.offset:04x}`, in full" in DOC
    assert f"{columns.stored} bytes stored" in DOC
    assert f"= {columns.raw} bytes raw: the {len(capture.segments[0].start.columns)} columns" in DOC
    assert f"begin `{raw(columns)[:8].hex(' ')}`, the eight planes of `arrival_ns`" in DOC
    assert f"The next eight, `{raw(columns)[8:16].hex(' ')}`, are {exchange.request.end_ns - 10**6 + 1:,}" in DOC
    assert f"The {chunks.raw} bytes of the chunks at `{chunks.offset:04x}` are zeros" in DOC
    assert raw(chunks) == bytes(chunks.raw)
    bodies = len(exchange.request.body), len(exchange.response.body)
    head = f"are a head of {messages.raw - sum(bodies)} (`head_kept`), a request of {bodies[0]} and a response of {bodies[1]}"
    assert f"The {messages.raw} bytes of\nthe messages at `{messages.offset:04x}` {head}." in DOC
    assert f"The commit's payload at `{commit.payload_offset:04x}`" in DOC
    assert f"the index piece starts at `{capture.segments[0].end:04x}`" in DOC


@pytest.mark.parametrize("rule", ["Readers MUST skip pieces of a kind they do not know", "Written bytes never change"])
def test_the_rules_others_rely_on_stay(rule: str) -> None:
    assert rule in DOC
