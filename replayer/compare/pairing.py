"""Which pairs can be compared at all, and the judgement of a batch of pairs of one route.

A side that failed, is missing, was cut or was altered makes the pair Incomparable with the reason: never a match, never a
mismatch of predictions. What failed is judged by ``errors`` and ``excess_errors``. A candidate's complete answer that
its codec cannot read, where the other side's can be read, is a change of schema: a login page is not what a model says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from captures.codecs.body import Body, Opaque
from captures.codecs.codec import Codec
from captures.errors import CodecError
from captures.exchange import NO_FLAGS, Exchange, FailureKind, Flags
from replayer.compare.comparators import Comparator
from replayer.compare.judgement import Difference, Incomparable, Judgement, Mismatch


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of a pair. ``failure`` NONE: the response is complete. ``flags``: what was cut or altered on the way to us."""

    status: int
    body: bytes
    failure: FailureKind = FailureKind.NONE
    flags: Flags = NO_FLAGS

    @property
    def erred(self) -> bool:
        return self.failure is not FailureKind.NONE or self.status >= 400


def answer_of(exchange: Exchange) -> Answer:
    """The answer a capture holds. A response that never ended is a failure, whatever the exchange says."""
    response = exchange.response
    kind = exchange.failure.kind if exchange.failure is not None else FailureKind.NONE
    if kind is FailureKind.NONE and (response is None or response.end_ns < 0):
        kind = FailureKind.RESET
    if response is None:
        return Answer(0, b"", kind, exchange.flags)
    return Answer(response.status, response.body, kind, exchange.flags)


@dataclass(frozen=True, slots=True)
class Sides:
    """What the two sides are called in reasons: ("recorded", "candidate"). ``recorded``: the left one is what a
    capture kept, so that alterations by its policy count.
    """

    left: str
    right: str
    recorded: bool = False


def judge_batch(
    codec: Codec, comparator: Comparator, left: Sequence[Answer], right: Sequence[Answer], sides: Sides
) -> list[Judgement]:
    """One judgement per pair of answers to requests of one route."""
    judged: list[Judgement | None] = [screen(a, b, sides) for a, b in zip(left, right, strict=True)]
    ours, theirs = decode(codec, left), decode(codec, right)
    for at, judgement in enumerate(judged):
        if judgement is None and _is_unreadable(theirs[at], codec) and not isinstance(ours[at], Opaque):
            change = Difference("$", "schema", type(ours[at]).__name__, _unreadable(codec))
            judged[at] = Mismatch((change,))
    open_at = [at for at, judgement in enumerate(judged) if judgement is None]
    compared = comparator([ours[at] for at in open_at], [theirs[at] for at in open_at])
    for at, judgement in zip(open_at, compared, strict=True):
        judged[at] = judgement
    return [judgement for judgement in judged if judgement is not None]


def decode(codec: Codec, answers: Sequence[Answer]) -> list[Body]:
    """What the answers mean; a body its codec cannot read is Opaque and says so, without quoting it."""
    bodies: list[Body] = []
    for body, answer in zip(codec.decode([answer.body for answer in answers], "response"), answers, strict=True):
        if isinstance(body, CodecError):
            bodies.append(Opaque(_unreadable(codec), len(answer.body)))
        elif isinstance(body, Exception):
            raise body  # a codec's closed contract was broken: our crash, not an answer's fault
        else:
            bodies.append(body)
    return bodies


def _unreadable(codec: Codec) -> str:
    return f"not readable by {codec.name}"


def _is_unreadable(body: Body, codec: Codec) -> bool:
    return isinstance(body, Opaque) and body.why == _unreadable(codec)


def screen(left: Answer, right: Answer, sides: Sides) -> Judgement | None:
    """What can be said without reading the bodies; None: compare them."""
    failed = [
        f"{name}: {answer.failure.name.lower().replace('_', ' ')}"
        for name, answer in ((sides.left, left), (sides.right, right))
        if answer.failure is not FailureKind.NONE
    ]
    if left.failure is right.failure is not FailureKind.NONE:
        return Incomparable(f"both failed: {left.failure.name.lower().replace('_', ' ')}")
    if failed:
        return Incomparable(", ".join(failed))
    if left.status // 100 != right.status // 100:
        return Mismatch((Difference("status", "status", str(left.status), str(right.status)),))
    if left.status >= 400:
        return Incomparable("both answered with an error")
    for name, answer in ((sides.left, left), (sides.right, right)):
        if answer.flags & Flags.RESPONSE_TRUNCATED:
            return Incomparable(f"{name} answer was cut")
        if answer.flags & Flags.RESPONSE_DROPPED:
            return Incomparable(f"{name} answer was not kept")
    if sides.recorded and not left.flags & Flags.RECORDED_VALID:
        return Incomparable(f"{sides.left} answer or request was altered by the policy")
    return None
