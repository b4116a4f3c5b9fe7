"""The standard streams of a recorder."""

import os
import subprocess
import sys

import pytest

from recorder.standard import NeverWaits, crash_line

_LISTENS = """
import os, socket, sys
from recorder.standard import standing
with standing():
    opened = socket.socket()
    print("said", file=sys.stderr)
    os._exit(opened.fileno() > 2 and os.path.samestat(os.fstat(2), os.stat(os.devnull)))
"""


def test_a_pipe_that_nobody_reads_stops_nobody() -> None:
    reading, writing = os.pipe()
    out = NeverWaits(writing)
    for _ in range(2000):
        print("x" * 100, file=out, flush=True)
    os.read(reading, 1 << 20)
    print("again", file=out, flush=True)

    assert os.read(reading, 100) == b"again\n"
    os.close(reading)
    print("gone", file=out, flush=True)
    os.close(writing)


def test_a_line_longer_than_a_pipe_takes_at_once_is_written_as_far_as_it_goes() -> None:
    reading, writing = os.pipe()
    NeverWaits(writing).write("ä" * 10_000)

    assert os.read(reading, 1 << 20) == "ä".encode() * 10_000
    os.close(reading)
    os.close(writing)


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-"])
def test_no_socket_takes_the_place_of_a_closed_stream(closed: str) -> None:
    ended = subprocess.run(["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, _LISTENS], check=False)

    assert ended.returncode == 1


def test_a_crash_is_told_by_its_kind_and_place_alone() -> None:
    try:
        int("a word of the traffic")
    except ValueError as error:
        said = crash_line(error)

    assert said.startswith("shadowtape: a process of the recorder crashed: ValueError at test_standard.py:")
    assert "traffic" not in said
