import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codecs.body import Role, Tensor
from captures.codecs.cells import INTEGER_RANGE, Cells, replaced, spelled, with_columns
from captures.errors import CodecError

BODY = b"[1.50, 2, null]"
CELLS = [Cells(Tensor("a", "FP64", (3,), np.array([1.5, 2, np.nan]), Role.FEATURE), [(1, 5), (7, 8), (10, 14)])]


@pytest.mark.parametrize(
    ("value", "original", "datatype", "text"),
    [
        (0.1, b"0.25", "FP32", "0.1"),
        (0.1234567890123, b"0.25", "FP32", "0.12345679"),
        (0.1234567890123, b"0.25", "FP64", "0.1234567890123"),
        (1e39, b"1.0", "FP32", "3.4028235e+38"),
        (1e5, b"1.0", "FP16", "65500.0"),
        (0.1, b"1.0", "BF16", "0.1"),
        (42.0, b"41", "FP64", "42"),
        (42.0, b"41.0", "FP64", "42.0"),
        (42.5, b"41", "FP64", "42.5"),
        (1e300, b"41", "FP64", "1e+300"),
        (2.5, b"1", "INT64", "2"),
        (2.6, b"1", "INT64", "3"),
        (1e30, b"1", "INT64", "9223372036854775807"),
        (-1.0, b"1", "UINT8", "0"),
        (math.inf, b"1", "INT8", "127"),
        (math.nan, b"1.0", "FP64", "null"),
        (math.inf, b"1.0", "FP64", "Infinity"),
        (-math.inf, b"1.0", "FP64", "-Infinity"),
        (1.0, b"false", "BOOL", "true"),
        (0.2, b"true", "BOOL", "false"),
        (1.0, b"0", "BOOL", "1"),
    ],
)
def test_numbers_keep_their_kind(value: float, original: bytes, datatype: str, text: str) -> None:
    assert spelled(value, original, datatype, "null") == text


def test_an_integer_cannot_be_missing() -> None:
    with pytest.raises(CodecError):
        spelled(math.nan, b"1", "INT32", "null")


@given(st.floats(allow_nan=False), st.sampled_from(sorted(INTEGER_RANGE)))
def test_integers_stay_in_their_range(value: float, datatype: str) -> None:
    low, high = INTEGER_RANGE[datatype]
    assert low <= int(spelled(value, b"1", datatype, "null")) <= high


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back_exactly(value: float) -> None:
    assert float(spelled(value, b"1.0", "FP64", "null")) == value


def test_edits_touch_nothing_else() -> None:
    assert replaced(b"abcdef", [(1, 2, b"XX"), (4, 4, b"-"), (5, 6, b"")]) == b"aXXcd-e"
    assert replaced(b"abc", []) == b"abc"


def test_a_number_that_stays_keeps_its_spelling() -> None:
    assert with_columns(BODY, CELLS, {"a": np.array([1.5, 3, np.nan])}) == b"[1.50, 3, null]"
    assert with_columns(BODY, CELLS, {"a": np.array([np.nan, 2, 4])}) == b"[null, 2, 4.0]"


@pytest.mark.parametrize("wanted", [{"a": np.ones(2)}, {"b": np.ones(3)}, {"a": np.ones(3), "a[0]": np.ones(3)}])
def test_columns_that_do_not_fit_are_errors(wanted: dict[str, np.ndarray]) -> None:
    with pytest.raises(CodecError):
        with_columns(BODY, CELLS, wanted)


def test_a_row_without_the_value_cannot_be_given_one() -> None:
    cells = [Cells(CELLS[0].tensor, [(1, 5), None, None])]
    assert with_columns(BODY, cells, {"a": np.array([9.0, 2, np.nan])}) == b"[9.0, 2, null]"
    with pytest.raises(CodecError, match="row 2"):
        with_columns(BODY, cells, {"a": np.array([1.5, 2, 7])})
