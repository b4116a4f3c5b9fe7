"""Starts and ends a recording around a relay, and keeps its spool process fed and watched.

Shared by ``shadowtape record`` and the mitmdump script. `SpoolClient` is the relay's side of the queue: it never waits,
an exchange is queued or shed.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.exchange import Exchange
from captures.policy_files import read_policy
from captures.version import __version__
from recorder.frames import Frames, frame, pack_exchange, write_all
from recorder.labels import check_labels, parse_labels
from recorder.named_files import check_storage, read_keys
from recorder.options import Address, Storage
from recorder.recording import Counts, Recording
from recorder.report import Report
from recorder.uploading import UPLOAD_WAIT_S

QUEUE_BYTES = 64 << 20
CLOSE_S = 20.0
START_S = 30.0  # a loaded machine may take seconds to import numpy
TELL_S = 1.0  # how often the spool hears of counts that changed without an exchange
_EXCHANGE_OVERHEAD = 1024  # bytes a queued exchange costs beside its bodies: objects, headers
_READ = 1 << 20
CUT = "the recording ended"


class SpoolClient:
    """The relay's side. ``on_trouble`` is called once, ``on_note`` at times, from another thread: a line for the operator."""

    def __init__(
        self,
        counts: Counts,
        on_trouble: Callable[[str], None],
        on_note: Callable[[str], None] = lambda _: None,
        *,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.path = ""
        self.trouble = ""
        self._counts = counts
        self._on_trouble = on_trouble
        self._on_note = on_note
        self._limit = queue_bytes
        self._queue: SimpleQueue[tuple[tuple[int, ...], Exchange, int] | None] = SimpleQueue()
        self._put_bytes = 0  # written by the relay's thread only
        self._taken_bytes = 0  # written by the pump only, so that neither needs a lock
        self._accepted = 0
        self._settings: Mapping[str, object] = {}
        self._account: Mapping[str, object] = {}
        self._done = False
        self._closing = False
        self._troubled = threading.Lock()
        self._ready = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="spool-watch", daemon=True)
        self._pump = threading.Thread(target=self._pump_all, name="spool-pump", daemon=True)

    def start(self, settings: Mapping[str, object]) -> None:
        """Start the process and return at once; `ready` waits for it."""
        self._settings = settings
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "recorder.spool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # The very files that run here, wherever the command was started.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to_spool, self._from_spool = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._watcher.start()
        with contextlib.suppress(OSError):  # died at once: `ready` says so
            self._write(dict(settings))

    def ready(self) -> str:
        """Wait until the file is open; its path. Raises UsageError."""
        if not self._ready.wait(START_S) or not self.path:
            self._process.kill()
            self._watcher.join()
            self._release()
            raise UsageError(self.trouble or f"the spool process did not start within {START_S:.0f} s")
        self._pump.start()
        return self.path

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def queued_bytes(self) -> int:
        return self._put_bytes - self._taken_bytes

    def offer(self, exchange: Exchange) -> bool:
        """Queue an exchange; False where it does not fit or nobody would write it. Never waits."""
        cost = _EXCHANGE_OVERHEAD + exchange.request.size + (exchange.response.size if exchange.response else 0)
        if self.trouble or self._closing or self.queued_bytes + cost > self._limit:
            return False
        self._put_bytes += cost
        self._accepted += 1
        self._queue.put((self._counts.snapshot(), exchange, cost))
        return True

    def close(self, timeout_s: float = CLOSE_S) -> Report:
        """Write what is queued, seal, and wait for the process: ``timeout_s`` in all, and as long again as uploads may take. Waits:
        not for an event loop's thread.
        """
        timeout_s += UPLOAD_WAIT_S if self._settings.get("url") else 0
        until = time.monotonic() + timeout_s
        self._closing = True
        self._queue.put(None)
        self._pump.join(timeout_s)
        self._watcher.join(max(0.0, until - time.monotonic()))
        if self._watcher.is_alive():
            self._complain(f"the spool process did not finish within {timeout_s:.0f} s")
        self._release()
        return self._report()

    def _release(self) -> None:
        """Close our ends of the pipes; a stuck thread keeps its own until the program ends, which ends the process too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            if not self._pump.is_alive():
                self._process.stdin.close()
            if not self._watcher.is_alive():
                self._process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def _report(self) -> Report:
        account = dict(self._account)
        kept, told = account.pop("kept", 0), account.pop("confessions", None)
        account.pop("kind", None)
        assert isinstance(kept, int)
        if self._done and isinstance(told, Mapping):
            confessions = Confessions(**told)
        else:
            # The process died on us: whatever was accepted and not known to be on disk counts as shed.
            seen, shed, sampled_out, own, unparsed, hook_errors = self._counts.snapshot()
            confessions = Confessions(
                seen=seen,
                shed=shed + self._accepted - kept,
                sampled_out=sampled_out,
                own=own,
                unparsed=unparsed,
                hook_errors=hook_errors,
                sampling_rate=float(str(self._settings.get("sampling_rate", 1.0))),
            )
        extra: Any = account  # our own process's words: the fields of a report
        return Report(path=self.path, kept=kept, confessions=confessions, trouble=self.trouble, **extra)

    def _pump_all(self) -> None:
        """Queue -> pipe, on a thread of its own: writing to a pipe may wait for a slow reader, relaying must not."""
        told: tuple[int, ...] = ()
        with contextlib.suppress(OSError):  # a broken pipe is the watcher's news
            while (item := self._next()) is not None:
                counts, exchange, cost = item
                if exchange is None and counts == told:
                    continue
                told = counts
                self._write((counts, None if exchange is None else pack_exchange(exchange)))
                self._taken_bytes += cost
            self._write((self._counts.snapshot(), None))
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _write(self, value: object) -> None:
        write_all(lambda data: os.write(self._to_spool, data), frame(value))

    def _next(self) -> tuple[tuple[int, ...], Exchange | None, int] | None:
        try:
            return self._queue.get(timeout=TELL_S)
        except Empty:
            return self._counts.snapshot(), None, 0

    def _watch(self) -> None:
        """Status pipe -> what the operator must know. Its end without a goodbye means the process died."""
        frames = Frames()
        with contextlib.suppress(OSError):
            while data := os.read(self._from_spool, _READ):
                for told in frames.feed(data):
                    assert isinstance(told, Mapping)
                    self._hear(told)
        if not self._done:
            code = self._process.wait()
            self._complain(f"the spool process died ({'signal' if code < 0 else 'exit code'} {abs(code)})")
        self._ready.set()

    def _hear(self, told: Mapping[str, object]) -> None:
        kind = told["kind"]
        if kind == "ready":
            self.path = str(told["path"])
            self._ready.set()
        elif kind == "refused":
            self.trouble = str(told["message"])
            self._ready.set()
        elif kind == "trouble":
            self._complain(str(told["message"]))
        elif kind == "note":
            self._on_note(str(told["message"]))
        else:
            self._account = told
            self._done = kind == "done"

    def _complain(self, trouble: str) -> None:
        with self._troubled:
            if self.trouble:
                return
            self.trouble = trouble
        if self.path:
            self._on_trouble(trouble)


@dataclass(frozen=True, slots=True)
class Session:
    """A recording that runs. ``path`` is where it really goes."""

    recording: Recording
    spool: SpoolClient
    zero_ns: int
    path: str

    def now_ns(self) -> int:
        return time.monotonic_ns() - self.zero_ns

    def close(self) -> Report:
        """End it: what is still open becomes a failure, the queue is drained, the file sealed. Waits."""
        self.recording.abandon(self.now_ns(), CUT)
        return self.spool.close()


def start_session(
    storage: Storage,
    *,
    policy: Path | None,
    key: Path | None,
    sampling_rate: float,
    sources: Sequence[Address],
    on_trouble: Callable[[str], None],
    on_note: Callable[[str], None],
    meanwhile: Callable[[], object] = lambda: None,
) -> Session:
    """Raises UsageError before anything is opened that traffic could see. ``meanwhile`` is called while the spool starts."""
    check_storage(storage)
    chosen = read_policy(policy)
    check_labels(parse_labels(storage.labels), chosen.headers_dropped)
    secret, tape_key = read_keys(key, storage)
    counts = Counts()
    spool = SpoolClient(counts, on_trouble, on_note)
    zero_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    spool.start(
        {
            "path": str(storage.path),
            "url": storage.url,
            "rotation": None if storage.rotation is None else asdict(storage.rotation),
            "expire_ns": storage.expire_ns,
            "min_free": storage.min_free,
            "fsync": storage.fsync,
            "labels": storage.labels,
            "policy": chosen.as_data(),
            "key": secret,
            "tape_key": tape_key,
            "sampling_rate": sampling_rate,
            "sources": [(source.host, source.port) for source in sources],
            "wall_ns": wall_ns,
            "producer": f"shadowtape {__version__} record",
        }
    )
    meanwhile()
    path = spool.ready()
    if storage.rotation is None and path != str(storage.path):
        on_note(f"{storage.path} exists already: recording into {path}")
    return Session(Recording(spool.offer, counts, rate=sampling_rate), spool, zero_ns, path)
