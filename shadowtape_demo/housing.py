"""The rows: 1990 census block groups, in recorded order (see data/README.md for where they come from)."""

import csv
import gzip
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")

type Part = Literal["reference", "analysis"]


@dataclass(frozen=True, slots=True)
class Rows:
    """``features``: float64 [n, 8], columns in the order of `FEATURES`. ``labels``: int64 [n]."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load(part: Part) -> Rows:
    """Read one part from the package's own data."""
    table = _table(f"california_housing_{part}.csv.gz")
    # The labels of the analysis part come in a file of their own, as they would in life: later.
    truth = table if part == "reference" else _table("california_housing_analysis_gt.csv.gz")
    features = np.array([[float(row[name]) for name in FEATURES] for row in table])
    return Rows(features, np.array([int(row["clf_target"]) for row in truth]))


def _table(name: str) -> list[dict[str, str]]:
    compressed = (files("shadowtape_demo") / "data" / name).read_bytes()
    return list(csv.DictReader(gzip.decompress(compressed).decode("ascii").splitlines()))
