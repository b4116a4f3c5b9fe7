"""Gaussian noise on a feature: a sensor, an upstream job or a user that has become less exact."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from captures.amounts import Number, exact, share_of
from captures.errors import UsageError
from transforms.decoding import feature_columns
from transforms.random_rows import normal, row_key, uniform
from transforms.schedule import Rows, Schedule
from transforms.view import View

CHOICE = 0  # the k of "is this row among the share"; noise on the j-th feature counts from (j + 1) << 32


@dataclass(frozen=True, slots=True)
class Noise:
    """Add N(0, (``sd`` x the feature's own standard deviation)^2) to ``feature``, a name or a glob ("Ave*"), in a ``share`` of
    the rows. Every value of a batch gets its own draw. Integers are rounded and clipped to their datatype.
    """

    name: ClassVar[str] = "noise"
    feature: str
    sd: Number
    share: Number = 1.0

    def __post_init__(self) -> None:
        if exact(self.sd, "sd") < 0:
            raise ValueError(f"sd is {self.sd}; it counts standard deviations of the feature, so 0 or more")
        share_of(self.share, "share")

    def __call__(self, schedule: Schedule, view: View, rng: Generator) -> Schedule:
        scales: dict[str, float] = {}
        carriers = np.zeros(len(view), dtype=np.bool_)
        for name in view.features_like(self.feature):
            column = view.feature(name)
            finite = column.values[np.isfinite(column.values)]
            spread = float(finite.std()) if len(finite) else 0.0
            if spread == 0:
                raise UsageError(
                    f"noise: feature {name!r} never varies in the capture, so {self.sd} of its spread is nothing"
                )
            scales[name] = spread
            carriers[column.owner] = True
        rewrite = AddNoise(
            key=row_key(rng),
            scales=tuple(scales.items()),
            sd=float(exact(self.sd, "sd")),
            share=share_of(self.share, "share"),
            carriers=carriers,
            carriers_digest=hashlib.blake2b(np.packbits(carriers).data, digest_size=8).hexdigest(),
        )
        return replace(schedule, rewrites=(*schedule.rewrites, rewrite))


@dataclass(frozen=True, slots=True)
class AddNoise:
    """The value rewrite of `Noise`. ``scales``: (feature, its standard deviation); ``carriers``: which sources have one of them."""

    key: int
    scales: tuple[tuple[str, float], ...]
    sd: float
    share: float
    carriers: NDArray[np.bool_] = field(repr=False, compare=False)
    carriers_digest: str
    kind: ClassVar[Literal["value"]] = "value"

    def asked(self) -> Mapping[str, Mapping[str, float]]:
        """For the receipt: by feature, what was asked for."""
        return {name: {"change_sd": self.sd, "share": self.share} for name, _ in self.scales}

    def touches(self, schedule: Schedule) -> NDArray[np.bool_]:
        return self._chosen(schedule.source, schedule.variant)

    def __call__(self, rows: Rows) -> Rows:
        chosen = self._chosen(rows.source, rows.variant)
        if rows.codec is None or not chosen.any():
            return rows
        places = np.flatnonzero(chosen)
        bodies = [rows.bodies[at] for at in places.tolist()]
        columns = feature_columns(rows.codec, bodies)
        noisy: dict[str, list[NDArray[np.float64]]] = {}
        for number, (name, spread) in enumerate(self.scales):
            if name not in columns:
                continue
            values, owner = columns[name]
            first = np.searchsorted(owner, np.arange(len(bodies) + 1))
            k = ((number + 1) << 32) + np.arange(len(owner)) - first[owner]
            drawn = normal(self.key, rows.source[places[owner]], rows.variant[places[owner]], k)
            noisy[name] = np.split(values + drawn * (self.sd * spread), first[1:-1])
        if not noisy:
            return rows
        changed = list(rows.bodies)
        for at, body in zip(places.tolist(), rows.codec.encode_features(bodies, noisy), strict=True):
            changed[at] = body
        return replace(rows, bodies=changed)

    def _chosen(self, source: NDArray[np.int64], variant: NDArray[np.uint32]) -> NDArray[np.bool_]:
        chosen = self.carriers[source]
        if self.share < 1:
            chosen &= uniform(self.key, source, variant, CHOICE) < self.share
        return chosen
