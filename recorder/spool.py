"""The spool process: frames from the relay's pipe -> pseudonymised exchanges -> tape.

Started by `recorder.supervisor.SpoolClient` as ``python -m recorder.spool``. It outlives the relay by what the pipe still
holds: end of file means seal and leave, whether the relay said goodbye or was killed. Policy, key and everything else
arrive over the pipe, so that neither the process list nor an environment shows them. Nothing raw is written anywhere.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from captures.errors import ShadowtapeError, UsageError
from captures.header import Header, source_digest
from captures.privacy.key import key_id
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.store import TapeFile, create_capture
from recorder.frames import Frames, frame, write_all
from recorder.intake import Intake
from recorder.options import numbered

FLUSH_S = 1.0
_READ = 1 << 20


def main() -> int:
    """Read settings and frames from stdin until its end, answer on stdout. The relay decides when it is over, not signals."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(
            5
        )  # where there is one core for both, the relay goes first: the spool may be late, it must not slow traffic
    status = os.dup(1)
    os.dup2(2, 1)  # a stray print of a library must not become an answer

    def say(kind: str, **told: object) -> None:
        with contextlib.suppress(OSError):  # the relay is gone; the file still matters
            write_all(lambda data: os.write(status, data), frame({"kind": kind, **told}))

    try:
        _serve(0, say)
    except ShadowtapeError as error:
        say("refused", message=str(error))
        return error.exit_code
    return 0


def _serve(descriptor: int, say: Callable[..., None]) -> None:
    frames = Frames()
    waiting: list[Any] = []
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
    recording_id = os.urandom(16)
    sources: tuple[tuple[str, int], ...] = settings["sources"]  # type: ignore[assignment]  # our own frame
    header = Header(
        file_id=os.urandom(16),
        recording_id=recording_id,
        kind="recording",
        wall_ns=wall_ns,
        producer=str(settings["producer"]),
        policy=policy.as_data(),
        policy_digest=policy.digest,
        key_id=key_id(key),
        sampling_rate=rate,
        source_digests=tuple(source_digest(recording_id, host, port) for host, port in sources),
    )
    number = 1
    while (path := numbered(Path(out), number)).exists():
        number += 1
    try:
        tape = create_capture(path, header)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
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
