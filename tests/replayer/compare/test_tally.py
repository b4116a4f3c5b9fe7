"""The tally: few numbers per pair, bounded examples, and the shape of the summary."""

import json
import math

import numpy as np

from captures.codecs.body import Document, Opaque, Tensors
from replayer.compare.judgement import Difference, Incomparable, Match, Measured, Mismatch
from replayer.compare.slices import by_value
from replayer.compare.summary import MOST_LABELS, histogram, summarise
from replayer.compare.tally import MOST_EXAMPLES, Shown, Tally, shown
from replayer.compare.testing import tensor

FLIP = Mismatch((Difference("y", "flip", "a", "b"),), Measured(labelled=True))


def moved(delta: float, *, labelled: bool = False) -> Mismatch:
    return Mismatch(
        (Difference("y", "score", "0", str(delta), delta),), Measured(labelled=labelled, delta=delta, rtol=1.0)
    )


def test_pairs_come_back_by_row_whatever_the_order_they_came_in() -> None:
    tally = Tally()
    tally.add(2, FLIP, erred=(True, False))
    tally.add(0, Match(Measured(labelled=True, delta=0.5, rtol=0.1)))
    tally.add(1, Incomparable("candidate: timeout"), erred=(False, True))
    pairs = tally.pairs()
    assert pairs.row.tolist() == [0, 1, 2]
    assert pairs.comparable.tolist() == [True, False, True]
    assert pairs.agrees.tolist() == pairs.matches.tolist() == [True, False, False]
    assert pairs.flipped.tolist() == [False, False, True]
    assert pairs.erred.tolist() == [False, True, False]
    assert pairs.reference_erred.tolist() == [False, False, True]
    assert tally.incomparable == {"candidate: timeout": 1}


def test_an_empty_tally_has_no_pairs_and_a_summary() -> None:
    assert len(Tally().pairs()) == 0
    data = summarise(Tally(), [], [])
    assert data["agreement"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0, "confidence": 0.95}
    assert (data["scores"], data["confusion"], data["noise"]) == (None, None, None)


def test_examples_are_bounded_and_errors_do_not_hide_flips() -> None:
    tally = Tally()
    for row in range(500):
        tally.add(row, Mismatch((Difference("status", "status", "200", "503"),)))
    for row in range(500, 505):
        tally.add(row, FLIP)
    for row in range(505, 1000):
        tally.add(row, moved(row / 1000))
    examples = tally.examples()
    kinds = [one.differences[0].kind for one in examples]
    assert len(examples) == MOST_EXAMPLES
    assert kinds.count("flip") == 5
    assert kinds == sorted(kinds, key=["status", "flip", "score"].index)
    assert [one.row for one in examples if one.differences[0].kind == "score"][:3] == [999, 998, 997]
    assert next(one.row for one in examples) == 0


def test_the_summary_counts_what_was_judged_and_is_json() -> None:
    tally = Tally()
    for row in range(90):
        tally.add(row, Match(Measured(labelled=True, delta=0.0, rtol=0.0)), (Shown("a", ""), Shown("a", "")))
    for row in range(90, 95):
        tally.add(row, FLIP, (Shown("a", "y = a"), Shown("b", "y = b")))
    for row in range(95, 99):
        tally.add(row, moved(math.inf if row == 95 else 0.25, labelled=True), (Shown("a", ""), Shown("a", "")))
    tally.add(99, Incomparable("both failed: reset"), erred=(True, True))
    described = [{"source": example.row} for example in tally.examples()]
    data = json.loads(
        json.dumps(summarise(tally, by_value("half", ["x"] * 50 + ["y"] * 49), described), allow_nan=False)
    )
    assert (data["pairs"], data["comparable"], data["incomparable"]) == (100, 99, {"both failed: reset": 1})
    assert (data["flips"], data["labelled"], data["schema_changes"]) == (5, 99, 0)
    assert math.isclose(data["agreement"]["value"], 94 / 99)
    assert math.isclose(data["match"]["value"], 90 / 99)
    assert data["errors"] == {"reference": 1, "candidate": 1, "candidate_only": 0}
    assert data["confusion"] == {"labels": ["a", "b"], "counts": [[0, 5], [0, 0]]}
    assert data["scores"]["infinite"] == 1
    assert data["scores"]["max"] == 0.25
    assert [one["part"] for one in data["slices"]] == ["y"]
    assert data["examples"][0] == {
        "row": 90,
        "source": 90,
        "left": "y = a",
        "right": "y = b",
        "differences": [{"path": "y", "kind": "flip", "left": "a", "right": "b", "delta": None}],
    }


def test_many_labels_are_folded_and_none_is_lost() -> None:
    tally = Tally()
    for at in range(40):
        tally.add(at, FLIP, (Shown(f"{at:02}", ""), Shown(f"{at + 1:02}", "")))
    confusion = summarise(tally, [], [{}] * MOST_EXAMPLES)["confusion"]
    assert isinstance(confusion, dict)
    assert len(confusion["labels"]) == MOST_LABELS + 1
    assert sum(map(sum, confusion["counts"])) == 40


def test_a_histogram_holds_every_difference() -> None:
    assert histogram(np.zeros(0)) is None
    for deltas in (np.zeros(5), np.array([-1.0, 0.0, 1000.0]), np.random.default_rng(3).normal(size=1000)):
        found = histogram(deltas)
        assert found is not None
        assert sum(found["counts"]) == len(deltas)  # type: ignore[call-overload]  # a list of ints
        assert len(found["edges"]) == len(found["counts"]) + 1  # type: ignore[arg-type]  # as above


def test_answers_are_shown_short() -> None:
    many = Tensors((tensor("y", "FP32", [1.23456789] * 100), tensor("z", "BYTES", ["a"])))
    assert shown(many, None) == Shown("a", "y = [1.23457, 1.23457, 1.23457, 1.23457, 1.23457, …], z = a")
    assert shown(Document({"error": "x" * 500}), None).text.endswith("…")
    assert shown(Opaque("not JSON", 3), None) == Shown("", "")


def test_differences_whose_words_may_not_stay_leave_their_kinds() -> None:
    tally = Tally()
    tally.add(0, FLIP, tellable=())
    tally.add(1, FLIP, tellable=(Difference("y", "flip", "stk1_a", "stk1_b"),))
    assert [one.differences[0].left for one in tally.examples()] == ["", "stk1_a"]
    assert {one.differences[0].kind for one in tally.examples()} == {"flip"}
