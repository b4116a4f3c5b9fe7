"""What a capture holds: facts as plain data. How they look is captures/inspect_text.py's business; whether the capture is what it
claims to be is captures/verification.py's.

Reads columns only, a segment at a time: memory does not grow with the capture.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import numpy as np

from captures.capture_file import CaptureFile
from captures.confessions import Confessions
from captures.reader import Capture
from captures.tally import Tally
from captures.walk import Damage

type Facts = dict[str, Any]

_CONFESSED = ("shed", "truncated", "unparsed", "sampling_rate", "hook_errors", "seen", "sampled_out", "own", "filtered")
# counter: what it is called once, and several times
_LACKING = {
    "shed": (
        "1 exchange shed (dropped whole, or lost to damage)",
        "{:,} exchanges shed (dropped whole, or lost to damage)",
    ),
    "filtered": ("1 exchange left out by a filter", "{:,} exchanges left out by filters"),
    "own": ("1 exchange of our own replays", "{:,} exchanges of our own replays"),
    "truncated": ("1 body kept only in part", "{:,} bodies kept only in part"),
    "unparsed": (
        "1 exchange kept that its codec could not read",
        "{:,} exchanges kept that their codec could not read",
    ),
    "hook_errors": ("1 failure inside the recorder", "{:,} failures inside the recorder"),
}


def facts(capture: Capture) -> Facts:
    """The object `shadowtape inspect --json` prints. Keys are stable: more may be added, none renamed. Raises CaptureError."""
    tally = Tally(origin_ns(capture))
    for _, batch in capture.parts():
        tally.add(batch)
    return facts_of(tally, capture)


def facts_of(tally: Tally, capture: Capture) -> Facts:
    """What has been counted so far, and what the capture says of itself."""
    header, counted, confessions = capture.header, tally.facts(), capture.confessions
    return {
        "exchanges": counted.pop("exchanges"),
        "start": iso(header.wall_ns + tally.first_ns),
        "duration_s": counted.pop("duration_s"),
        "size_bytes": capture.size,
        "segments": sum(len(file.places) for file in capture.files),
        **counted,
        "confessions": confessed(confessions),
        "lacks": lacking(confessions),
        "sealed": capture.sealed,
        "encrypted": capture.encrypted,
        "damage": [damage_record(damage) for damage in capture.damage],
        "files": [_file(file) for file in capture.files],
        "expired_files": capture.expired,
        "digest": capture.digest,
        "header": _header(capture.files[0]),
    }


def origin_ns(capture: Capture) -> int:
    """The least arrival, as the commits tell it: no column is read. 0 without exchanges."""
    zero_ns = capture.header.wall_ns
    arrivals = [
        int(file.arrivals[held, 0].min()) + file.header.wall_ns - zero_ns
        for file in capture.files
        if (held := np.diff(file.starts) > 0).any()
    ]
    return min(arrivals, default=0)


def committed(capture: Capture) -> int:
    """Exchanges that were written, as far as anything still tells: damage may hide some of them altogether."""
    return sum(max(file.commit.total_exchanges, len(file)) for file in capture.files)


def confessed(confessions: Confessions) -> Facts:
    return {name: getattr(confessions, name) for name in _CONFESSED}


def _file(file: CaptureFile) -> Facts:
    return {
        "file": file.name,
        "number": file.header.number,
        "recording_id": file.header.recording_id.hex(),
        "exchanges": len(file),
        "size_bytes": file.size,
        "segments": len(file.places),
        "sealed": file.sealed,
        "expires": iso(file.header.expires_ns) if file.header.expires_ns else None,
    }


def lacking(confessions: Confessions) -> list[str]:
    """What is not in the capture, in words; nothing where everything is."""
    said = []
    if confessions.sampling_rate < 1 or confessions.sampled_out:
        rate = f"{100 * confessions.sampling_rate:g} %"
        said.append(f"{confessions.sampled_out:,} sampled out ({rate} was to be kept)")
    for name, (one, many) in _LACKING.items():
        count = getattr(confessions, name)
        if count:
            said.append(one if count == 1 else many.format(count))
    return said


def damage_record(damage: Damage) -> Facts:
    """An entry of ``damage`` in JSON; it has a ``file`` where the capture has several."""
    record = {
        "offset": damage.offset,
        "segment": damage.segment,
        "reason": damage.reason,
        "exchanges_lost": damage.exchanges_lost,
    }
    return record | {"file": damage.file} if damage.file else record


def iso(unix_ns: int) -> str:
    """UTC, to the millisecond; what the calendar cannot show stays a number."""
    try:
        moment = datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{unix_ns} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ns // 1_000_000 % 1000:03d}Z"


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus else ""


def _header(file: CaptureFile) -> Facts:
    header = file.header
    return {
        "format": file.version,
        "kind": header.kind,
        "producer": header.producer,
        "file_id": header.file_id.hex(),
        "recording_id": header.recording_id.hex(),
        "number": header.number,
        "policy_digest": header.policy_digest,
        "key_id": header.key_id,
        "sampling_rate": header.sampling_rate,
        "inputs": [plain(each) for each in header.inputs],
        "notes": plain(header.notes),
        "labels": list(header.labels),
        "encryption": plain(header.encryption),
        "expires": iso(header.expires_ns) if header.expires_ns else None,
    }


def plain(value: Any) -> Any:
    """As JSON can say it: bytes as hex, every key a string."""
    if isinstance(value, dict):
        return {each if isinstance(each, str) else str(each): plain(inner) for each, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
