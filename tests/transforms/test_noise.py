import json
from dataclasses import replace

import numpy as np
import pytest

from captures.errors import UsageError
from transforms.contents import contents
from transforms.noise import Noise
from transforms.plan import schedule_of
from transforms.rewrite import value_touched
from transforms.schedule import Schedule
from transforms.testing import MemoryCapture, check_transform, example_captures, example_exchange, example_view
from transforms.transform import apply
from transforms.view import View


def noisy(noise: Noise, count: int = 400, seed: int = 7) -> tuple[View, Schedule]:
    captures = example_captures(count)
    view = View(captures)
    return view, apply(schedule_of(captures)[0], view, [noise], seed)


def changes(view: View, schedule: Schedule, feature: str) -> list[list[float]]:
    """What was added to the feature, for each row."""
    said = contents(view, schedule, np.arange(len(schedule) - 1))  # the last row is opaque

    def values(body: bytes) -> list[float]:
        return next(entry["data"] for entry in json.loads(body)["inputs"] if entry["name"] == feature)

    return [
        [new - old for old, new in zip(values(exchange.request.body), values(body), strict=True)]
        for exchange, body in zip(said.exchanges, said.bodies, strict=True)
    ]


@pytest.mark.parametrize("noise", [Noise("amount", 0.5), Noise("rate", "0.1", "30%"), Noise("*", 1)])
def test_noise_keeps_every_promise_of_a_transform(noise: Noise) -> None:
    check_transform(noise)


def test_noise_of_nothing_changes_nothing() -> None:
    check_transform(Noise("amount", 0), changed_share=0)
    view, schedule = noisy(Noise("amount", 0))

    assert not np.concatenate(changes(view, schedule, "amount")).any()


def test_the_noise_has_the_size_that_was_asked_for() -> None:
    view, schedule = noisy(Noise("amount", 0.5))
    added = np.concatenate(changes(view, schedule, "amount"))
    spread = view.feature("amount").values.std()

    assert added.std() / spread == pytest.approx(0.5, rel=0.08)
    assert abs(added.mean()) / spread < 0.06


def test_every_value_of_a_batch_gets_its_own_draw() -> None:
    view, schedule = noisy(Noise("amount", 0.5))

    assert all(len(set(added)) == len(added) for added in changes(view, schedule, "amount"))


def test_other_features_and_ids_are_left_alone_to_the_byte() -> None:
    view, schedule = noisy(Noise("amount", 0.5))
    said = contents(view, schedule, np.arange(20))
    for exchange, body in zip(said.exchanges, said.bodies, strict=True):
        before, after = exchange.request.body, body
        assert before.split(b'"rate"')[1] == after.split(b'"rate"')[1]
        assert before.split(b'"data": [')[0] == after.split(b'"data": [')[0]


def test_a_share_of_the_rows_is_touched_and_named() -> None:
    view, schedule = noisy(Noise("amount", 1, "25%"))
    touched = value_touched(schedule)
    changed = [any(added) for added in changes(view, schedule, "amount")]

    assert touched[:-1].tolist() == changed
    assert 0.18 < touched.mean() < 0.32


def test_integers_stay_integers() -> None:
    view, schedule = noisy(Noise("count", 0.2))
    added = np.concatenate(changes(view, schedule, "count"))

    assert added.any()
    assert all(isinstance(value, int) for row in changes(view, schedule, "count") for value in row)


def test_rows_without_the_feature_are_not_touched() -> None:
    _, schedule = noisy(Noise("amount", 1))

    assert value_touched(schedule).tolist() == [True] * 400 + [False]


def test_copies_of_a_row_get_noise_of_their_own() -> None:
    view, schedule = noisy(Noise("amount", 1), count=5)
    twice = replace(schedule, variant=np.arange(len(schedule), dtype=np.uint32))

    assert changes(view, schedule, "amount")[0] == changes(view, twice, "amount")[0]
    assert changes(view, schedule, "amount")[1] != changes(view, twice, "amount")[1]


def test_a_glob_stands_for_every_feature_it_fits() -> None:
    _, schedule = noisy(Noise("*t", 1))
    (rewrite,) = schedule.rewrites

    assert {name for name, _ in rewrite.scales} == {"amount", "count"}  # type: ignore[attr-defined]  # an AddNoise


def test_an_unknown_feature_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no feature named 'amont'; there are: amount, count, rate"):
        noisy(Noise("amont", 1))


def test_a_feature_that_never_varies_has_no_spread_to_count_in() -> None:
    view = View([MemoryCapture([example_exchange(0)])])  # a batch of one

    with pytest.raises(UsageError, match="'amount' never varies"):
        Noise("amount", 1)(schedule_of(view.captures)[0], view, np.random.default_rng(0))


def test_what_noise_says_of_itself_decides_the_digest() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)
    digests = [apply(plan, view, [Noise("amount", sd)], seed).digest for sd, seed in ((1, 1), (1, 1), (2, 1), (1, 2))]

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(("sd", "share"), [(-1, 1), ("x", 1), (1, "200%")])
def test_options_that_cannot_work_are_refused(sd: float | str, share: float | str) -> None:
    with pytest.raises(ValueError, match=r"sd is|share is"):
        Noise("amount", sd, share)
