"""The demo's processes: model servers, the recorder, and one-shot commands. Each is the real program, started as a user would."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

START_S = 60.0  # to import scikit-learn and train, on a busy machine with cold caches
STOP_S = 20.0
COMMAND_S = 120.0

# One thread per process: the demo runs on two cores, and a single row is no work for a pool.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class StepFailedError(Exception):
    """A program of the demo did not do what it should; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Done:
    """One finished command. ``result`` is the JSON object of its stdout; {} where it printed none."""

    arguments: tuple[str, ...]
    code: int
    result: dict[str, Any]
    complaint: str  # the last line of stderr
    seconds: float


@dataclass(slots=True)
class ModelServer:
    name: str
    process: subprocess.Popen[str]
    url: str = ""

    @classmethod
    def start(cls, name: str) -> Self:
        """Start a server in a process of its own; it has a ``url`` at once, and answers when it has trained."""
        server = cls(
            name, _popen([sys.executable, "-m", "shadowtape_demo.server", "--model", name], stdout=subprocess.PIPE)
        )
        server.url = f"http://127.0.0.1:{server._told()['port']}"
        return server

    def wait(self) -> dict[str, Any]:
        """Until it has trained: what it says about its model. Raises StepFailedError when it ended instead."""
        return self._told()

    def _told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise StepFailedError(f"the {self.name} model server ended with code {self.process.wait()}")
        facts: dict[str, Any] = json.loads(line)
        return facts


@contextmanager
def model_servers(names: Sequence[str]) -> Iterator[list[ModelServer]]:
    """Start all; they train side by side."""
    servers: list[ModelServer] = []
    try:
        servers.extend(ModelServer.start(name) for name in names)
        yield servers
    finally:
        for server in servers:
            stop(server.process)


def start_recorder(upstream: str, capture: Path, log: Path) -> tuple[subprocess.Popen[str], str, list[str]]:
    """Start ``shadowtape record`` and wait until it says where it listens. Returns the process, that URL and its arguments."""
    arguments = ["record", "--upstream", upstream, "--listen", "127.0.0.1:0", "--out", str(capture)]
    with log.open("w") as stderr:
        process = _popen(program(arguments), stdout=subprocess.DEVNULL, stderr=stderr)
    deadline = time.monotonic() + START_S
    while not (said := re.search(r"^recording (http://\S+) ", log.read_text(), flags=re.MULTILINE)):
        if process.poll() is not None:
            raise StepFailedError(
                f"shadowtape record ended with code {process.returncode}: {_last_line(log.read_text())}"
            )
        if time.monotonic() > deadline:
            stop(process)
            raise StepFailedError(f"shadowtape record does not listen after {START_S:.0f} s; see {log}")
        time.sleep(0.02)
    return process, said[1], arguments


def run(arguments: Sequence[str]) -> Done:
    """Run one ``shadowtape`` command with ``--json`` to its end. Raises StepFailedError on a crash or a timeout."""
    started = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            program([*arguments, "--json"]),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepFailedError(f"{command_line(arguments)}: not done after {COMMAND_S:.0f} s") from None
    complaint = _last_line(done.stderr)
    try:
        result = json.loads(done.stdout) if done.stdout.strip() else {}
    except json.JSONDecodeError:
        raise StepFailedError(f"{command_line(arguments)}: its --json is not one JSON object") from None
    if done.returncode == 70:
        raise StepFailedError(f"{command_line(arguments)}: {complaint}")
    return Done(tuple(arguments), done.returncode, result, complaint, time.monotonic() - started)


def stop(process: subprocess.Popen[str]) -> int:
    """SIGTERM, then wait; killed only when that does not help. Returns the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return int(process.returncode)


def program(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "shadowtape", *arguments]


def command_line(arguments: Sequence[str]) -> str:
    return f"shadowtape {shlex.join(arguments)}"


def _popen(command: Sequence[str], *, stdout: int, stderr: IO[str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, env=ENVIRONMENT)  # noqa: S603 - our own, no shell


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
