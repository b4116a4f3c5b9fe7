"""Small segments, flushes and files become one capture of full segments. Pure: where it is kept is the caller's business.

Exchanges stand in the new capture as they were read, inputs in the order given; only times, which count from a capture's zero, are
moved where inputs have another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.header import Header
from captures.lineage import expiry_of, labels_of
from captures.parts import later
from captures.reader import Capture
from captures.recordings import summed
from captures.recovery import parent

# What all inputs have in common, or their exchanges would mean different things: (what it is called, why).
_ALIKE = (
    ("kind", "kind of capture", "a recording, a derived capture and a run are read differently"),
    ("policy_digest", "policy", "what one kept the other may have replaced"),
    ("key_id", "key of the tokens", "equal values would have different tokens"),
)


def compacted_header(inputs: Sequence[Capture], *, file_id: bytes, new_id: bytes, producer: str) -> Header:
    """``new_id``: the recording's id where the inputs are of several recordings.

    Raises UsageError: the inputs do not belong together.
    """
    whose = [(file.name, file.header) for capture in inputs for file in capture.files]
    headers = [header for _, header in whose]
    name, first = whose[0]
    for key, what, why in _ALIKE:
        for other, header in whose:
            if getattr(header, key) != getattr(first, key):
                values = f"{getattr(first, key) or 'none'} and {getattr(header, key) or 'none'}"
                raise UsageError(f"{name} and {other} differ in their {what} ({values}): {why}; compact them apart")
    recordings = {header.recording_id for header in headers}
    strange = next((other for other, header in whose if header.recording_id != first.recording_id), "")
    if strange and (first.kind == "run" or any(header.source_digests for header in headers)):
        raise UsageError(
            f"{name} and {strange} are of different {first.kind}s, and the new capture could not name the servers of both; "
            "compact them apart (replay takes several captures)"
        )
    return replace(
        first,
        file_id=file_id,
        recording_id=first.recording_id if len(recordings) == 1 else new_id,
        number=1,
        oldest=1,
        oldest_of={},
        wall_ns=min(header.wall_ns for header in headers),
        producer=producer,
        sampling_rate=compacted_confessions(inputs).sampling_rate,
        inputs=tuple(parent(file.name, file.digest, file.header) for capture in inputs for file in capture.files),
        notes=_common_notes(headers),
        labels=labels_of(headers),
        expires_ns=expiry_of(headers),
        encryption={},
    )


def compacted(inputs: Sequence[Capture], header: Header) -> Iterator[Batch]:
    """Everything, segment by segment. ``header``: of the new capture. Raises CaptureError: something is damaged."""
    for capture in inputs:
        read = 0
        for _, batch in capture.batches():
            read += len(batch)
            yield later(batch, capture.header.wall_ns - header.wall_ns)
        if capture.damage or read != len(capture):
            raise damaged_error(capture)


def compacted_confessions(inputs: Sequence[Capture]) -> Confessions:
    """Counts added up; nobody has seen less than there is."""
    total = summed([capture.confessions for capture in inputs])
    return replace(total, seen=max(total.seen, sum(map(len, inputs))))


def damaged_error(capture: Capture) -> CaptureError:
    """Why a damaged capture is not compacted: its gaps would no longer show."""
    reason = capture.damage[0].reason if capture.damage else "not all of it can be read"
    return CaptureError(
        f"{capture.path}: damaged ({reason}): `shadowtape recover` makes a sound capture of what is left"
    )


def _common_notes(headers: Sequence[Header]) -> dict[str, object]:
    """Notes that all inputs have."""
    first = headers[0].notes
    missing = object()
    return {
        key: value for key, value in first.items() if all(header.notes.get(key, missing) == value for header in headers)
    }
