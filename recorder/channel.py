"""One end of a control socket between two processes: frames both ways, and descriptors with the frames that bring one."""

import contextlib
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

from recorder.frames import Frames, frame

_READ = 1 << 16
_DESCRIPTORS = 16  # of one read


class Channel:
    """Never waits. ``ended``: the other end is gone. ``descriptors``: those that came, in order; whoever takes one closes it."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.ended = False
        self.descriptors: deque[int] = deque()
        self._socket = end
        self._frames = Frames()
        self._leaving: deque[tuple[bytes, list[int]]] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Something is still to be sent: call `flush` when the socket takes it."""
        return bool(self._leaving)

    def send(self, message: Mapping[str, object], *descriptors: int) -> None:
        """At once, or later in order. The descriptors are the channel's from here on, and closed when sent."""
        self._leaving.append((frame(dict(message)), list(descriptors)))
        self.flush()

    def flush(self) -> None:
        while self._leaving:
            data, descriptors = self._leaving[0]
            try:
                sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else self._socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                self._drop()
                return
            _close(descriptors)
            if sent < len(data):
                self._leaving[0] = (data[sent:], [])
            else:
                self._leaving.popleft()

    def hear(self) -> list[Mapping[str, Any]]:
        """What has come, as far as it is whole."""
        heard: list[Mapping[str, Any]] = []
        while not self.ended:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _READ, _DESCRIPTORS)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self.descriptors += descriptors
            self.ended = not data
            heard += self._frames.feed(data)
        return heard

    def close(self) -> None:
        self._drop()
        _close(self.descriptors)
        self._socket.close()

    def _drop(self) -> None:
        for _, descriptors in self._leaving:
            _close(descriptors)
        self._leaving.clear()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a control socket."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _close(descriptors: list[int] | deque[int]) -> None:
    while descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptors.pop())
