from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from numpy.random import Generator

import transforms
from transforms.amplify import Amplify
from transforms.noise import Noise
from transforms.plan import schedule_of
from transforms.schedule import Schedule
from transforms.testing import example_view
from transforms.time_scale import TimeScale
from transforms.transform import Transform, apply, describe
from transforms.view import View


@dataclass(frozen=True, slots=True)
class Greedy:
    """Draws a number of times, and changes nothing."""

    name: ClassVar[str] = "greedy"
    draws: int

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:
        rng.random(self.draws)
        return replace(schedule)


def test_a_step_draws_the_same_whatever_the_others_draw() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)
    digests = {
        apply(plan, view, [Greedy(before), Amplify(3), Greedy(after)], 7).digest
        for before in (0, 9)
        for after in (0, 9)
    }

    assert len(digests) == 1


def test_the_seed_decides() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)

    assert apply(plan, view, [Amplify(3)], 7).digest != apply(plan, view, [Amplify(3)], 8).digest


def test_the_same_transform_twice_draws_twice() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)
    first, second = apply(plan, view, [Noise("amount", 1), Noise("amount", 1)], 7).rewrites

    assert first != second


def test_no_transform_is_no_change() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)

    assert apply(plan, view, [], 7).digest == plan.digest


def test_a_chain_of_everything_is_still_a_schedule() -> None:
    view = example_view()
    plan, _ = schedule_of(view.captures)
    made = apply(plan, view, [TimeScale("2.5"), Amplify("2.5"), Noise("*", "0.1"), TimeScale("0.7"), Amplify(2)], 7)

    assert (np.diff(made.at_ns) >= 0).all()
    assert len(set(zip(made.source.tolist(), made.variant.tolist(), strict=True))) == len(made)


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (TimeScale("5"), "time_scale:factor=5"),
        (Amplify(3), "amplify:copies=3"),
        (Amplify("2.5", "0"), "amplify:copies=2.5,jitter=0"),
        (Noise("MedInc", 0.5), "noise:feature=MedInc,sd=0.5"),
        (Noise("a", 1, "25%"), "noise:feature=a,sd=1,share=25%"),
    ],
)
def test_a_transform_is_described_as_it_would_be_written(transform: Transform, text: str) -> None:
    assert describe(transform) == text


def test_the_package_offers_what_a_notebook_needs() -> None:
    view = example_view()
    plan, _ = transforms.schedule_of(view.captures)
    made = transforms.apply(plan, view, [transforms.build("time_scale:factor=5")], seed=7)

    assert isinstance(made, transforms.Schedule)
    assert isinstance(view, transforms.View)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        transforms.nothing  # noqa: B018 - looking is the test
