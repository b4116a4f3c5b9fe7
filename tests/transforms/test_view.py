import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from captures.errors import UsageError
from captures.exchange import Exchange, Flags
from transforms.testing import MemoryCapture, example_captures, example_exchange
from transforms.view import Cache, View


class Counting:
    """A capture that counts how often it was read through."""

    def __init__(self, capture: MemoryCapture) -> None:
        self.capture, self.reads = capture, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.capture, name)

    def __len__(self) -> int:
        return len(self.capture)

    def numbered(self, *arguments: Any, **options: Any) -> Any:
        self.reads += 1
        return self.capture.numbered(*arguments, **options)


def values(exchange: Exchange, feature: str) -> list[float]:
    return next(entry["data"] for entry in json.loads(exchange.request.body)["inputs"] if entry["name"] == feature)


def test_a_feature_has_a_value_for_every_row_of_every_batch() -> None:
    view = View(example_captures(700))  # more than is decoded together
    amount = view.feature("amount")
    exchanges = [example_exchange(number) for number in range(700)]

    assert amount.values.tolist() == [value for exchange in exchanges for value in values(exchange, "amount")]
    assert amount.owner.tolist() == [at for at, exchange in enumerate(exchanges) for _ in values(exchange, "amount")]


def test_owners_count_through_all_inputs() -> None:
    first, second = example_captures(5)[0], replace(example_captures(3)[0], digest="11" * 32)
    view = View([first, second])

    assert len(view) == 6 + 4
    assert sorted(set(view.feature("rate").owner.tolist())) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert [exchange.arrival_ns for exchange in view.read(np.array([7, 0, 7]))] == [
        second.held[1].arrival_ns,
        first.held[0].arrival_ns,
        second.held[1].arrival_ns,
    ]


def test_features_and_predictions_are_listed_by_name() -> None:
    view = View(example_captures(5))

    assert view.feature_names() == ("amount", "rate", "count")
    assert view.prediction_names() == ("score",)
    assert set(view.prediction("score").values.tolist()) == {0.5}


def test_nothing_is_read_before_it_is_asked_for_and_nothing_twice() -> None:
    counting = Counting(example_captures(5)[0])
    cache: Cache = {}
    view = View([counting], cache=cache)
    assert counting.reads == 0

    view.feature("amount")
    view.feature("rate")
    View([counting], cache=cache).feature("count")
    assert counting.reads == 1

    view.prediction("score")
    assert counting.reads == 2


def test_what_cannot_be_sent_again_has_no_features() -> None:
    kept, incomplete = example_exchange(0), replace(example_exchange(1), flags=Flags.INFERENCE)

    assert set(View([MemoryCapture([kept, incomplete])]).feature("amount").owner.tolist()) == {0}


def test_altered_responses_have_no_predictions() -> None:
    plain = example_exchange(0)
    altered = replace(plain, flags=Flags.REPLAYABLE)
    assert plain.response is not None
    failed = replace(plain, response=replace(plain.response, status=500))

    assert set(View([MemoryCapture([altered, plain, failed])]).prediction("score").owner.tolist()) == {1}


def test_bodies_that_cannot_be_read_are_passed_over() -> None:
    broken = example_exchange(1)
    broken = replace(broken, request=replace(broken.request, chunks=(replace(broken.request.chunks[0], data=b"{"),)))

    assert set(View([MemoryCapture([broken, example_exchange(0)])]).feature("amount").owner.tolist()) == {1}


def test_damaged_exchanges_leave_the_others_their_ordinals() -> None:
    class Damaged(Counting):
        def numbered(self, *arguments: Any, **options: Any) -> Any:
            return ((at, exchange) for at, exchange in self.capture.numbered() if at != 1)

    view = View([Damaged(example_captures(4)[0])])

    assert sorted(set(view.feature("amount").owner.tolist())) == [0, 2, 3]


def test_a_feature_of_several_routes_is_one_column_in_order() -> None:
    other = [replace(example_exchange(number), route="POST /other", arrival_ns=number) for number in (1, 3)]
    held = [example_exchange(0), other[0], example_exchange(2), other[1]]
    owner = View([MemoryCapture(held)]).feature("amount").owner

    assert (np.diff(owner) >= 0).all()
    assert set(owner.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("amount", ("amount",)), ("*t*", ("amount", "rate", "count")), ("ra?e", ("rate",)), ("c*", ("count",))],
)
def test_a_glob_stands_for_features(pattern: str, names: tuple[str, ...]) -> None:
    assert View(example_captures(3)).features_like(pattern) == names


def test_brackets_are_part_of_a_name() -> None:
    def table(number: int) -> Exchange:
        body = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 2.0, %d]}]}' % number
        held = example_exchange(number)
        return replace(held, request=replace(held.request, chunks=(replace(held.request.chunks[0], data=body),)))

    view = View([MemoryCapture([table(1), table(2)])])

    assert view.features_like("x[2]") == ("x[2]",)
    assert view.features_like("x[*]") == ("x[0]", "x[1]", "x[2]")
    assert view.feature("x[2]").values.tolist() == [1.0, 2.0]


def test_an_unknown_name_is_answered_with_the_closest_first() -> None:
    with pytest.raises(UsageError, match="no feature named 'cuont'; there are: count, amount, rate"):
        View(example_captures(3)).feature("cuont")
    with pytest.raises(UsageError, match="no feature named 'z\\*'"):
        View(example_captures(3)).features_like("z*")
    with pytest.raises(UsageError, match="no prediction named 'x'; there are: score"):
        View(example_captures(3)).prediction("x")


def test_a_capture_nobody_understands_has_no_features() -> None:
    view = View([MemoryCapture([replace(example_exchange(0), codec="opaque")])])

    assert view.feature_names() == ()
    with pytest.raises(UsageError, match="nothing in the capture"):
        view.feature("amount")


def test_codecs_are_found_by_name() -> None:
    view = View(example_captures(1), codecs=lambda name: None if name == "opaque" else view_codec)
    view_codec: Any = object()

    assert view.codec("oip-v2") is view_codec
    assert view.codec("opaque") is None
