"""The report: one file, nothing from anywhere, and no text of a run can become markup or script."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from replayer.report.charts import CHARTS, drawings, json_for_script
from replayer.report.html import asset, render
from replayer.report.testing import example_run

HOSTILE = "\"'><script>alert(1)</script></script><!--<img src=x onerror=alert(1)>&lt;\u2028"


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)


def poisoned(value: object) -> object:
    """Every text of a run replaced by the hostile one, keys of open vocabularies included."""
    match value:
        case dict():
            return {key: poisoned(item) for key, item in value.items()} | {HOSTILE: HOSTILE}
        case list():
            return [poisoned(item) for item in value]
        case str():
            return HOSTILE
        case _:
            return value


@pytest.fixture
def page() -> Page:
    return Page(render(*example_run()))


def test_every_part_is_there(page: Page) -> None:
    text = " ".join(page.text)
    for part in (
        "FAIL",
        "Objectives",
        "Over time",
        "Answers compared",
        "Worst slices",
        "Worst disagreements",
        "Label flips",
        "Score differences",
        "Not compared, and why",
        "Times",
        "Outcomes",
        "Inputs",
        "Transforms",
        "Machine",
        "top decile",
        "noise:feature=age,sd=0.5",
        "2 shed",
    ):
        assert part in text, part


def test_the_markup_is_whole(page: Page) -> None:
    assert page.open == []
    assert page.tags.count("script") == 3
    assert len([value for name, value in page.attributes if name == "id" and value]) == len(CHARTS) + 1


def test_nothing_comes_from_anywhere(page: Page) -> None:
    assert not {"link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href", "action") or name.startswith("on")]
    policy = next(value for name, value in page.attributes if name == "content" and value and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "url(" not in asset("report.css")


def test_no_text_of_a_run_becomes_markup_or_script() -> None:
    summary, run = example_run()
    clean = Page(render(summary, run))
    hostile = Page(render(poisoned(summary), poisoned(run)))  # type: ignore[arg-type]  # mappings stay mappings
    assert hostile.open == []
    assert hostile.tags.count("script") == clean.tags.count("script")
    assert "img" not in hostile.tags
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert HOSTILE.replace("&lt;", "<") in "".join(hostile.text) or HOSTILE in "".join(hostile.text)


def test_a_verdict_of_its_own_making_is_no_attribute() -> None:
    summary, run = example_run()
    found = Page(render({**summary, "verdict": '" onclick="x'}, run))
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_data_for_the_charts_cannot_end_its_script_element() -> None:
    told = json_for_script({"label": HOSTILE})
    assert not re.search(r"[<>&]", told)
    assert json.loads(told) == {"label": HOSTILE}


def test_the_charts_hold_what_the_run_measured(page: Page) -> None:
    charts = {chart["id"]: chart for chart in json.loads(page.scripts[0])}
    series = example_run()[0]["series"]
    assert isinstance(series, dict)
    load = {line["label"]: line["values"] for line in charts["chart-load"]["series"]}
    assert load["offered"] == series["offered"]
    assert load["achieved"] == series["achieved"]
    response = {line["label"]: line["values"] for line in charts["chart-response"]["series"]}
    assert response["p99"] == series["p99"]
    assert set(response["limit p99"]) == {50.0}


def test_a_limit_far_above_the_data_is_not_drawn() -> None:
    summary, _ = example_run()
    far = {**summary, "objectives": [{"expr": "latency.p99 < 1m"}, {"expr": "of.a.newer.version"}]}
    (response,) = [one for one in drawings(far) if one.chart.id == "response"]
    assert "limit" not in json.dumps(response.data)


@pytest.mark.parametrize(
    ("summary", "run"), [({}, {}), ({"verdict": "PASS"}, {"inputs": None}), ({"shadow": {"pairs": 0}}, {})]
)
def test_a_run_that_lacks_everything_still_has_a_report(summary: dict[str, object], run: dict[str, object]) -> None:
    assert Page(render(summary, run)).open == []


def test_our_own_assets_hold_no_end_of_script_or_style() -> None:
    for name in ("report.js", "vendor/uPlot.iife.min.js"):
        assert "</script" not in asset(name)
    for name in ("report.css", "vendor/uPlot.min.css"):
        assert "</style" not in asset(name)


def test_the_vendored_library_says_where_it_is_from() -> None:
    vendor = Path(__file__).parents[3] / "replayer" / "report" / "vendor"
    assert "uPlot 1.6.32" in (vendor / "README.md").read_text(encoding="utf-8")
    assert "v1.6.32" in asset("vendor/uPlot.iife.min.js")[:100]
    assert "MIT" in (vendor / "LICENSE").read_text(encoding="utf-8")
