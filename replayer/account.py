"""What a run says of itself beside its numbers: its inputs, what they lack, how it ended. Pure; shared by replay and shadow."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from captures.exchange import Exchange
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.reader import Capture
from replayer.plan import Plan
from replayer.sending import Sent
from replayer.taping import Protect
from replayer.validity import Generator
from replayer.verdict import Judged, Verdict


def broken_off(sent: Sent, judged: Sequence[Judged]) -> list[Judged]:
    """What a run that ended before its time says, as one more answer: the breaker is a FAIL of the target; an interrupted run
    has not shown what it was asked to show.
    """
    if sent.stop.reason == "aborted":
        return [Judged(expr="run", verdict=Verdict.FAIL, why=f"aborted by {sent.stop.why}")]
    if sent.stop.reason == "interrupted" and judged:
        return [Judged(expr="run", verdict=Verdict.INCONCLUSIVE, why="interrupted before its end")]
    return []


def interruption(sent: Sent, role: str) -> list[str]:
    """The first reason of an interrupted run: how much of it there was."""
    if sent.stop.reason != "interrupted":
        return []
    dispatched_ns = sent.attempts[role].dispatched_ns
    unsent = int(np.count_nonzero(dispatched_ns < 0))
    return [f"interrupted: {unsent:,} of {len(dispatched_ns):,} rows were never sent"]


def notes(plan: Plan, sent: Sent, generator: Generator) -> list[str]:
    """What a reader should know: what the inputs lack, what was not sent, what the generator says of itself."""
    said = list(generator.notes)
    for capture in plan.captures:
        if capture.damage:
            said.append(f"{capture.path} is damaged ({len(capture.damage)} places): run `shadowtape verify` on it")
        if not capture.sealed:
            said.append(f"{capture.path} was not sealed: its recorder was killed or is still recording")
        if capture.confessions.shed:
            said.append(f"{capture.path} lacks {capture.confessions.shed:,} exchanges its recorder shed")
    if sent.headers_not_sent:
        listed = ", ".join(sorted(sent.headers_not_sent)[:8])
        said.append(f"recorded headers that were not sent: {listed}")
    return said


def inputs_of(captures: Sequence[Capture]) -> tuple[dict[str, object], ...]:
    """The inputs as run.json and the tape's header name them."""
    return tuple(
        {
            "path": capture.path,
            "digest": capture.digest,
            "file_id": capture.header.file_id.hex(),
            "exchanges": len(capture),
            "sealed": capture.sealed,
            "damaged": len(capture.damage),
            "confessions": asdict(capture.confessions),
        }
        for capture in captures
    )


def protector(captures: Sequence[Capture], key: bytes) -> Protect:
    """Each input's own policy, under one key of the run's."""
    pseudonymisers: dict[int, Pseudonymiser] = {}

    def protect(owner: int, exchanges: Sequence[Exchange]) -> list[Exchange]:
        if owner not in pseudonymisers:
            policy = Policy.from_data(captures[owner].header.policy, captures[owner].path)
            pseudonymisers[owner] = Pseudonymiser(policy, key, derived=True)
        return pseudonymisers[owner].apply(exchanges)

    return protect
