"""Starts and ends a recording around a relay: policy, key, clock, spool. Shared by the command and the mitmdump script."""

import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from captures.errors import UsageError
from captures.privacy.policy import Policy
from captures.version import __version__
from recorder.options import KEY_BYTES, Address, parse_key
from recorder.recording import Counts, Recording
from recorder.spool import Report, SpoolClient

CUT = "the relay stopped"


@dataclass(frozen=True, slots=True)
class Session:
    """A recording that runs. ``path`` is where it really goes."""

    recording: Recording
    spool: SpoolClient
    zero_ns: int
    path: str

    def close(self) -> Report:
        """End it: what is still open becomes a failure, the queue is drained, the file sealed. Waits."""
        self.recording.abandon(time.monotonic_ns() - self.zero_ns, CUT)
        return self.spool.close()


def start_session(
    out: Path,
    *,
    policy: Path | None,
    key: Path | None,
    sampling_rate: float,
    sources: Sequence[Address],
    on_trouble: Callable[[str], None],
) -> Session:
    """Raises UsageError before anything is opened that traffic could see."""
    check_folder(out)
    chosen = read_policy(policy)
    secret = os.urandom(KEY_BYTES) if key is None else read_key(key, out)
    counts = Counts()
    spool = SpoolClient(counts, on_trouble)
    zero_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    path = spool.start(
        {
            "out": str(out),
            "policy": chosen.as_data(),
            "key": secret,
            "sampling_rate": sampling_rate,
            "sources": [(source.host, source.port) for source in sources],
            "wall_ns": wall_ns,
            "producer": f"shadowtape {__version__} record",
        }
    )
    if path != str(out):
        print(f"{out} exists already: recording into {path}", file=sys.stderr, flush=True)
    return Session(Recording(spool.offer, counts, rate=sampling_rate), spool, zero_ns, path)


def check_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it first")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: the folder {out.parent} is not writable")


def read_policy(path: Path | None) -> Policy:
    """The default policy where none is named. Raises UsageError."""
    if path is None:
        return Policy()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--policy {path}: cannot be read: {_why(error)}") from None
    return Policy.from_yaml(text)


def read_key(path: Path, out: Path) -> bytes:
    """The key in a file; a missing file is made, for its owner only. Raises UsageError.

    Never beside the tape: whoever copies the folder would copy the means to recompute every token.
    """
    if path.parent.resolve() == out.parent.resolve():
        raise UsageError(f"--key {path}: keep the key away from the tape; name a file in another folder")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing_key(path)
    except OSError as error:
        raise UsageError(f"--key {path}: cannot be made: {_why(error)}") from None
    key = os.urandom(KEY_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key


def _existing_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096).decode("ascii", "replace")
    except OSError as error:
        raise UsageError(f"--key {path}: cannot be read: {_why(error)}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"--key {path}: others can read it; run chmod 600 on it, or name a new file")
    return parse_key(text, str(path))


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8 text"


def closing_line(report: Report) -> str:
    said = report.confessions
    left_out = ("shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors")
    counts = ", ".join(f"{name.replace('_', ' ')} {getattr(said, name)}" for name in left_out)
    line = f"recorded {report.kept} of {said.seen} exchanges into {report.path} ({counts})"
    return f"{line}; incomplete: {report.trouble}" if report.trouble else line
