"""What a capture lacks, in running totals: a file confesses with every flush."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Confessions:
    """Counts since the recording began. ``seen`` is everything that passed; what is not in the file is in one of the others."""

    seen: int = 0  # exchanges that passed the relay, or that a producer was asked to write
    shed: int = 0  # whole exchanges dropped: queue full, disk full, writer gone
    sampled_out: int = 0  # left out by --sample
    own: int = 0  # left out because they carried our own run header
    truncated: int = 0  # bodies kept only in part
    unparsed: int = 0  # claimed by a codec that could not read them
    hook_errors: int = 0  # a hook of the recorder failed; the traffic went on
    filtered: int = 0  # left out by --only or --except
    sampling_rate: float = 1.0  # the share of traffic that was meant to be kept
