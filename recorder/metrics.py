"""The metrics of a recorder in Prometheus text format, made of the board of counters and of nothing else. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recorder.board import DELAY_BOUNDS_NS, DELAYS, Count

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "shadowtape_recorder_"
_SECOND_NS = 1_000_000_000

type Row = Sequence[int]
type Sample = tuple[str, str, int | float]
"""The end of the name, a label as it is written, the value."""
type Samples = Callable[[Row], list[Sample]]


@dataclass(frozen=True, slots=True)
class Metric:
    """``samples`` of one worker's row; the label ``worker`` is added to each."""

    name: str
    kind: str  # counter, gauge or histogram
    about: str
    samples: Samples


def _sum(*counts: Count) -> Samples:
    return lambda row: [("", "", sum(row[count] for count in counts))]


def _by(label: str, parts: dict[str, tuple[Count, ...]]) -> Samples:
    return lambda row: [
        ("", f'{label}="{value}"', sum(row[count] for count in counts)) for value, counts in parts.items()
    ]


def _less(whole: Count, *parts: Count) -> Samples:
    """What is left of a total. Its counts are read one after another while others write them: never below 0."""
    return lambda row: [("", "", max(0, row[whole] - sum(row[part] for part in parts)))]


def _restarts(starts: Count) -> Samples:
    return lambda row: [("", "", max(0, row[starts] - 1))]


def _known(gauge: Count) -> Samples:
    return lambda row: [("", "", row[gauge])] if row[gauge] >= 0 else []


def _up(pid: Count) -> Samples:
    return lambda row: [("", "", int(row[pid] > 0))]


def _delays(row: Row) -> list[Sample]:
    """Cumulative, as Prometheus wants them."""
    found: list[Sample] = []
    total = 0
    for place, bound in enumerate((*DELAY_BOUNDS_NS, None)):
        total += row[DELAYS + place]
        found.append(("_bucket", f'le="{"+Inf" if bound is None else bound / _SECOND_NS}"', total))
    return [*found, ("_sum", "", row[Count.DELAY_SUM_NS] / _SECOND_NS), ("_count", "", total)]


_OUTCOMES: dict[str, tuple[Count, ...]] = {
    "kept": (Count.KEPT,),
    "shed": (Count.SHED, Count.SPOOL_SHED),
    "lost": (Count.LOST,),
    "sampled_out": (Count.SAMPLED_OUT,),
    "own": (Count.OWN,),
    "filtered": (Count.FILTERED, Count.SPOOL_FILTERED),
    "unparsed": (Count.UNPARSED,),
    "error": (Count.HOOK_ERRORS, Count.SPOOL_ERRORS),
}
_SPOOLED = (Count.KEPT, Count.SPOOL_SHED, Count.SPOOL_FILTERED, Count.SPOOL_ERRORS)

METRICS = (
    Metric("exchanges_seen_total", "counter", "Exchanges that are over, recorded or not.", _sum(Count.SEEN)),
    Metric("exchanges_total", "counter", "Exchanges by what became of them.", _by("outcome", _OUTCOMES)),
    Metric("open_exchanges", "gauge", "Exchanges in the making.", _less(Count.BEGAN, Count.SEEN)),
    Metric(
        "relayed_bytes_total",
        "counter",
        "Bytes relayed, by where they came from.",
        _by("from", {"client": (Count.RELAYED_IN_BYTES,), "upstream": (Count.RELAYED_OUT_BYTES,)}),
    ),
    Metric("connections_total", "counter", "Connections of clients.", _sum(Count.CONNECTIONS)),
    Metric("open_connections", "gauge", "Connections of clients that are open.", _sum(Count.OPEN_CONNECTIONS)),
    Metric(
        "connect_failures_total", "counter", "Connections to the upstream that failed.", _sum(Count.CONNECT_FAILURES)
    ),
    Metric("relay_delay_seconds", "histogram", "From reading bytes to having passed them on.", _delays),
    Metric("held_bytes", "gauge", "Bodies of exchanges in the making.", _sum(Count.HELD_BYTES)),
    Metric("queue_bytes", "gauge", "What waits for the spool.", _sum(Count.QUEUED_BYTES)),
    Metric(
        "spool_exchanges", "gauge", "Exchanges the spool has and has not written.", _less(Count.RECEIVED, *_SPOOLED)
    ),
    Metric("truncated_total", "counter", "Exchanges kept with a body cut.", _sum(Count.TRUNCATED)),
    Metric(
        "unreadable_total", "counter", "Exchanges kept with a body no codec could read.", _sum(Count.SPOOL_UNPARSED)
    ),
    Metric("recording", "gauge", "1 while exchanges are written.", _sum(Count.RECORDING)),
    Metric("files", "gauge", "Files of this recording.", _sum(Count.FILES)),
    Metric("tape_bytes", "gauge", "Bytes of the files of this recording.", _sum(Count.TAPE_BYTES)),
    Metric("disk_free_bytes", "gauge", "What the disk of the files has left.", _known(Count.DISK_FREE_BYTES)),
    Metric("relay_up", "gauge", "1 while the worker's relay runs.", _up(Count.RELAY_PID)),
    Metric("spool_up", "gauge", "1 while the worker's spool runs.", _up(Count.SPOOL_PID)),
    Metric("relay_restarts_total", "counter", "Relays that had to be replaced.", _restarts(Count.RELAY_STARTS)),
    Metric("spool_restarts_total", "counter", "Spools that had to be replaced.", _restarts(Count.SPOOL_STARTS)),
    Metric("policy_reloads_total", "counter", "Policies read again and in force.", _sum(Count.POLICY_RELOADS)),
    Metric("policy_refusals_total", "counter", "Policies read again and refused.", _sum(Count.POLICY_REFUSALS)),
    Metric("draining", "gauge", "1 while the port is closed and the rest finishes.", _sum(Count.DRAINING)),
)
BUILD_INFO = "shadowtape_build_info"


def exposition(rows: Sequence[Row], version: str) -> str:
    """All metrics of all workers."""
    lines = [
        f"# HELP {BUILD_INFO} The version of shadowtape.",
        f"# TYPE {BUILD_INFO} gauge",
        f'{BUILD_INFO}{{version="{version}"}} 1',
    ]
    for metric in METRICS:
        name = PREFIX + metric.name
        lines += [f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}"]
        for worker, row in enumerate(rows):
            for suffix, label, value in metric.samples(row):
                labels = f'worker="{worker}"' + (f",{label}" if label else "")
                lines.append(f"{name}{suffix}{{{labels}}} {value!r}")
    return "\n".join([*lines, ""])
