"""The frame of a capture file: magic, pieces, limits, trailer. docs/format.md says why; a test compares the two.

Rules: this file knows bytes and checksums, and not what is inside a payload. Numbers in here are on people's
disks: never change or reuse one.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag

MAGIC = b"\x89TAPE\r\n"  # followed by one byte: the version
FORMAT_VERSION = 2  # what is written; every older one is read
MAGIC_SIZE = len(MAGIC) + 1
SYNC_SIZE = 16
END = b"\x89EPAT\r\n\x01"

LIMITS = {
    "stored": 288 << 20,  # payload of one piece, as stored; above "raw" because incompressible bytes grow a little
    "raw": 256 << 20,  # payload of one piece, decompressed
    "meta": 16 << 20,  # payload of a header, start, commit or index
    "segment": 512 << 20,  # one kind of piece over a whole segment, decompressed
    "heads": 32 << 20,  # of one segment, decompressed
    "exchanges": 1 << 16,  # in one segment
    "pieces": 1 << 19,  # of one segment, its start not counted
    "columns": 1 << 9,  # of one segment
    "window": 8 << 20,  # of a zstd stream
    "time": 1
    << 62,  # ns from the capture's zero, and of that from the unix epoch, to either side; then no sum of two overflows
}


class Kind(IntEnum):
    HEADER = 1
    START = 2
    COLUMNS = 3
    NAMES = 4
    HEADS = 5
    CHUNKS = 6
    BODIES = 7
    COMMIT = 8
    INDEX = 9
    MESSAGES = 10


class PieceFlags(IntFlag):
    ZSTD = 1
    ENCRYPTED = 2


META_KINDS = frozenset({Kind.HEADER, Kind.START, Kind.COMMIT, Kind.INDEX})
STREAM_KINDS = (Kind.COLUMNS, Kind.NAMES, Kind.HEADS, Kind.CHUNKS, Kind.BODIES, Kind.MESSAGES)

# A walk looks at every piece header of a file; plain numbers make that several times faster than enums do.
_KINDS = frozenset(map(int, Kind))
_ZSTD, _ENCRYPTED = int(PieceFlags.ZSTD), int(PieceFlags.ENCRYPTED)
_STORED, _RAW, _META = (LIMITS[name] for name in ("stored", "raw", "meta"))

_HEADER = struct.Struct("<BBIII")
_FIELDS = struct.Struct("<BBII")
_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<QII8s")
PIECE_HEADER_SIZE = _HEADER.size
CRC_SIZE = _CRC.size
CHUNK_SIZE = 12  # of a body chunk in a "chunks" payload: <i8 time, <u4 bytes
TRAILER_SIZE = _TRAILER.size
NONCE_SIZE = 12
TAG_SIZE = 16
CIPHER_OVERHEAD = NONCE_SIZE + TAG_SIZE  # what encryption adds to a payload: nonce in front, tag behind


class FrameError(ValueError):
    """The bytes are not what docs/format.md says; the message is the reason reported as damage. Never leaves ``captures``."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece found at ``offset``; its payload is not read yet."""

    offset: int
    kind: int
    flags: int
    stored: int
    raw: int

    @property
    def payload_offset(self) -> int:
        return self.offset + PIECE_HEADER_SIZE

    @property
    def end(self) -> int:
        return self.offset + PIECE_HEADER_SIZE + self.stored + CRC_SIZE


def crc(data: bytes) -> int:
    return zlib.crc32(data)


def kind_name(kind: int) -> str:
    """As reports name a kind of piece: "columns", "kind 77"."""
    return Kind(kind).name.lower() if kind in Kind else f"kind {kind}"


def pack_piece(kind: int, payload: bytes, *, raw: int | None = None, flags: int | None = None) -> bytes:
    """A whole piece. ``payload``: as stored. ``raw``: its length once decrypted and decompressed; None: it is neither. ``flags``:
    PieceFlags; None: what ``raw`` says.
    """
    if flags is None:
        flags = 0 if raw is None else PieceFlags.ZSTD
    fields = _FIELDS.pack(kind, flags, len(payload), len(payload) if raw is None else raw)
    return b"".join((fields, _CRC.pack(crc(fields)), payload, _CRC.pack(crc(payload))))


def seal_of_piece(piece: bytes) -> bytes:
    """What the digest of a file takes of a piece: its header and its payload's checksum."""
    return piece[:PIECE_HEADER_SIZE] + piece[-CRC_SIZE:]


def unpack_piece_header(data: bytes, offset: int, *, encrypted: bool = False) -> Piece:
    """``encrypted``: whether the pieces of this file are; its header never is. Raises FrameError: checksum, limits, flags.
    Nothing it returns has been allocated for yet.
    """
    kind, flags, stored, raw, header_crc = _HEADER.unpack_from(data)
    if crc(data[: PIECE_HEADER_SIZE - CRC_SIZE]) != header_crc:
        raise FrameError("checksum of a piece header does not match")
    if stored > _STORED or raw > _RAW or (kind in META_KINDS and stored > _META):
        raise FrameError(f"a piece claims more bytes than the limit ({kind_name(kind)}: {stored} stored, {raw} raw)")
    if kind in _KINDS:
        if flags & ~(_ZSTD | _ENCRYPTED) or (flags & _ZSTD and kind in META_KINDS):
            raise FrameError(f"a piece has unknown flags ({kind_name(kind)}: {flags})")
        if bool(flags & _ENCRYPTED) != encrypted:
            raise FrameError(f"a piece in clear in an encrypted file, or the reverse ({kind_name(kind)})")
        plain = stored - CIPHER_OVERHEAD if encrypted else stored
        if plain < 0 or (not flags & _ZSTD and plain != raw):
            raise FrameError(f"a piece contradicts itself about its length ({kind_name(kind)})")
    return Piece(offset, kind, flags, stored, raw)


def check_payload(payload: bytes, payload_crc: bytes, kind: int) -> None:
    """Raises FrameError."""
    if _CRC.unpack(payload_crc)[0] != crc(payload):
        raise FrameError(f"checksum of a payload does not match ({kind_name(kind)})")


def pack_trailer(index_offset: int) -> bytes:
    return _TRAILER.pack(index_offset, crc(struct.pack("<Q", index_offset)), 0, END)


def unpack_trailer(data: bytes) -> int | None:
    """Where the index starts; None: this is no trailer."""
    if len(data) != TRAILER_SIZE:
        return None
    offset, trailer_crc, zero, end = _TRAILER.unpack(data)
    if end != END or zero != 0 or trailer_crc != crc(struct.pack("<Q", offset)):
        return None
    return int(offset)
