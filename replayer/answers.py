"""From the answers of a shadow run to a tally of judgements. Pure: replies and captures come in, nothing is sent or written.

Against recorded answers, live ones have passed the recording's policy before they are compared. Against a live baseline
both sides are compared raw, in memory, and once more as the policy leaves them: the first comparison decides, and only words of
the second stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched

import numpy as np
from numpy.typing import NDArray

from captures.codecs.codec import Codec
from captures.codecs.compressed import is_compressed
from captures.exchange import NO_FLAGS, Exchange, FailureKind, Flags
from replayer.attempt import Attempts, Reply
from replayer.compare.comparators import Predictions
from replayer.compare.judgement import Incomparable, Mismatch
from replayer.compare.pairing import Answer, Sides, answer_of, decode, judge_batch
from replayer.compare.slices import Group, by_value, feature_groups, pair_means
from replayer.compare.tally import NOTHING, Example, Shown, Tally, shown
from replayer.materialise import Materialiser
from replayer.plan import Plan

BATCH = 256
UNDECLARED = frozenset({"kserve-v1"})
"""Codecs of protocols without datatypes: 3 and 3.5 are both numbers there."""
MOST_FEATURES = 256
SHOWN_FEATURES = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """The answers of one target: ``raw`` as they came, ``kept`` what the recording's policy lets through; by row."""

    attempts: Attempts
    raw: Mapping[int, Reply]
    kept: Mapping[int, Exchange]


def tally_of(plan: Plan, candidate: Heard, baseline: Heard | None, comparator: Predictions, sides: Sides) -> Tally:
    """Judge every row the run came to. ``baseline`` None: against what was recorded."""
    tally = Tally()
    came_to = _came_to(candidate.attempts)
    if baseline is not None:
        came_to &= _came_to(baseline.attempts)
    codecs, routes = plan.label("codec"), plan.label("route")
    for rows in _by_route(np.flatnonzero(came_to), codecs, routes):
        codec = plan.view.codec(str(codecs[rows[0]]))
        recorded = [answer_of(one) for one in plan.view.read(plan.schedule.source[rows])] if baseline is None else []
        live = [_kept(candidate, row) for row in rows] if baseline is None else [_raw(candidate, row) for row in rows]
        left = recorded if baseline is None else [_raw(baseline, row) for row in rows]
        if codec is None:
            for row, a, b in zip(rows, left, live, strict=True):
                tally.add(row, Incomparable(f"no codec named {codecs[rows[0]]}"), erred=(a.erred, b.erred))
            continue
        chosen = replace(comparator, declared=codec.name not in UNDECLARED)
        judged = tellable = judge_batch(codec, chosen, left, live, sides)
        ours, theirs = left, live
        if baseline is not None:
            ours, theirs = [_kept(baseline, row) for row in rows], [_kept(candidate, row) for row in rows]
            tellable = judge_batch(codec, chosen, ours, theirs, sides)
        texts = zip(_shown(codec, ours, comparator), _shown(codec, theirs, comparator), strict=True)
        for row, a, b, judgement, told, text in zip(rows, left, live, judged, tellable, texts, strict=True):
            words = told.differences if isinstance(told, Mismatch) else ()
            tally.add(row, judgement, text, (a.erred, b.erred), words)
    return tally


def groups_of(plan: Plan, tally: Tally) -> Iterator[Group]:
    """The slices of the comparable pairs: route, model, the reference's label, tenths of every numeric feature as recorded."""
    pairs = tally.pairs()
    rows = pairs.row[pairs.comparable]
    for name in ("route", "model"):
        yield from by_value(name, [str(value) for value in plan.label(name)[rows]])
    yield from by_value("label", [tally.labels.get(row, "") for row in rows.tolist()])
    sources = plan.schedule.source[rows]
    columns = {name: plan.view.feature(name) for name in plan.view.feature_names()[:MOST_FEATURES]}
    yield from feature_groups(
        {name: pair_means(column.values, column.owner, sources) for name, column in columns.items()}
    )


def describe(plan: Plan, examples: Sequence[Example]) -> list[dict[str, object]]:
    """Where each example comes from, and the features that were sent."""
    rows = np.array([example.row for example in examples], dtype=np.int64)
    wires = Materialiser(plan.view, plan.schedule, "").wires(rows) if len(rows) else []
    codecs, routes, models = (plan.label(name) for name in ("codec", "route", "model"))
    return [
        {
            "source": int(plan.schedule.source[row]),
            "variant": int(plan.schedule.variant[row]),
            "route": str(routes[row]),
            "model": str(models[row]),
            "features": _features(plan.view.codec(str(codecs[row])), wire.body),
        }
        for row, wire in zip(rows.tolist(), wires, strict=True)
    ]


def _features(codec: Codec | None, body: bytes) -> dict[str, float | None]:
    """The first item's."""
    if codec is None:
        return {}
    (decoded,) = codec.decode([body], "request")
    if isinstance(decoded, Exception):
        return {}
    columns = list(codec.features([decoded]).items())[:SHOWN_FEATURES]
    return {name: float(values[0]) if np.isfinite(values[0]) else None for name, (values, _) in columns if len(values)}


def _came_to(attempts: Attempts) -> NDArray[np.bool_]:
    """All rows but those never sent, and those we broke off ourselves when the run was stopped."""
    left = np.isin(attempts.failure, (FailureKind.UNSENT, FailureKind.CLIENT_DISCONNECT))
    return np.logical_not(left)


def _by_route(rows: NDArray[np.int64], codecs: NDArray[np.object_], routes: NDArray[np.object_]) -> Iterator[list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows.tolist():
        groups.setdefault((codecs[row], routes[row]), []).append(row)
    for group in groups.values():
        for batch in batched(group, BATCH, strict=False):
            yield list(batch)


def _raw(heard: Heard, row: int) -> Answer:
    reply = heard.raw.get(row)
    if reply is None:
        return _without_body(heard.attempts, row)
    failure = FailureKind(int(heard.attempts.failure[row]))
    return Answer(reply.status, reply.body, failure, Flags.RESPONSE_TRUNCATED if reply.truncated else NO_FLAGS)


def _kept(heard: Heard, row: int) -> Answer:
    exchange = heard.kept.get(row)
    if exchange is None:
        return _without_body(heard.attempts, row)
    answer = answer_of(exchange)
    reply = heard.raw.get(row)
    if answer.flags & Flags.UNPARSED and reply is not None and not is_compressed(reply.body):
        # The policy drops what no codec reads, whatever it is; that it could not be read is the candidate's doing.
        return replace(answer, flags=answer.flags & ~Flags.RESPONSE_DROPPED)
    return answer


def _without_body(attempts: Attempts, row: int) -> Answer:
    failure = FailureKind(int(attempts.failure[row]))
    flags = NO_FLAGS if failure is not FailureKind.NONE else Flags.RESPONSE_DROPPED
    return Answer(int(attempts.status[row]), b"", failure, flags)


def _shown(codec: Codec, answers: Sequence[Answer], comparator: Predictions) -> list[Shown]:
    bodies = decode(codec, answers)
    return [
        shown(body, comparator.threshold)
        if answer.body and not answer.erred
        else replace(NOTHING, text=_outcome(answer))
        for body, answer in zip(bodies, answers, strict=True)
    ]


def _outcome(answer: Answer) -> str:
    return f"status {answer.status}" if answer.failure is FailureKind.NONE else answer.failure.name.lower()
