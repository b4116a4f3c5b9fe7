"""Reads the pieces of one file: a little ahead, checked, decrypted. Pure: bytes come from ``read_at(offset, size)``, which gives
fewer at the end of the file.
"""

from collections.abc import Callable
from contextlib import suppress

from captures.cipher import OUTSIDE, PieceCipher
from captures.frame import (
    CRC_SIZE,
    PIECE_HEADER_SIZE,
    FrameError,
    Piece,
    check_payload,
    unpack_piece_header,
)

type ReadAt = Callable[[int, int], bytes]

AHEAD_BYTES = (1 << 12, 1 << 16)  # least and most that is read at a look at a piece header


class CutError(Exception):
    """The end of the file came first: the normal trace of a killed recorder. Never leaves ``captures``."""


class PieceReader:
    """``size``: where the file ends for us; what was appended since is not there. ``cipher``: of an encrypted file."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self.size = size
        self.cipher: PieceCipher | None = None
        self._read_at = read_at
        self._block, self._block_at, self._ahead = b"", 0, AHEAD_BYTES[0]

    def bytes_at(self, offset: int, size: int) -> bytes:
        """So many bytes, fewer at the end of the file; what follows them is read along. Raises FrameError."""
        inside = offset - self._block_at
        if not 0 <= inside <= len(self._block) - size:
            # Small pieces stand close together: then more at a time. Large ones are leapt over: then little.
            near = 0 <= inside <= 2 * len(self._block)
            self._ahead = min(2 * self._ahead, AHEAD_BYTES[1]) if near else AHEAD_BYTES[0]
            self._block, self._block_at, inside = b"", offset, 0
            self.hold(offset, max(size, self._ahead))
            if not self._block:  # what cannot be read may stand behind what is wanted
                return self.far_bytes(offset, size)
        return self._block[inside : inside + size]

    def far_bytes(self, offset: int, size: int) -> bytes:
        """As `bytes_at`, reading exactly these. Raises FrameError."""
        try:
            return self._read_at(offset, max(min(size, self.size - offset), 0))
        except OSError as error:  # a bad sector costs what stands on it
            raise FrameError(f"it cannot be read: {error.strerror or error}") from error

    def hold(self, offset: int, size: int, most: int = AHEAD_BYTES[1]) -> None:
        """Read a range in one go if it is small: its pieces will be looked at now."""
        inside = offset - self._block_at
        if size <= most and not 0 <= inside <= len(self._block) - size:
            with suppress(FrameError):  # then piece by piece, up to the one that cannot be read
                self._block, self._block_at = self.far_bytes(offset, size), offset

    def forget(self) -> None:
        """The file has changed: read it again."""
        self._block = b""

    def piece(self, offset: int, stop: int) -> Piece:
        """The piece at an offset; it must end before ``stop``. Raises FrameError, CutError."""
        header = self.bytes_at(offset, PIECE_HEADER_SIZE)
        if len(header) < PIECE_HEADER_SIZE or offset + PIECE_HEADER_SIZE > stop:
            raise CutError
        piece = unpack_piece_header(header, offset, encrypted=self.cipher is not None)
        if piece.end > stop:
            raise CutError
        return piece

    def stored(self, piece: Piece) -> bytes:
        """The payload as it is in the file, checked. Raises FrameError."""
        inside, size = piece.payload_offset - self._block_at, piece.stored + CRC_SIZE
        if 0 <= inside <= len(self._block) - size:
            data = self._block[inside : inside + size]
        elif size <= AHEAD_BYTES[0]:
            data = self.bytes_at(piece.payload_offset, size)
        else:
            data = self.far_bytes(piece.payload_offset, size)
        if len(data) < size:
            raise FrameError("the file became shorter")
        payload = data[: piece.stored]
        check_payload(payload, data[piece.stored :], piece.kind)
        return payload

    def payload(self, piece: Piece, segment: int = OUTSIDE, ordinal: int = 0) -> bytes:
        """Checked and decrypted, not decompressed. ``segment`` and ``ordinal``: the piece's place, as in captures/cipher.py.

        Raises FrameError.
        """
        stored = self.stored(piece)
        if self.cipher is None:
            return stored
        return self.cipher.open(piece.kind, piece.raw, segment, ordinal, stored, flags=piece.flags)

    def seal(self, piece: Piece) -> bytes:
        """What the digest of a file takes of a piece: its header and its payload's checksum. Raises FrameError."""
        return self.bytes_at(piece.offset, PIECE_HEADER_SIZE) + self.bytes_at(piece.end - CRC_SIZE, CRC_SIZE)
