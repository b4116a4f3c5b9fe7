"""Where the key of encrypted captures comes from: a file that is named, or the environment. Opens files; keeps nothing."""

import os
from pathlib import Path

from captures.errors import UsageError
from captures.privacy.key import parse_key

KEY_VARIABLE = "SHADOWTAPE_TAPE_KEY"
FILE_VARIABLE = "SHADOWTAPE_TAPE_KEY_FILE"


def tape_key(file: Path | None = None) -> bytes | None:
    """The key in ``file``, else the one in SHADOWTAPE_TAPE_KEY (64 hexadecimal digits), else the one in the file that
    SHADOWTAPE_TAPE_KEY_FILE names, else None: nothing is encrypted. An empty variable counts as unset.

    Raises UsageError: a file that cannot be read, or something that is no key. The message never quotes it.
    """
    if file is not None:
        return _read(file, str(file))
    if text := os.environ.get(KEY_VARIABLE):
        # Never 32 bytes as they are: a passphrase of that length is not a key.
        if len(text.strip()) != 64:
            raise UsageError(f"{KEY_VARIABLE}: not a key: expected 64 hexadecimal digits")
        return parse_key(text.encode(errors="surrogateescape"), KEY_VARIABLE)
    if path := os.environ.get(FILE_VARIABLE):
        return _read(Path(path), f"{FILE_VARIABLE}: {path}")
    return None


def _read(file: Path, source: str) -> bytes:
    try:
        with file.open("rb") as opened:
            return parse_key(opened.read(200), source)
    except OSError as error:
        raise UsageError(f"{source}: the tape key cannot be read: {error.strerror}") from None
