"""The spool process: frames from a worker's pipe -> pseudonymised exchanges -> tape.

Started by the supervisor as ``python -m recorder.spool CONTROL_FD BOARD_FD WORKER``. It outlives worker and supervisor by what the
pipe still holds: when both are gone it seals and leaves. Policy, key and everything else arrive over the control socket, so that
neither the process list nor an environment shows them. Nothing raw is written anywhere.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from captures.errors import ShadowtapeError
from recorder.board import Board, Row
from recorder.channel import Channel
from recorder.desk import Desk
from recorder.frames import Frames
from recorder.places import Upload
from recorder.reactor import FOR_US
from recorder.standard import NeverWaits, crash_line
from recorder.totals import TOLD
from recorder.uploading import UPLOAD_WAIT_S

FLUSH_S = 1.0
EXIT_CRASH = 70
SAY_S = 5.0  # for the last words
_READ = 1 << 20
_AT_ONCE = 512  # exchanges; between them it is seen whether a flush is due


def main(arguments: Sequence[str]) -> int:
    """The supervisor decides when it is over, not signals."""
    for number in FOR_US:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_US)
    with contextlib.suppress(OSError):
        # Where there is one core for both, the relay goes first: the spool may be late, it must not slow traffic.
        os.nice(5)
    control, board, worker = map(int, arguments)
    gc.freeze()
    gc.set_threshold(50_000)  # exchanges come in hundreds and go again; none is in a cycle
    return run(Channel(socket.socket(fileno=control)), Board(board, worker + 1).rows[worker])


def run(control: Channel, row: Row, *, upload: Upload | None = None) -> int:
    """One spool, from its settings to its end; the exit code. ``upload`` puts a file at a URL; None: the real one."""
    say, code = _Voice(control), 0
    try:
        spool = _begun(control, row, say, upload)
        if spool is not None:
            spool.serve()
    except ShadowtapeError as error:
        say("refused", message=str(error))
        code = error.exit_code
    say.finish()
    return code


class _Voice:
    """What is said to the supervisor; it may take its time to listen."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._lock = threading.Lock()  # the uploader has something to say, too

    def __call__(self, kind: str, **told: object) -> None:
        with self._lock:
            self._control.send({"kind": kind, **told})

    def flush(self) -> None:
        with self._lock:
            self._control.flush()

    def finish(self) -> None:
        """The last words, where anybody listens."""
        until = time.monotonic() + SAY_S
        with selectors.DefaultSelector() as selector, self._lock:
            selector.register(self._control, selectors.EVENT_WRITE)
            while self._control.pending and time.monotonic() < until:
                selector.select(max(0.0, until - time.monotonic()))
                self._control.flush()
            self._control.close()


@dataclass(slots=True)
class _Inlet:
    """A pipe of a worker. ``began``: the worker's counts when it began. ``received``: exchanges. ``ended``: nothing more comes."""

    descriptor: int
    began: Sequence[int]
    frames: Frames = field(default_factory=Frames)
    received: int = 0
    ended: bool = False


class _Spool:
    def __init__(self, control: Channel, row: Row, say: _Voice, desk: Desk) -> None:
        self._control, self._row, self._say, self._desk = control, row, say, desk
        self._inlets: list[_Inlet] = []  # those of workers that are dead first
        self._ending = False
        self._due = time.monotonic() + FLUSH_S
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._does = {"inlet": self._open, "policy": self._follow, "end": self._end}

    def serve(self) -> None:
        with contextlib.closing(self._desk), self._selector:
            while not self._ending or self._inlets:
                for key, _ in self._selector.select(max(0.0, self._due - time.monotonic())):
                    if isinstance(key.data, _Inlet):
                        self._read(key.data)
                    else:
                        self.obey(self._control.hear())
                self._tick()
            self._desk.intake.settle(self._row[:TOLD])
            self._desk.seal()
        uploader = self._desk.uploader
        staged = len(uploader.close(UPLOAD_WAIT_S)) if uploader else 0
        self._say("done", **self._desk.account(), staged=staged, staging=str(self._desk.place) if staged else "")

    def obey(self, heard: Sequence[Mapping[str, Any]]) -> None:
        for told in heard:
            self._does[told["do"]](told)
        if self._control.ended:  # the supervisor is gone
            self._selector.unregister(self._control)
            self._end({})

    def _open(self, told: Mapping[str, Any]) -> None:
        inlet = _Inlet(self._control.descriptors.popleft(), told.get("row") or list(self._row[:TOLD]))
        self._selector.register(inlet.descriptor, selectors.EVENT_READ, inlet)
        self._inlets.append(inlet)
        self._settle()

    def _follow(self, told: Mapping[str, Any]) -> None:
        self._desk.follow(told["policy"])

    def _end(self, _: Mapping[str, Any]) -> None:
        self._ending = True
        self._settle()

    def _read(self, inlet: _Inlet) -> None:
        data = os.read(inlet.descriptor, _READ)
        for part in batched(inlet.frames.feed(data), _AT_ONCE, strict=False):
            told = [each for each in part if each is not None]  # None is goodbye; the end of the pipe comes next
            inlet.received += self._desk.intake.take(told)
            self._tick()
        if not data:
            self._selector.unregister(inlet.descriptor)
            os.close(inlet.descriptor)
            inlet.ended = True
            self._settle()

    def _settle(self) -> None:
        """The oldest workers that are gone, and that another one came after: the counts it began with are those they ended with."""
        while self._inlets and self._inlets[0].ended:
            if len(self._inlets) > 1:
                later = sum(inlet.received for inlet in self._inlets[1:])
                self._desk.intake.settle(self._inlets[1].began, later)
            elif not self._ending:
                return
            del self._inlets[0]

    def _tick(self) -> None:
        self._say.flush()
        now = time.monotonic()
        if now >= self._due:
            self._due = now + FLUSH_S
            self._desk.tick()


def _begun(control: Channel, row: Row, say: _Voice, upload: Upload | None) -> _Spool | None:
    """None: the supervisor went before it said anything. Raises ShadowtapeError."""
    heard: list[Mapping[str, Any]] = []
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while not heard:
            if control.ended:
                return None
            selector.select()
            heard += control.hear()
    desk = Desk(heard[0], row, say, upload)
    say("ready", path=str(heard[0]["url"] or desk.place))
    spool = _Spool(control, row, say, desk)
    spool.obey(heard[1:])
    return spool


if __name__ == "__main__":
    sys.stderr = NeverWaits(2)
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception as problem:  # noqa: BLE001 - a traceback might quote traffic
        sys.stderr.write(crash_line(problem))
        sys.exit(EXIT_CRASH)
