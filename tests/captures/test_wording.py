"""How figures are written."""

import pytest

from captures.wording import duration, milliseconds, plural, share, sparkline

MILLISECONDS = {
    None: "-",
    0.0: "0 ms",
    0.0831: "83.1 µs",
    4.126: "4.13 ms",
    57.61: "57.6 ms",
    830.4: "830 ms",
    12_345.0: "12.3 s",
}
DURATIONS = {
    0: "0.000 s",
    1.2: "1.200 s",
    61: "61 s",
    750: "12 min 30 s",
    3600: "60 min",
    7320: "2 h 2 min",
    273_600: "3 d 4 h",
}
SHARES = {
    (0, 9): "0 %",
    (9, 9): "100 %",
    (1, 3): "33.3 %",
    (1, 10_000): "< 0.1 %",
    (9_999, 10_000): "> 99.9 %",
    (0, 0): "-",
}


@pytest.mark.parametrize(("value", "said"), MILLISECONDS.items())
def test_milliseconds_have_three_digits_and_a_unit_that_suits(value: float | None, said: str) -> None:
    assert milliseconds(value) == said


@pytest.mark.parametrize(("seconds", "said"), DURATIONS.items())
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("pair", "said"), SHARES.items())
def test_a_share_that_is_not_nothing_never_reads_so(pair: tuple[int, int], said: str) -> None:
    assert share(*pair) == said


def test_only_zero_is_blank_in_a_sparkline() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 1, 1000]) == " ▁█"
    assert sparkline([]) == ""


def test_one_is_not_many() -> None:
    assert (plural(1, "file"), plural(0, "file"), plural(2000, "file")) == ("1 file", "0 files", "2,000 files")
