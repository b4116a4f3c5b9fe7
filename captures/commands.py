"""`shadowtape inspect`, `verify` and `audit`: facts come from inspection.py and privacy/, this file prints them."""

import json as jsonlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from captures.errors import UsageError
from captures.frame import SYNC_SIZE
from captures.header import pack_header
from captures.inspection import check_segments, facts, phrase, verdict
from captures.reader import Capture
from captures.store import being_written, open_capture

PROGRESS_FROM_BYTES = 64 << 20  # a smaller file is done before a bar can be read
ROUTES_SHOWN = 30
_BARS = " ▁▂▃▄▅▆▇█"

CaptureArgument = Annotated[Path, typer.Argument(metavar="CAPTURE", help="A capture file (.tape).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def inspect(capture: CaptureArgument, *, json: JsonOption = False) -> int:
    """What a capture holds: routes, rates, service times, confessions.

    Reads columns only, never a body: seconds for gigabytes. Exits 0, or 5 if the file cannot be read.

    [bold]Examples[/bold]

      shadowtape inspect monday.tape

      shadowtape inspect monday.tape --json | jq .confessions
    """
    with open_capture(capture) as opened:
        found = facts(opened)
    if json:
        print(jsonlib.dumps(found))
    else:
        _show_facts(_console(), str(capture), found)
    return 0


def verify(capture: CaptureArgument, *, json: JsonOption = False) -> int:
    """Check every checksum and claim of a capture.

    Exits 0 if it is sound, 1 if anything is damaged or the file was never sealed, 5 if it cannot be read at all.

    [bold]Examples[/bold]

      shadowtape verify monday.tape

      shadowtape verify monday.tape --json | jq '.damage[]'
    """
    with open_capture(capture) as opened:
        for _ in _tracked(check_segments(opened), "verifying", opened.size, len(opened.segments)):
            pass
        found = verdict(opened)
    if json:
        print(jsonlib.dumps(found))
    else:
        _show_verdict(_console(), capture, found)
    return 0 if found["sound"] else 1


def audit(
    capture: CaptureArgument,
    *,
    known: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Values that must not be inside, one a line.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Look for secrets inside a capture: values of your own list, and what looks like a credential or a person's.

    Says where, never what. Exits 0 if everything was read and nothing found, 1 otherwise.

    [bold]Examples[/bold]

      shadowtape audit monday.tape

      shadowtape audit monday.tape --known customers.txt --json
    """
    values = _known_values(known) if known else ()
    with open_capture(capture) as opened:
        missing = sum(each.exchanges_lost or 0 for each in opened.damage)  # what not even the columns tell of
        findings, scanned, sought = _findings(opened, values)
        unread = len(opened) - scanned + missing
        damaged, tail = bool(opened.damage), opened.tail
    clean = not findings and not damaged and not tail
    if json:
        print(jsonlib.dumps({"clean": clean, "findings": findings, "scanned": scanned, "unread": unread}))
    else:
        _show_findings(_console(), capture, findings, scanned, clean=clean)
    if sought < len(values):
        _complain(f"--known {known}: {len(values) - sought} values were not sought, being too short to mean anything")
    if damaged:
        lost = _plural(unread, "exchange") if unread else "some bytes"
        _complain(f"{capture}: damaged: {lost} not scanned; see `shadowtape verify`")
    if tail:
        _complain(f"{capture}: {tail:,} bytes of an unfinished flush at its end were not scanned")
    return 0 if clean else 1


def _findings(capture: Capture, known: Sequence[bytes]) -> tuple[list[dict[str, Any]], int, int]:
    """Findings, exchanges scanned, known values sought. ``exchange`` is None where the header holds one."""
    from captures.privacy.scan import SHORTEST_SECRET, Needles, scan_exchange  # noqa: PLC0415 - not needed to inspect

    sought = [value for value in known if len(value) >= SHORTEST_SECRET]
    needles, scanned = Needles(sought), 0
    found: list[dict[str, Any]] = []
    if needles.are_in(pack_header(capture.header, bytes(SYNC_SIZE))):
        found.append({"exchange": None, "where": "capture header", "kind": "known secret"})
    for ordinal, exchange in _tracked(capture.numbered(), "auditing", capture.size, len(capture)):
        scanned += 1
        found += [
            {"exchange": ordinal, "where": where, "kind": kind} for where, kind in scan_exchange(exchange, needles)
        ]
    return found, scanned, len(sought)


def _tracked[T](steps: Iterable[T], what: str, size: int, total: int) -> Iterable[T]:
    """With a bar on stderr where somebody looks at it and waits long enough to."""
    if size < PROGRESS_FROM_BYTES or not sys.stderr.isatty():
        return steps
    return track(steps, what, total=total, console=Console(stderr=True), transient=True)


def _console() -> Console:
    """Wraps between words where somebody looks at it; a line stays a line in a pipe."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _complain(message: str) -> None:
    print(f"shadowtape: {message}", file=sys.stderr)


def _show_facts(console: Console, name: str, found: dict[str, Any]) -> None:
    confessions, header, rate = found["confessions"], found["header"], found["rate"]
    state = "sealed" if found["sealed"] else "[yellow]not sealed[/yellow]"
    console.print(f"[bold]{escape(name)}[/bold]  {header['kind']}, {state}, {size(found['size_bytes'])}")
    console.print(
        f"{found['exchanges']:,} exchanges in {found['duration_s']:,.3f} s from {found['start']}, "
        f"{rate['mean_rps']:,.1f}/s on average, {rate['peak_rps']:,}/s in the peak second"
    )
    if rate["counts"]:
        console.print(f"  {sparkline(rate['counts'])}  one bar: {rate['bin_s']} s")
    console.print(
        f"{found['replayable']:,} replayable, {found['recorded_valid']:,} with answers valid for comparison, "
        f"{found['streams']:,} streams, {found['sessions']:,} sessions, {found['connections']:,} connections"
    )
    console.print(_routes_table(found["routes"]))
    if len(found["routes"]) > ROUTES_SHOWN:
        console.print(f"  … and {len(found['routes']) - ROUTES_SHOWN} more (--json has them all)")
    mix = [f"{code} {phrase(int(code))}: {count:,}" for code, count in found["status"].items()]
    mix += [f"{kind}: {count:,}" for kind, count in found["failures"].items()]
    console.print("status   " + escape(" · ".join(mix) or "no responses"))
    for key, title in (("first_byte", "first byte"), ("last_byte", "last byte")):
        console.print(f"service  to the {title}, as recorded: {_times(found['service_ms'][key])}")
    sizes = found["bytes"]
    console.print(
        f"bodies   requests {size(sizes['request_size'])} (kept {size(sizes['request_kept'])}), "
        f"responses {size(sizes['response_size'])} (kept {size(sizes['response_kept'])})"
    )
    console.print("confesses " + ", ".join(f"{name} {_count(value)}" for name, value in confessions.items()))
    policy = header["policy_digest"] or "none"
    console.print(escape(f"written by {header['producer']}, policy {policy}, key {header['key_id'] or 'none'}"))
    console.print(f"digest   {found['digest']}" + (f", expires {header['expires']}" if header["expires"] else ""))
    _show_damage(console, found["damage"])


def _routes_table(routes: list[dict[str, Any]]) -> Table:
    table = Table("method", box=None, padding=(0, 2, 0, 0))
    table.add_column("path", overflow="fold")
    table.add_column("codec")
    table.add_column("model", overflow="fold")
    table.add_column("count", justify="right")
    for route in routes[:ROUTES_SHOWN]:
        cells = (route["method"], route["path"] or "-", route["codec"], route["model"] or "-")
        table.add_row(*map(escape, cells), f"{route['count']:,}")
    return table


def _show_verdict(console: Console, path: Path, found: dict[str, Any]) -> None:
    name = escape(str(path))
    if found["sound"]:
        what = f"{_plural(found['exchanges'], 'exchange')}, {_plural(found['segments'], 'segment')}"
        console.print(f"{name}: [green]sound[/green], {what}")
        return
    if not found["sealed"]:
        killed = "the recorder was killed, or could not write on, before it could seal it"
        why = "it is still being recorded" if being_written(path) else killed
        tail = f"; {found['tail_bytes']:,} bytes of an unfinished flush at its end" if found["tail_bytes"] else ""
        console.print(f"{name}: [yellow]not sealed[/yellow]: {why}{tail}")
    _show_damage(console, found["damage"])
    what = f"{_plural(found['readable'], 'exchange')} in {_plural(found['segments'], 'segment')}"
    console.print(f"{what} can be read")


def _show_damage(console: Console, damage: list[dict[str, Any]]) -> None:
    for each in damage:
        lost = each["exchanges_lost"]
        cost = "an unknown number of exchanges" if lost is None else _plural(lost, "exchange")
        where = f"segment {each['segment']}" if each["segment"] >= 0 else "outside the segments"
        console.print(f"[red]damage[/red] at byte {each['offset']:,}, {where}: {escape(each['reason'])}; lost: {cost}")


def _show_findings(console: Console, path: Path, findings: list[dict[str, Any]], scanned: int, *, clean: bool) -> None:
    for each in findings[:100]:
        whose = "" if each["exchange"] is None else f"exchange {each['exchange']}: "
        console.print(escape(f"{whose}{each['kind']} in {each['where']}"))
    if len(findings) > 100:
        console.print(f"… and {len(findings) - 100:,} more (--json has them all)")
    state = "[green]clean[/green]" if clean else "[yellow]nothing found, but not everything could be read[/yellow]"
    if findings:
        state = f"[red]{_plural(len(findings), 'finding')}[/red]"
    console.print(f"{escape(str(path))}: {state}, {_plural(scanned, 'exchange')} scanned")


def _known_values(path: Path) -> tuple[bytes, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--known {path}: cannot be read: {error.strerror}") from None
    return tuple(line.strip() for line in lines if line.strip())


def sparkline(counts: list[int]) -> str:
    """One bar per count; only zero is blank."""
    top = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in counts)


def size(count: int) -> str:
    """As people write sizes: 1.5 MiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _times(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "unknown"
    return ", ".join(f"{name} {found[name]:,.2f}" for name in ("p50", "p90", "p99", "max")) + " ms"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _count(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
