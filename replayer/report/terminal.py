"""The summary of a run on a terminal: objectives first, then rows, times, outcomes, agreement and the worst slices.

Reads ``summary.json`` as data. Everything is plain text where it is piped; nothing a run holds is read as markup.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from replayer.report.format import (
    MARKS,
    count,
    interval,
    mapping,
    mappings,
    ms,
    number,
    percent,
    rate,
    score,
    seconds,
    texts,
)

STYLES: Mapping[str, str] = {
    "PASS": "green",
    "FAIL": "red",
    "INCONCLUSIVE": "yellow",
    "INVALID": "magenta",
    "UNJUDGED": "dim",
}
TIMES = (("response_ms", "response"), ("service_ms", "service"), ("ttft_ms", "first byte"), ("lateness_ms", "lateness"))
STATISTICS = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"), ("max", "max"), ("mean", "mean"))
SLICES = 5


def print_summary(summary: Mapping[str, object], console: Console) -> None:
    """Print what a run found. Never raises for keys that are missing."""
    _verdict(summary, console)
    _objectives(summary, console)
    _rows(summary, console)
    _times(summary, console)
    _outcomes(summary, console)
    shadow = mapping(summary.get("shadow"))
    if shadow:
        _shadow(shadow, console)
    for note in texts(summary.get("notes")):
        _line(console, "note", note, "dim")


def _verdict(summary: Mapping[str, object], console: Console) -> None:
    verdict = str(summary.get("verdict", ""))
    console.print(Text(f"{MARKS.get(verdict, '')} {verdict}", style=f"bold {STYLES.get(verdict, '')}".strip()))
    told = {f"{one.get('expr')}: {one.get('verdict')}, {one.get('why')}" for one in mappings(summary.get("objectives"))}
    for sentence in texts(summary.get("why")):
        if sentence not in told:  # the list below says it
            _indented(console, sentence, 2)


def _objectives(summary: Mapping[str, object], console: Console) -> None:
    objectives = mappings(summary.get("objectives"))
    if not objectives:
        return
    console.print()
    for one in objectives:
        verdict = str(one.get("verdict", ""))
        line = Text(f"{MARKS.get(verdict, '')} {one.get('expr', '')}", style=STYLES.get(verdict, ""))
        line.append(f"  observed {one.get('shown', one.get('observed'))}", style="default")
        console.print(line)
        if verdict != "PASS":
            _indented(console, f"{verdict}: {one.get('why', '')}", 4)


def _rows(summary: Mapping[str, object], console: Console) -> None:
    rows = mapping(summary.get("rows"))
    told = [
        f"{count(rows.get(name))} {name}"
        for name in ("scheduled", "completed", "failed", "shed", "unsent")
        if number(rows.get(name)) is not None
    ]
    console.print()
    _line(console, "rows", ", ".join(told))
    duration, offered, achieved = (
        seconds(summary.get("duration_s")),
        *(rate(summary.get(key)) for key in ("offered_rps", "achieved_rps")),
    )
    _line(console, "load", f"{offered} offered, {achieved} achieved, over {duration}")


def _times(summary: Mapping[str, object], console: Console) -> None:
    table = _table(["ms", *(name for _, name in STATISTICS), "n"], left=1)
    for role, numbers in _targets(summary).items():
        for key, name in TIMES:
            spread = mapping(numbers.get(key))
            if number(spread.get("n")):
                title = f"{name} {role}".strip()
                table.add_row(title, *(ms(spread.get(one)) for one, _ in STATISTICS), count(spread.get("n")))
    if table.row_count:
        console.print()
        console.print(table)


def _outcomes(summary: Mapping[str, object], console: Console) -> None:
    console.print()
    for role, numbers in _targets(summary).items():
        name = f"status {role}".strip()
        status, failures = mapping(numbers.get("status")), mapping(numbers.get("failures"))
        told = [f"{code} x {count(n)}" for code, n in status.items()] + [
            f"{kind} x {count(n)}" for kind, n in failures.items()
        ]
        _line(console, name, ", ".join(told) or "nothing was answered")


def _shadow(shadow: Mapping[str, object], console: Console) -> None:
    console.print()
    _line(console, "agreement", interval(mapping(shadow.get("agreement")), 2))
    _line(console, "match", interval(mapping(shadow.get("match")), 2))
    if number(shadow.get("labelled")):
        _line(console, "flips", f"{count(shadow.get('flips'))} of {count(shadow.get('labelled'))} labelled pairs")
    scores = mapping(shadow.get("scores"))
    if scores:
        would = mapping(scores.get("would_pass_rtol"))
        named = [f"{name} {score(scores.get(key))}" for name, key in (("p50", "p50"), ("p99", "p99"), ("max", "max"))]
        sizes = f"mean Δ {score(scores.get('mean'))}, |Δ| {', '.join(named)}"
        _line(console, "scores", f"{sizes}; 99 % would match with --tolerance {score(would.get('p99'))}")
    for where in ("incomparable", "left_out"):
        for why, n in mapping(shadow.get(where)).items():
            _line(console, "not compared", f"{count(n)} x {why}", "yellow")
    slices = mappings(shadow.get("slices"))[:SLICES]
    if slices:
        table = _table(["worst slices", "part", "agreement", "95 % interval", "pairs"], left=2)
        for one in slices:
            low, high = percent(one.get("low")).removesuffix(" %"), percent(one.get("high")).removesuffix(" %")
            mark = " *" if one.get("notable") else ""
            table.add_row(
                f"{one.get('dimension')}{mark}",
                str(one.get("part")),
                percent(one.get("agreement")),
                f"{low} to {high}",
                count(one.get("n")),
            )
        console.print()
        console.print(table)
        if any(one.get("notable") for one in slices):
            console.print(Text("* beyond chance, after all slices looked at", style="dim"))


def _targets(summary: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    """The numbers of each target; a run of one target has them at the top level."""
    targets = mapping(summary.get("targets"))
    return {role: mapping(numbers) for role, numbers in targets.items()} if len(targets) > 1 else {"": summary}


def _table(heads: Sequence[str], left: int) -> Table:
    """No frame: aligned columns, the first ``left`` of them text."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if at < left else "right", overflow="fold", no_wrap=at >= left)
    return table


def _line(console: Console, name: str, text: str, style: str = "") -> None:
    """A name and what it says, wrapped beside it and without padding: what is piped has no trailing blanks."""
    left = max(12, len(name)) + 2
    for at, piece in enumerate(Text(text).wrap(console, max(20, console.width - left))):
        piece.rstrip()
        piece.stylize(style)
        console.print(Text.assemble((("" if at else name).ljust(left), "dim"), piece))


def _indented(console: Console, text: str, left: int) -> None:
    for piece in Text(text).wrap(console, max(20, console.width - left)):
        piece.rstrip()
        console.print(Text.assemble(" " * left, piece))
