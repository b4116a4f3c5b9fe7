"""Numbers, shares, durations and sizes as people write them.

Exact: a factor is the Fraction of its decimal text, never of a float.
"""

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
UNITS_BYTES = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d)\s*")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?", re.IGNORECASE | re.ASCII)


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


def size_bytes(value: str, what: str) -> int:
    """A size: "256MiB" (1024² each), "1GB" (1000³), "1048576" or "512B". Letter case does not matter, a lone "M" is not one.

    Raises ValueError, naming ``what``: not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(value.strip())
    factor = UNITS_BYTES.get((match[2] or "b").lower()) if match else None
    size = Fraction(match[1]) * factor if match and factor else None
    if size is None or size.denominator != 1:
        raise ValueError(f"{what} is {value!r}, not a size such as 256MiB, 1GB or 1048576")
    return int(size)
