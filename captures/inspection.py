"""What a capture holds, and whether it is what it claims to be: facts as plain data. Rendering is the commands' business.

`facts` reads columns only. `check_segments` and `claims` read every byte.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.columns import Batch
from captures.exchange import FailureKind, Flags
from captures.frame import FORMAT_VERSION
from captures.index import Entry
from captures.reader import Capture
from captures.walk import Damage, Segment

type Facts = dict[str, Any]

RATE_BINS = 60
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}
_CONFESSED = ("shed", "truncated", "unparsed", "sampling_rate", "hook_errors", "seen", "sampled_out", "own")


def facts(capture: Capture) -> Facts:
    """The object `shadowtape inspect --json` prints. Keys are stable: more may be added, none renamed. Raises CaptureError."""
    batch = capture.columns()
    columns = batch.columns
    arrival, flags = columns["arrival_ns"].astype(np.int64), columns["flags"].astype(np.int64)
    header, commit = capture.header, capture.commit
    first = int(arrival.min()) if len(batch) else 0
    span_ns = int(arrival.max()) - first if len(batch) else 0

    def flagged(flag: Flags) -> int:
        return int(np.count_nonzero(flags & flag))

    return {
        "exchanges": len(batch),
        "start": iso(header.wall_ns + first),
        "duration_s": span_ns / 1e9,
        "size_bytes": capture.size,
        "segments": len(capture.segments),
        "routes": _routes(batch),
        "status": {str(code): count for code, count in _counts(columns["status"]) if code},
        "sessions": len(np.unique(columns["session"][columns["session"] != np.uint64(0)])),
        "streams": flagged(Flags.STREAM),
        "responses": int(np.count_nonzero(columns["status"])),
        "replayable": flagged(Flags.REPLAYABLE),
        "recorded_valid": flagged(Flags.RECORDED_VALID),
        "confessions": {name: getattr(commit.confessions, name) for name in _CONFESSED},
        "failures": {_failure(kind): count for kind, count in _counts(columns["failure"]) if kind},
        "inference": flagged(Flags.INFERENCE),
        "connections": len(np.unique(columns["connection"][columns["connection"] != np.uint32(0)])),
        "service_ms": {name: percentiles(columns[f"{name}_ns"]) for name in ("first_byte", "last_byte")},
        "bytes": {name: int(columns[name].astype(np.int64).sum()) for name in _SIZES},
        "rate": _rate(arrival - first, span_ns),
        "sealed": capture.sealed,
        "damage": [damage_record(damage) for damage in capture.damage],
        "digest": capture.digest,
        "header": {
            "format": FORMAT_VERSION,
            "kind": header.kind,
            "producer": header.producer,
            "file_id": header.file_id.hex(),
            "recording_id": header.recording_id.hex(),
            "number": header.number,
            "policy_digest": header.policy_digest,
            "key_id": header.key_id,
            "sampling_rate": header.sampling_rate,
            "inputs": [dict(each) for each in header.inputs],
            "expires": iso(header.expires_ns) if header.expires_ns else None,
        },
    }


_SIZES = ("request_size", "response_size", "request_kept", "response_kept")


def verdict(capture: Capture) -> Facts:
    """The object `shadowtape verify --json` prints, once `check_segments` has run to its end."""
    return {
        "sound": capture.sealed and not capture.damage,
        "exchanges": len(capture),
        "readable": len(capture) - int(np.count_nonzero(capture.lost())),
        "segments": len(capture.segments),
        "sealed": capture.sealed,
        "damage": [damage_record(damage) for damage in capture.damage],
        "tail_bytes": capture.tail,
        "digest": capture.digest,
    }


def check_segments(capture: Capture) -> Iterator[int]:
    """Check every byte and every claim, segment by segment; what is wrong goes into ``capture.damage``.

    Yields the offset reached after each segment.
    """
    running = {"exchanges": 0, "replayable": 0, "recorded_valid": 0}
    # After damage, totals cannot be followed any more, and the damage is known.
    whole = not capture.damage
    for position, segment in enumerate(capture.segments):
        batch = capture.check(position)
        if len(batch) == segment.exchanges:
            for reason in _false_claims(segment, batch, running if whole else None):
                capture.report(Damage(segment.offset, segment.start.number, reason, 0))
        yield segment.end
    if capture.index is not None and whole:
        for reason in _false_index(capture):
            capture.report(Damage(capture.segments[-1].end if capture.segments else 0, -1, reason, 0))


def damage_record(damage: Damage) -> Facts:
    return {
        "offset": damage.offset,
        "segment": damage.segment,
        "reason": damage.reason,
        "exchanges_lost": damage.exchanges_lost,
    }


def percentiles(since_ns: NDArray[np.generic]) -> dict[str, float | None]:
    """In ms, of the durations that are known (not -1)."""
    whole = since_ns.astype(np.int64)
    known = whole[whole >= 0] / 1e6
    if not len(known):
        return {**dict.fromkeys((*_PERCENTILES, "max", "mean")), "n": 0}
    found = np.percentile(known, list(_PERCENTILES.values()))
    values = {name: round(float(value), 6) for name, value in zip(_PERCENTILES, found, strict=True)}
    return {**values, "max": float(known.max()), "mean": round(float(known.mean()), 6), "n": len(known)}


def iso(unix_ns: int) -> str:
    """UTC, to the millisecond; what the calendar cannot show stays a number."""
    try:
        moment = datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{unix_ns} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ns // 1_000_000 % 1000:03d}Z"


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus else ""


def _routes(batch: Batch) -> list[Facts]:
    """By count, most frequent first."""
    if not len(batch):
        return []
    keys = np.stack([batch.columns[name].astype(np.int64) for name in ("method", "route", "codec", "model")], axis=1)
    kinds, counts = np.unique(keys, axis=0, return_counts=True)
    found = []
    for (method, route, codec, model), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        path = batch.names[route].partition(" ")[2] or batch.names[route]
        found.append(
            {
                "method": batch.names[method],
                "path": path,
                "codec": batch.names[codec],
                "model": batch.names[model],
                "count": count,
            }
        )
    return sorted(found, key=lambda row: (-row["count"], row["path"], row["method"]))


def _rate(since_ns: NDArray[np.int64], span_ns: int) -> Facts:
    """Arrivals in up to RATE_BINS bins of a whole number of seconds."""
    if not len(since_ns):
        return {"bin_s": 1, "counts": [], "mean_rps": 0.0, "peak_rps": 0}
    seconds = since_ns // 1_000_000_000
    bin_s = int(span_ns // 1_000_000_000 // RATE_BINS) + 1
    # A capture shorter than a second has no rate: its mean would be an artefact of two arrivals.
    return {
        "bin_s": bin_s,
        "counts": np.bincount(seconds // bin_s).tolist(),
        "mean_rps": round(len(since_ns) / max(span_ns / 1e9, 1.0), 3),
        "peak_rps": int(np.unique(seconds, return_counts=True)[1].max()),
    }


def _counts(values: NDArray[np.generic]) -> list[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _failure(kind: int) -> str:
    return FailureKind(kind).name.lower() if kind in FailureKind else f"kind_{kind}"


def _false_claims(segment: Segment, batch: Batch, running: dict[str, int] | None) -> Iterator[str]:
    """What the commits of a segment say about it that is not so. ``running``: totals so far, updated; None: not to be followed."""
    arrival, flags = batch.columns["arrival_ns"].astype(np.int64), batch.columns["flags"].astype(np.int64)
    row = 0
    for flush in segment.flushes:
        commit, rows = flush.commit, slice(row, row + flush.commit.exchanges)
        row += commit.exchanges
        low, high = (int(arrival[rows].min()), int(arrival[rows].max())) if commit.exchanges else (0, -1)
        if (commit.min_arrival_ns, commit.max_arrival_ns) != (low, high):
            yield f"a commit claims other arrivals than its exchanges have (flush at {flush.pieces[-1].offset})"
        if running is None:
            continue
        running["exchanges"] += commit.exchanges
        running["replayable"] += int(np.count_nonzero(flags[rows] & Flags.REPLAYABLE))
        running["recorded_valid"] += int(np.count_nonzero(flags[rows] & Flags.RECORDED_VALID))
        if any(getattr(commit, f"total_{name}") != count for name, count in running.items()):
            yield f"a commit claims other totals than the file has (flush at {flush.pieces[-1].offset})"


def _false_index(capture: Capture) -> Iterator[str]:
    index = capture.index
    assert index is not None
    if index.segments != tuple(_entry(segment) for segment in capture.segments):
        yield "the index does not describe the segments"
    if index.commit != capture.commit:
        yield "the index claims other totals than the last commit"
    if index.digest.hex() != capture.digest:
        yield "the index claims another digest than the content has"


def _entry(segment: Segment) -> Entry:
    commits = [flush.commit for flush in segment.flushes if flush.commit.exchanges]
    low = min((commit.min_arrival_ns for commit in commits), default=0)
    high = max((commit.max_arrival_ns for commit in commits), default=-1)
    return Entry(segment.offset, segment.end - segment.offset, segment.exchanges, low, high)
