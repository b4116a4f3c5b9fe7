"""How figures are written for people: sizes, times, shares, counts. Pure; what people write for us is captures/amounts.py."""

from collections.abc import Sequence
from fractions import Fraction

_BARS = " ▁▂▃▄▅▆▇█"


def plural(count: int, word: str) -> str:
    """1 file, 2,000 files."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def milliseconds(value: float | None) -> str:
    """Three digits and a unit that suits them: 830 µs, 4.13 ms, 12.4 s; -: unknown."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} µs" if value else "0 ms"
    return f"{_three(value)} ms" if value < 1000 else f"{_three(value / 1000)} s"


def duration(seconds: float) -> str:
    """1.200 s, 61 s, 12 min 30 s, 1 h 2 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.3f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    for above, unit, per, below in ((86_400 * 2, "d", 86_400, "h"), (7200, "h", 3600, "min"), (0, "min", 60, "s")):
        if whole >= above:
            rest = whole % per // {"h": 3600, "min": 60, "s": 1}[below]
            return f"{whole // per:,} {unit} {rest} {below}" if rest else f"{whole // per:,} {unit}"
    raise AssertionError("the last row takes everything")


def size_text(size: int) -> str:
    """A size in bytes as people write it: "1.5 MiB"; to be read, not to be parsed."""
    value, units = Fraction(size), iter(("KiB", "MiB", "GiB", "TiB"))
    unit = "B"
    while value >= 1024 and (larger := next(units, "")):
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{float(value):.1f} {unit}"


def share(part: float, whole: float) -> str:
    """12.3 %; what is not nothing and not everything never reads 0 or 100."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent % 100 else f"{percent:.0f} %"


def sparkline(counts: Sequence[int]) -> str:
    """One bar per count; only zero is blank."""
    top = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in counts)


def _three(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"
