"""The process that serves ``--admin``: forked, and replaced when it dies."""

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from recorder.admin import serve
from recorder.board import Board
from recorder.channel import pair
from recorder.logs import Say
from recorder.pace import Pace
from recorder.place import kill
from recorder.reactor import Reactor
from recorder.spool_process import death_of
from recorder.worker import Closable, forked, reaped

type Forbidden = Callable[[], Iterable[Closable]]


class AdminProcess:
    """``forbidden`` returns what the child must not hold."""

    def __init__(self, listener: socket.socket, board: Board, reactor: Reactor, forbidden: Forbidden, say: Say) -> None:
        self.listener = listener
        self._board, self._reactor, self._forbidden, self._say = board, reactor, forbidden, say
        self._pace = Pace()
        self._pid = 0
        self._control: socket.socket | None = None
        self._closed = False

    def start(self) -> None:
        if self._closed:
            return
        self._pace.began()
        ours, theirs = pair()
        pid = forked(lambda: self._serve(theirs), lambda: [ours, *self._forbidden()])
        theirs.close()
        self._pid, self._control = pid, ours
        self._reactor.child(lambda: reaped(pid), self._ended)

    def abandon(self) -> Iterable[Closable]:
        """What another forked child must not hold."""
        return [self.listener] if self._control is None else [self.listener, self._control]

    def close(self) -> None:
        self._closed = True
        self.listener.close()
        self._hang_up()
        if self._pid:
            kill(self._pid)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)

    def _serve(self, control: socket.socket) -> int:
        serve(self.listener, self._board, control)
        return 0

    def _ended(self, code: int) -> None:
        self._pid = 0
        self._hang_up()
        if not self._closed:
            line = f"{death_of('the process of --admin', code)}: replaced"
            self._say(line, event="admin_died", level="warning")
            self._reactor.later(self._pace.wait_s(), self.start)

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
