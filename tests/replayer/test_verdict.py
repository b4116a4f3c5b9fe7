"""What the answers of a run add up to."""

import pytest

from replayer.verdict import EXIT_CODES, Judged, Verdict, combine


def judged(*verdicts: Verdict) -> list[Judged]:
    return [Judged(expr=f"objective {at}", verdict=verdict, why="because") for at, verdict in enumerate(verdicts)]


PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "invalid", "expected"),
    [
        ((), (), Verdict.UNJUDGED),
        ((PASS, PASS), (), PASS),
        ((PASS, UNSURE), (), UNSURE),
        ((UNSURE, FAIL, PASS), (), FAIL),
        ((FAIL, PASS), ("late",), Verdict.INVALID),
        ((), ("late",), Verdict.INVALID),
    ],
)
def test_the_worst_part_is_the_whole(
    verdicts: tuple[Verdict, ...], invalid: tuple[str, ...], expected: Verdict
) -> None:
    verdict, why = combine(judged(*verdicts), invalid)
    assert verdict is expected
    assert why


def test_reasons_come_in_order_of_weight_and_passes_say_nothing() -> None:
    _, why = combine(judged(PASS, UNSURE, FAIL), ["the generator was late"])
    assert why == ["the generator was late", "objective 2: FAIL, because", "objective 1: INCONCLUSIVE, because"]


def test_exit_codes_are_those_of_the_contract() -> None:
    codes = {verdict.value: code for verdict, code in EXIT_CODES.items()}
    assert codes == {"PASS": 0, "UNJUDGED": 0, "FAIL": 1, "INVALID": 3, "INCONCLUSIVE": 4}
