"""Objectives: what can be written, what it means, and one clear line for every mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from replayer.objective import METRICS, Kind, parse

READ = [
    ("latency.p99 < 50ms", ("latency", "p99", (), "<", 50_000_000)),
    ("latency.p99.9<1.5s", ("latency", "p99.9", (), "<", 1_500_000_000)),
    ("latency.p999 <= 1_000us", ("latency", "p999", (), "<=", 1_000_000)),
    ("service.mean <= 0.1ms", ("service", "mean", (), "<=", 100_000)),
    ("lateness.max < 2m", ("lateness", "max", (), "<", 120_000_000_000)),
    ("ttft.p50 < 300ms", ("ttft", "p50", (), "<", 300_000_000)),
    ("errors < 0.1%", ("errors", "", (), "<", 0.001)),
    ("errors <= 0", ("errors", "", (), "<=", 0.0)),
    ("availability > 99.9 %", ("availability", "", (), ">", 0.999)),
    ("throughput >= 500/s", ("throughput", "", (), ">=", 500.0)),
    ("throughput < 600/min", ("throughput", "", (), "<", 10.0)),
    ("agreement >= 0.99", ("agreement", "", (), ">=", 0.99)),
    ("delta.p99 < 1e-3", ("delta", "p99", (), "<", 0.001)),
    ('errors{route="POST /v2/*"} < 1%', ("errors", "", (("route", "POST /v2/*"),), "<", 0.01)),
    (
        "latency.p99{ model='a,b' , route=\"*\" } < 1s",
        ("latency", "p99", (("model", "a,b"), ("route", "*")), "<", 1_000_000_000),
    ),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_an_expression_reads_as_it_is_meant(text: str, expected: tuple[object, ...]) -> None:
    found = parse(text)
    assert (found.metric, found.stat, found.labels, found.op, found.value) == expected
    assert found.text == text


MISTAKES = [
    ("latncy.p99 < 50ms", "did you mean latency?"),
    ("rps > 5/s", "metrics: latency, service"),
    ("latency < 50ms", "needs a statistic: latency.p99"),
    ("latency.p100 < 50ms", "no statistic 'p100'"),
    ("latency.p0 < 50ms", "no statistic 'p0'"),
    ("latency.median < 50ms", "no statistic 'median'"),
    ("latency.p99 < 50", "a duration such as 50ms or 1.5s, not 50 without a unit"),
    ("latency.p99 < 50%", "a duration such as 50ms or 1.5s, not 50%"),
    ("latency.p99 < 50 MS", "not 50MS"),
    ("latency.p99 > 50ms", "latency is better when low: use < or <="),
    ("errors.p99 < 1%", "takes no statistic"),
    ("errors < 5ms", "a share such as 99% or 0.001, not 5ms"),
    ("errors < 5", "did you mean 5%?"),
    ("errors < 0%", "no share lies below 0: write <="),
    ("agreement > 100%", "no share lies above 1: write >="),
    ("agreement >= 101%", "between 0 and 1"),
    ("agreement < 99%", "agreement is better when high: use > or >="),
    ("throughput >= 5ms", "a rate such as 500/s"),
    ("delta.max < 1ms", "a plain number such as 0.01"),
    ("errors == 0", "the comparisons are <, <=, > and >="),
    ("errors = 0", "the comparisons are <, <=, > and >="),
    ("errors", "no comparison in it"),
    ("errors <", "no value after the comparison"),
    ("", "no comparison in it"),
    ("< 5ms", "cannot be read"),
    ("errors{route=POST} < 1%", "labels are written"),
    ("errors{rout='a'} < 1%", "no label 'rout'; there are route, model, method, codec"),
    ("errors{route='a' model='b'} < 1%", "labels are written"),
]


@pytest.mark.parametrize(("text", "complaint"), MISTAKES)
def test_a_mistake_gives_one_line_that_says_what_to_do(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="latencyerrosp9.{}\"'=<> 0123%ms/_", max_size=40))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert found.metric in METRICS


@given(st.integers(0, 10**6), st.sampled_from(["ns", "us", "ms", "s"]))
def test_durations_are_exact(value: int, unit: str) -> None:
    factor = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}[unit]
    assert parse(f"latency.p99 <= {value}{unit}").limit_ns == value * factor


def test_the_tail_of_a_percentile_is_exact() -> None:
    assert parse("latency.p99 < 1s").tail == 0.01
    assert parse("latency.p99.9 < 1s").tail == 0.001
    assert parse("latency.max < 1s").tail is None
    assert parse("delta.p99 < 1").tail is None
    assert parse("errors < 1%").limit_ns is None


def test_every_metric_says_what_it_means_and_takes_an_example() -> None:
    values = {Kind.TIME: "1s", Kind.SHARE: "1%", Kind.RATE: "1/s", Kind.NUMBER: "1"}
    for name, metric in METRICS.items():
        assert metric.meaning
        stat = ".p99" if metric.kind in (Kind.TIME, Kind.NUMBER) else ""
        op = ">=" if metric.better == "high" else "<="
        assert parse(f"{name}{stat} {op} {values[metric.kind]}").metric == name
