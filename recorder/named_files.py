"""The files and folders a user names for a recording: the two keys, and where it goes."""

import os
from pathlib import Path

from captures.errors import UsageError
from captures.policy_files import read_key
from captures.privacy.key import KEY_BYTES
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


def check_keys(key: Path | None, encrypt: Path | None) -> None:
    """Raises UsageError: whoever may read a tape would hold the key of its tokens as well."""
    if key is not None and encrypt is not None and key.resolve() == encrypt.resolve():
        raise UsageError(f"--encrypt {encrypt}: that is the --key file; two secrets need two files")


def read_keys(key: Path | None, storage: Storage) -> tuple[bytes, bytes | None]:
    """The key of the tokens, which lives in memory only where no file is named, and that of the tape. Raises UsageError."""
    check_keys(key, storage.encrypt)
    out, folder = str(storage.path), storage.rotation is not None
    secret = os.urandom(KEY_BYTES) if key is None else read_key(key, out, folder=folder)
    if storage.encrypt is None:
        return secret, None
    tape_key = read_key(storage.encrypt, out, "--encrypt", folder=folder)
    if tape_key == secret:
        raise UsageError(f"--encrypt {storage.encrypt}: that is the key in --key {key}; two secrets need two keys")
    return secret, tape_key
