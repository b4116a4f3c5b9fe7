"""docs/format.md and the code say the same."""

import re
import struct
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from unittest.mock import ANY

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from captures import frame
from captures.cipher import CIPHER, OUTSIDE
from captures.codecs import registry
from captures.codecs.opaque import OpaqueCodec
from captures.columns import COLUMNS, LABEL_DTYPE, LABEL_PREFIX, NAME_COLUMNS, Head
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
from captures.testing import EXAMPLE_SYNC, capture_bytes, capture_of, example_exchanges
from captures.writer import SEGMENT_BYTES

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/format.md").read_text(encoding="utf-8")
KEY = bytes(range(32))
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


def test_kinds_of_headers_and_versions() -> None:
    assert [row[0] for row in table("Kinds of headers")] == list(KINDS)
    assert [int(row[0]) for row in table("Versions")] == list(range(1, frame.FORMAT_VERSION + 1))
    assert (frame.PLAIN_VERSION, frame.ENCRYPTED_VERSION) == (1, 2)
    assert "| 1 | `01` or `02` | format version" in DOC


def test_labels() -> None:
    assert f"`{LABEL_PREFIX}` and its name, of dtype `{LABEL_DTYPE}`" in DOC


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
    assert f"Name columns ({', '.join(f'`{name}`' for name in NAME_COLUMNS)}, and every label)" in section


def test_records() -> None:
    assert [row[0] for row in table("Header")] == [item.name for item in fields(Header)] + ["sync"]
    assert [(int(row[0]), row[1]) for row in table("Heads")] == list(enumerate(item.name for item in fields(Head)))
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


def test_the_words_on_encryption_are_enough_to_decrypt_a_file() -> None:
    """A second implementation, made from the page alone: magic, pieces, HKDF, associated data, nothing of `captures.cipher`."""
    data = capture_bytes([example_exchanges(2), example_exchanges(1)], key=KEY)
    end = MAGIC_SIZE + PIECE_HEADER_SIZE + struct.unpack_from("<I", data, MAGIC_SIZE + 2)[0]
    header = data[MAGIC_SIZE + PIECE_HEADER_SIZE : end]
    record, digest = msgpack.unpackb(header), blake2b(header, digest_size=16).digest()
    own_key = AESGCM(HKDF(SHA256(), 32, salt=digest, info=b"shadowtape piece key").derive(KEY))
    assert data[7] == 2
    assert record["encryption"] == {
        "cipher": "AES-256-GCM",
        "key_id": blake2b(b"shadowtape tape key id", key=KEY, digest_size=8).hexdigest(),
    }
    at, ordinal, number, opened = end + CRC_SIZE, 0, -1, []
    while at < len(data) - TRAILER_SIZE:
        at += SYNC_SIZE if data[at : at + SYNC_SIZE] == record["sync"] else 0
        kind, flags, stored, raw = struct.unpack_from("<BBII", data, at)
        outside = kind in (2, 9)
        ordinal = 0 if outside else ordinal + 1
        place = digest + struct.pack("<BBIII", kind, flags, raw, 4294967295 if outside else number, ordinal)
        payload = data[at + PIECE_HEADER_SIZE :][:stored]
        plain = own_key.decrypt(payload[:12], payload[12:], place)
        assert flags & 1 or len(plain) == raw
        number = msgpack.unpackb(plain)["number"] if kind == 2 else number
        opened.append(kind)
        at += PIECE_HEADER_SIZE + stored + CRC_SIZE
    assert opened == [2, 3, 4, 5, 6, 7, 8, 3, 5, 6, 7, 8, 9]


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
    assert capture.files[0].index is not None

    assert f"The piece at `{columns.offset:04x}`, in full" in DOC
    assert f"{columns.stored} bytes stored" in DOC
    assert f"= {columns.raw} bytes raw: the {len(COLUMNS)} columns" in DOC
    assert f"The commit's payload at `{commit.payload_offset:04x}`" in DOC
    assert f"the index piece starts at `{capture.segments[0].end:04x}`" in DOC


@pytest.mark.parametrize("rule", ["Readers MUST skip pieces of a kind they do not know", "Written bytes never change"])
def test_the_rules_others_rely_on_stay(rule: str) -> None:
    assert rule in DOC
