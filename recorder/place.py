"""A worker's place in a recording: the processes that come and go, and the row of the board that stays."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from recorder.board import Count
from recorder.channel import Channel
from recorder.outlet import TOLD
from recorder.pace import Pace
from recorder.report import Report
from recorder.spool_process import CLOSE_S, SpoolProcess
from recorder.worker import WorkerProcess

# Gauges of a worker, for which there is nobody to answer when it is dead.
_LEVELS = (Count.RELAY_PID, Count.OPEN_CONNECTIONS, Count.HELD_BYTES, Count.QUEUED_BYTES)


@dataclass(slots=True)
class Place:
    """``past``: reports of its spools that are over. ``before``: the last account of one that died. ``began``: the row's numbers
    when the worker began. ``joined``: who have a pipe.
    """

    number: int
    row: memoryview
    spool: SpoolProcess | None = None
    worker: WorkerProcess | None = None
    past: list[Report] = field(default_factory=list)
    before: Mapping[str, Any] | None = None
    began: list[int] = field(default_factory=lambda: [0] * TOLD)
    joined: tuple[SpoolProcess, WorkerProcess] | None = None
    relays: Pace = field(default_factory=Pace)
    spools: Pace = field(default_factory=lambda: Pace(longest_s=10.0))

    @property
    def ready(self) -> bool:
        """The spool is."""
        return self.spool is not None and self.spool.ready

    @property
    def serving(self) -> bool:
        """The worker is."""
        return self.worker is not None and self.worker.ready

    @property
    def channels(self) -> Iterator[Channel]:
        for process in (self.spool, self.worker):
            if process is not None:
                yield process.channel

    def connect(self) -> None:
        """A pipe from the worker to its spool, where both are there and have none. The spool is told the worker's numbers as they
        were at its start: whatever else began before was the business of a worker that is dead. Raises OSError.
        """
        if self.worker is None or self.spool is None or not self.spool.ready:
            return
        if self.joined != (self.spool, self.worker):
            reading, writing = os.pipe()
            self.joined = self.spool, self.worker
            self.spool.inlet(reading, self.began)
            self.worker.outlet(writing)

    def before_worker(self) -> None:
        self.began = list(self.row[:TOLD])

    def tell_worker(self, what: str) -> None:
        if self.worker is not None:
            self.worker.channel.send({"do": what})

    def end_worker(self, what: str) -> None:
        """``what``: "drain" or "stop". Without a spool there is nobody to wait for, and none will come."""
        if self.spool is None:
            self.tell_worker("alone")
        self.tell_worker(what)

    def kill_worker(self) -> None:
        if self.worker is not None:
            kill(self.worker.pid)

    def worker_gone(self) -> None:
        if self.worker is not None:
            self.worker.channel.close()
        self.worker = None
        for level in _LEVELS:
            self.row[level] = 0

    def spool_gone(self) -> None:
        spool, self.spool = self.spool, None
        self.row[Count.SPOOL_PID] = self.row[Count.RECORDING] = 0
        if spool is None:
            return
        spool.channel.close()
        if spool.path:
            self.past.append(spool.report())
            self.before = None if spool.done else spool.account or self.before

    def close(self) -> None:
        """Kill what still runs; the spool gets a while to seal what it has."""
        if self.worker is not None:
            kill(self.worker.pid)
            with suppress(ChildProcessError):  # it was waited for
                os.waitpid(self.worker.pid, 0)
        self.worker_gone()
        if self.spool is not None:
            self.spool.channel.close()
            with suppress(Exception):
                self.spool.process.wait(CLOSE_S)
            self.spool.close()


def kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)
