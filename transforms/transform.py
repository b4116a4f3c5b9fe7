"""The transform seam: a pure function ``(schedule, view, rng) -> schedule``, and how a chain of them runs.

A transform is a frozen dataclass whose fields are its options. It draws only from ``rng``; a transform that changes
contents draws one key (`random_rows.row_key`) and stores it in a rewrite, whose randomness is then a hash of
(key, source, variant). Time transforms read nothing from the view.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.random import Generator

from transforms.schedule import Schedule
from transforms.view import View


class Transform(Protocol):
    """Misuse of an option is a ValueError at construction; what the data does not allow is a UsageError when called."""

    name: ClassVar[str]
    """As written on the command line. Part of the data: rename it when its meaning changes."""

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:
        """A new schedule; the given one is never changed."""
        ...


def apply(schedule: Schedule, view: View, chain: Sequence[Transform], seed: int) -> Schedule:
    """Run the chain in order. Step i draws from its own stream, so that changing the options of one leaves the draws of the
    others alone; the stream is the step's place in the chain, not its name.
    """
    for transform, stream in zip(chain, np.random.SeedSequence(seed).spawn(len(chain)), strict=True):
        schedule = transform(schedule, view, np.random.default_rng(stream))
    return schedule


def describe(transform: Transform) -> str:
    """The transform as one would write it on the command line: its name and the options that differ from the default."""
    written = [
        f"{option.name}={getattr(transform, option.name)}"
        for option in _options(transform)
        if option.repr and getattr(transform, option.name) != option.default
    ]
    return f"{transform.name}:{','.join(written)}" if written else transform.name


def _options(transform: object) -> Sequence[dataclasses.Field[object]]:
    return dataclasses.fields(transform) if dataclasses.is_dataclass(transform) else ()
