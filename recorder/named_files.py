"""The files and folders a user names for a recording: the policy, the two keys, and where it goes."""

import os
import stat
from pathlib import Path

from captures.errors import UsageError
from captures.privacy.key import KEY_BYTES, key_text, parse_key
from captures.privacy.policy import Policy
from recorder.options import Storage


def state_folder() -> Path:
    """The user's folder for what programs keep between runs (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def check_storage(storage: Storage) -> None:
    """Raises UsageError: no such folder, or not a writable one."""
    path = storage.path
    if storage.rotation is not None and path.exists() and not path.is_dir():
        raise UsageError(f"--out {storage.out}: not a folder; one file is called {path.name}.tape")
    folder = path if storage.rotation is not None and path.is_dir() else path.parent
    if storage.url:  # a staging folder of ours: made with its parents
        folder = next(each for each in (path, *path.parents) if each.is_dir())
    if not folder.is_dir():
        raise UsageError(f"--out {storage.out}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--out {storage.out}: the folder {folder} is not writable")


def read_policy(path: Path | None) -> Policy:
    """The default policy where none is named. Raises UsageError."""
    if path is None:
        return Policy()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--policy {path}: cannot be read: {_why(error)}") from None
    return Policy.from_yaml(text, f"--policy {path}")


def check_keys(key: Path | None, encrypt: Path | None) -> None:
    """Raises UsageError: whoever may read a tape would hold the key of its tokens as well."""
    if key is not None and encrypt is not None and key.resolve() == encrypt.resolve():
        raise UsageError(f"--encrypt {encrypt}: that is the --key file; two secrets need two files")


def read_key(path: Path, storage: Storage, option: str = "--key") -> bytes:
    """The key in a file; a missing file is made, for its owner only. Raises UsageError.

    Never beside the tape, nor anywhere in a folder of tapes: whoever copies the folder would copy the key.
    """
    home = path.parent.resolve()
    one_file = storage.rotation is None
    if home == storage.path.parent.resolve() if one_file else home.is_relative_to(storage.path.resolve()):
        raise UsageError(f"{option} {path}: keep the key away from the tape; name a file in another folder")
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
