"""Pairing: a side that failed, was cut or was altered is Incomparable with its reason, and never a match."""

from dataclasses import replace

import pytest

from captures.codecs.oip_v2 import OipV2
from captures.exchange import Failure, FailureKind, Flags, Response
from captures.testing import example_exchange
from replayer.compare.comparators import Predictions
from replayer.compare.judgement import Incomparable, Match, Mismatch
from replayer.compare.pairing import Answer, Sides, answer_of, judge_batch, screen

BODY = b'{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[1]}]}'
OTHER = b'{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[2]}]}'
GOOD = Answer(200, BODY, flags=Flags.RECORDED_VALID)
SIDES = Sides("recorded", "candidate", recorded=True)


@pytest.mark.parametrize(
    ("left", "right", "why"),
    [
        (GOOD, Answer(0, b"", FailureKind.TIMEOUT), "candidate: timeout"),
        (GOOD, Answer(0, b"", FailureKind.SHED), "candidate: shed"),
        (Answer(0, b"", FailureKind.CONNECT), GOOD, "recorded: connect"),
        (Answer(0, b"", FailureKind.RESET), Answer(0, b"", FailureKind.RESET), "both failed: reset"),
        (
            Answer(0, b"", FailureKind.RESET),
            Answer(0, b"", FailureKind.TIMEOUT),
            "recorded: reset, candidate: timeout",
        ),
        (Answer(500, b""), Answer(503, b""), "both answered with an error"),
        (Answer(404, b""), Answer(404, b""), "both answered with an error"),
        (GOOD, Answer(200, BODY, flags=Flags.RESPONSE_TRUNCATED), "candidate answer was cut"),
        (GOOD, Answer(200, b"", flags=Flags.RESPONSE_DROPPED), "candidate answer was not kept"),
        (Answer(200, BODY), GOOD, "recorded answer or request was altered by the policy"),
    ],
)
def test_what_cannot_be_compared_says_why(left: Answer, right: Answer, why: str) -> None:
    assert screen(left, right, SIDES) == Incomparable(why)


def test_another_status_class_is_a_mismatch() -> None:
    judgement = screen(GOOD, Answer(503, b"busy"), SIDES)
    assert isinstance(judgement, Mismatch)
    assert (judgement.differences[0].kind, judgement.differences[0].right) == ("status", "503")
    assert not judgement.agrees


def test_a_batch_is_judged_in_order_and_only_what_can_be_compared_is() -> None:
    left = [GOOD, GOOD, GOOD, GOOD, replace(GOOD, body=b"<html>")]
    right = [
        Answer(200, BODY),
        Answer(0, b"", FailureKind.TIMEOUT),
        Answer(200, OTHER),
        Answer(200, b"<html>"),
        Answer(200, b""),
    ]
    judged = judge_batch(OipV2(), Predictions(), left, right, SIDES)
    assert [type(one) for one in judged] == [Match, Incomparable, Mismatch, Mismatch, Incomparable]
    assert isinstance(judged[3], Mismatch)
    assert [(one.kind, one.right) for one in judged[3].differences] == [("schema", "not readable by oip-v2")]
    assert judged[4] == Incomparable("reference answer is opaque: not readable by oip-v2")


def test_a_live_side_needs_no_flag_of_validity() -> None:
    assert screen(Answer(200, BODY), Answer(200, BODY), Sides("baseline", "candidate")) is None


def test_the_answer_of_an_exchange() -> None:
    exchange = example_exchange()
    assert answer_of(exchange).status == 200
    assert not answer_of(exchange).erred
    assert answer_of(example_exchange(response=None)).failure is FailureKind.RESET
    assert answer_of(example_exchange(response=Response(status=200, end_ns=-1))).failure is FailureKind.RESET
    broken = example_exchange(failure=Failure(FailureKind.TIMEOUT, 5))
    assert answer_of(broken).erred
    assert answer_of(example_exchange(response=Response(status=429, end_ns=5))).erred


def test_a_broken_codec_is_our_crash_and_no_judgement() -> None:
    class Broken(OipV2):
        def decode(self, bodies: object, side: object) -> list[object]:  # type: ignore[override]  # broken on purpose
            return [RuntimeError("boom")] * len(bodies)  # type: ignore[arg-type]  # as above

    with pytest.raises(RuntimeError, match="boom"):
        judge_batch(Broken(), Predictions(), [GOOD], [GOOD], SIDES)  # type: ignore[arg-type]  # as above
