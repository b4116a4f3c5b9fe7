"""The summary on a terminal: objectives first, plain where it is piped, readable in 80 columns."""

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from replayer.report.terminal import print_summary
from replayer.report.testing import example_run


def printed(summary: Mapping[str, object], *, width: int = 80, terminal: bool = False) -> str:
    out = io.StringIO()
    print_summary(
        summary, Console(file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    )
    return out.getvalue()


def test_the_verdict_and_the_objectives_come_first() -> None:
    lines = [line.rstrip() for line in printed(example_run()[0]).splitlines()]
    assert lines[0] == "✗ FAIL"
    assert lines[2:6] == [
        "✓ latency.p99 < 50ms  observed 30 ms",
        "✗ agreement >= 99%  observed 90 %",
        "    FAIL: 40 of 398 disagree (10.05 %) where 1 % may",
        "? flips <= 5%  observed 10 %",
    ]


def test_every_part_is_there() -> None:
    text = printed(example_run()[0])
    for part in (
        "400 scheduled, 398 completed, 2 failed",
        "offered",
        "response candidate",
        "lateness baseline",
        "p99.9",
        "503 x 1",
        "timeout x 2",
        "agreement",
        "flips",
        "top decile",
        "* beyond chance",
        "2 x candidate: timeout",
        "7 x recorded answer was altered",
        "lacks 2 exchanges",
    ):
        assert part in text, part


def test_eighty_columns_are_enough_and_a_pipe_gets_no_colour() -> None:
    text = printed(example_run()[0])
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x1b[" in printed(example_run()[0], terminal=True)


def test_what_a_run_holds_is_never_markup() -> None:
    summary = {"verdict": "PASS", "why": ["[red]not red[/red]"], "notes": ["[/bold] [link=x]"]}
    text = printed(summary, terminal=False)
    assert "[red]not red[/red]" in text
    assert "[/bold] [link=x]" in text


@pytest.mark.parametrize("summary", [{}, {"shadow": {"pairs": 0}}, {"objectives": [{}]}, {"rows": None}])
def test_keys_that_are_missing_are_left_out(summary: dict[str, object]) -> None:
    assert printed(summary)
