"""Times as foreign files write them -> unix time in ns, exactly: integers and decimal text, never a float."""

import re
from datetime import UTC, datetime, timedelta, timezone

_LARGEST_NS = 2**63 - 1
_DIGITS = 30
_SCALE: int = 10**_DIGITS
_DECIMAL = re.compile(rf"([0-9]{{1,20}})(?:\.([0-9]{{0,{_DIGITS}}}))?", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:\s?([Zz])|\s?([+-])([0-9]{2}):?([0-9]{2}))?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decimal_ns(text: str, unit_ns: int) -> int:
    """``text`` units of ``unit_ns`` each ("61.114" seconds), rounded down to whole ns.

    Raises ValueError: not a plain decimal number from 0 on, or beyond 64 bits.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError("not a plain decimal number")
    at_ns = int(found[1] + (found[2] or "").ljust(_DIGITS, "0")) * unit_ns // _SCALE
    if at_ns > _LARGEST_NS:
        raise ValueError("beyond 64 bits")
    return at_ns


def instant_ns(text: str) -> int:
    """RFC 3339, or with a space for the T, with up to twelve fractional digits; without a zone it is UTC. A leap second is the last
    second of its minute.

    Raises ValueError: not such a time, before 1970, or beyond 64 bits.
    """
    found = _INSTANT.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a date and time")
    clock = found[2].replace(":60", ":59") if found[2].endswith(":60") else found[2]
    zone = UTC
    if found[5]:
        offset = timedelta(hours=int(found[6]), minutes=int(found[7]))
        zone = timezone(-offset if found[5] == "-" else offset)
    at = datetime.fromisoformat(f"{found[1]}T{clock}").replace(tzinfo=zone) - _EPOCH
    at_ns = (at.days * 86_400 + at.seconds) * 10**9 + int((found[3] or "0").ljust(12, "0")) // 1000
    if not 0 <= at_ns <= _LARGEST_NS:
        raise ValueError("before 1970 or beyond 64 bits")
    return at_ns
