"""Which charts a run has, as data for report.js. Colours are names of CSS variables: a palette that colour-blind
readers can tell apart, and dashes beside it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captures.errors import UsageError
from replayer.objective import Kind, parse
from replayer.report.format import mapping, mappings, number, sequence

NS_PER_MS = 1_000_000
LIMIT_REACH = 3
"""A limit further above the data than this would flatten the lines it is drawn for; the objectives tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``colour``: one, two, three, four or fog (report.css)."""

    label: str
    key: str
    colour: str
    width: float = 1.75
    dash: tuple[int, ...] = ()
    fill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    id: str
    title: str
    unit: str
    lines: Sequence[Line]
    may_log: bool = False
    limits: bool = False  # draw the limits of objectives on response time
    note: str = ""


CHARTS: Sequence[Chart] = (
    Chart(
        id="load",
        title="Load",
        unit="/s",
        note="rows per second: asked for, sent, answered",
        lines=(
            Line(label="scheduled", key="scheduled", colour="fog", width=0, fill=True),
            Line(label="offered", key="offered", colour="one", width=2),
            Line(label="achieved", key="achieved", colour="two", dash=(6, 4), width=2),
        ),
    ),
    Chart(
        id="response",
        title="Response time",
        unit=" ms",
        note="ms from the intended time, by intended time",
        may_log=True,
        limits=True,
        lines=(
            Line(label="p50", key="p50", colour="three"),
            Line(label="p90", key="p90", colour="two", dash=(8, 3)),
            Line(label="p99", key="p99", colour="one", width=2),
        ),
    ),
    Chart(
        id="lateness",
        title="Lateness",
        unit=" ms",
        note="ms, dispatched after the intended time: the generator's doing",
        may_log=True,
        lines=(
            Line(label="p50", key="lateness_p50", colour="three"),
            Line(label="p99", key="lateness_p99", colour="one", width=2),
            Line(label="max", key="lateness_max", colour="fog"),
        ),
    ),
    Chart(
        id="failures",
        title="Failures",
        unit="/s",
        note="rows per second that failed, were shed, or were answered 400 and above",
        lines=(
            Line(label="all", key="errors", colour="fog", width=0, fill=True),
            Line(label="failed", key="failed", colour="two", width=2),
            Line(label="shed", key="shed", colour="four", dash=(3, 3)),
            Line(label="4xx", key="status_4xx", colour="three"),
            Line(label="5xx", key="status_5xx", colour="one", dash=(8, 3)),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart with its data, ready for JSON."""

    chart: Chart
    data: Mapping[str, object]


def drawings(summary: Mapping[str, object]) -> list[Drawing]:
    """The charts the run has data for; none without a series (`replayer.fold.series`)."""
    series = mapping(summary.get("series"))
    times = [number(value) for value in sequence(series.get("t_s"))]
    if not times:
        return []
    return [
        Drawing(chart, {"id": f"chart-{chart.id}", "unit": chart.unit, "log": False, "t": times, "series": lines})
        for chart in CHARTS
        if (lines := _lines(chart, series, len(times), summary))
    ]


def _lines(
    chart: Chart, series: Mapping[str, object], n: int, summary: Mapping[str, object]
) -> list[Mapping[str, object]]:
    lines: list[Mapping[str, object]] = [
        {
            "label": line.label,
            "values": [number(value) for value in sequence(series[line.key])],
            "colour": line.colour,
            "width": line.width,
            "dash": list(line.dash),
            "fill": line.fill,
        }
        for line in chart.lines
        if len(sequence(series.get(line.key))) == n
    ]
    if chart.limits and lines:
        values = [value for line in lines for value in sequence(line["values"])]
        reach = LIMIT_REACH * max((number(value) or 0.0 for value in values), default=0.0)
        lines += [
            {"label": label, "values": [limit] * n, "colour": "fail", "width": 1, "dash": [2, 3], "fill": False}
            for label, limit in _limits_ms(summary)
            if limit <= reach
        ]
    return lines


def _limits_ms(summary: Mapping[str, object]) -> list[tuple[str, float]]:
    """The limits objectives put on response time, told once each."""
    found: dict[float, str] = {}
    for objective in mappings(summary.get("objectives")):
        try:
            parsed = parse(str(objective.get("expr", "")))
        except UsageError:  # a run of a newer version may know more metrics
            continue
        if parsed.kind is Kind.TIME and parsed.metric == "latency":
            limit_ms = parsed.value / NS_PER_MS
            found[limit_ms] = f"{found[limit_ms]}, {parsed.stat}" if limit_ms in found else f"limit {parsed.stat}"
    return [(label, limit_ms) for limit_ms, label in found.items()]


def json_for_script(value: object) -> str:
    """JSON that may stand inside a script element: nothing in it can end one, or open a comment."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
