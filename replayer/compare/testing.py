"""The conformance kit of comparators: one call proves one.

def test_my_comparator() -> None:
    check_comparator(MyComparator(tolerance=0.1))
"""

import itertools
from collections.abc import Sequence

import numpy as np

from captures.codecs.body import Body, Document, Opaque, Role, Tensor, Tensors, TokenStream
from replayer.compare.comparators import Comparator
from replayer.compare.judgement import Incomparable, Judgement, Match, Mismatch


def tensor(
    name: str, datatype: str, data: Sequence[object], shape: tuple[int, ...] | None = None, role: Role = Role.PREDICTION
) -> Tensor:
    """A tensor of the array type codecs give that datatype."""
    kinds = {"BOOL": np.bool_, "BYTES": np.object_, "INT64": np.int64, "INT32": np.int32}
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = np.asarray(data, dtype=kinds.get(datatype, np.float64))
    return Tensor(name, datatype, shape or array.shape, array.reshape(shape or array.shape), role)


def bodies() -> list[Body]:
    """Answers of every kind, the awkward ones included: what any comparator must live with."""
    nan, inf = float("nan"), float("inf")
    return [
        Tensors(()),
        Tensors((tensor("label", "INT64", [1]),)),
        Tensors((tensor("label", "INT64", [2]),)),
        Tensors((tensor("label", "INT64", [1, 2, 3]),)),
        Tensors((tensor("label", "BOOL", [True, False]),)),
        Tensors((tensor("label", "BYTES", ["cat", "dog"]),)),
        Tensors((tensor("label", "BYTES", ["stk1_abc", "dog"]),)),
        Tensors((tensor("label", "BYTES", [b"\xff", None]),)),
        Tensors((tensor("score", "FP32", [0.25]),)),
        Tensors((tensor("score", "FP32", [0.75]),)),
        Tensors((tensor("score", "FP64", [0.25]),)),
        Tensors((tensor("score", "FP64", [nan, inf, -inf, 0.0, 1e308, -1e308]),)),
        Tensors((tensor("score", "FP64", [inf, nan, inf, 5e-324, -1e308, 1e308]),)),
        Tensors((tensor("score", "FP64", [], (0,)),)),
        Tensors((tensor("probability", "FP32", [0.1, 0.9, 0.6, 0.4], (2, 2)),)),
        Tensors((tensor("probability", "FP32", [0.8, 0.2, 0.6, 0.4], (2, 2)),)),
        Tensors((tensor("probability", "FP32", [nan, 0.2, 0.6, 0.4], (2, 2)),)),
        Tensors((tensor("text", "BYTES", ["free text"], role=Role.TEXT), tensor("label", "INT64", [1]))),
        Tensors((tensor("id", "BYTES", ["a"], role=Role.IDENTITY),)),
        Document(None),
        Document({"error": "no such model", "code": 404}),
        Document({"error": {"nested": [1, 2.5, True, "x", None, 10**400]}}),
        Document({"error": {"nested": [1, 2.5, False]}}),
        Document([nan, inf]),
        _deep(5_000),
        TokenStream("hello", (1, 2)),
        TokenStream("hello there", (1, 2, 3)),
        Opaque("not JSON", 3),
    ]


def check_comparator(comparator: Comparator, samples: Sequence[Body] = ()) -> None:
    """Raises AssertionError unless the comparator is total (judges any two bodies and never raises), reflexive (an answer
    never differs from itself), symmetric where it says so, independent of batching, finds no match where an answer is opaque, and
    gives every difference a path.
    """
    everything = [*bodies(), *samples]
    for body in everything:
        (judgement,) = comparator([body], [body])
        assert not isinstance(judgement, Mismatch), f"an answer differs from itself: {judgement}"
    couples = list(itertools.product(everything, repeat=2))
    left, right = [a for a, _ in couples], [b for _, b in couples]
    together = comparator(left, right)
    assert len(together) == len(couples), "one judgement per pair"
    assert list(map(repr, together)) == [repr(comparator([a], [b])[0]) for a, b in couples], (
        "batching changes a judgement"
    )
    for a, b, judgement in zip(left, right, together, strict=True):
        assert isinstance(judgement, Match | Mismatch | Incomparable)
        assert not (isinstance(judgement, Match) and isinstance(a, Opaque)), (
            "an answer that could not be read is no match"
        )
        assert not (isinstance(judgement, Match) and isinstance(b, Opaque)), (
            "an answer that could not be read is no match"
        )
        if isinstance(judgement, Mismatch):
            assert judgement.differences, "a mismatch without a difference"
            assert all(difference.path for difference in judgement.differences), "a difference without a path"
        if isinstance(judgement, Incomparable):
            assert judgement.why, "incomparable without a reason"
    if comparator.symmetric:
        assert [_kind(one) for one in together] == [_kind(one) for one in comparator(right, left)], "not symmetric"
    assert comparator([], []) == [], "an empty batch"


def _kind(judgement: Judgement) -> tuple[str, ...]:
    """What must not depend on which side is which."""
    if isinstance(judgement, Mismatch):
        return ("Mismatch", *sorted(f"{difference.kind} {difference.path}" for difference in judgement.differences))
    return (type(judgement).__name__,)


def _deep(levels: int) -> Document:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return Document(value)
