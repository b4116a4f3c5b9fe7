"""Who is compared with whom, by which objectives, and over which rows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from captures.errors import UsageError
from captures.exchange import Flags
from replayer import objective
from replayer.compare.comparators import Predictions
from replayer.objective import Kind, Objective
from replayer.plan import Plan
from replayer.target import Target, parse_target
from transforms.rewrite import value_touched
from transforms.transform import Transform, apply
from transforms.transform import describe as written

BASELINE, RECORDED = "baseline", "recorded"
BUILT_IN: Mapping[str, str] = {
    "schema_changes <= 0": "same schema: no answer changed its output names, shapes or datatypes",
    "excess_errors <= 0": "no excess errors: the candidate does not err where the other side does not, beyond chance",
    "agreement >= 99%": "no excess flips: at most 1 % of the pairs disagree in their label (without labels: their scores)",
}
"""What is judged where nothing was asked: the rows that were seen, not the traffic they stand for (docs/comparing.md)."""
NOT_VALID = (
    "the recorded answer is not valid: it or its request was altered by the policy or a transform, or is incomplete"
)
"""Why a row is not sent against recorded answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Who is compared with whom. ``baseline`` None: against recorded answers. ``paced``: at recorded times (which allows objectives
    on times), else in random order with few in flight. ``key``: the recording's, so that tokenised answers can be compared.
    """

    candidate: str  # URL, or NAME=URL
    baseline: str | None = None
    comparator: Predictions = field(default_factory=Predictions)
    paced: bool = False
    key: bytes | None = None


def objectives_of(require: Sequence[str], contest: Contest) -> list[Objective]:
    if not require:
        return [replace(objective.parse(text), seen=True) for text in BUILT_IN]
    objectives = [objective.parse(text) for text in require]
    for one in objectives:
        if one.kind in (Kind.TIME, Kind.RATE) and not contest.paced:
            raise UsageError(
                f"--require {one.text!r}: a shadow run without --speed keeps no recorded times: add --speed 1"
            )
    return objectives


def targets_of(contest: Contest) -> dict[str, Target]:
    """The candidate first, under the name it was given. Raises UsageError."""
    name, equals, url = contest.candidate.partition("=")
    named = bool(equals) and "/" not in name and ":" not in name
    role = name if named else "candidate"
    if role in ("", BASELINE, RECORDED):
        raise UsageError(f"--candidate {name}=…: a candidate needs a name of its own, not {role!r}")
    targets = {role: parse_target(url if named else contest.candidate, "candidate")}
    if contest.baseline is not None:
        targets[BASELINE] = parse_target(contest.baseline, BASELINE)
    return targets


def comparable_rows(plan: Plan, steps: Sequence[Transform], contest: Contest) -> tuple[Plan, dict[str, int]]:
    """The rows that can be compared, and how many were left out by reason. Raises UsageError for value rewrites."""
    if contest.baseline is not None:
        return plan, {}
    if value_touched(plan.schedule).any():
        raise UsageError(
            f"-t {_first_value_rewrite(plan, steps)}: changes what the model is asked, so recorded answers say nothing about it: "
            "compare with a live model, --baseline URL"
        )
    schedule = plan.schedule
    flags = plan.view.column("flags")[schedule.source].astype(np.uint32)
    valid = (flags & np.uint32(Flags.RECORDED_VALID)) != 0
    if valid.all():
        return plan, {}
    kept = replace(
        schedule,
        at_ns=schedule.at_ns[valid],
        source=schedule.source[valid],
        variant=schedule.variant[valid],
        session=schedule.session[valid],
    )
    return replace(plan, schedule=kept), {NOT_VALID: int(np.count_nonzero(~valid))}


def _first_value_rewrite(plan: Plan, steps: Sequence[Transform]) -> str:
    """The first step of the chain after which a row asks something else than was recorded."""
    for at, step in enumerate(steps, start=1):
        if value_touched(apply(plan.recorded, plan.view, steps[:at], plan.seed)).any():
            return written(step)
    return written(steps[-1])
