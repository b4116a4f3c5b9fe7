"""The parent's side of a spool: starts the process, tells it what to do, hears what it says.

And a recording with no supervisor, for a program that has an event loop of its own (the mitmdump script).
"""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.policy_files import read_policy
from captures.version import __version__
from recorder.admission import admission_of, sampled_by
from recorder.board import Board, Count
from recorder.channel import Channel, pair
from recorder.filters import EVERYTHING, Filters
from recorder.labels import check_labels, parse_labels
from recorder.named_files import check_storage, read_keys
from recorder.options import DEFAULT_LIMITS, Address, RecordOptions, Storage
from recorder.outlet import QUEUE_BYTES, TOLD, Outlet
from recorder.reactor import undisturbed
from recorder.recording import Limits, Recording
from recorder.report import Report, summed
from recorder.totals import CONFESSED, over
from recorder.uploading import UPLOAD_WAIT_S

START_S = 30.0  # a loaded machine may take seconds to import numpy
CLOSE_S = 20.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a recording's spools are told, and ``zero_ns``, the monotonic zero of its times. ``key``: of the tokens. ``session``: as
    the policy says it.
    """

    settings: Mapping[str, Any]
    zero_ns: int
    key: bytes
    session: str


def terms_of(
    storage: Storage,
    *,
    policy: Path | None,
    key: Path | None,
    sampling_rate: float = 1.0,
    sources: Sequence[Address] = (),
    filters: Filters = EVERYTHING,
    command: str = "record",
) -> Terms:
    """Reads the files that are named. Raises UsageError, before anything is opened that traffic could see."""
    check_storage(storage)
    chosen = read_policy(policy)
    check_labels(parse_labels(storage.labels), chosen)
    secret, tape_key = read_keys(key, storage)
    session = str(getattr(chosen, "session", "") or "")
    settings = {
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
        **filters.as_data(),
        "sampled_by": sampled_by(sampling_rate, session),
        "wall_ns": time.time_ns(),
        "producer": f"shadowtape {__version__} {command}",
    }
    return Terms(settings, time.monotonic_ns(), secret, session)


def with_policy(settings: Mapping[str, Any], options: RecordOptions) -> Mapping[str, Any]:
    """The settings with the policy as its file is now. Raises UsageError."""
    if options.policy is None:
        raise UsageError("there is no --policy file to read again")
    policy = read_policy(options.policy)
    check_labels(parse_labels(options.storage.labels), policy)
    return {**settings, "policy": policy.as_data()}


class SpoolProcess:
    """One spool, of one worker's row. ``path``: where it writes, "" until it is ready; ``refused``: why it is not.
    ``account``: what it said last of what it has done; ``done``: that was the end.
    """

    def __init__(self, board: Board, worker: int, settings: Mapping[str, object]) -> None:
        """Starts it and returns at once."""
        self.path = ""
        self.refused = ""
        self.done = False
        self.account: Mapping[str, Any] = {}
        ours, theirs = pair()
        self.channel = Channel(ours)
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs, undisturbed():
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-P", "-m", "recorder.spool"),
                    *(str(theirs.fileno()), str(board.descriptor), str(worker)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=2,  # a stray print of a library is no result
                pass_fds=(theirs.fileno(), board.descriptor),
                # The very files that run here, wherever the command was started.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        self.channel.send(settings)

    @property
    def ready(self) -> bool:
        return bool(self.path)

    def inlet(self, descriptor: int, row: Sequence[int]) -> None:
        """The read end of a worker's pipe, which is the spool's from here on. ``row``: the worker's numbers, BEGAN to HOOK_ERRORS,
        before it does anything.
        """
        self.channel.send({"do": "inlet", "row": list(row)}, descriptor)

    def end(self) -> None:
        """Seal and leave when every inlet is at its end."""
        self.channel.send({"do": "end"})

    def hear(self) -> list[Mapping[str, Any]]:
        """What it has said since; ``path``, ``refused``, ``account`` and ``done`` are up to date then."""
        heard = self.channel.hear()
        for told in heard:
            kind = told["kind"]
            if kind == "ready":
                self.path = str(told["path"])
            elif kind == "refused":
                self.refused = str(told["message"])
            elif kind in ("flushed", "done"):
                self.account = told
                self.done = kind == "done"
        return heard

    def report(self, trouble: str = "") -> Report:
        return report_of(self.path, self.account, trouble)

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


def report_of(path: str, account: Mapping[str, Any], trouble: str = "") -> Report:
    """``account``: the words of a spool, flushed or done; {}: it never said any."""
    extra = {name: value for name, value in account.items() if name not in ("kind", "kept", "confessions")}
    confessions = Confessions(**account.get("confessions", {}))
    return Report(path=path, kept=account.get("kept", 0), confessions=confessions, trouble=trouble, **extra)


def sum_of(reports: Sequence[Report], board: Board, sampling_rate: float, trouble: str = "") -> Report:
    """Of all spools of a recording. What those that died did not live to say is in the numbers of the board."""
    said = [over(row, sampling_rate) for row in board.rows]
    return replace(
        summed(reports),
        kept=board.total(Count.KEPT),
        confessions=Confessions(
            **{name: sum(getattr(each, name) for each in said) for name, _ in CONFESSED}, sampling_rate=sampling_rate
        ),
        trouble=trouble,
    )


def await_ready(spool: SpoolProcess, heard: Callable[[Mapping[str, Any]], object] = lambda _: None) -> None:
    """Wait for it. Raises UsageError: it refuses, or does not start."""
    until = time.monotonic() + START_S
    while not spool.ready and not spool.refused and not spool.channel.ended and time.monotonic() < until:
        select.select([spool.channel], [], [], max(0.0, until - time.monotonic()))
        for told in spool.hear():
            heard(told)
    if not spool.ready:
        spool.close()
        raise UsageError(spool.refused or f"the spool process did not start within {START_S:.0f} s")


class LocalSession:
    """A recording in the running event loop. Its spool is not replaced when it dies: exchanges are shed then, and counted."""

    def __init__(
        self,
        terms: Terms,
        on_trouble: Callable[[str], object],
        on_note: Callable[[str], object],
        limits: Limits = DEFAULT_LIMITS,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """Waits until the spool is there. Raises UsageError."""
        self.zero_ns = terms.zero_ns
        self.trouble = ""
        self._sampling_rate = terms.settings["sampling_rate"]
        self._on_trouble, self._on_note = on_trouble, on_note
        self._finished = asyncio.Event()
        self._upload_s = UPLOAD_WAIT_S if terms.settings["url"] else 0.0
        self._board = Board.new(1)
        self._spool = SpoolProcess(self._board, 0, terms.settings)
        try:
            await_ready(self._spool, self._heard)
        except UsageError:
            self._board.close()
            raise
        self.path = self._spool.path
        self._outlet = Outlet(self._board.rows[0], queue_bytes)
        reading, writing = os.pipe()
        self._spool.inlet(reading, [0] * TOLD)
        self._outlet.attach(writing)
        admission = admission_of(self._sampling_rate, key=terms.key, session=terms.session)
        self.recording = Recording(self._outlet.offer, self._board.rows[0], admission, limits)
        asyncio.get_running_loop().add_reader(self._spool.channel, self._hear)

    @property
    def pid(self) -> int:
        """Of the spool."""
        return self._spool.process.pid

    @property
    def row(self) -> memoryview:
        """The counts, as in `recorder.board`."""
        return self._board.rows[0]

    async def close(self) -> Report:
        """What is still open counts as shed; the queue is drained, the file sealed."""
        self.recording.stop()
        await self._outlet.goodbye(CLOSE_S, abandoned=self.recording.open)
        self._spool.end()
        try:
            async with asyncio.timeout(CLOSE_S + self._upload_s):
                await self._finished.wait()
        except TimeoutError:
            self._complain(f"the spool process did not finish within {CLOSE_S + self._upload_s:.0f} s")
        asyncio.get_running_loop().remove_reader(self._spool.channel)
        self._spool.close()
        self._board.close()
        return self._account()

    def _account(self) -> Report:
        return sum_of([self._spool.report()], self._board, self._sampling_rate, self.trouble)

    def _hear(self) -> None:
        for told in self._spool.hear():
            self._heard(told)
        if self._spool.channel.ended:
            asyncio.get_running_loop().remove_reader(self._spool.channel)
            if not self._spool.done:
                self._complain(death_of("the spool process", self._spool.process.wait()))
                self._outlet.close()
            self._finished.set()

    def _heard(self, told: Mapping[str, Any]) -> None:
        if told["kind"] == "trouble":
            self._complain(str(told["message"]))
        elif told["kind"] in ("note", "recovered"):
            self._on_note(str(told["message"]))

    def _complain(self, trouble: str) -> None:
        if not self.trouble:
            self.trouble = trouble
            self._on_trouble(trouble)


def local_session(
    storage: Storage,
    *,
    policy: Path | None,
    key: Path | None,
    sampling_rate: float,
    sources: Sequence[Address],
    on_trouble: Callable[[str], object],
    on_note: Callable[[str], object],
    limits: Limits = DEFAULT_LIMITS,
) -> LocalSession:
    """Waits until the spool is there, then records in the running event loop. Raises UsageError before anything was opened."""
    terms = terms_of(storage, policy=policy, key=key, sampling_rate=sampling_rate, sources=sources)
    session = LocalSession(terms, on_trouble, on_note, limits)
    if storage.rotation is None and session.path != str(storage.path):
        on_note(f"{storage.path} exists already: recording into {session.path}")
    return session


def death_of(what: str, code: int) -> str:
    return f"{what} died ({'signal' if code < 0 else 'exit code'} {abs(code)})"
