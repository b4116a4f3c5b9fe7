"""Whether a capture is what it claims to be: every checksum, every byte, every claim against what is there.

What is wrong goes into the file's ``damage``; claims that are false cost no exchange.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from captures.batches import label_columns
from captures.capture_file import CaptureFile
from captures.columns import LABEL_PREFIX, Batch
from captures.exchange import Flags
from captures.frame import MAGIC_SIZE
from captures.header import Header
from captures.index import Commit
from captures.inspection import Facts, damage_record
from captures.reader import Capture
from captures.recordings import digest_over
from captures.walk import Damage, Segment

_KEY_ID = re.compile(r"([0-9a-f]{16})?")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_COUNTERS = ("seen", "shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors", "filtered")


def verdict(captures: Sequence[Capture], readable: int) -> Facts:
    """The object `shadowtape verify --json` prints, once `check` has run to its end over each. ``readable``: the sum of what it
    gave. ``exchanges`` is ``readable`` and ``unreadable`` together; what damage hides altogether is in neither, and in
    ``exchanges_lost`` where anything tells.
    """
    damage = [_damage(each, capture, len(captures) > 1) for capture in captures for each in capture.damage]
    files = [file for capture in captures for file in capture.files]
    exchanges = sum(map(len, captures))
    sealed = all(capture.sealed for capture in captures)
    return {
        "sound": sealed and not damage,
        "exchanges": exchanges,
        "readable": readable,
        "unreadable": exchanges - readable,
        "segments": sum(len(file.places) for file in files),
        "sealed": sealed,
        "damage": damage,
        "tail_bytes": sum(capture.tail for capture in captures),
        "digest": digest_over([file.digest for file in files]),
        "encrypted": any(capture.encrypted for capture in captures),
        "files": [_file(file) for file in files],
    }


def _damage(damage: Damage, capture: Capture, several: bool) -> Facts:
    return damage_record(replace(damage, file=damage.file or capture.path) if several else damage)


def _file(file: CaptureFile) -> Facts:
    return {
        "file": file.name,
        "number": file.header.number,
        "sound": file.sealed and not file.damage,
        "sealed": file.sealed,
        "exchanges": len(file),
        "segments": len(file.places),
        "size_bytes": file.size,
        "tail_bytes": file.tail,
        "digest": file.digest,
    }


def check(capture: Capture) -> Iterator[int]:
    """Check every byte and every claim; what is wrong goes into ``capture.damage``. Gives, segment by segment, how many exchanges
    can be read whole.
    """
    return (readable for file in capture.files for readable in check_file(file))


def check_file(file: CaptureFile) -> Iterator[int]:
    """`check` of one file."""
    for reason in false_header(file.header):
        file.report(Damage(MAGIC_SIZE, -1, reason, 0))
    last: Commit | None = Commit(sampling_rate=file.header.sampling_rate)
    labels = {LABEL_PREFIX + name for name in file.header.labels}
    number = -1
    for position, place in enumerate(file.places):
        before = file.reports
        last = last if place.number == number + 1 else None
        number = place.number
        batch, segment = file.check(position), file.segment(position)
        # Totals can be followed from a segment that is whole to one that is whole.
        whole = file.reports == before and len(batch) == place.exchanges
        if whole:
            for reason in _false_claims(segment, batch, last, labels):
                file.report(Damage(place.offset, place.number, reason, 0))
        last = segment.flushes[-1].commit if segment.flushes and whole else None
        yield file.readable(position)  # while its bytes are still at hand
    for reason in _false_index(file, last):
        file.report(Damage(file.places[-1].end if len(file.places) else MAGIC_SIZE, -1, reason, 0))


def false_header(header: Header) -> Iterator[str]:
    """What a header says of itself that cannot be."""
    if header.number < 1 or not 1 <= header.oldest <= header.number:
        yield f"the header claims file {header.number} of a recording whose oldest file is {header.oldest}"
    if header.wall_ns < 0 or header.expires_ns < 0:
        yield "the header claims a time before 1970"
    if not 0 <= header.sampling_rate <= 1:
        yield f"the header claims a sampling rate of {header.sampling_rate}"
    if header.policy_digest != (policy_digest(header.policy) if header.policy else ""):
        yield "the header claims another policy digest than its policy has"
    if not _KEY_ID.fullmatch(header.key_id):
        yield "the header's key_id is no fingerprint"
    if not all(_DIGEST.fullmatch(each) for each in header.source_digests):
        yield "the header has a source digest that is none"
    if tuple(sorted(header.labels)) != header.labels:
        yield "the header's labels are not sorted"


def policy_digest(policy: object) -> str:
    """As `captures.privacy.policy.Policy.digest`, of whatever a header holds; empty where it is no policy at all."""
    try:
        canonical = json.dumps(policy, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError):
        return "not a policy"
    return blake2b(canonical.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _false_claims(segment: Segment, batch: Batch, last: Commit | None, labels: set[str]) -> Iterator[str]:
    """What the start and the commits of a whole segment say that is not so. ``last``: the commit before it; None: unknown."""
    if set(label_columns(each.name for each in segment.start.columns)) - labels:
        yield "a segment has a label column that the header does not name"
    arrival, flags = batch.columns["arrival_ns"].astype(np.int64), batch.columns["flags"].astype(np.int64)
    row = 0
    for flush in segment.flushes:
        commit, rows = flush.commit, slice(row, row + flush.commit.exchanges)
        row += commit.exchanges
        where = f"(flush at {flush.pieces[-1].offset})"
        low, high = (int(arrival[rows].min()), int(arrival[rows].max())) if commit.exchanges else (0, -1)
        if (commit.min_arrival_ns, commit.max_arrival_ns) != (low, high):
            yield f"a commit claims other arrivals than its exchanges have {where}"
        if last is not None:
            added = {
                "exchanges": commit.exchanges,
                "replayable": int(np.count_nonzero(flags[rows] & Flags.REPLAYABLE)),
                "recorded_valid": int(np.count_nonzero(flags[rows] & Flags.RECORDED_VALID)),
            }
            if any(getattr(commit, f"total_{name}") != getattr(last, f"total_{name}") + n for name, n in added.items()):
                yield f"a commit claims other totals than the file has {where}"
            if any(getattr(commit, name) < getattr(last, name) for name in _COUNTERS):
                yield f"a commit takes back what one before it confessed {where}"
        if not 0 <= commit.sampling_rate <= 1:
            yield f"a commit claims a sampling rate of {commit.sampling_rate} {where}"
        last = commit


def _false_index(file: CaptureFile, last: Commit | None) -> Iterator[str]:
    """What the index of a sealed file says that is not so. That its segments fill the file was seen when it was opened, and each
    was compared as it was read.
    """
    if file.index is None:
        return
    if last is not None and file.index.commit != last:
        yield "the index claims other totals than the last commit"
    if not file.damage and file.content_digest() != file.digest:
        yield "the index claims another digest than the content has"
