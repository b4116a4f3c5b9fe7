"""For tests: ``shadowtape record`` as an operator meets it, with a model server behind it and traffic in front. Real processes."""

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from captures.opening import open_capture

ROOT = Path(__file__).resolve().parents[1]
BODY = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"data":[1.5,%d]}]}'
ROUTE = "/v2/models/house/infer"
_WAIT_S = 60
_PAUSE_S = 0.01  # of each client between two requests


class Model(BaseHTTPRequestHandler):
    """Answers at once, with what it was sent; ``/held`` when ``held`` is set."""

    protocol_version = "HTTP/1.1"
    held = threading.Event()
    reached = threading.Event()

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/held":
            self.reached.set()
            self.held.wait(_WAIT_S)
        answer = (
            b'{"model_name":"house","outputs":[{"name":"y","datatype":"FP64","shape":[1],"data":[0.5]}],"echo":"%s"}'
        )
        answer %= re.sub(rb"[^a-zA-Z0-9@.]", b"", sent)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Trace", self.headers.get("Authorization", ""))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Not here."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Relays are killed on purpose: a broken pipe is no news."""


@contextmanager
def serving(port: int = 0) -> Iterator[int]:
    """A model server; its port."""
    Model.held.clear()
    Model.reached.clear()
    server = _Server(("127.0.0.1", port), Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        Model.held.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Recorder:
    """A running recorder and what it says on stderr, line by line."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self.lines: list[str] = []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own program
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def says(self, pattern: str) -> str:
        """The first line that fits, once it was said."""
        with self._news:
            found = self._news.wait_for(
                lambda: [line for line in self.lines if re.search(pattern, line)], timeout=_WAIT_S
            )
        assert found, f"{pattern!r} was not said; said: {self.lines}"
        return str(found[0])

    def said(self, pattern: str) -> int:
        """How many lines fit."""
        return len([line for line in self.lines if re.search(pattern, line)])

    def insist(self, number: int) -> None:
        """Send a signal again until it leaves: one that comes right behind the first belongs to that."""
        deadline = time.monotonic() + _WAIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.process.send_signal(number)
            time.sleep(0.01)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(_WAIT_S)
        self._reader.join(_WAIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def spools(self) -> list[int]:
        return [pid for pid in self._children() if b"recorder.spool" in _command(pid)]

    def spool(self) -> int:
        (spool,) = self.spools()
        return spool

    def workers(self) -> list[int]:
        """And the process of --admin: they are forked, so that they look like the one that did it."""
        return [pid for pid in self._children() if b"recorder.spool" not in _command(pid)]

    def _children(self) -> list[int]:
        try:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        except OSError:  # it is gone
            return []
        return [int(pid) for pid in listed.split()]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@contextmanager
def recording(upstream: int, out: Path, *options: str) -> Iterator[Recorder]:
    """Killed at the end, if it was not stopped."""
    port = free_port()
    recorder = Recorder(
        [
            *(sys.executable, str(ROOT / "shadowtape.py"), "record", "--upstream", f"http://127.0.0.1:{upstream}"),
            *("--listen", f"127.0.0.1:{port}", "--out", str(out), *options),
        ],
        port,
    )
    try:
        said = recorder.says("^recording |^shadowtape:")
        assert said.startswith(f"recording http://127.0.0.1:{port} -> http://127.0.0.1:{upstream} into "), said
        yield recorder
    finally:
        for spool in recorder.spools():
            os.kill(spool, signal.SIGCONT)  # a test that failed may have left it stopped, with our pipe in its hands
        recorder.stop(signal.SIGKILL)


def send(port: int, n: int = 1, path: str = ROUTE, headers: dict[str, str] | None = None) -> list[int]:
    """Over one connection; the statuses."""
    statuses = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for number in range(n):
            connection.request("POST", path, BODY % number, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    return statuses


class Traffic:
    """Clients that keep their connections, and what became of their requests. ``failed``: in words, but for the first ``forgiven``
    of each client. ``body``: bytes of padding in each request.
    """

    def __init__(self, port: int, clients: int = 4, *, padding: int = 0) -> None:
        self.failed: list[str] = []
        self.good = 0
        self._port = port
        self._padding = b" " * padding
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_WAIT_S)

    def goes_on(self, n: int = 50) -> None:
        """Wait until so many more have succeeded."""
        enough = self.good + n
        until(lambda: self.good >= enough)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with closing(connection):
            while not self._over.wait(_PAUSE_S):
                try:
                    connection.request("POST", ROUTE, BODY % 7 + self._padding, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    response.read()
                    failure = "" if response.status == 200 else f"status {response.status}"
                except (OSError, http.client.HTTPException) as error:
                    failure = repr(error)
                    connection.close()
                with self._lock:
                    if failure:
                        self.failed.append(failure)
                    else:
                        self.good += 1


def free_port() -> int:
    """Below the ports that the system hands out, so that nobody is given it before we open it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return True
    return False


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kept(path: Path) -> int:
    with open_capture(path) as capture:
        return len(capture)


def page(port: int, path: str) -> tuple[int, str]:
    """Of --admin: status and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metric(port: int, name: str, *labels: str) -> float:
    """Of /metrics, summed over workers."""
    lines = page(port, "/metrics")[1].splitlines()
    found = [
        line for line in lines if re.match(rf"shadowtape_recorder_{name}\b", line) and all(x in line for x in labels)
    ]
    return sum(float(line.rpartition(" ")[2]) for line in found)
