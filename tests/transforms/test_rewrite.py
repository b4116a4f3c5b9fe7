from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from transforms.contents import contents
from transforms.plan import schedule_of
from transforms.rewrite import apply_rewrites, identity_touched, value_touched
from transforms.schedule import Rows, Schedule
from transforms.testing import example_captures
from transforms.view import View


@dataclass(frozen=True)
class Append:
    """Puts a letter behind the body and the target of even sources."""

    letter: str
    kind: Literal["identity", "value"] = "value"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return np.asarray(schedule.source % 2 == 0)

    def __call__(self, rows: Rows) -> Rows:
        more = [self.letter if source % 2 == 0 else "" for source in rows.source.tolist()]
        return replace(
            rows,
            bodies=[body + letter.encode() for body, letter in zip(rows.bodies, more, strict=True)],
            targets=[target + letter for target, letter in zip(rows.targets, more, strict=True)],
        )


def planned(*rewrites: Append) -> tuple[View, Schedule]:
    captures = example_captures(6)
    return View(captures), replace(schedule_of(captures)[0], rewrites=rewrites)


def test_rewrites_are_applied_in_order() -> None:
    rows = Rows(None, np.array([0, 1]), np.zeros(2, dtype=np.uint32), ["/", "/"], [(), ()], [b"", b""])

    assert apply_rewrites([Append("a"), Append("b")], rows).bodies == [b"ab", b""]
    assert apply_rewrites([], rows) is rows


@pytest.mark.parametrize(
    ("rewrites", "value", "identity"),
    [
        ((), 0, 0),
        ((Append("a"),), 4, 0),
        ((Append("a", "identity"),), 0, 4),
        ((Append("a"), Append("b", "identity")), 4, 4),
    ],
)
def test_value_rewrites_make_recorded_responses_invalid_and_identity_rewrites_do_not(
    rewrites: tuple[Append, ...], value: int, identity: int
) -> None:
    _, schedule = planned(*rewrites)

    assert value_touched(schedule).sum() == value
    assert identity_touched(schedule).sum() == identity


def test_contents_come_in_the_order_asked_whatever_their_route() -> None:
    view, schedule = planned(Append("!"))
    rows = np.array([6, 0, 3, 0])  # the row of number 6 is of another route
    said = contents(view, schedule, rows)

    assert [exchange.arrival_ns for exchange in said.exchanges] == [
        exchange.arrival_ns for exchange in view.read(schedule.source[rows])
    ]
    assert [body.endswith(b"!") for body in said.bodies] == [True, True, False, True]
    assert [target.endswith("!") for target in said.targets] == [True, True, False, True]
    assert [exchange.request.body.endswith(b"!") for exchange in said.exchanges] == [False] * 4


def test_without_rewrites_contents_are_as_recorded() -> None:
    view, schedule = planned()
    said = contents(view, schedule, np.arange(len(schedule)))

    assert said.bodies == [exchange.request.body for exchange in said.exchanges]
    assert said.headers == [exchange.request.headers for exchange in said.exchanges]
