"""The public conformance kit: `check_transform` proves that a transform keeps the seam's promises.

Also an `example_view` without a file behind it, for tests of transforms: Open Inference Protocol requests with
numeric features (`amount`, `rate`, integer `count`), ids, sessions, batches of up to three, and one request nobody understands.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from captures.batches import batch_of
from captures.columns import Batch
from captures.exchange import Chunk, Exchange, Flags, Request, Response
from captures.header import Header
from transforms.contents import contents
from transforms.decoding import by_route, feature_columns
from transforms.plan import schedule_of
from transforms.schedule import DTYPES, Schedule
from transforms.transform import Transform, apply
from transforms.view import Input, View

SEED = 20_240_229
MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class MemoryCapture:
    """Exchanges that behave as a `captures.reader.Capture`, with no file behind them."""

    held: Sequence[Exchange]
    path: str = "example.tape"
    digest: str = "00" * 32
    header: Header = field(
        default=Header(file_id=bytes(16), recording_id=bytes(16), wall_ns=0, producer="shadowtape example")
    )

    def __len__(self) -> int:
        return len(self.held)

    def columns(self) -> Batch:
        return batch_of(self.held)

    def parts(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, Batch]]:  # noqa: ARG002 - one part
        yield 0, self.columns()

    def read(self, ordinals: NDArray[np.int64], *, bodies: bool = True) -> list[Exchange]:  # noqa: ARG002 - as Capture
        return [self.held[at] for at in ordinals.tolist()]

    def numbered(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        bodies: bool = True,  # noqa: ARG002 - as Capture
    ) -> Iterator[tuple[int, Exchange]]:
        return iter(list(enumerate(self.held))[start:stop])


def example_request(number: int) -> bytes:
    """A body of the Open Inference Protocol, a batch of 1 to 3."""
    rng = np.random.default_rng([SEED, number])
    batch = 1 + number % 3
    columns = (
        ("amount", "FP64", [round(float(value), 6) for value in rng.lognormal(3.0, 1.0, batch)]),
        ("rate", "FP32", [round(float(value), 4) for value in rng.normal(0.0, 2.0, batch)]),
        ("count", "INT64", rng.integers(0, 1000, batch).tolist()),
    )
    inputs = [{"name": name, "shape": [batch, 1], "datatype": kind, "data": data} for name, kind, data in columns]
    return json.dumps({"id": f"req-{number:08x}", "inputs": inputs}).encode()


def example_exchange(number: int) -> Exchange:
    """The ``number``-th request of the example: about 20 ms apart, every other one in a session of four turns."""
    arrival = number * 20 * MILLISECOND_NS + number * number % 7 * MILLISECOND_NS
    body = example_request(number)
    answer = json.dumps(
        {
            "outputs": [
                {"name": "score", "shape": [1 + number % 3], "datatype": "FP64", "data": [0.5] * (1 + number % 3)}
            ]
        }
    ).encode()
    return Exchange(
        arrival_ns=arrival,
        request=Request(
            method="POST",
            target="/v2/models/example/infer",
            headers=(("content-type", "application/json"), ("x-request-id", f"{number:032x}")),
            chunks=(Chunk(arrival, body),),
            end_ns=arrival,
            size=len(body),
        ),
        response=Response(
            status=200,
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(arrival + MILLISECOND_NS, answer),),
            first_ns=arrival + MILLISECOND_NS,
            end_ns=arrival + MILLISECOND_NS,
            size=len(answer),
        ),
        route="POST /v2/models/{model}/infer",
        codec="oip-v2",
        model="example",
        session=1 + number // 8 if number % 2 else 0,
        connection=1 + number % 4,
        flags=Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE,
    )


def example_captures(count: int = 48) -> list[MemoryCapture]:
    """One capture of ``count`` requests that can be understood and one that cannot."""
    opaque = replace(
        example_exchange(count), codec="opaque", route="POST *", flags=Flags.REPLAYABLE | Flags.RECORDED_VALID
    )
    return [MemoryCapture([*(example_exchange(number) for number in range(count)), opaque])]


def example_view(count: int = 48) -> View:
    return View(example_captures(count))


class UntouchableView(View):
    """A view that nobody may look at: what transforms of time are given in tests."""

    def __init__(self) -> None:
        """Holds nothing."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise AssertionError(f"the view was asked for {name}")


def check_transform(
    transform: Transform, captures: Sequence[Input] | None = None, *, changed_share: float = 1.0
) -> None:
    """Raises AssertionError that says which promise was broken. ``captures`` replaces the example where the transform needs
    features of its own. ``changed_share``: the least part of value-touched rows whose contents must really change (0 for a
    transform that was asked to change by nothing; below 1 where rounding may swallow a change).
    """
    captures = example_captures() if captures is None else captures
    view = View(captures)
    whole, _ = schedule_of(captures)
    assert isinstance(transform.name, str), "a transform has a name"
    assert transform.name, "a transform has a name"
    results = {}
    for what, schedule in {"all rows": whole, "one row": _head(whole, 1), "no rows": _head(whole, 0)}.items():
        results[what] = _check_schedule(transform, schedule, view, what)
    _check_rewrites(results["all rows"], view, len(whole.rewrites), changed_share)


def _check_schedule(transform: Transform, schedule: Schedule, view: View, what: str) -> Schedule:
    given, kept = _frozen(schedule), [getattr(schedule, name).copy() for name in DTYPES]
    made = transform(given, view, np.random.default_rng(SEED))
    for name, before in zip(DTYPES, kept, strict=True):
        assert np.array_equal(getattr(given, name), before), f"{what}: the given schedule was changed ({name})"
    for name, dtype in DTYPES.items():
        assert getattr(made, name).dtype == np.dtype(dtype), f"{what}: column {name} is not {dtype}"
    Schedule(
        made.at_ns, made.source, made.variant, made.session, made.rewrites
    )  # the invariants: sorted, equal lengths
    assert np.isin(made.source, schedule.source).all(), f"{what}: a source that was not in the given schedule"
    again = transform(_frozen(schedule), view, np.random.default_rng(SEED))
    assert made.digest == again.digest, f"{what}: another result for the same seed"
    # In a chain every step has a stream of its own: what stands behind a step does not change it.
    alone, before = apply(schedule, view, [transform], SEED), apply(schedule, view, [transform, _Nothing()], SEED)
    assert alone.digest == before.digest, f"{what}: a later step changed this one's draws"
    return made


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Draws, and changes nothing."""

    name: ClassVar[str] = "nothing"

    def __call__(self, schedule: Schedule, view: View, rng: np.random.Generator) -> Schedule:  # noqa: ARG002 - the seam's
        rng.integers(10, size=100)
        return schedule


def _check_rewrites(schedule: Schedule, view: View, already: int, changed_share: float) -> None:
    rows = np.arange(len(schedule))
    for rewrite in schedule.rewrites[already:]:
        only = replace(schedule, rewrites=(rewrite,))
        touched = rewrite.touches(only)
        assert touched.shape == (len(only),), "touches() answers for every row"
        assert touched.dtype == np.bool_, "touches() gives booleans"
        assert rewrite.kind in {"identity", "value"}, f"a rewrite is of kind identity or value, not {rewrite.kind!r}"
        assert " at 0x" not in repr(rewrite), "a rewrite's repr says what it does, not where it lives in memory"
        together = _contents(view, only, rows)
        recorded = _contents(view, replace(only, rewrites=()), rows)
        one_by_one = [_contents(view, only, rows[at : at + 1])[0] for at in range(len(rows))]
        assert together == one_by_one, "a batch gives something else than its rows one by one"
        backwards = _contents(view, only, rows[::-1].copy())
        assert together == backwards[::-1], "the order of rows changes their contents"
        differs = np.array([new != old for new, old in zip(together, recorded, strict=True)], dtype=np.bool_)
        assert not (differs & ~touched).any(), "a row changed that touches() does not name"
        if rewrite.kind == "identity":
            asked = _features(view, replace(only, rewrites=())), _features(view, only)
            assert asked[0] == asked[1], (
                "an identity rewrite changed a feature: the right answer may change, so it is of kind value"
            )
        if rewrite.kind == "value" and touched.any():
            share = float(differs[touched].mean())
            assert share >= changed_share, f"only {share:.0%} of the rows that touches() names changed"


def _contents(view: View, schedule: Schedule, rows: NDArray[np.int64]) -> list[tuple[object, ...]]:
    said = contents(view, schedule, rows)
    return list(zip(said.targets, said.headers, said.bodies, strict=True))


def _features(view: View, schedule: Schedule) -> list[tuple[int, str, bytes]]:
    """Every feature of every row: (row, name, values), whatever the spelling of its body."""
    said = contents(view, schedule, np.arange(len(schedule)))
    found: list[tuple[int, str, bytes]] = []
    for (name, _route), places in by_route(said.exchanges).items():
        if codec := view.codec(name):
            for feature, column in feature_columns(codec, [said.bodies[at] for at in places]).items():
                found += [
                    (place, feature, column.values[column.owner == at].tobytes()) for at, place in enumerate(places)
                ]
    return found


def _head(schedule: Schedule, rows: int) -> Schedule:
    return replace(schedule, **{name: getattr(schedule, name)[:rows] for name in DTYPES})


def _frozen(schedule: Schedule) -> Schedule:
    """The schedule with columns that cannot be written to, as a memory-mapped one's."""
    columns = {name: getattr(schedule, name).copy() for name in DTYPES}
    for column in columns.values():
        column.setflags(write=False)
    return replace(schedule, **columns)
