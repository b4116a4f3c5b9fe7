"""From captures to a schedule: which exchanges can be sent again, and when each of them came."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Flags
from captures.header import Header
from transforms.schedule import Schedule
from transforms.view import Input

# Why an exchange cannot be sent again: the first flag that is set names the reason.
REASONS: tuple[tuple[Flags, str], ...] = (
    (Flags.REQUEST_TRUNCATED, "request_truncated"),
    (Flags.REQUEST_DROPPED, "request_dropped"),
)
OTHER_REASON = "request_incomplete"


def schedule_of(
    captures: Sequence[Input], *, only_replayable: bool = True, lost: Sequence[NDArray[np.bool_]] = ()
) -> tuple[Schedule, dict[str, int]]:
    """Every exchange that can be sent again, by arrival (stable), the first at 0; and how many were left out, by reason.

    ``source`` counts the exchanges of all captures laid end to end, in the order given. Files of one recording (rotation)
    keep their distance in time; different recordings are laid over each other, each one's own zero at the common zero.
    Reads columns only, never a body; whoever can afford to (`Capture.lost` reads all) passes ``lost``, one mask per capture, and
    what is damaged is left out too.
    """
    arrival, flags, session = [], [], []
    for capture, zero_ns in zip(captures, zeros_ns([capture.header for capture in captures]), strict=True):
        columns = capture.columns().columns
        arrival.append(columns["arrival_ns"].astype(np.int64) + zero_ns)
        flags.append(columns["flags"].astype(np.uint32))
        session.append(columns["session"].astype(np.uint64))
    if not captures:
        return Schedule.empty(), {}
    at_ns, flag, sessions = np.concatenate(arrival), np.concatenate(flags), np.concatenate(session)

    damaged = np.concatenate(lost) if lost else np.zeros(len(flag), dtype=np.bool_)
    sendable = ~damaged
    if only_replayable:
        sendable &= (flag & np.uint32(Flags.REPLAYABLE)) != 0
    source = np.flatnonzero(sendable)
    source = source[np.argsort(at_ns[source], kind="stable")]
    at_ns = at_ns[source]
    schedule = Schedule(
        at_ns=at_ns - at_ns[0] if len(at_ns) else at_ns,
        source=source.astype(np.int64),
        variant=np.zeros(len(source), dtype=np.uint32),
        session=sessions[source],
    )
    return schedule, dropped(flag[~sendable], damaged[~sendable])


def zeros_ns(headers: Sequence[Header]) -> list[int]:
    """Where each file's zero lies on the common clock: rotated files of one recording are told apart by their anchors."""
    first: dict[bytes, int] = {}
    for header in headers:
        first[header.recording_id] = min(first.get(header.recording_id, header.wall_ns), header.wall_ns)
    return [header.wall_ns - first[header.recording_id] for header in headers]


def dropped(flags: NDArray[np.uint32], damaged: NDArray[np.bool_]) -> dict[str, int]:
    """How many of these were left out, by reason: each under the first that holds."""
    reasons = [((flags & np.uint32(flag)) != 0, reason) for flag, reason in REASONS]
    counts: dict[str, int] = {}
    left = np.ones(len(flags), dtype=np.bool_)
    for holds, reason in [(damaged, "damaged"), *reasons, (left.copy(), OTHER_REASON)]:
        if count := int(np.count_nonzero(holds & left)):
            counts[reason] = count
        left &= ~holds
    return counts
