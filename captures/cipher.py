"""Encryption of pieces: AES-256-GCM, one key per file, every piece bound to its place (docs/format.md, "Encryption"). Pure."""

import struct
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from captures.frame import CIPHER_OVERHEAD, NONCE_SIZE, FrameError, kind_name

CIPHER = "AES-256-GCM"
KEY_BYTES = 32
OUTSIDE = 0xFFFFFFFF
"""The segment of pieces that stand outside of one: every ``start`` (which says its number inside) and the ``index``."""

_NONCE = struct.Struct("<QI")
_PLACE = struct.Struct("<BBIII")


def fingerprint(key: bytes) -> str:
    """Which key a file needs, and nothing about the key: what its header carries as ``key_id``."""
    return blake2b(b"shadowtape tape key id", key=key, digest_size=8).hexdigest()


class PieceCipher:
    """Seals and opens the pieces of one file. To seal, one object serves one file from its beginning to its end: it counts the
    nonces, and a nonce that was given out is never given out again, whether or not its piece came to be written.
    """

    def __init__(self, key: bytes, header: bytes) -> None:
        """``header``: the payload of the header piece. Raises ValueError: a key that is not KEY_BYTES long."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a tape key is {KEY_BYTES} bytes")
        # The header holds the file's id and marker, both random: no two files share a digest, so none share a key.
        self._header = blake2b(header, digest_size=16).digest()
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self._header, info=b"shadowtape piece key")
        self._aead = AESGCM(derived.derive(key))
        self._sealed = 0

    def seal(self, kind: int, raw: int, segment: int, piece: int, payload: bytes, *, flags: int) -> bytes:
        """The payload as stored: nonce, ciphertext, tag. ``segment`` is OUTSIDE, or the number the start of the piece's segment
        says; ``piece`` its ordinal there (start 0, then 1, 2, … over all flushes, commits included; index 0); ``raw`` and
        ``flags`` as in its piece header.
        """
        nonce = _NONCE.pack(self._sealed, 0)
        self._sealed += 1
        return nonce + self._aead.encrypt(nonce, payload, self._place(kind, raw, segment, piece, flags))

    def open(self, kind: int, raw: int, segment: int, piece: int, stored: bytes, *, flags: int) -> bytes:
        """What `seal` was given. Raises FrameError: another key, or anything about the piece or its place was changed."""
        nonce, sealed = stored[:NONCE_SIZE], stored[NONCE_SIZE:]
        if len(stored) < CIPHER_OVERHEAD:
            raise FrameError(f"an encrypted piece is too short ({kind_name(kind)})")
        try:
            return self._aead.decrypt(nonce, sealed, self._place(kind, raw, segment, piece, flags))
        except InvalidTag:
            raise FrameError(f"a piece does not decrypt: it was changed or moved ({kind_name(kind)})") from None

    def _place(self, kind: int, raw: int, segment: int, piece: int, flags: int) -> bytes:
        return self._header + _PLACE.pack(kind, flags, raw, segment, piece)
