"""Which files belong together, in which order, and what is missing between them. Pure."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Protocol

from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.header import Header
from captures.index import DIGEST_SIZE
from captures.walk import Damage

_COUNTS = tuple(field.name for field in fields(Confessions) if field.name != "sampling_rate")
CLOCK_LIMIT_NS = 1 << 62


class Named(Protocol):
    """A file with its header."""

    name: str

    @property
    def header(self) -> Header: ...


def in_order[T: Named](files: Iterable[T]) -> list[T]:
    """By the start of their recording, then by number. Raises CaptureError: no file, the same file twice, files of different kinds,
    clocks too far apart.
    """
    ordered = sorted(
        files, key=lambda each: (each.header.wall_ns, each.header.recording_id, each.header.number, each.name)
    )
    for one, other in pairwise(sorted(ordered, key=lambda each: each.header.file_id)):
        if one.header.file_id == other.header.file_id:
            raise CaptureError(f"{other.name}: the same file as {one.name}; take one of them away")
    for one, other in pairwise(ordered):
        if one.header.kind != other.header.kind:
            kinds = f"{one.name} is of kind {one.header.kind}, {other.name} of kind {other.header.kind}"
            raise CaptureError(f"{kinds}: they are not read as one; name files of one kind")
    if ordered and max(abs(each.header.wall_ns) for each in (ordered[0], ordered[-1])) > CLOCK_LIMIT_NS:
        raise CaptureError(f"{ordered[-1].name}: its clock is not of this age; name it alone")
    return ordered


def gaps(files: Sequence[Named], expired: Collection[Header] = ()) -> list[Damage]:
    """What the numbers of rotated files say is missing: from the greatest `Header.oldest` on, or what another recording of the
    folder says of this one: that is where retention has got to. Each is damage of the file after it. An expired file is not
    missing.
    """
    present: dict[bytes, dict[int, Named]] = defaultdict(dict)
    found = []
    for file in files:
        numbers = present[file.header.recording_id]
        if file.header.number in numbers:
            twice = f"file {file.header.number} of the recording is there twice: {numbers[file.header.number].name} too"
            found.append(Damage(0, -1, twice, 0, file.name))
        numbers[file.header.number] = file
    gone: dict[bytes, set[int]] = defaultdict(set)
    for header in expired:
        gone[header.recording_id].add(header.number)
    headers = [*(file.header for file in files), *expired]
    for recording, numbers in present.items():
        told = [each.oldest_of.get(recording.hex(), 1) for each in headers]
        oldest = max(*told, *(file.header.oldest for file in numbers.values()))
        kept = sorted(number for number in {*numbers, *gone[recording]} if number >= oldest)
        for before, after in pairwise([oldest - 1, *kept]):
            if after > before + 1:
                follower = numbers[after].name if after in numbers else ""
                found.append(Damage(0, -1, _missing(before + 1, after - 1), None, follower))
    return found


def _missing(first: int, last: int) -> str:
    return (
        f"file {first} of the recording is missing"
        if first == last
        else f"files {first} to {last} of the recording are missing"
    )


def summed(confessions: Sequence[Confessions]) -> Confessions:
    """Of several files: counts add up; where the rates differ, the rate is that of all they saw together."""
    counts = {name: sum(getattr(each, name) for each in confessions) for name in _COUNTS}
    rates = {each.sampling_rate for each in confessions}
    if len(rates) == 1 or not counts["seen"]:
        return Confessions(**counts, sampling_rate=confessions[0].sampling_rate)
    return Confessions(
        **counts, sampling_rate=sum(each.seen * each.sampling_rate for each in confessions) / counts["seen"]
    )


def digest_over(digests: Sequence[str]) -> str:
    """Of one file its own; of several, BLAKE2b over theirs, in order."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.blake2b(b"".join(map(bytes.fromhex, digests)), digest_size=DIGEST_SIZE).hexdigest()
