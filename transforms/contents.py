"""Rows to contents: the exchanges that rows of a schedule point at, with the schedule's rewrites applied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.exchange import Exchange, Headers
from transforms.decoding import by_route
from transforms.rewrite import apply_rewrites
from transforms.schedule import Rows, Schedule
from transforms.view import View


@dataclass(frozen=True, slots=True)
class Contents:
    """One entry per row, in the order asked. ``exchanges`` are as recorded; the others are what is to be sent."""

    exchanges: Sequence[Exchange]
    targets: Sequence[str]
    headers: Sequence[Headers]
    bodies: Sequence[bytes]


def contents(view: View, schedule: Schedule, rows: NDArray[np.int64]) -> Contents:
    """What these rows of the schedule say. Holds all of them: ask for a batch at a time."""
    source, variant = schedule.source[rows], schedule.variant[rows]
    exchanges = view.read(source)
    targets = [exchange.request.target for exchange in exchanges]
    headers = [exchange.request.headers for exchange in exchanges]
    bodies = [exchange.request.body for exchange in exchanges]
    if schedule.rewrites:
        for (codec, _route), places in by_route(exchanges).items():
            rewritten = apply_rewrites(
                schedule.rewrites,
                Rows(
                    codec=view.codec(codec),
                    source=source[places],
                    variant=variant[places],
                    targets=[targets[at] for at in places],
                    headers=[headers[at] for at in places],
                    bodies=[bodies[at] for at in places],
                ),
            )
            for position, at in enumerate(places):
                targets[at] = rewritten.targets[position]
                headers[at] = rewritten.headers[position]
                bodies[at] = rewritten.bodies[position]
    return Contents(exchanges, targets, headers, bodies)
