"""The report of a run: one file that works from file://, without a network, in light and dark and on paper.

Pure: ``summary.json`` and ``run.json`` as data in, HTML out. Every text of a run is escaped where it is put in; data for the
charts stands in a JSON island in which nothing can end the script element.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from replayer.report import comparison, provenance
from replayer.report.charts import Drawing, drawings, json_for_script
from replayer.report.comparison import table
from replayer.report.format import (
    ABSENT,
    MARKS,
    count,
    escape,
    interval,
    mapping,
    mappings,
    ms,
    number,
    percent,
    rate,
    seconds,
    texts,
)

TIMES: Sequence[tuple[str, str, str]] = (
    ("response_ms", "Response time", "done minus intended"),
    ("service_ms", "Service time", "done minus dispatched"),
    ("ttft_ms", "First byte of body", "first byte minus intended"),
    ("lateness_ms", "Lateness", "dispatched minus intended"),
    ("connect_ms", "Connecting", "new connections only"),
)
STATISTICS = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p999", "p99.9"), ("max", "max"), ("mean", "mean"))
# Nothing from anywhere, ours inline.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def render(summary: Mapping[str, object], run: Mapping[str, object]) -> str:
    """The whole page. Keys that are missing are left out; an old or partial run still has a report."""
    drawn = drawings(summary)
    shadow = mapping(summary.get("shadow"))
    body = [
        _head(summary, run),
        _banner(summary),
        _notes(summary),
        _cards(summary),
        _objectives(summary),
        _charts(drawn),
        comparison.section(shadow, _sides(run)) if shadow else "",
        _times(summary),
        _outcomes(summary),
        provenance.section(summary, run),
    ]
    return _page(f"{_title(run)}: {summary.get('verdict', '')}", "\n".join(part for part in body if part), drawn)


@cache
def asset(name: str) -> str:
    """A file of this package: ours, so nothing in it is escaped."""
    return files("replayer.report").joinpath(name).read_text(encoding="utf-8")


def _page(title: str, body: str, drawn: Sequence[Drawing]) -> str:
    scripts = ""
    if drawn:
        data = json_for_script([drawing.data for drawing in drawn])
        scripts = (
            f'<script type="application/json" id="charts">{data}</script>\n'
            f"<script>{asset('vendor/uPlot.iife.min.js')}</script>\n<script>{asset('report.js')}</script>"
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{asset('vendor/uPlot.min.css')}\n{asset('report.css')}</style>\n</head>\n"
        f"<body>\n{body}\n{scripts}\n</body>\n</html>\n"
    )


def _title(run: Mapping[str, object]) -> str:
    return f"shadowtape {run.get('command') or 'run'}"


def _sides(run: Mapping[str, object]) -> tuple[str, str]:
    """What the report calls the reference and the candidate."""
    sides = texts(run.get("sides"))
    return (sides[0], sides[1]) if len(sides) == 2 else ("reference", "candidate")


def _head(summary: Mapping[str, object], run: Mapping[str, object]) -> str:
    inputs = ", ".join(str(one.get("path", "")) for one in mappings(run.get("inputs")))
    what = {"shadow": "{1} against {0}", "replay": "Replay"}.get(str(run.get("command")), "Run").format(*_sides(run))
    rows = f"{count(mapping(summary.get('rows')).get('scheduled'))} rows in {seconds(summary.get('duration_s'))}"
    line = " · ".join(escape(part) for part in (inputs, rows, run.get("started", ""), run.get("run_id", "")) if part)
    what = "C" + what[1:] if what.startswith("candidate ") else what
    return f'<header><div class="brand">{escape(_title(run))}</div><h1>{escape(what)}</h1><p class="soft">{line}</p></header>'


def _banner(summary: Mapping[str, object]) -> str:
    verdict = str(summary.get("verdict", ""))
    shade = verdict if verdict in MARKS else "UNJUDGED"
    why = "".join(f"<li>{escape(sentence)}</li>" for sentence in texts(summary.get("why")))
    return (
        f'<section class="banner {shade}"><div class="mark" aria-hidden="true">{MARKS[shade]}</div>'
        f'<div><div class="word">{escape(verdict)}</div><ul>{why}</ul></div></section>'
    )


def _notes(summary: Mapping[str, object]) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in texts(summary.get("notes")))
    return f'<ul class="note">{notes}</ul>' if notes else ""


def _cards(summary: Mapping[str, object]) -> str:
    rows, response = mapping(summary.get("rows")), mapping(summary.get("response_ms"))
    lateness, shadow = mapping(summary.get("lateness_ms")), mapping(summary.get("shadow"))
    cards = [
        ("Completed", count(rows.get("completed")), f"of {count(rows.get('scheduled'))} rows"),
        (
            "Failed or shed",
            count((number(rows.get("failed")) or 0) + (number(rows.get("shed")) or 0)),
            f"{count(rows.get('unsent'))} never sent",
        ),
        ("Achieved", rate(summary.get("achieved_rps")), f"offered {rate(summary.get('offered_rps'))}"),
        ("Response p99", f"{ms(response.get('p99'))} ms", f"p50 {ms(response.get('p50'))} ms"),
        ("Lateness p99", f"{ms(lateness.get('p99'))} ms", f"max {ms(lateness.get('max'))} ms"),
    ]
    if shadow:
        agreement = mapping(shadow.get("agreement"))
        cards.insert(
            0, ("Agreement", percent(agreement.get("value"), 2), interval(agreement, 1).partition(" (")[2].rstrip(")"))
        )
        cards.insert(1, ("Flips", count(shadow.get("flips")), f"of {count(shadow.get('labelled'))} labelled pairs"))
    inside = "".join(
        f'<div class="card"><div class="name">{name}</div><div class="value">{escape(value)}</div>'
        f'<div class="more">{escape(more)}</div></div>'
        for name, value, more in cards
    )
    return f'<div class="cards">{inside}</div>'


def _objectives(summary: Mapping[str, object]) -> str:
    objectives = mappings(summary.get("objectives"))
    if not objectives:
        return ""
    rows = [
        [
            _badge(str(one.get("verdict", ""))),
            f"<code>{escape(one.get('expr', ''))}</code>",
            escape(one.get("shown", one.get("observed", ABSENT))),
            escape(one.get("why", "")),
        ]
        for one in objectives
    ]
    return "<h2>Objectives</h2>" + table(["Verdict", "Objective", "Observed", "Why"], rows, [False, False, True, False])


def _badge(verdict: str) -> str:
    return f'<span class="badge {escape(verdict)}">{MARKS.get(verdict, "")} {escape(verdict)}</span>'


def _charts(drawn: Sequence[Drawing]) -> str:
    if not drawn:
        return ""
    panels = "".join(
        f'<div class="panel"><h3>{escape(one.chart.title)} <span class="soft">{escape(one.chart.note)}</span>'
        + (f'<button type="button" data-chart="chart-{one.chart.id}">log</button>' if one.chart.may_log else "")
        + f'</h3><div class="chart" id="chart-{one.chart.id}"></div></div>'
        for one in drawn
    )
    return f'<h2>Over time</h2><div class="grid">{panels}</div>'


def _times(summary: Mapping[str, object]) -> str:
    """One line per time and target."""
    targets = _targets(summary)
    rows = [
        [
            f'<b>{title}</b>{_of(role)}<br><span class="note">{note}</span>',
            *(ms(spread.get(key)) for key, _ in STATISTICS),
            count(spread.get("n")),
        ]
        for key_of_time, title, note in TIMES
        for role, numbers in targets.items()
        if number((spread := mapping(mapping(numbers).get(key_of_time))).get("n"))
    ]
    heads = ["Times in ms", *(name for _, name in STATISTICS), "n"]
    return "<h2>Times</h2>" + table(heads, rows, [False, *[True] * (len(heads) - 1)]) if rows else ""


def _outcomes(summary: Mapping[str, object]) -> str:
    targets = _targets(summary)
    rows = []
    for role, numbers in targets.items():
        for title, key in (("status", "status"), ("failure", "failures")):
            counts = mapping(mapping(numbers).get(key))
            whole = (
                sum(number(n) or 0 for n in counts.values())
                if key == "status"
                else number(mapping(mapping(numbers).get("rows")).get("scheduled"))
            )
            rows += [
                [
                    f"{title} <b>{escape(code)}</b>{_of(role)}",
                    count(n),
                    percent((number(n) or 0) / whole) if whole else ABSENT,
                ]
                for code, n in counts.items()
            ]
    return "<h2>Outcomes</h2>" + table(["Outcome", "Rows", "Share"], rows, [False, True, True]) if rows else ""


def _targets(summary: Mapping[str, object]) -> Mapping[str, object]:
    """The numbers of each target; a run of one target has them at the top level."""
    targets = mapping(summary.get("targets"))
    return targets if len(targets) > 1 else {"": summary}


def _of(role: object) -> str:
    """Whose number it is, where a run has several targets."""
    return f' <span class="soft">{escape(role)}</span>' if role else ""
