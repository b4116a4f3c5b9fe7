"""The circuit breaker: a target that fails nearly everything for seconds is left alone. Pure; time comes in with each outcome."""

from collections import deque
from dataclasses import dataclass, field

WINDOW = 200
"""Finished attempts looked at: enough that a rate of 90 % is no accident (a target that fails half of them has less than 1e-30)."""
FAILED_SHARE = 0.9
"""Far above what any objective tolerates and below 1, so that a health check that still answers does not hide a dead model."""
SUSTAINED_NS = 5_000_000_000
"""A rolling restart or a leader election shorter than this is something to measure, not to stop for."""


@dataclass(slots=True)
class Breaker:
    """Trips when at least FAILED_SHARE of the last WINDOW attempts failed, at every moment of SUSTAINED_NS."""

    _outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _failed: int = 0
    _since_ns: int | None = None

    def add(self, at_ns: int, *, failed: bool) -> bool:
        """Count one finished attempt; True: stop sending."""
        if len(self._outcomes) == WINDOW:
            self._failed -= self._outcomes[0]
        self._outcomes.append(failed)
        self._failed += failed
        if len(self._outcomes) < WINDOW or self._failed < FAILED_SHARE * WINDOW:
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = at_ns
        return at_ns - self._since_ns >= SUSTAINED_NS
