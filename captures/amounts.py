"""Numbers, shares and durations as people write them. Exact: a factor is the Fraction of its decimal text, never of a float."""

import re
from fractions import Fraction

type Number = int | float | str | Fraction
"""What a user may write where a number is asked for: 5, 2.5, "2.5", "1/3"."""

UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d)\s*")


def exact(value: Number, what: str) -> Fraction:
    """The exact value of a number's decimal text: 0.1 is one tenth. Raises ValueError, naming ``what``."""
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{what} is {value!r}, not a number") from None


def share_of(value: Number, what: str) -> float:
    """A share in [0, 1]: 0.25 or "25%". Raises ValueError, naming ``what``."""
    text = str(value).strip()
    part = exact(text[:-1], what) / 100 if text.endswith("%") else exact(text, what)
    if not 0 <= part <= 1:
        raise ValueError(f"{what} is {value!r}, not between 0 and 1 (or 0% and 100%)")
    return float(part)


def duration_ns(value: str, what: str) -> int:
    """A duration with its unit: "50ms", "1h30m", "0". Raises ValueError, naming ``what``."""
    text = value.strip()
    if text == "0":
        return 0
    parts = PART.findall(text)
    if not parts or PART.sub("", text):
        raise ValueError(f"{what} is {value!r}, not a duration such as 50ms, 1.5s, 2m or 1h30m")
    return int(sum(Fraction(number) * UNITS_NS[unit] for number, unit in parts))
