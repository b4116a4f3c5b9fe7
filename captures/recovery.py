"""What survives of a damaged capture becomes a sound one. Pure: where the new one is kept is the caller's business.

Nothing is invented and nothing moves: what can be read whole is written in the order it stands, what cannot is counted. That takes
two readings, for the new header says what was lost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.header import Header
from captures.inspection import Facts, committed, damage_record
from captures.lineage import expiry_of, labels_of
from captures.reader import Capture
from captures.walk import Damage

PLACES_NOTED = 50  # in the header; the report has all of them


@dataclass(frozen=True, slots=True)
class Survey:
    """``read``: exchanges that were committed, as far as anything in the capture still tells. ``whole``: those that can be read.
    ``bodiless``: those whose columns can be read and whose heads or bodies cannot; they are lost too. ``tail``: bytes of an
    unfinished flush, which was never committed.
    """

    read: int
    whole: int
    bodiless: int
    damage: tuple[Damage, ...]
    sealed: bool
    tail: int

    @property
    def lost(self) -> int:
        return self.read - self.whole


def survey(capture: Capture, advance: Callable[[int], object] = lambda _: None) -> Survey:
    """Read everything once. ``advance`` is told how many exchanges were just read.

    Raises CaptureError where nothing can be read, though something was written.
    """
    whole = 0
    for _, batch in capture.batches():
        whole += len(batch)
        advance(len(batch))
    columns = int(np.count_nonzero(capture.readable_columns()))
    read = committed(capture)
    found = Survey(read, whole, columns - whole, tuple(capture.damage), capture.sealed, capture.tail)
    if read and not whole:
        raise CaptureError(f"{capture.path}: none of its {read:,} exchanges can be read whole: nothing to recover")
    return found


def survivors(capture: Capture) -> Iterator[Batch]:
    """What can be read whole, in the order it stands. Raises what reading raises."""
    return (batch for _, batch in capture.batches() if len(batch))


def recovered_header(capture: Capture, found: Survey, *, file_id: bytes, producer: str) -> Header:
    """The header of the damaged capture, with what was lost in its notes.

    Raises UsageError: several recordings, which have clocks and keys of their own.
    """
    headers = capture.headers
    if len({header.recording_id for header in headers}) > 1:
        raise UsageError(f"{capture.path}: holds several recordings; recover the files of each on its own")
    old = headers[0]
    notes = {**old.notes, "recovered": _note(found)}
    return replace(
        old,
        file_id=file_id,
        number=old.number if len(headers) == 1 else 1,
        oldest=old.oldest if len(headers) == 1 else 1,
        oldest_of=old.oldest_of if len(headers) == 1 else {},
        producer=producer,
        inputs=tuple(parent(file.name, file.digest, file.header) for file in capture.files),
        notes=notes,
        labels=labels_of(headers),
        expires_ns=expiry_of(headers),
        encryption={},
    )


def recovered_confessions(capture: Capture, found: Survey) -> Confessions:
    """What was lost is shed now, so that what was seen is still accounted for."""
    old = capture.confessions
    return replace(old, shed=old.shed + found.lost, seen=max(old.seen, found.whole))


def report(found: Survey) -> Facts:
    """The object `shadowtape recover --json` prints, less the names of the files."""
    return {
        "read": found.read,
        "written": found.whole,
        "lost": found.lost,
        "bodiless": found.bodiless,
        "sealed": found.sealed,
        "tail_bytes": found.tail,
        "damage": [damage_record(each) for each in found.damage],
    }


def parent(name: str, digest: str, header: Header) -> dict[str, object]:
    """An entry of a header's ``inputs``: what the new capture was made from, and what that was made from."""
    entry: dict[str, object] = {"path": name.rpartition("/")[2], "digest": digest, "file_id": header.file_id.hex()}
    return entry | {"inputs": [dict(each) for each in header.inputs]} if header.inputs else entry


def _note(found: Survey) -> dict[str, object]:
    places = [damage_record(each) for each in found.damage[:PLACES_NOTED]]
    return {"read": found.read, "lost": found.lost, "tail_bytes": found.tail, "damage": places}
