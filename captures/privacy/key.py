"""The key of a recording's tokens. New keys come in as random bytes; reading and writing key files is a shell's job."""

import re
from hashlib import blake2b

from captures.errors import UsageError

KEY_BYTES = 32
_HEX = re.compile(rb"[0-9a-fA-F]{64}")


def key_id(key: bytes) -> str:
    """The fingerprint a capture's header carries: which key made the tokens, nothing about the key."""
    return blake2b(b"shadowtape key id", key=key, digest_size=8).hexdigest()


def key_text(key: bytes) -> bytes:
    """What a key file holds."""
    return key.hex().encode() + b"\n"


def parse_key(text: bytes, source: str) -> bytes:
    """A key file's key: 64 hexadecimal digits, or 32 bytes as they are. Raises `UsageError` naming ``source``."""
    if _HEX.fullmatch(text.strip()):
        return bytes.fromhex(text.strip().decode())
    if len(text) == KEY_BYTES:
        return text
    raise UsageError(f"{source}: not a key: expected {KEY_BYTES} bytes, or {2 * KEY_BYTES} hexadecimal digits")
