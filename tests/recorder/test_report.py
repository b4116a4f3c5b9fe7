"""The closing line."""

import pytest

from captures.confessions import Confessions
from recorder.report import Report, closing_line, summed

PLAIN = "recorded 4 of 9 exchanges into x (shed 5, sampled out 0, own 0, filtered 0, truncated 0, unparsed 0, hook errors 0)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"files": 3}, "; 3 files"),
        ({"removed": 1, "removed_bytes": 1 << 20}, "; 1 file removed by retention (1.0 MiB)"),
        ({"other": {"region": 2, "tier": 1}}, "; label values kept as other: region 2, tier 1"),
        ({"staged": 2, "staging": "/s"}, "; 2 files not uploaded, in /s"),
        ({"trouble": "disk full"}, "; incomplete: disk full"),
        ({"files": 2, "trouble": "t"}, "; 2 files; incomplete: t"),
    ],
)
def test_the_closing_line_says_what_happened(changes: dict[str, object], said: str) -> None:
    report = Report(path="x", kept=4, confessions=Confessions(seen=9, shed=5), **changes)  # type: ignore[arg-type]  # as given

    assert closing_line(report) == PLAIN + said


def test_reports_of_several_spools_are_one() -> None:
    one = Report(
        path="out", kept=4, confessions=Confessions(seen=9, shed=5), files=2, removed=1, removed_bytes=7, other={"b": 1}
    )
    two = Report(
        path="out",
        kept=1,
        confessions=Confessions(seen=3, filtered=2),
        trouble="disk full",
        other={"a": 2, "b": 1},
        staged=1,
        staging="/s",
    )
    assert summed([one]) == one
    assert summed([one, two]) == Report(
        path="out",
        kept=5,
        confessions=Confessions(seen=12, shed=5, filtered=2),
        trouble="disk full",
        files=3,
        removed=1,
        removed_bytes=7,
        other={"a": 2, "b": 2},
        staged=1,
        staging="/s",
    )
