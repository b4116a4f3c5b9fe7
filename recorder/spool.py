"""The spool: a bounded queue in the relay, a pipe, and a process that decodes, pseudonymises and writes.

The relay's side (`SpoolClient`) never waits: an exchange is queued or shed. The process's side (`main`, started as
``python -m recorder.spool``) outlives the relay by what the pipe still holds: end of file means seal and leave, whether the relay
said goodbye or was killed. Policy, key and everything else arrive over the pipe, so that neither the process
list nor an environment shows them. Nothing raw is ever written outside memory and the pipe.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from captures.confessions import Confessions
from captures.errors import ShadowtapeError, UsageError
from captures.exchange import Exchange
from captures.header import Header, source_digest
from captures.privacy.key import key_id
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.store import TapeFile, create_capture
from recorder.frames import Frames, frame, pack_exchange
from recorder.intake import Intake
from recorder.options import numbered
from recorder.recording import Counts

QUEUE_BYTES = 64 << 20
FLUSH_S = 1.0
START_S = 30.0  # a loaded machine may take seconds to import numpy
_EXCHANGE_OVERHEAD = 1024  # bytes a queued exchange costs beside its bodies: objects, headers
_READ = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a recording ended. ``kept`` is the exchanges the file holds; ``trouble`` is "" or why it is incomplete."""

    path: str
    kept: int
    confessions: Confessions
    trouble: str = ""


class SpoolClient:
    """The relay's side. ``on_trouble`` is called once, from another thread, with one line for the operator."""

    def __init__(self, counts: Counts, on_trouble: Callable[[str], None], *, queue_bytes: int = QUEUE_BYTES) -> None:
        self.path = ""
        self.trouble = ""
        self._counts = counts
        self._on_trouble = on_trouble
        self._limit = queue_bytes
        self._queue: SimpleQueue[tuple[tuple[int, ...], Exchange, int] | None] = SimpleQueue()
        self._put_bytes = 0  # written by the relay's thread only
        self._taken_bytes = 0  # written by the pump only, so that neither needs a lock
        self._accepted = 0
        self._settings: Mapping[str, object] = {}
        self._answers: list[Mapping[str, object]] = []
        self._account: Mapping[str, object] = {}
        self._done = False
        self._closing = False
        self._troubled = threading.Lock()

    def start(self, settings: Mapping[str, object]) -> str:
        """Start the process and wait until the file is open; its path. Raises UsageError."""
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
        self._ready = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="spool-watch", daemon=True)
        self._pump = threading.Thread(target=self._pump_all, name="spool-pump", daemon=True)
        self._watcher.start()
        with contextlib.suppress(OSError):
            _write_all(self._to_spool, frame(dict(settings)))
        if not self._ready.wait(START_S) or not self.path:
            self._closing = True
            self._process.kill()
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

    def close(self, timeout_s: float = 20.0) -> Report:
        """Write what is queued, seal, and wait for the process, ``timeout_s`` in all. Waits: not for an event loop's thread."""
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
        """Close our ends of the pipes, unless a stuck thread still holds them (the process then goes by end of file)."""
        for stream, user in ((self._process.stdin, self._pump), (self._process.stdout, self._watcher)):
            if stream is not None and (user is threading.current_thread() or not user.is_alive() or self._done):
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def _report(self) -> Report:
        kept = self._account.get("kept", 0)
        told = self._account.get("confessions")
        assert isinstance(kept, int)
        if self._done and isinstance(told, Mapping):
            return Report(path=self.path, kept=kept, confessions=Confessions(**told), trouble=self.trouble)
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
        return Report(path=self.path, kept=kept, confessions=confessions, trouble=self.trouble)

    def _pump_all(self) -> None:
        """Queue -> pipe, on a thread of its own: writing to a pipe may wait for a slow reader, relaying must not."""
        told: tuple[int, ...] = ()
        with contextlib.suppress(OSError):  # a broken pipe is the watcher's news
            while (item := self._next()) is not None:
                counts, exchange, cost = item
                if exchange is None and counts == told:
                    continue
                told = counts
                _write_all(self._to_spool, frame((counts, None if exchange is None else pack_exchange(exchange))))
                self._taken_bytes += cost
            _write_all(self._to_spool, frame((self._counts.snapshot(), None)))
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _next(self) -> tuple[tuple[int, ...], Exchange | None, int] | None:
        try:
            return self._queue.get(timeout=FLUSH_S)
        except Exception:  # noqa: BLE001 - queue.Empty, which SimpleQueue raises from C
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


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


# The process's side.


def main() -> int:
    """Read settings and frames from stdin until its end, answer on stdout. The relay decides when it is over, not signals."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)  # where there is one core for both, the relay goes first: the spool may be late, it must not slow traffic
    status = os.dup(1)
    os.dup2(2, 1)  # a stray print of a library must not become an answer

    def say(kind: str, **told: object) -> None:
        with contextlib.suppress(OSError):  # the relay is gone; the file still matters
            _write_all(status, frame({"kind": kind, **told}))

    try:
        _serve(0, say)
    except ShadowtapeError as error:
        say("refused", message=str(error))
        return error.exit_code
    return 0


def _serve(descriptor: int, say: Callable[..., None]) -> None:
    frames = Frames()
    waiting: list[object] = []
    while not waiting:
        if not (data := os.read(descriptor, _READ)):
            return
        waiting += frames.feed(data)
    settings = waiting.pop(0)
    assert isinstance(settings, Mapping)
    tape, path, intake = _open(settings)
    with contextlib.suppress(OSError), tape:
        say("ready", path=str(path))
        born = _identity(path)
        intake.take(waiting)
        due = time.monotonic() + FLUSH_S
        told = ""
        while True:
            if select.select([descriptor], [], [], max(0.0, due - time.monotonic()))[0]:
                if not (data := os.read(descriptor, _READ)):
                    break
                intake.take(list(frames.feed(data)))
            if time.monotonic() >= due:
                due = time.monotonic() + FLUSH_S
                if _checked(intake.flush, intake, path, born):
                    say("flushed", **intake.account())
            if intake.trouble != told:
                told = intake.trouble
                say("trouble", message=f"{path}: {told}")
        _checked(intake.seal, intake, path, born)
        if intake.trouble != told:
            say("trouble", message=f"{path}: {intake.trouble}")
    say("done", **intake.account())


def _open(settings: Mapping[str, object]) -> tuple[TapeFile, Path, Intake]:
    """Raises ShadowtapeError. An existing output never stops a recording: the next free number is taken."""
    out, policy_data, key = settings["out"], settings["policy"], settings["key"]
    rate, wall_ns = settings["sampling_rate"], settings["wall_ns"]
    assert isinstance(out, str)
    assert isinstance(policy_data, dict)
    assert isinstance(key, bytes)
    assert isinstance(rate, float)
    assert isinstance(wall_ns, int)
    policy = Policy.from_data(policy_data)
    file_id = os.urandom(16)
    sources: tuple[tuple[str, int], ...] = settings["sources"]  # type: ignore[assignment]  # our own frame
    header = Header(
        file_id=file_id,
        recording_id=os.urandom(16),
        kind="recording",
        wall_ns=wall_ns,
        producer=str(settings["producer"]),
        policy=policy.as_data(),
        policy_digest=policy.digest,
        key_id=key_id(key),
        sampling_rate=rate,
        source_digests=tuple(source_digest(file_id, host, port) for host, port in sources),
    )
    number = 1
    while (path := numbered(Path(out), number)).exists():
        number += 1
    tape = create_capture(path, header)
    return tape, path, Intake(tape, Pseudonymiser(policy, key).apply, sampling_rate=rate)


def _identity(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (-1, -1)
    return stat.st_dev, stat.st_ino


def _checked(commit: Callable[[], bool], intake: Intake, path: Path, born: tuple[int, int]) -> bool:
    """Commit, unless the file is no longer where it was made: writing on would be into nothing."""
    if not intake.trouble and _identity(path) != born:
        intake.fail("the file is gone from its folder (removed or replaced)", all_lost=True)
    return commit()


if __name__ == "__main__":
    sys.exit(main())
