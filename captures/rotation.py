"""When a recording begins another file, what that file is called, and which older ones go. Pure: decisions, no files.

The files of a recording stand in one folder, numbered from 1. Their names sort by the recording's start and then by number, so
several recordings (a restart) may share a folder.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from captures.confessions import Confessions

DEFAULT_SIZE = 256 << 20
_NAME = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([0-9]{6,})\.tape", re.ASCII)
_STAMP = "%Y%m%dT%H%M%SZ"
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """``size_bytes`` and ``every_ns``: at which a file is followed by another. ``keep_bytes`` and ``keep_ns``: how much, and for
    how long after its last write. 0: no such limit. Raises ValueError.
    """

    size_bytes: int = DEFAULT_SIZE
    every_ns: int = 0
    keep_bytes: int = 0
    keep_ns: int = 0

    def __post_init__(self) -> None:
        if min(self.size_bytes, self.every_ns, self.keep_bytes, self.keep_ns) < 0:
            raise ValueError("limits are not negative")
        if 0 < self.keep_bytes < self.size_bytes:
            raise ValueError("what is kept is at least one file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file of the folder that a recording of ours wrote, as its name and header say. ``held``: somebody has a lock on it.
    ``written_ns`` (of the last write) and ``expires_ns`` (0: never) are unix time.
    """

    name: str
    size: int
    written_ns: int
    recording_id: bytes
    number: int
    expires_ns: int = 0
    held: bool = False


def is_due(rotation: Rotation, size: int, age_ns: int) -> bool:
    """Whether a file of ``size`` bytes that was begun ``age_ns`` ago is to be followed by another."""
    return 0 < rotation.size_bytes <= size or 0 < rotation.every_ns <= age_ns


def file_name(wall_ns: int, number: int) -> str:
    """``wall_ns``: when the recording began, unix time."""
    return f"{datetime.fromtimestamp(wall_ns // _SECOND_NS, UTC):{_STAMP}}-{number:06}.tape"


def number_of(name: str) -> int | None:
    """The number of a file that is named as recordings name theirs; None: it is not."""
    match = _NAME.fullmatch(name)
    return int(match[2]) if match else None


def free_start(wall_ns: int, taken: Iterable[str]) -> int:
    """The first whole second from ``wall_ns`` on whose names nobody has: two recordings may begin in the same one."""
    stamps = {name.rpartition("-")[0] for name in taken}
    while file_name(wall_ns, 1).rpartition("-")[0] in stamps:
        wall_ns += _SECOND_NS
    return wall_ns


def to_remove(files: Sequence[Stored], rotation: Rotation, now_ns: int) -> list[Stored]:
    """What goes before a file is begun, oldest first: what has expired, what is older than ``keep_ns``, and then as much as makes
    room for a whole new file within ``keep_bytes``. A file that is held stays, and its size counts.
    """
    removed = [file for file in files if not file.held and _is_over(file, rotation, now_ns)]
    room = rotation.keep_bytes - rotation.size_bytes
    total = sum(file.size for file in files) - sum(file.size for file in removed)
    rest = [file for file in files if not file.held and file not in removed]
    for file in sorted(rest, key=_age):
        if not rotation.keep_bytes or total <= room:
            break
        removed.append(file)
        total -= file.size
    return sorted(removed, key=_age)


def oldest_kept(removed: Iterable[Stored]) -> Mapping[bytes, int]:
    """By recording: the lowest number above everything that is removed. A gap below it is retention, above it damage."""
    oldest: dict[bytes, int] = {}
    for file in removed:
        oldest[file.recording_id] = max(oldest.get(file.recording_id, 1), file.number + 1)
    return oldest


def confessions_since(total: Confessions, before: Confessions) -> Confessions:
    """What was counted after ``before``; the sampling rate is ``total``'s."""
    counted = asdict(before)
    del counted["sampling_rate"]
    return Confessions(**(asdict(total) | {name: getattr(total, name) - count for name, count in counted.items()}))


def confessions_with(before: Confessions, since: Confessions) -> Confessions:
    """The total again."""
    counted = asdict(before)
    del counted["sampling_rate"]
    return Confessions(**(asdict(since) | {name: getattr(since, name) + count for name, count in counted.items()}))


def _is_over(file: Stored, rotation: Rotation, now_ns: int) -> bool:
    too_old = 0 < rotation.keep_ns < now_ns - file.written_ns
    return too_old or 0 < file.expires_ns <= now_ns


def _age(file: Stored) -> tuple[int, str]:
    return file.written_ns, file.name
