"""Pieces, their checksums and limits."""

import struct
import zlib

import pytest

from captures.frame import (
    CIPHER_OVERHEAD,
    LIMITS,
    PIECE_HEADER_SIZE,
    TRAILER_SIZE,
    FrameError,
    Kind,
    PieceFlags,
    check_payload,
    pack_piece,
    pack_trailer,
    unpack_piece_header,
    unpack_trailer,
)
from captures.testing import flip


def header(kind: int, flags: int, stored: int, raw: int) -> bytes:
    fields = struct.pack("<BBII", kind, flags, stored, raw)
    return fields + struct.pack("<I", zlib.crc32(fields))


def test_a_piece_reads_back() -> None:
    data = pack_piece(Kind.MESSAGES, b"stored", raw=100)
    piece = unpack_piece_header(data[:PIECE_HEADER_SIZE], 1000)

    assert (piece.kind, piece.stored, piece.raw, piece.offset) == (Kind.MESSAGES, 6, 100, 1000)
    assert piece.end == 1000 + len(data)
    check_payload(data[PIECE_HEADER_SIZE:-4], data[-4:], piece.kind)


@pytest.mark.parametrize("offset", range(PIECE_HEADER_SIZE))
def test_a_flipped_byte_of_a_piece_header_is_seen(offset: int) -> None:
    with pytest.raises(FrameError, match="checksum"):
        unpack_piece_header(flip(pack_piece(Kind.COMMIT, b"x"), offset)[:PIECE_HEADER_SIZE], 0)


def test_a_flipped_byte_of_a_payload_is_seen() -> None:
    data = pack_piece(Kind.COMMIT, b"x")

    with pytest.raises(FrameError, match="checksum"):
        check_payload(b"y", data[-4:], Kind.COMMIT)


@pytest.mark.parametrize(
    ("kind", "flags", "stored", "raw", "reason"),
    [
        (Kind.MESSAGES, 1, 0xFFFFFFFF, 10, "limit"),
        (Kind.MESSAGES, 1, 10, 0xFFFFFFFF, "limit"),
        (Kind.MESSAGES, 4, 1, 1, "unknown flags"),
        (Kind.BODIES, 1, 0xFFFFFFFF, 10, "limit"),
        (Kind.BODIES, 1, 10, 0xFFFFFFFF, "limit"),
        (Kind.BODIES, 1, LIMITS["stored"] + 1, 1, "limit"),
        (Kind.BODIES, 1, 1, LIMITS["raw"] + 1, "limit"),
        (Kind.COMMIT, 0, LIMITS["meta"] + 1, LIMITS["meta"] + 1, "limit"),
        (99, 0, LIMITS["stored"] + 1, 0, "limit"),
        (Kind.BODIES, 4, 1, 1, "unknown flags"),
        (Kind.BODIES, 2, 29, 1, "in clear in an encrypted file, or the reverse"),
        (Kind.COMMIT, 0, 1, 2, "length"),
        *((kind, 1, 1, 1, "unknown flags") for kind in (Kind.HEADER, Kind.START, Kind.COMMIT, Kind.INDEX)),
    ],
)
def test_what_a_piece_may_not_claim(kind: int, flags: int, stored: int, raw: int, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        unpack_piece_header(header(kind, flags, stored, raw), 0)


def test_a_piece_of_an_encrypted_file_is_encrypted_and_its_length_counts_nonce_and_tag() -> None:
    data = pack_piece(Kind.COMMIT, bytes(CIPHER_OVERHEAD + 3), raw=3, flags=PieceFlags.ENCRYPTED)
    piece = unpack_piece_header(data[:PIECE_HEADER_SIZE], 0, encrypted=True)

    assert (piece.stored, piece.raw, piece.flags) == (CIPHER_OVERHEAD + 3, 3, PieceFlags.ENCRYPTED)


@pytest.mark.parametrize(
    ("kind", "flags", "stored", "raw", "reason"),
    [
        (Kind.MESSAGES, 1, 10, 10, "in clear"),
        (Kind.MESSAGES, 3, CIPHER_OVERHEAD - 1, 5, "length"),
        (Kind.BODIES, 1, 10, 10, "in clear"),
        (Kind.COMMIT, 0, 10, 10, "in clear"),
        (Kind.COMMIT, 2, 10, 10, "length"),
        (Kind.COMMIT, 2, CIPHER_OVERHEAD - 1, 0, "length"),
        (Kind.BODIES, 3, CIPHER_OVERHEAD - 1, 5, "length"),
        (Kind.BODIES, 7, CIPHER_OVERHEAD + 1, 5, "unknown flags"),
    ],
)
def test_what_a_piece_of_an_encrypted_file_may_not_claim(
    kind: int, flags: int, stored: int, raw: int, reason: str
) -> None:
    with pytest.raises(FrameError, match=reason):
        unpack_piece_header(header(kind, flags, stored, raw), 0, encrypted=True)


def test_unknown_kinds_may_have_unknown_flags() -> None:
    for encrypted in (False, True):
        assert unpack_piece_header(header(200, 128, 5, 7), 0, encrypted=encrypted).end == PIECE_HEADER_SIZE + 5 + 4


def test_a_trailer_reads_back_and_nothing_else_is_one() -> None:
    trailer = pack_trailer(123456)

    assert len(trailer) == TRAILER_SIZE
    assert unpack_trailer(trailer) == 123456
    assert [flip(trailer, i) for i in range(TRAILER_SIZE) if unpack_trailer(flip(trailer, i)) is not None] == []
    assert unpack_trailer(trailer[1:]) is None
