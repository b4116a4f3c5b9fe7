"""Run folders: everything that was asked, sent and found, written beside its final name and promoted by one rename.

``run.json`` (inputs with digests, configuration, seed, versions, machine, verdict and why), ``attempts.tape``, ``summary.json``,
``report.html``, ``decisions.jsonl``. A folder that ends in ``.partial`` is a run that crashed.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import UsageError
from captures.header import Header
from captures.lineage import expiry_of, labels_of
from captures.store import create_capture
from captures.version import __version__

PARTIAL = ".partial"
TAPE = "attempts.tape"


class RunFolder:
    """A run being written. Use `create_run`; `promote` gives it its name."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.run_id = run_id
        self.started = now()
        self.partial = path.with_name(path.name + PARTIAL)

    def write_json(self, name: str, data: Mapping[str, object]) -> None:
        """Raises UsageError: the folder cannot be written."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        with self._writing():
            (self.partial / name).write_bytes(orjson.dumps(data, option=options))

    def write_text(self, name: str, text: str) -> None:
        """Raises UsageError: the folder cannot be written."""
        with self._writing():
            (self.partial / name).write_text(text, encoding="utf-8")

    def write_tape(
        self, name: str, header: Header, batches: Iterable[Batch], confessions: Confessions, *, key: bytes | None = None
    ) -> None:
        """A sealed capture of what was attempted, encrypted where a ``key`` is given. Raises UsageError: it cannot be written."""
        with self._writing(), create_capture(self.partial / name, header, key=key) as tape:
            for batch in batches:
                tape.append(batch)
                tape.flush(confessions)
            tape.seal(confessions)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk, or a folder that went away, is the user's to mend; what was written until then stays."""
        try:
            yield
        except OSError as error:
            raise UsageError(f"{self.partial}: the run cannot be written: {error.strerror}") from error

    def promote(self) -> Path:
        """Give the folder its name: from here on the run exists. Raises UsageError where somebody took the name meanwhile."""
        if self.path.exists():
            raise UsageError(f"{self.path}: exists by now; the run is complete in {self.partial}")
        self.partial.rename(self.path)
        return self.path


def new_run_id() -> str:
    return os.urandom(8).hex()


def create_run(out: Path | None, run_id: str) -> RunFolder:
    """``out`` None: ``runs/<utc time>-<short id>``. Raises UsageError: it exists already, or cannot be created."""
    path = out if out is not None else Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run_id[:6]}"
    if not path.name:
        raise UsageError(f"--out {path}: name the run's folder, one that does not exist yet")
    folder = RunFolder(path, run_id)
    if path.exists():
        raise UsageError(f"{path}: exists already; a run never overwrites another, choose another --out")
    try:
        folder.partial.mkdir(parents=True)
        folder.write_text("decisions.jsonl", "")
    except FileExistsError:
        raise UsageError(
            f"{folder.partial}: left by a run that crashed; move it away or choose another --out"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be created: {error.strerror}") from None
    return folder


def discard(folder: RunFolder) -> None:
    """Remove a run that never started sending: it holds nothing worth keeping. Only files of our own making go."""
    for name in ("decisions.jsonl",):
        (folder.partial / name).unlink(missing_ok=True)
    folder.partial.rmdir()


def run_header(
    producer: str,
    wall_ns: int,
    inputs: tuple[Mapping[str, object], ...],
    sources: Sequence[Header],
    policy: Header | None = None,
) -> Header:
    """The header of a run's tape. ``sources``: those of its inputs, whose labels and earliest expiry it inherits.
    ``policy``: the header of the capture whose policy its bodies passed.
    """
    return Header(
        file_id=os.urandom(16),
        recording_id=os.urandom(16),
        kind="run",
        wall_ns=wall_ns,
        producer=f"shadowtape {__version__} {producer}",
        policy=policy.policy if policy is not None else {},
        policy_digest=policy.policy_digest if policy is not None else "",
        inputs=inputs,
        labels=labels_of(sources),
        expires_ns=expiry_of(sources),
    )


def machine() -> dict[str, object]:
    """Where a run was made: for whoever wonders why another machine gives other numbers."""
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("aiohttp", "numpy", "uvloop", "zstandard") if _installed(name)}
    return {"shadowtape": __version__, "python": platform.python_version(), **libraries}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def new_key() -> bytes:
    """A key for what a run keeps. It lives in memory and dies with the run."""
    return os.urandom(32)
