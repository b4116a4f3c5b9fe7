"""Instants as people and machines write them: ISO 8601 text, and seconds, milli-, micro- or nanoseconds since 1970.

Each function gives the text of another instant in the format of the first, or None where the text is no instant. A number
of 9 or 10 digits counts seconds, one of 12 or 13 milliseconds, and so on: nothing else distinguishes them.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(?P<t>[T ])(?P<clock>[0-9]{2}:[0-9]{2}(?P<seconds>:[0-9]{2})?)"
    r"(?P<fraction>[.,][0-9]{1,12})?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EPOCH = re.compile(r"(-?)([1-9][0-9]{8,18})(\.[0-9]{1,12})?")
_SCALES = {9: 1, 10: 1, 12: 10**3, 13: 10**3, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}
_ORIGIN = datetime(1970, 1, 1)  # noqa: DTZ001 - an instant without a zone is arithmetic, not a time of day
_LAST = 253402300799  # of year 9999
_DAY_S = 86400

UNITS = ("year", "month", "day", "hour")


def shifted(text: str, offset_s: int) -> str | None:
    """``offset_s`` later. A date alone moves by whole days. None also where the result would be wider."""

    def move(at: datetime) -> datetime:
        return at + timedelta(seconds=offset_s)

    def move_days(at: datetime) -> datetime:
        return at + timedelta(days=offset_s // _DAY_S)

    return _iso(text, move, move_days) or _shifted_epoch(text, offset_s)


def cut(text: str, unit: str) -> str | None:
    """The beginning of the year, month, day or hour it is in (of a number: in UTC)."""
    fields = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
    below = list(fields)[UNITS.index(unit) :]

    def begin(at: datetime) -> datetime:
        return at.replace(**{name: fields[name] for name in below})  # type: ignore[arg-type]  # mypy takes tzinfo for one

    return _iso(text, begin, begin, whole=True) or _cut_epoch(text, begin)


def another(text: str, number: int) -> str | None:
    """Some instant of the years 1980 to 2029 in the format of ISO 8601 ``text``, picked by ``number``."""

    def pick(_at: datetime) -> datetime:
        return datetime(1980, 1, 1) + timedelta(seconds=number % (18262 * _DAY_S))  # noqa: DTZ001 - a date without a zone, like the one it replaces

    return _iso(text, pick, pick)


def _iso(
    text: str, move: Callable[[datetime], datetime], move_days: Callable[[datetime], datetime], *, whole: bool = False
) -> str | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    try:
        if match["t"] is None:
            return f"{move_days(datetime.fromisoformat(match['date'])):%Y-%m-%d}".zfill(10)
        at = move(datetime.fromisoformat(f"{match['date']}T{match['clock']}"))
    except (ValueError, OverflowError):
        return None
    clock = f"{at:%H:%M:%S}" if match["seconds"] else f"{at:%H:%M}"
    fraction = match["fraction"] or ""
    fraction = fraction[:1] + "0" * (len(fraction) - 1) if whole else fraction
    return f"{at:%Y-%m-%d}".zfill(10) + match["t"] + clock + fraction + (match["zone"] or "")


def _epoch(text: str) -> tuple[int, int, str] | None:
    """(value, units a second, fraction)."""
    match = _EPOCH.fullmatch(text)
    scale = _SCALES.get(len(match[2])) if match else None
    if match is None or scale is None or abs(int(match[2])) // scale > _LAST:
        return None
    return int(match[1] + match[2]), scale, match[3] or ""


def _shifted_epoch(text: str, offset_s: int) -> str | None:
    if (found := _epoch(text)) is None:
        return None
    value, scale, fraction = found
    moved = f"{value + offset_s * scale}{fraction}"
    return moved if len(moved) == len(text) and _epoch(moved) is not None else None


def _cut_epoch(text: str, begin: Callable[[datetime], datetime]) -> str | None:
    if (found := _epoch(text)) is None:
        return None
    value, scale, fraction = found
    try:
        at = begin(_ORIGIN + timedelta(seconds=value // scale))
    except OverflowError:
        return None
    seconds = (at - _ORIGIN) // timedelta(seconds=1)
    return f"{seconds * scale}" + ("." + "0" * (len(fraction) - 1) if fraction else "")
