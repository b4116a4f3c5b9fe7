"""Comparators: tables of what decides, and the conformance kit."""

import pytest

from replayer.compare.comparators import Predictions
from replayer.compare.testing import check_comparator


@pytest.mark.parametrize(
    "comparator",
    [Predictions(), Predictions(rtol=0), Predictions(rtol=0.1, threshold=0.5), Predictions(tokens_comparable=True)],
    ids=["default", "exact", "threshold", "tokens"],
)
def test_the_built_in_comparator_keeps_the_contract(comparator: Predictions) -> None:
    check_comparator(comparator)
