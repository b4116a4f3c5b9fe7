"""Faster or slower: every arrival moves towards or away from the origin by one exact factor."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from captures.amounts import Number, exact
from captures.errors import UsageError
from transforms.schedule import Schedule
from transforms.view import View

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Replay ``factor`` times as fast, keeping the shape of the traffic: "5" is five times faster, "0.5" half as fast."""

    name: ClassVar[str] = "time_scale"
    factor: Number

    def __post_init__(self) -> None:
        if exact(self.factor, "factor") <= 0:
            raise ValueError(f"factor is {self.factor}; it must be above 0 (5 is five times faster)")

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:  # noqa: ARG002 - reads nothing, draws nothing
        return replace(schedule, at_ns=divided(schedule.at_ns, exact(self.factor, "factor")))


def divided(at_ns: NDArray[np.int64], factor: Fraction) -> NDArray[np.int64]:
    """Each time divided by ``factor``, rounded to the nearest ns (ties up): half a ns off at most, and never accumulated.

    With factor p/q and t = p*a + b, t*q/p is a*q + b*q/p: the first term is exact, the second small. Where even its
    intermediate could leave 64 bits (a factor of many digits), the arithmetic is Python's.
    """
    p, q = factor.numerator, factor.denominator
    if not len(at_ns):
        return at_ns.copy()
    last = int(at_ns[-1])
    if (2 * last * q + p) // (2 * p) > INT64_MAX:
        raise UsageError(
            f"time_scale: a factor of {factor} stretches {last / 1e9:.0f} s beyond 292 years; use a larger one"
        )
    if p <= INT64_MAX and (2 * q * (p - 1) + p) <= INT64_MAX:
        whole, rest = np.divmod(at_ns, p)
        return np.asarray(whole * q + (2 * rest * q + p) // (2 * p), dtype=np.int64)
    exactly = at_ns.astype(object)
    return np.asarray((2 * exactly * q + p) // (2 * p), dtype=np.int64)
