"""Connections as files name them (ids, ports, addresses) -> numbers counted from 1, in bounded memory."""

from collections.abc import Hashable

KNOWN = 1 << 16
"""Connections remembered at a time. One that comes back after so many others is taken for a new one."""


class ConnectionNumbers:
    def __init__(self, known: int = KNOWN) -> None:
        self._known = known
        self._numbers: dict[Hashable, int] = {}  # the one seen longest ago first
        self._counted = 0

    def of(self, name: Hashable) -> int:
        number = self._numbers.pop(name, None)
        if number is None:
            self._counted += 1
            number = self._counted
            if len(self._numbers) >= self._known:
                del self._numbers[next(iter(self._numbers))]
        self._numbers[name] = number
        return number
