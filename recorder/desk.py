"""Where a spool writes: it opens the tape, watches it, and opens another one when the policy changes or trouble is over."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from captures.errors import ShadowtapeError, UsageError
from captures.header import ID_SIZE, Header, source_digest
from captures.privacy.canaries import self_test
from captures.privacy.key import key_id
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.rotating import Keeping, RotatingTape, start_of
from captures.rotation import Rotation
from recorder.answer_filter import answer_filter
from recorder.board import Count, Row
from recorder.guard import floor, guard, has_room
from recorder.intake import Intake, describe
from recorder.labels import Labeller, check_labels, parse_labels
from recorder.places import Upload, begun, free_bytes, free_name, make_folder, uploader_to

type Say = Callable[..., None]

RETRY_S = 5.0  # after trouble, and longer each time
LONGEST_RETRY_S = 60.0


class Desk:
    """``place``: the file being written, or the folder of files. ``say(kind, …)`` tells the supervisor.

    When the file cannot be written on, it is tried again later and later; what comes meanwhile is shed, and the next file says so.
    """

    def __init__(self, settings: Mapping[str, Any], row: Row, say: Say, upload: Upload | None = None) -> None:
        """``row``: of the board. ``upload`` puts a file at a URL; None: the real one. Raises ShadowtapeError: nothing is recorded.

        An existing output never stops a recording: the next free name is taken.
        """
        self._settings, self._row, self._say = settings, row, say
        self._rotation = None if settings["rotation"] is None else Rotation(**settings["rotation"])
        self.place = Path(settings["path"])
        self._labels = parse_labels(settings["labels"])
        self._labeller = Labeller(self._labels)
        self._past: list[RotatingTape] = []  # tapes before this one
        self._files, self._bytes = row[Count.FILES], row[Count.TAPE_BYTES]  # of earlier spools
        self._retry_s, self._retry_at, self._well_at = RETRY_S, 0.0, 0.0
        self._told = ""  # the trouble that was said
        self._strange = False  # the next file cannot be of this recording
        self._policy = Policy.from_data(settings["policy"])
        _check(self._policy, settings["key"])
        self.intake = Intake(
            row,
            Pseudonymiser(self._policy, settings["key"]).apply,
            label=self._labeller.apply,
            wanted=answer_filter(settings.get("only", {}), settings.get("except", {})),
            sampling_rate=settings["sampling_rate"],
        )
        free = free_bytes(self.place)
        if free is not None and free < settings["min_free"]:
            raise UsageError(f"{self.place}: {floor(free, settings['min_free'])}; free some, or ask for less")
        try:
            self._make_folder()
            self.uploader = uploader_to(settings["url"], self.place, self._note, upload) if settings["url"] else None
            self._tape = self._new_tape(settings["wall_ns"])
        except OSError as error:
            raise UsageError(f"{self.place}: cannot be written: {error.strerror}") from None
        self._begin()
        self._gauges(free)

    def tick(self) -> None:
        """Once a second, and at any time."""
        free = free_bytes(self.place)
        if self.intake.trouble and time.monotonic() >= self._retry_at and self._retry(free):
            self._say("recovered", message=f"{self._shown}: recording goes on in {self._tape.path}")
        self._guard(self._settings["min_free"], free)
        flushed = self.intake.flush()
        self._gauges(free)
        self._tell()
        if flushed:
            self._say("flushed", **self.account())

    def follow(self, data: Mapping[str, Any]) -> None:
        """Go on under another policy, in another file; in trouble, when that is over."""
        try:
            policy = Policy.from_data(data)
            check_labels(self._labels, policy)
            _check(policy, self._settings["key"])
        except ShadowtapeError as error:
            self._say("policy", digest=self._policy.digest, message=str(error))
            return
        self._policy, self._strange = policy, True
        self.intake.apply = Pseudonymiser(policy, self._settings["key"]).apply
        if not self.intake.trouble:
            self._guard(0, None)
            self.intake.stop("")
            self.intake.trouble = self.intake.trouble or self._go_on()
        self._tell()
        self._say("policy", digest=policy.digest, message="")

    def seal(self) -> None:
        """The end."""
        free = free_bytes(self.place)
        if (
            self.intake.trouble
        ):  # what was shed is to stand in a file; a small one, for which there need be no room but this
            self._retry(None)
        self._guard(0, None)
        self.intake.seal()
        self._gauges(free)
        self._row[Count.RECORDING] = 0
        self._tell()

    def close(self) -> None:
        self._tape.leave()

    def account(self) -> dict[str, object]:
        """Of this spool."""
        tapes = (*self._past, self._tape)
        return {
            **self.intake.account(),
            "files": sum(tape.files for tape in tapes),
            "removed": sum(tape.removed for tape in tapes),
            "removed_bytes": sum(tape.removed_bytes for tape in tapes),
            "other": dict(sorted(self._labeller.other.items())),
        }

    @property
    def _shown(self) -> str:
        return str(self._settings["url"] or self.place)

    def _guard(self, min_free: int, free: int | None) -> None:
        gone = self._tape.gone
        self._strange = self._strange or gone
        guard(
            self.intake, gone=gone, emptied=gone and not self._tape.path.parent.is_dir(), min_free=min_free, free=free
        )

    def _tell(self) -> None:
        """Of trouble, once."""
        trouble, now = self.intake.trouble, time.monotonic()
        if trouble and not self._told:
            if now - self._well_at > LONGEST_RETRY_S:
                self._retry_s = RETRY_S
            self._later(now)
            self._say("trouble", message=f"{self._shown}: {trouble}")
        self._told = trouble

    def _later(self, now: float) -> None:
        self._retry_at, self._retry_s = now + self._retry_s, min(2 * self._retry_s, LONGEST_RETRY_S)

    def _retry(self, free: int | None) -> bool:
        """Whether recording goes on."""
        now = time.monotonic()
        if not has_room(free, self._settings["min_free"]) or self._go_on():
            self._later(now)
            return False
        self._well_at, self._told = now, ""
        return True

    def _go_on(self) -> str:
        """In another file. "", or why that cannot be."""
        try:
            self._make_folder()
            if self._rotation and not self._strange:
                self._tape.resume()
            else:
                self._tape.leave()
                tape = self._new_tape(time.time_ns())
                self._past.append(self._tape)
                self._tape = tape
        except (OSError, ShadowtapeError) as error:
            return describe(error)
        self._begin()
        return ""

    def _begin(self) -> None:
        self._strange = False
        if self._rotation is None:
            self.place = self._tape.path
        self.intake.begin(self._tape)

    def _gauges(self, free: int | None) -> None:
        tapes, row = (*self._past, self._tape), self._row
        row[Count.DISK_FREE_BYTES] = -1 if free is None else free
        row[Count.FILES] = self._files + sum(tape.files for tape in tapes)
        row[Count.TAPE_BYTES] = self._bytes + sum(tape.written for tape in tapes)
        row[Count.RECORDING] = 0 if self.intake.trouble else 1

    def _make_folder(self) -> None:
        """Raises OSError."""
        if self._rotation is not None:
            make_folder(self.place, parents=bool(self._settings["url"]), fsync=self._settings["fsync"])

    def _note(self, line: str) -> None:
        self._say("note", message=line)

    def _new_tape(self, wall_ns: int) -> RotatingTape:
        """A recording of its own. ``wall_ns``: what its first file is named by, in a folder. Raises OSError, UsageError."""
        settings, place, policy = self._settings, Path(self._settings["path"]), self._policy
        recording_id, sampled_by = os.urandom(ID_SIZE), settings.get("sampled_by")
        header = Header(
            file_id=os.urandom(ID_SIZE),
            recording_id=recording_id,
            kind="recording",
            wall_ns=settings["wall_ns"],
            producer=settings["producer"],
            policy=policy.as_data(),
            policy_digest=policy.digest,
            key_id=key_id(settings["key"]),
            sampling_rate=settings["sampling_rate"],
            source_digests=tuple(source_digest(recording_id, host, port) for host, port in settings["sources"]),
            notes={"sampled_by": sampled_by} if sampled_by else {},
            labels=tuple(label.name for label in self._labels),
        )
        keeping = Keeping(
            rotation=self._rotation,
            expire_ns=settings["expire_ns"],
            key=settings["tape_key"],
            fsync=settings["fsync"],
        )
        return begun(
            (lambda: start_of(place, wall_ns)) if self._rotation else (lambda: free_name(place)),
            lambda path_of: RotatingTape(
                path_of,
                header,
                keeping,
                on_sealed=self.uploader.put if self.uploader else lambda _: None,
                note=self._note,
                base=self.intake.confessed,
            ),
        )


def _check(policy: Policy, key: bytes) -> None:
    """Raises UsageError: a planted secret gets through."""
    if found := self_test(policy, key):
        raise UsageError(found)
