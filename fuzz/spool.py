"""Whatever a worker sends: the spool raises nothing, and every exchange is kept, shed, filtered or an error: sums add up.

Frames are well-formed, broken by a byte, or of other shapes; the tape fails now and then, and another one takes its place.
"""

import random
from typing import Any

from captures.exchange import Exchange
from fuzz.mutation import damaged
from recorder.board import Count
from recorder.frames import Frames, frame
from recorder.intake import Intake
from recorder.testing import FakeTape, as_they_are, frames, new_row
from recorder.totals import TOLD, unsettled

_ODD: list[Any] = [
    None,
    (),
    7,
    (None, None),
    (5, None),
    ([-1] * TOLD, None),
    ([0] * TOLD, ()),
    ([0] * TOLD, [b"x"] * 9),
]


def case(rng: random.Random) -> None:
    row = new_row()
    intake = Intake(row, as_they_are, wanted=rng.choice([None, _wanted]))
    intake.begin(FakeTape())
    sent = 0
    for _ in range(rng.randrange(1, 8)):
        count = rng.randrange(5)
        sent += count
        whole = [frame(each) for each in (*frames(count, offered=sent), *rng.sample(_ODD, rng.randrange(2)))]
        data = b"".join(damaged(each, rng) if rng.random() < 0.2 else each for each in whole)
        intake.take([each for each in Frames().feed(data) if each is not None])
        if rng.random() < 0.3:
            _fail(intake, rng)
        elif rng.random() < 0.7:
            intake.flush()
        else:
            intake.seal()
        if intake.trouble and rng.random() < 0.5:
            intake.begin(FakeTape(intake.confessed))
    intake.flush()
    assert unsettled(row) == 0 or not intake.trouble, "an exchange is in no count"
    said = intake.confessions()
    assert said.seen >= row[Count.KEPT] + said.shed + said.filtered, "more was left out than was seen"


def _wanted(exchange: Exchange) -> bool:
    return exchange.arrival_ns % 3000 > 0


def _fail(intake: Intake, rng: random.Random) -> None:
    if rng.random() < 0.3:
        intake.lose("gone", everything=rng.random() < 0.5)
    else:
        intake.stop("full")
