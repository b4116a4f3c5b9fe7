"""The conformance kit is worth what it catches: each promise, broken on purpose."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from transforms.noise import Noise
from transforms.random_rows import row_key
from transforms.schedule import Rows, Schedule
from transforms.testing import check_transform
from transforms.view import View


@dataclass(frozen=True)
class Doing:
    """A transform that does what it is given."""

    name: ClassVar[str] = "doing"
    what: Callable[[Schedule, Generator], Schedule]

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:
        return self.what(schedule, rng)


@dataclass
class Marks:
    """A value rewrite with a fault to choose."""

    fault: str = ""
    key: int = 0
    calls: int = 0
    kind: Literal["identity", "value"] = "value"

    def __repr__(self) -> str:
        return object.__repr__(self) if self.fault == "address" else f"Marks({self.key})"

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        if self.fault == "hides":
            return np.zeros(len(schedule), dtype=np.bool_)
        if self.fault == "shape":
            return np.zeros(len(schedule) + 1, dtype=np.bool_)
        return np.ones(len(schedule), dtype=np.bool_)

    def __call__(self, rows: Rows) -> Rows:
        self.calls += 1
        mark = {"": b"x", "hides": b"x", "idle": b"", "batch": b"%d" % len(rows.bodies), "order": b"%d" % self.calls}
        return replace(rows, bodies=[body + mark.get(self.fault, b"x") for body in rows.bodies])


def late(schedule: Schedule, rng: Generator) -> Schedule:
    return replace(schedule, at_ns=schedule.at_ns + int(rng.integers(1, 1000)))


def rewriting(fault: str) -> Callable[[Schedule, Generator], Schedule]:
    return lambda schedule, rng: replace(schedule, rewrites=(*schedule.rewrites, Marks(fault, row_key(rng))))


def mutating(schedule: Schedule, rng: Generator) -> Schedule:
    schedule.at_ns.setflags(write=True)
    schedule.at_ns[:] += 1
    return schedule


def clocked() -> Callable[[Schedule, Generator], Schedule]:
    calls = iter(range(1000))
    return lambda schedule, rng: replace(schedule, at_ns=schedule.at_ns + next(calls))


FAULTS: dict[str, tuple[Callable[[Schedule, Generator], Schedule], str]] = {
    "mutates": (mutating, "was changed"),
    "walks": (clocked(), "another result for the same seed"),
    "invents": (lambda schedule, rng: replace(schedule, source=schedule.source + 1), "a source that was not"),
    "widens": (
        lambda schedule, rng: replace(schedule, variant=schedule.variant.astype(np.int64)),
        "variant is not <u4",
    ),
    "hides": (rewriting("hides"), "touches\\(\\) does not name"),
    "shapes": (rewriting("shape"), "answers for every row"),
    "idles": (rewriting("idle"), "only 0% of the rows"),
    "batches": (rewriting("batch"), "something else than its rows one by one"),
    "orders": (rewriting("order"), "one by one|order of rows"),
    "addresses": (rewriting("address"), "another result|lives in memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_found(fault: str) -> None:
    what, complaint = FAULTS[fault]
    with pytest.raises(AssertionError, match=complaint):
        check_transform(Doing(what))


@pytest.mark.parametrize(
    ("kind", "complaint"), [("identity", "identity rewrite changed a feature"), ("vlaue", "not 'vlaue'")]
)
def test_a_rewrite_of_the_wrong_kind_is_found(kind: str, complaint: str) -> None:
    @dataclass(frozen=True)
    class Mislabelled(Noise):
        def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:
            rewritten = Noise.__call__(self, schedule, view, rng)
            (rewrite,) = rewritten.rewrites
            wrong = type("Wrong", (type(rewrite),), {"kind": kind})
            given = {one.name: getattr(rewrite, one.name) for one in fields(rewrite)}  # type: ignore[arg-type]  # a dataclass
            return replace(rewritten, rewrites=(wrong(**given),))

    with pytest.raises(AssertionError, match=complaint):
        check_transform(Mislabelled(feature="amount", sd=1))


@pytest.mark.parametrize("what", [lambda schedule, rng: schedule, late, rewriting("")])
def test_a_kept_promise_is_not_complained_about(what: Callable[[Schedule, Generator], Schedule]) -> None:
    check_transform(Doing(what))


def test_a_name_is_asked_for() -> None:
    with pytest.raises(AssertionError, match="has a name"):
        check_transform(replace_name("")(late))


def replace_name(name: str) -> type[Doing]:
    return type("Nameless", (Doing,), {"name": name})
