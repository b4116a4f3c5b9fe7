"""Comparators: tables of what decides, and the conformance kit."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codecs.body import Body, Document, Opaque, Role, Tensor, Tensors, TokenStream
from replayer.compare.comparators import MOST_DIFFERENCES, Predictions, label_of
from replayer.compare.judgement import Incomparable, Judgement, Match, Mismatch
from replayer.compare.testing import check_comparator, tensor


@pytest.mark.parametrize(
    "comparator",
    [
        Predictions(),
        Predictions(rtol=0),
        Predictions(rtol=0.1, threshold=0.5),
        Predictions(tokens_comparable=True),
        Predictions(declared=False),
    ],
    ids=["default", "exact", "threshold", "tokens", "undeclared"],
)
def test_the_built_in_comparator_keeps_the_contract(comparator: Predictions) -> None:
    check_comparator(comparator)


def one(datatype: str, *values: object, shape: tuple[int, ...] | None = None, name: str = "y") -> Tensors:
    return Tensors((tensor(name, datatype, values, shape),))


DEFAULT = Predictions()


def pair(left: Body, right: Body, comparator: Predictions = DEFAULT) -> Judgement:
    (judgement,) = comparator([left], [right])
    return judgement


def kind(judgement: Judgement) -> str:
    match judgement:
        case Mismatch(differences):
            return differences[0].kind
        case _:
            return type(judgement).__name__


NAN, INF = math.nan, math.inf
TABLE: list[tuple[Body, Body, str]] = [
    (one("INT64", 3), one("INT64", 3), "Match"),
    (one("INT64", 3), one("INT64", 4), "flip"),
    (one("BOOL", True), one("BOOL", False), "flip"),
    (one("BYTES", "cat"), one("BYTES", "cat"), "Match"),
    (one("BYTES", "cat"), one("BYTES", "dog"), "flip"),
    (one("BYTES", "stk1_aaaa"), one("BYTES", "stk1_aaaa"), "Incomparable"),
    (one("BYTES", "cat"), one("BYTES", "stk1_aaaa"), "Incomparable"),
    (one("FP32", 1.0), one("FP32", 1.000001), "Match"),
    (one("FP32", 1.0), one("FP32", 1.0001), "score"),
    (one("FP64", 1.0), one("FP64", 1.000001), "score"),
    (one("FP16", 1.0), one("FP16", 1.0009), "Match"),
    (one("FP32", 0.0), one("FP32", 0.000009), "Match"),
    (one("FP32", 0.0), one("FP32", 0.00002), "score"),
    (one("FP64", NAN), one("FP64", NAN), "Match"),
    (one("FP64", NAN), one("FP64", 1.0), "score"),
    (one("FP64", INF), one("FP64", INF), "Match"),
    (one("FP64", INF), one("FP64", -INF), "score"),
    (one("FP64", INF), one("FP64", 1e308), "score"),
    (one("FP32", 0.9, 0.1, shape=(1, 2)), one("FP32", 0.1, 0.9, shape=(1, 2)), "flip"),
    (one("FP32", 0.9, 0.1, shape=(1, 2)), one("FP32", 0.8, 0.2, shape=(1, 2)), "score"),
    (one("INT64", 3), one("INT32", 3), "schema"),
    (one("FP32", 3.0), one("FP64", 3.0), "schema"),
    (one("INT64", 3), one("INT64", 3, 3), "schema"),
    (one("INT64", 3), one("INT64", 3, shape=(1, 1)), "schema"),
    (one("INT64", 3), one("INT64", 3, name="z"), "schema"),
    (one("INT64", 3), Document({"error": "no"}), "schema"),
    (Document({"a": 1, "b": [1.0, "x"]}), Document({"b": [1.0, "x"], "a": 1}), "Match"),
    (Document({"a": 1}), Document({"a": 2}), "score"),
    (Document({"a": "x"}), Document({"a": "y"}), "text"),
    (Document({"a": True}), Document({"a": 1}), "schema"),
    (Document({"a": 1}), Document({"b": 1}), "schema"),
    (Document([1, 2]), Document([1, 2, 3]), "schema"),
    (Document(None), Document("null"), "schema"),
    (TokenStream("a b", (1, 2)), TokenStream("a b", (5, 9)), "Match"),
    (TokenStream("a b", (1,)), TokenStream("a c", (1,)), "text"),
    (Opaque("not JSON", 3), Opaque("not JSON", 3), "Incomparable"),
    (Opaque("not JSON", 3), one("INT64", 1), "Incomparable"),
    (Tensors(()), Tensors(()), "Incomparable"),
]


@pytest.mark.parametrize(("left", "right", "expected"), TABLE)
def test_what_decides(left: Body, right: Body, expected: str) -> None:
    assert kind(pair(left, right)) == expected


def test_a_threshold_turns_a_lone_score_into_a_label() -> None:
    left, right = one("FP32", 0.49), one("FP32", 0.51)
    assert kind(pair(left, right)) == "score"
    assert kind(pair(left, right, Predictions(threshold=0.5))) == "flip"
    moved = pair(one("FP32", 0.2), one("FP32", 0.3), Predictions(threshold=0.5))
    assert isinstance(moved, Mismatch)
    assert moved.agrees


def test_labels_that_agree_while_scores_move_agree_and_do_not_match() -> None:
    left = Tensors((tensor("label", "INT64", [1]), tensor("score", "FP32", [0.7])))
    right = Tensors((tensor("label", "INT64", [1]), tensor("score", "FP32", [0.6])))
    moved = pair(left, right)
    assert isinstance(moved, Mismatch)
    assert (moved.agrees, moved.flip, moved.measured.labelled) == (True, False, True)
    assert moved.measured.delta == pytest.approx(-0.1)
    assert moved.measured.rtol == pytest.approx(0.1 / 0.7)


def test_scores_without_labels_disagree_beyond_tolerance() -> None:
    moved = pair(one("FP32", 0.7), one("FP32", 0.6))
    assert isinstance(moved, Mismatch)
    assert not moved.agrees


def test_a_tolerance_of_zero_forgives_nothing_and_a_larger_one_does() -> None:
    left, right = one("FP32", 100.0), one("FP32", 101.0)
    assert kind(pair(left, right, Predictions(rtol=0.02))) == "Match"
    assert kind(pair(one("FP32", 1.0), one("FP32", 1.0 + 1e-12), Predictions(rtol=0))) == "score"


def test_integers_and_floats_are_numbers_where_the_protocol_has_no_datatypes() -> None:
    left, right = one("INT64", 3), one("FP64", 3.0)
    assert kind(pair(left, right)) == "schema"
    assert kind(pair(left, right, Predictions(declared=False))) == "Match"
    assert kind(pair(right, one("INT64", 4), Predictions(declared=False))) == "score"


def test_the_same_key_makes_tokens_comparable() -> None:
    same_key = Predictions(tokens_comparable=True)
    assert kind(pair(one("BYTES", "stk1_a"), one("BYTES", "stk1_a"), same_key)) == "Match"
    assert kind(pair(one("BYTES", "stk1_a"), one("BYTES", "stk1_b"), same_key)) == "flip"


def test_ids_are_left_alone_and_text_is_no_label() -> None:
    def body(text: str, identity: str) -> Tensors:
        return Tensors(
            (tensor("text", "BYTES", [text], role=Role.TEXT), tensor("id", "BYTES", [identity], role=Role.IDENTITY))
        )

    assert kind(pair(body("a", "1"), body("a", "2"))) == "Match"
    changed = pair(body("a", "1"), body("b", "1"))
    assert kind(changed) == "text"
    assert isinstance(changed, Mismatch)
    assert not changed.measured.labelled


def test_a_large_batch_keeps_few_differences_the_flips_first() -> None:
    n = 1000
    left = Tensors((tensor("score", "FP32", [0.0] * n), tensor("label", "INT64", [0] * n)))
    right = Tensors((tensor("score", "FP32", [1.0] * n), tensor("label", "INT64", [1] * n)))
    judgement = pair(left, right)
    assert isinstance(judgement, Mismatch)
    assert len(judgement.differences) == MOST_DIFFERENCES
    assert judgement.flip
    assert judgement.differences[0].path == "label[0]"


@pytest.mark.parametrize("options", [{"rtol": -1.0}, {"rtol": INF}, {"threshold": NAN}])
def test_misuse_is_refused_at_construction(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Predictions(**options)  # type: ignore[arg-type]  # all options here are floats


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=8), st.sampled_from(["FP16", "FP32", "FP64"]))
def test_scores_are_compared_as_math_isclose_compares_them(values: list[tuple[float, float]], datatype: str) -> None:
    left, right = ([v[side] for v in values] for side in (0, 1))
    judgement = pair(one(datatype, *left), one(datatype, *right), Predictions(rtol=0.01))
    atol = {"FP16": 1e-5, "FP32": 1e-5, "FP64": 1e-7}[datatype]
    close = [(math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=0.01, abs_tol=atol) for a, b in values]
    assert isinstance(judgement, Match if all(close) else Mismatch)


def test_the_label_of_an_answer() -> None:
    assert label_of(one("INT64", 3)) == "3"
    assert label_of(one("BYTES", "cat", "cat")) == "cat"
    assert label_of(one("BYTES", "cat", "dog")) == "mixed"
    assert label_of(one("FP32", 0.1, 0.9, shape=(1, 2))) == "1"
    assert label_of(one("FP32", 0.7)) == ""
    assert label_of(one("FP32", 0.7), threshold=0.5) == "True"
    assert label_of(Tensors((tensor("score", "FP32", [0.7]), tensor("label", "INT64", [2])))) == "2"
    assert label_of(Document(1)) == ""


def test_a_tensor_whose_data_disagree_with_its_shape_is_judged_all_the_same() -> None:
    short = Tensors((Tensor("y", "FP32", (2, 2), np.zeros(3), Role.PREDICTION),))
    assert isinstance(pair(short, short), Match)
    assert kind(pair(short, one("FP32", 0.0, 0.0, 0.0, 0.0, shape=(2, 2)))) == "schema"
    assert isinstance(pair(Tensors((tensor("id", "BYTES", ["a"], role=Role.OTHER),)), Tensors(())), Incomparable)


def test_a_comparator_that_matches_what_nobody_could_read_is_found() -> None:
    class Agrees:
        name = "agrees"
        symmetric = True

        def __call__(self, left: Sequence[Body], right: Sequence[Body]) -> list[Judgement]:
            return [Match() for _ in zip(left, right, strict=True)]

    with pytest.raises(AssertionError, match="no match"):
        check_comparator(Agrees())
