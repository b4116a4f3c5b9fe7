"""What a capture that is made from others inherits of their headers."""

from collections.abc import Iterable

from captures.header import Header


def labels_of(headers: Iterable[Header]) -> tuple[str, ...]:
    """The labels any of them has, sorted."""
    return tuple(sorted({name for header in headers for name in header.labels}))


def expiry_of(headers: Iterable[Header]) -> int:
    """The earliest expiry, unix ns; 0: none of them expires."""
    return min((header.expires_ns for header in headers if header.expires_ns), default=0)
