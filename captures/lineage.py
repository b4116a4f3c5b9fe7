"""What a capture that is made from others inherits of their headers."""

from collections.abc import Iterable
from typing import Protocol

from captures.header import Header


class Opened(Protocol):
    """A `captures.reader.Capture`, of one file or several."""

    @property
    def headers(self) -> Iterable[Header]: ...


def headers_of(captures: Iterable[Opened]) -> list[Header]:
    """The headers of all their files."""
    return [header for capture in captures for header in capture.headers]


def labels_of(headers: Iterable[Header]) -> tuple[str, ...]:
    """The labels any of them has, sorted."""
    return tuple(sorted({name for header in headers for name in header.labels}))


def expiry_of(headers: Iterable[Header]) -> int:
    """The earliest expiry, unix ns; 0: none of them expires."""
    return min((header.expires_ns for header in headers if header.expires_ns), default=0)
