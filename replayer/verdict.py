"""The verdict: what the answers to a run's objectives add up to, and the exit code they have.

INVALID > FAIL > INCONCLUSIVE > PASS; UNJUDGED where nothing was asked. `replayer.judge` answers single objectives,
`replayer.validity` says whether a run can be believed at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    UNJUDGED = "UNJUDGED"


EXIT_CODES: Mapping[Verdict, int] = {
    Verdict.PASS: 0,
    Verdict.UNJUDGED: 0,
    Verdict.FAIL: 1,
    Verdict.INVALID: 3,
    Verdict.INCONCLUSIVE: 4,
}
RANKS = (Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.UNJUDGED)
"""The first of these that any part holds is the whole's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An objective and its answer. ``observed`` is in ms for times, a share of 1 for shares, per second for rates; None where
    nothing was observed or the value is infinite (failed rows); ``shown`` is the same for people.
    """

    expr: str
    verdict: Verdict
    why: str
    observed: float | None = None
    shown: str = "-"
    n: int = 0


def combine(judged: Sequence[Judged], invalid: Sequence[str] = ()) -> tuple[Verdict, list[str]]:
    """The run's verdict and why: INVALID > FAIL > INCONCLUSIVE > PASS, UNJUDGED without objectives.

    ``invalid`` are the reasons why the run cannot be believed (`replayer.validity`); they come first, and what the
    objectives found is told all the same.
    """
    held = [Verdict.INVALID] * bool(invalid) + [answer.verdict for answer in judged]
    verdict = next((rank for rank in RANKS if rank in held), Verdict.UNJUDGED)
    telling = [answer for rank in RANKS for answer in judged if answer.verdict is rank and rank is not Verdict.PASS]
    why = [*invalid, *(f"{answer.expr}: {answer.verdict}, {answer.why}" for answer in telling)]
    if verdict is Verdict.PASS:
        why.append(f"all {len(judged)} objectives hold" if len(judged) > 1 else "the objective holds")
    if verdict is Verdict.UNJUDGED:
        why.append("no objective was given: add --require, for example --require 'latency.p99 < 50ms'")
    return verdict, why
