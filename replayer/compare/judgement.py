"""The judgement of one pair, and of all pairs of a run as struct of arrays. Nouns only."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

type DifferenceKind = Literal["status", "schema", "flip", "score", "text"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers differ, and by how much. ``path`` names the output (``predict[3]``, ``$.error``, ``status``); ``left`` and
    ``right`` are short texts; ``delta`` is right - left where the values are numbers, else NaN.
    """

    path: str
    kind: DifferenceKind
    left: str = ""
    right: str = ""
    delta: float = float("nan")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a comparison looked at. ``labelled``: labels were among it. ``delta``: the signed difference (right - left) that is
    largest in size among the scores, NaN where there are none; ``rtol``: the relative tolerance at which all scores would pass.
    """

    labelled: bool = False
    delta: float = float("nan")
    rtol: float = float("nan")


@dataclass(frozen=True, slots=True)
class Match:
    measured: Measured = Measured()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """At least one difference beyond tolerance."""

    differences: tuple[Difference, ...]
    measured: Measured = Measured()

    @property
    def flip(self) -> bool:
        """A label changed."""
        return any(difference.kind == "flip" for difference in self.differences)

    @property
    def schema(self) -> bool:
        return any(difference.kind == "schema" for difference in self.differences)

    @property
    def agrees(self) -> bool:
        """The decisions agree all the same: labels equal, scores moved."""
        return self.measured.labelled and all(difference.kind == "score" for difference in self.differences)


@dataclass(frozen=True, slots=True)
class Incomparable:
    why: str


type Judgement = Match | Mismatch | Incomparable


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of a run, one entry per pair, ``row`` pointing into the schedule. ``delta`` and ``rtol`` as in
    `Measured`. ``erred`` and ``reference_erred`` speak of every pair, the other flags of comparable ones only.
    """

    row: NDArray[np.int64]
    comparable: NDArray[np.bool_]
    agrees: NDArray[np.bool_]
    matches: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    flipped: NDArray[np.bool_]
    schema_changed: NDArray[np.bool_]
    delta: NDArray[np.float64]
    rtol: NDArray[np.float64]
    erred: NDArray[np.bool_]
    reference_erred: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)
