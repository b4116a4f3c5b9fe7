"""The files that say what may be kept: the policy, and the keys of tokens and of captures. Opens and makes files."""

import os
import stat
from pathlib import Path

from captures.errors import UsageError
from captures.locations import is_remote
from captures.privacy.key import KEY_BYTES, key_text, parse_key
from captures.privacy.policy import Policy


def read_policy(path: Path | None, option: str = "--policy ") -> Policy:
    """The default policy where none is named. Raises UsageError."""
    if path is None:
        return Policy()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option}{path}: cannot be read: {_why(error)}") from None
    return Policy.from_yaml(text, f"{option}{path}")


def read_key(path: Path, out: str, option: str = "--key", *, folder: bool = False) -> bytes:
    """The key in a file; a missing file is made, for its owner only. Raises UsageError.

    Never beside the capture ``out``, nor anywhere in it where it is a ``folder`` of tapes: whoever copies them would copy the key.
    """
    if not is_remote(out) and any(_is_with(home, Path(out), folder=folder) for home in _homes(path)):
        raise UsageError(f"{option} {path}: keep the key away from the capture; name a file in another folder")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing_key(path, option)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be made: {_why(error)}") from None
    key = os.urandom(KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key_text(key))
    return key


def _homes(path: Path) -> tuple[Path, Path]:
    """Where the file is named, and where it is: a link leads elsewhere."""
    return path.parent.resolve(), path.resolve().parent


def _is_with(home: Path, out: Path, *, folder: bool) -> bool:
    return home.is_relative_to(out.resolve()) if folder else home == out.parent.resolve()


def _existing_key(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be read: {_why(error)}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{option} {path}: others can read it; run chmod 600 on it, or name a new file")
    return parse_key(text, f"{option} {path}")


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8 text"
