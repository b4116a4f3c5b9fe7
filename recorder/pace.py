"""How fast a process that keeps dying is started again."""

import time

SHORT_S = 1.0  # a life shorter than this counts as dying right after the start
AT_LEAST_S = 0.1
SAY_S = 10.0


class Pace:
    """At once where it has lived for a while; else ``AT_LEAST_S`` after its last start, up to ``longest_s`` later and later."""

    def __init__(self, longest_s: float = AT_LEAST_S) -> None:
        self._longest_s = longest_s
        self._began = 0.0
        self._short = 0  # short lives in a row
        self._said = -SAY_S

    @property
    def again(self) -> bool:
        """It died right after its start, and not for the first time."""
        return self._short > 0 and time.monotonic() - self._began < SHORT_S

    def began(self) -> None:
        self._began = time.monotonic()

    def wait_s(self) -> float:
        """It has died. How long to wait before the next start."""
        lived = time.monotonic() - self._began
        if lived >= SHORT_S:
            self._short = 0
            return 0.0
        self._short += 1
        wait_s = min(self._longest_s, AT_LEAST_S * float(1 << min(self._short - 1, 10)))
        return max(0.0, wait_s - lived)

    def worth_saying(self) -> bool:
        """Not each time."""
        now = time.monotonic()
        if now - self._said < SAY_S:
            return False
        self._said = now
        return True
