import numpy as np
import pytest

from captures.codecs.arrays import columns_of, feature_columns, flat_list, numeric, object_array
from captures.codecs.body import Body, Document, Role, Tensor, Tensors


def tensor(name: str, shape: tuple[int, ...], role: Role = Role.FEATURE) -> Tensor:
    return Tensor(name, "FP64", shape, np.arange(np.prod(shape), dtype=float).reshape(shape), role)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, 2.5], "float64"),
        ([[1, None]], "float64"),
        ([True], "bool"),
        ([2**63], "uint64"),
        (3, "int64"),
    ],
)
def test_numbers_become_arrays(values: object, dtype: str) -> None:
    array = numeric(values)
    assert array is not None
    assert array.dtype == dtype


@pytest.mark.parametrize("values", [["1"], [1, "x"], [[1], [1, 2]], [{}], [None, "x"], [10**400, None], "x", None])
def test_anything_else_is_no_array(values: object) -> None:
    found = numeric(values)
    assert found is None or np.isnan(found).all()


def test_null_is_nan() -> None:
    assert np.array_equal(numeric([1, None]), [1, np.nan], equal_nan=True)  # type: ignore[arg-type]  # not None, as above


def test_deep_lists_flatten_without_recursion() -> None:
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    assert flat_list(deep) == ["x"]
    assert flat_list([["a", "b"], ["c"]]) == ["a", "b", "c"]


def test_objects_keep_their_shape() -> None:
    assert object_array(["a", "b"], (2, 1)).tolist() == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("shapes", "names"),
    [
        ({"a": (3,)}, ["a"]),
        ({"a": (3, 1)}, ["a"]),
        ({"a": (3, 2)}, ["a[0]", "a[1]"]),
        ({"": (3,)}, ["[0]"]),
        ({"": (3, 2)}, ["[0]", "[1]"]),
        ({"a": (3, 2, 2)}, []),
        ({"a": ()}, []),
        ({"a": (3,), "b": (2,), "c": (3, 1)}, ["a", "c"]),
    ],
)
def test_columns_are_named_after_their_tensor(shapes: dict[str, tuple[int, ...]], names: list[str]) -> None:
    assert [column.name for column in columns_of([tensor(name, shape) for name, shape in shapes.items()])] == names


def test_predictions_and_repeated_names_are_no_columns() -> None:
    tensors = [tensor("p", (2,), Role.PREDICTION), tensor("a", (2,)), tensor("a", (2,))]
    assert [column.name for column in columns_of(tensors)] == ["a"]


def test_columns_say_whose_values_they_hold() -> None:
    bodies: list[Body] = [Tensors((tensor("a", (2, 2)),)), Document(None), Tensors((tensor("a", (1, 2)),))]
    columns = feature_columns(bodies)
    assert {name: (values.tolist(), owner.tolist()) for name, (values, owner) in columns.items()} == {
        "a[0]": ([0, 2, 0], [0, 0, 2]),
        "a[1]": ([1, 3, 1], [0, 0, 2]),
    }


def test_an_empty_batch_owns_nothing() -> None:
    values, owner = feature_columns([Tensors((tensor("a", (0,)),))])["a"]
    assert (len(values), len(owner)) == (0, 0)
