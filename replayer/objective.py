"""Objectives: what a person asks of a run, in one line. Parsing only; `replayer.verdict` judges.

Grammar: ``metric[.stat][{label="glob", …}] op value``, for example ``latency.p99 < 50ms``,
``errors{route="POST /v2/*"} < 0.1%``, ``agreement >= 99%``. One table (`METRICS`) says which metrics there are, what
they are measured in and which way is better; docs/comparing.md explains each.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal

from captures.amounts import UNITS_NS
from captures.errors import UsageError


class Kind(StrEnum):
    """What a metric is made of, which decides the values it takes and how it is judged."""

    TIME = "time"  # one duration per row; needs a statistic
    SHARE = "share"  # yes or no per row or pair; no statistic
    NUMBER = "number"  # one plain number per pair; needs a statistic
    RATE = "rate"  # one number per run


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Kind
    better: Literal["low", "high", "either"]
    meaning: str
    pairs: bool = False  # read from compared pairs, not from attempts


METRICS: Mapping[str, Metric] = {
    "latency": Metric(Kind.TIME, "low", "response time: done - intended"),
    "service": Metric(Kind.TIME, "low", "service time: done - dispatched"),
    "lateness": Metric(Kind.TIME, "low", "dispatched - intended: the generator's own doing"),
    "ttft": Metric(Kind.TIME, "low", "first byte of the response's body - intended"),
    "errors": Metric(Kind.SHARE, "low", "rows that failed, were shed, or were answered with status 400 or above"),
    "availability": Metric(Kind.SHARE, "high", "rows that were answered with a status below 500"),
    "throughput": Metric(Kind.RATE, "either", "completed rows per second of the run"),
    "agreement": Metric(
        Kind.SHARE, "high", "comparable pairs whose labels (where none: scores within tolerance) agree", pairs=True
    ),
    "match": Metric(Kind.SHARE, "high", "comparable pairs without any difference beyond tolerance", pairs=True),
    "flips": Metric(Kind.SHARE, "low", "pairs with labels where a label changed", pairs=True),
    "schema_changes": Metric(Kind.SHARE, "low", "comparable pairs whose names, shapes or datatypes differ", pairs=True),
    "incomparable": Metric(Kind.SHARE, "low", "pairs that could not be compared", pairs=True),
    "excess_errors": Metric(Kind.SHARE, "low", "pairs with an error on this side only, less the reverse", pairs=True),
    "delta": Metric(Kind.NUMBER, "low", "largest |score difference| of a pair", pairs=True),
}

_EXAMPLES: Mapping[Kind, str] = {
    Kind.TIME: "a duration such as 50ms or 1.5s",
    Kind.SHARE: "a share such as 99% or 0.001",
    Kind.NUMBER: "a plain number such as 0.01",
    Kind.RATE: "a rate such as 500/s",
}
_SHAPE = re.compile(
    r"""\s* (?P<metric>[A-Za-z_]+) (?: \. (?P<stat>[A-Za-z]\w* (?:\.\d+)?) )?
        \s* (?: \{ (?P<labels>[^{}]*) \} )?
        \s* (?P<op><=|>=|<|>) \s* (?P<number>[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2})?)
        \s* (?P<unit>%|/[a-z]+|[A-Za-zµ]*) \s*""",
    re.VERBOSE,
)
_LABEL = re.compile(r"""\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<quote>["'])(?P<glob>[^"']*)(?P=quote)\s*""")


@dataclass(frozen=True, slots=True)
class Objective:
    """One ``--require`` expression.

    ``value`` is in the metric's base unit: int ns for times, a share of 1 for shares, per second for rates.
    ``seen`` marks the built-in objectives of ``shadow``, which judge the rows that were seen and not the traffic
    they stand for (docs/comparing.md, "Built-in objectives").
    """

    metric: str
    stat: str  # "p99", "mean", "max"; "" where the metric takes none
    labels: tuple[tuple[str, str], ...]
    op: Literal["<", "<=", ">", ">="]
    value: float
    unit: str
    text: str
    seen: bool = False

    @property
    def kind(self) -> Kind:
        return METRICS[self.metric].kind

    @property
    def percentile(self) -> Fraction | None:
        """The exact share of rows a percentile speaks of: 99/100 for p99; None for other statistics."""
        return _percentile(self.stat)

    @property
    def limit_ns(self) -> int | None:
        """The limit of a time objective."""
        return int(self.value) if self.kind is Kind.TIME else None

    @property
    def tail(self) -> float | None:
        """The share of rows a time objective's percentile leaves over the limit: 0.01 for p99."""
        share = self.percentile
        return float(1 - share) if share is not None and self.kind is Kind.TIME else None


LABELS = ("route", "model", "method", "codec")
"""What an objective may be narrowed by."""


def parse(text: str) -> Objective:
    """Read one expression. Raises UsageError: one line that says what is wrong and what would be right."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise UsageError(_explain_shape(text))
    name = found["metric"]
    metric = METRICS.get(name)
    if metric is None:
        raise UsageError(f"objective {text!r}: no metric {name!r}{_nearest(name)}; metrics: {', '.join(METRICS)}")
    stat = _read_stat(text, name, metric, found["stat"] or "")
    op = found["op"]
    if metric.better != "either" and (op[0] == "<") != (metric.better == "low"):
        wanted = "< or <=" if metric.better == "low" else "> or >="
        raise UsageError(f"objective {text!r}: {name} is better when {metric.better}: use {wanted}")
    value, unit = _read_value(text, name, metric, found["number"], found["unit"])
    if metric.kind is Kind.SHARE and (op, value) in (("<", 0.0), (">", 1.0)):
        raise UsageError(f"objective {text!r}: no share lies {'below 0' if op == '<' else 'above 1'}: write {op}=")
    labels = _read_labels(text, found["labels"])
    if op == "<":
        return Objective(name, stat, labels, "<", value, unit, text.strip())
    if op == "<=":
        return Objective(name, stat, labels, "<=", value, unit, text.strip())
    return Objective(name, stat, labels, ">" if op == ">" else ">=", value, unit, text.strip())


def _read_stat(text: str, name: str, metric: Metric, stat: str) -> str:
    if metric.kind in (Kind.SHARE, Kind.RATE):
        if stat:
            raise UsageError(
                f"objective {text!r}: {name} is one number and takes no statistic: write {name} without .{stat}"
            )
        return ""
    if not stat:
        raise UsageError(f"objective {text!r}: {name} needs a statistic: {name}.p99, {name}.mean or {name}.max")
    if stat not in ("mean", "max") and _percentile(stat) is None:
        raise UsageError(
            f"objective {text!r}: no statistic {stat!r}; there are p50 … p99, p99.9 (any share below 100), mean and max"
        )
    return stat


def _percentile(stat: str) -> Fraction | None:
    digits = stat[1:]
    if not stat.startswith("p") or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", digits):
        return None
    # p999 is how the keys of summary.json spell p99.9
    decimal = digits if "." in digits or len(digits) < 3 else f"{digits[:2]}.{digits[2:]}"
    share = Fraction(decimal) / 100
    return share if 0 < share < 1 and digits != "100" else None


def _read_value(text: str, name: str, metric: Metric, number: str, unit: str) -> tuple[float, str]:
    exact = Fraction(number.replace("_", ""))
    wrong = UsageError(
        f"objective {text!r}: {name} is compared with {_EXAMPLES[metric.kind]}, not {number}{unit or ' without a unit'}"
    )
    match metric.kind:
        case Kind.TIME:
            if unit not in UNITS_NS:
                raise wrong
            return round(exact * UNITS_NS[unit]), unit
        case Kind.SHARE:
            if unit not in ("", "%"):
                raise wrong
            share = exact / 100 if unit == "%" else exact
            if share > 1:
                hint = f"; did you mean {number}%?" if not unit and exact <= 100 else ""
                raise UsageError(f"objective {text!r}: a share lies between 0 and 1 (0% and 100%){hint}")
            return float(share), unit
        case Kind.RATE:
            if unit not in ("", "/s", "/m", "/min"):
                raise wrong
            return float(exact / 60 if unit.startswith("/m") else exact), unit
        case Kind.NUMBER:
            if unit:
                raise wrong
            return float(exact), unit


def _read_labels(text: str, labels: str | None) -> tuple[tuple[str, str], ...]:
    if labels is None:
        return ()
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(labels):
        label = _LABEL.match(labels, position)
        if label is None or (label.end() < len(labels) and labels[label.end()] != ","):
            raise UsageError(f'objective {text!r}: labels are written {{route="POST /v2/*", model="a*"}}')
        if label["name"] not in LABELS:
            raise UsageError(f"objective {text!r}: no label {label['name']!r}; there are {', '.join(LABELS)}")
        found.append((label["name"], label["glob"]))
        position = label.end() + 1
    return tuple(found)


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), METRICS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _explain_shape(text: str) -> str:
    example = "an objective reads like 'latency.p99 < 50ms', 'errors < 0.1%' or 'agreement >= 99%'"
    if re.search(r"==|!=|=<|=>|(?<![<>])=(?![\"'])", re.sub(r"\{[^}]*\}", "", text)):
        return f"objective {text!r}: the comparisons are <, <=, > and >=; {example}"
    if not re.search(r"[<>]", text):
        return f"objective {text!r}: no comparison in it; {example}"
    if re.search(r"[<>]=?\s*$", text):
        return f"objective {text!r}: no value after the comparison; {example}"
    return f"objective {text!r} cannot be read; {example}"
