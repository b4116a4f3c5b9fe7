"""The spool process: frames from the relay's pipe -> pseudonymised exchanges -> tape.

Started by `recorder.supervisor.SpoolClient` as ``python -m recorder.spool``. It outlives the relay by what the pipe still
holds: end of file means seal and leave, whether the relay said goodbye or was killed. Policy, key and everything else
arrive over the pipe, so that neither the process list nor an environment shows them. Nothing raw is written anywhere.
"""

import contextlib
import itertools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from captures.errors import ShadowtapeError, UsageError
from captures.frame import TRAILER_SIZE, unpack_trailer
from captures.header import Header, source_digest
from captures.privacy.key import key_id
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.rotating import Keeping, RotatingTape, start_of, stored_in
from captures.rotation import Rotation
from recorder.frames import Frames, frame, write_all
from recorder.guard import floor, guard
from recorder.intake import Intake
from recorder.labels import Labeller, parse_labels
from recorder.options import numbered
from recorder.uploading import UPLOAD_WAIT_S, Uploader

type Say = Callable[..., None]
type Upload = Callable[[Path, str], object]

FLUSH_S = 1.0
_READ = 1 << 20


def main() -> int:
    """Read settings and frames from stdin until its end, answer on stdout. The relay decides when it is over, not signals."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # Where there is one core for both, the relay goes first: the spool may be late, it must not slow traffic.
        os.nice(5)
    status = os.dup(1)
    os.dup2(2, 1)  # a stray print of a library must not become an answer

    saying = threading.Lock()  # the uploader has something to say, too

    def say(kind: str, **told: object) -> None:
        with saying, contextlib.suppress(OSError):  # the relay is gone; the file still matters
            write_all(lambda data: os.write(status, data), frame({"kind": kind, **told}))

    try:
        serve(0, say)
    except ShadowtapeError as error:
        say("refused", message=str(error))
        return error.exit_code
    return 0


def serve(descriptor: int, say: Say, *, upload: Upload | None = None) -> None:
    """One recording: from its settings to the end of the pipe. ``upload`` puts a file at a URL; None: the real one. Raises
    ShadowtapeError before anything was recorded.
    """
    frames = Frames()
    waiting: list[Any] = []
    while not waiting:
        if not (data := os.read(descriptor, _READ)):
            return
        waiting += frames.feed(data)
    settings = waiting.pop(0)
    assert isinstance(settings, Mapping)
    desk = _open(settings, say, upload)
    with contextlib.suppress(OSError), contextlib.closing(desk.tape):
        say("ready", path=str(settings["url"] or desk.place))
        desk.intake.take(waiting)
        due = time.monotonic() + FLUSH_S
        while True:
            if select.select([descriptor], [], [], max(0.0, due - time.monotonic()))[0]:
                if not (data := os.read(descriptor, _READ)):
                    break
                desk.intake.take(list(frames.feed(data)))
            if time.monotonic() >= due:
                due = time.monotonic() + FLUSH_S
                if desk.flush():
                    say("flushed", **desk.account())
            desk.tell(say)
        desk.seal()
        desk.tell(say)
    staged = len(desk.uploader.close(UPLOAD_WAIT_S)) if desk.uploader else 0
    say("done", **desk.account(), staged=staged, staging=str(desk.place) if staged else "")


@dataclass(slots=True)
class _Desk:
    """``place``: the file, or the folder of files."""

    tape: RotatingTape
    intake: Intake
    labeller: Labeller
    place: Path
    min_free: int
    uploader: Uploader | None
    told: str = ""

    def flush(self) -> bool:
        guard(self.intake, left=self.tape.left, min_free=self.min_free, free=free_bytes(self.tape.path))
        return self.intake.flush()

    def seal(self) -> None:
        guard(self.intake, left=self.tape.left, min_free=0, free=None)
        self.intake.seal()

    def tell(self, say: Say) -> None:
        if self.intake.trouble != self.told:
            self.told = self.intake.trouble
            say("trouble", message=f"{self.place}: {self.told}")

    def account(self) -> Mapping[str, object]:
        return {
            **self.intake.account(),
            "files": self.tape.files,
            "removed": self.tape.removed,
            "removed_bytes": self.tape.removed_bytes,
            "other": dict(sorted(self.labeller.other.items())),
        }


def _open(settings: Mapping[str, Any], say: Say, upload: Upload | None) -> _Desk:
    """Raises ShadowtapeError. An existing output never stops a recording: the next free name is taken."""
    policy, key, tape_key = Policy.from_data(settings["policy"]), settings["key"], settings["tape_key"]
    rotation = None if settings["rotation"] is None else Rotation(**settings["rotation"])
    place, min_free, url = Path(settings["path"]), settings["min_free"], settings["url"]
    labels = parse_labels(settings["labels"])
    recording_id = os.urandom(16)
    header = Header(
        file_id=os.urandom(16),
        recording_id=recording_id,
        kind="recording",
        wall_ns=settings["wall_ns"],
        producer=settings["producer"],
        policy=policy.as_data(),
        policy_digest=policy.digest,
        key_id=key_id(key),
        sampling_rate=settings["sampling_rate"],
        source_digests=tuple(source_digest(recording_id, host, port) for host, port in settings["sources"]),
        labels=tuple(label.name for label in labels),
    )
    keeping = Keeping(rotation=rotation, expire_ns=settings["expire_ns"], key=tape_key, fsync=settings["fsync"])

    def note(line: str) -> None:
        say("note", message=line)

    uploader = None
    try:
        free = free_bytes(place)
        if free is not None and free < min_free:
            raise UsageError(f"{place}: {floor(free, min_free)}; free some, or ask for less")
        if rotation is not None:
            _make(place, parents=bool(url), fsync=keeping.fsync)
        if url:
            put, probe = _real_bucket(url) if upload is None else (upload, None)
            uploader = Uploader(put, url, note, probe=probe)
            for path in _left_over(place, note):
                uploader.put(path)
        tape = _begun(
            (lambda: start_of(place, header.wall_ns)) if rotation else (lambda: _free(place)),
            lambda path_of: RotatingTape(
                path_of, header, keeping, on_sealed=uploader.put if uploader else lambda _: None, note=note
            ),
        )
    except OSError as error:
        raise UsageError(f"{place}: cannot be written: {error.strerror}") from None
    labeller = Labeller(labels)
    intake = Intake(
        tape, Pseudonymiser(policy, key).apply, label=labeller.apply, sampling_rate=settings["sampling_rate"]
    )
    return _Desk(tape, intake, labeller, place if rotation else tape.path, min_free, uploader)


def _begun(
    free: Callable[[], Callable[[int], Path]], begin: Callable[[Callable[[int], Path]], RotatingTape]
) -> RotatingTape:
    """``free`` finds a name that nobody has; where another recorder takes it meanwhile, it is asked again. Raises as ``begin``."""
    while True:
        path_of = free()
        try:
            return begin(path_of)
        except UsageError:
            if not path_of(1).exists():
                raise


def _free(path: Path) -> Callable[[int], Path]:
    found = next(each for number in itertools.count(1) if not (each := numbered(path, number)).exists())
    return lambda _: found


def _make(folder: Path, *, parents: bool, fsync: bool) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=parents, exist_ok=True)
    if fsync:
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _real_bucket(url: str) -> tuple[Upload, Callable[[], object]]:
    """What uploads to it, and what finds out whether that can work."""
    from captures.remote import check_bucket, upload  # noqa: PLC0415 - slow to import, and few recordings need it

    return upload, partial(check_bucket, url)


def _left_over(folder: Path, note: Callable[[str], None]) -> Iterator[Path]:
    """What an earlier recording could not upload: sealed files that nobody writes. Others are named and left alone."""
    for stored in stored_in(folder):
        path = folder / stored.name
        if stored.held:
            continue
        try:
            with path.open("rb") as file:
                file.seek(max(0, stored.size - TRAILER_SIZE))
                sealed = unpack_trailer(file.read(TRAILER_SIZE)) is not None
        except FileNotFoundError:  # another recorder has uploaded it this moment
            continue
        if sealed:
            yield path
        else:
            note(f"{path}: left by an earlier recording, not sealed, so not uploaded; shadowtape recover reads it")


def free_bytes(path: Path) -> int | None:
    """Bytes that may be used on the disk of a path that need not exist yet. None: the system does not say."""
    existing = next((each for each in (path, *path.parents) if each.exists()), None)
    try:
        status = os.statvfs(existing or "/")
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


if __name__ == "__main__":
    sys.exit(main())
