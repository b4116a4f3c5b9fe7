"""The alert rules we ship name metrics that exist, and the runbook says what each means."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recorder.board import ROW_SIZE
from recorder.metrics import METRICS, PREFIX, exposition

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def samples() -> dict[str, set[tuple[str, str]]]:
    """Names, and the labels of each with their values."""
    found: dict[str, set[tuple[str, str]]] = {}
    for family in text_string_to_metric_families(exposition([[0] * ROW_SIZE], "1")):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    known = samples()
    names = set(re.findall(r"shadowtape_\w+", rule["expr"]))

    assert names <= known.keys()
    assert names or "up{" in rule["expr"]
    for name, label, values in re.findall(r'(shadowtape_\w+)\{(\w+)=~?"([^"]*)"\}', rule["expr"]):
        for value in values.split("|"):
            assert (label, value) in known[name]
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_the_runbook_says_what_to_do(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")

    assert page == "docs/runbook.md"
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in RUNBOOK


def test_the_runbook_has_no_alarm_that_cannot_sound() -> None:
    assert sorted(re.findall(r"^### (Shadowtape\w+)$", RUNBOOK, flags=re.MULTILINE)) == sorted(
        rule["alert"] for rule in RULES
    )


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_runbook_knows_every_metric(metric: Any) -> None:
    assert re.search(rf"\| `{PREFIX}{metric.name}[`{{]", RUNBOOK)


def test_the_runbook_names_no_metric_that_is_not_there() -> None:
    named = set(re.findall(rf"`({PREFIX}\w+)", RUNBOOK))

    assert named <= {PREFIX + metric.name for metric in METRICS}
