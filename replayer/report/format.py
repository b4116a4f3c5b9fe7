"""Numbers as people read them, and text that may stand in HTML. Absent is an en dash, never 0."""

import html
import math
from collections.abc import Mapping, Sequence

ABSENT = "–"  # noqa: RUF001 - an en dash on purpose: a hyphen reads as a minus in a column of numbers
MARKS: Mapping[str, str] = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?", "INVALID": "!", "UNJUDGED": "·"}


def number(value: object) -> float | None:
    """A number out of JSON; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def count(value: object) -> str:
    found = number(value)
    return ABSENT if found is None else f"{found:,.0f}"


def ms(value: object) -> str:
    """Three significant digits, without an exponent: 0.123, 12.3, 1,234."""
    found = number(value)
    if found is None:
        return ABSENT
    if found == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(found)))) if math.isfinite(found) else 0
    return f"{found:,.{min(digits, 3)}f}"


def seconds(value: object) -> str:
    found = number(value)
    if found is None:
        return ABSENT
    if found < 120:
        return f"{found:,.1f} s"
    minutes, rest = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def rate(value: object) -> str:
    found = number(value)
    return ABSENT if found is None else f"{found:,.1f}/s"


def percent(value: object, digits: int = 1) -> str:
    """A share as a percentage; never rounds something below 100 % up to it, or something above 0 % away."""
    found = number(value)
    if found is None:
        return ABSENT
    shown = f"{100 * found:.{digits}f}"
    if float(shown) in (0.0, 100.0) and found not in (0.0, 1.0):
        return f"{100 * found:.{digits + 2}f} %"
    return f"{shown} %"


def score(value: object) -> str:
    found = number(value)
    return ABSENT if found is None else f"{found:.4g}"


def interval(share: Mapping[str, object], digits: int = 1) -> str:
    """``99.1 % (98.8 to 99.4, n 5,000)`` of a share with its interval."""
    if number(share.get("value")) is None:
        return f"{ABSENT} (nothing to compare)"
    low, high = (percent(share.get(side), digits).removesuffix(" %") for side in ("low", "high"))
    return f"{percent(share.get('value'), digits)} ({low} to {high}, n {count(share.get('n'))})"


def escape(value: object) -> str:
    """Any value as text in HTML, in content and in quoted attributes."""
    return html.escape(str(value), quote=True)


def mapping(value: object) -> Mapping[str, object]:
    """A JSON object, or an empty one: old and partial runs lack keys."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def texts(value: object) -> list[str]:
    return [str(item) for item in sequence(value)]


def mappings(value: object) -> list[Mapping[str, object]]:
    return [mapping(item) for item in sequence(value)]
