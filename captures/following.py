"""Follow a capture that is being written. Pure: waiting, clocks and who writes are arguments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from captures.columns import Batch
from captures.inspection import Facts, confessed, origin_ns
from captures.reader import Capture
from captures.tally import Tally
from captures.wording import milliseconds, plural, size_text

KINDS_SHOWN = 6  # of status and failure in a line


@dataclass(frozen=True, slots=True)
class Update:
    """``whole``: everything so far. ``new``: what came since the last update. ``over``: there will be no other."""

    whole: Tally
    new: Tally
    over: bool


def follow(
    capture: Capture, *, wait: Callable[[], object], written: Callable[[], bool], patience: int = 1
) -> Iterator[Update]:
    """What is there, at once, and then an update after every ``wait``. Ends when nobody writes the capture any more: where
    ``written`` said so ``patience`` times in a row (between two files of a folder nobody writes either).

    Reads what is new and nothing again. Raises CaptureError.
    """
    whole = Tally(origin_ns(capture))
    new = Tally(whole.origin_ns)
    for _, batch in capture.parts():
        _add(batch, whole, new)
    quiet, read = 0 if written() else 1, len(capture)
    while quiet < patience:
        yield Update(whole, new, over=False)
        wait()
        # Asked first: what is committed before the writer goes is then read after that.
        quiet = 0 if written() else quiet + 1
        new = Tally(whole.origin_ns)
        if capture.refresh():
            _add(capture.columns(read), whole, new)
            read = len(capture)
    yield Update(whole, new, over=True)


def _add(batch: Batch, *tallies: Tally) -> None:
    for tally in tallies:
        tally.add(batch)


def record(update: Update, capture: Capture, at: str) -> Facts:
    """A line of `inspect --follow --json`. ``at``: when it was read, as text."""
    new = update.new.facts()
    return {
        "at": at,
        "exchanges": update.whole.n,
        "new": update.new.n,
        "status": new["status"],
        "failures": new["failures"],
        "service_ms": new["service_ms"]["last_byte"],
        "size_bytes": capture.size,
        "files": len(capture.files),
        "sealed": capture.sealed,
        "over": update.over,
        "confessions": confessed(capture.confessions),
    }


def line(found: Facts) -> str:
    """The same for people."""
    mix = [f"{what}: {count:,}" for what, count in (*found["status"].items(), *found["failures"].items())]
    times, count = found["service_ms"], found["exchanges"]
    said = [found["at"], f"+{found['new']:,}", plural(count, "exchange"), size_text(found["size_bytes"])]
    if times["n"]:
        said.append(f"p50 {milliseconds(times['p50'])}, p99 {milliseconds(times['p99'])}")
    if mix:
        said.append(" · ".join(mix[:KINDS_SHOWN]))
    if shed := found["confessions"]["shed"]:
        said.append(f"shed {shed:,}")
    if found["over"]:
        said.append("sealed" if found["sealed"] else "not sealed, and nobody writes it any more")
    return "  ".join(said)
