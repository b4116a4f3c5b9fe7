"""Two real models. The candidate is what a team might propose: the same method, without two features that cost money to keep fresh.

Both are seeded, so that two runs of the demo train the same models. Gradient boosting from plain trees, not the histogram
variant: it answers a single row in a third of a millisecond, three times as fast.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowtape_demo.housing import FEATURES, Rows

MODELS: dict[str, tuple[str, ...]] = {
    "baseline": FEATURES,
    "candidate": tuple(name for name in FEATURES if name not in ("AveBedrms", "Population")),
}


@dataclass(frozen=True, slots=True)
class Model:
    """``features`` are the inputs it looks at, in the order of its columns; a request may carry more."""

    name: str
    features: tuple[str, ...]
    estimator: Any  # scikit-learn ships no types

    def predict(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Labels [n] and probabilities of label 1 [n] of rows [n, len(features)]."""
        scores = self.estimator.predict_proba(rows)[:, 1]
        return (scores > 0.5).astype(np.int64), scores

    def accuracy(self, rows: Rows) -> float:
        labels, _ = self.predict(rows.features[:, _columns(self.features)])
        return float((labels == rows.labels).mean())


def train(name: str, rows: Rows) -> Model:
    """Train the named model; about a second. Raises KeyError for a name that is not in `MODELS`."""
    # Not at the top: importing it takes seconds, and a server that waits for it can have told its port by then.
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 - as said above

    features = MODELS[name]
    estimator = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=1)
    estimator.fit(rows.features[:, _columns(features)], rows.labels)
    return Model(name, features, estimator)


def _columns(features: tuple[str, ...]) -> list[int]:
    return [FEATURES.index(name) for name in features]
