"""The quick checks of numbers say what NumPy's comparisons say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from r2d2.replay.limits import rows_are_finite, within

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40)
FLOATS = [np.float32, np.float64]


@given(st.data(), st.sampled_from([*FLOATS, np.uint8, np.int32, np.int64, np.uint64]))
def test_within(data: st.DataObject, dtype: type) -> None:
    array = data.draw(arrays.arrays(dtype, SHAPES))
    low, high = limits = data.draw(arrays.arrays(dtype, 2))
    assert within(array, limits) == bool(((array >= low) & (array <= high)).all())


@given(st.data(), st.sampled_from([*FLOATS, np.float16, np.int64]))
def test_rows_are_finite(data: st.DataObject, dtype: type) -> None:
    size, count = data.draw(st.integers(0, 9), label="size"), data.draw(st.integers(1, 9), label="count")
    array = data.draw(arrays.arrays(dtype, (count, size)))
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=4), label="rows"), np.int64)
    assert rows_are_finite(array.ravel(), size, rows) == bool(np.isfinite(array[rows]).all())


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("row", [0, 3, 6])
@pytest.mark.parametrize("place", [0, 4])
def test_one_number_of_a_row_that_is_not_finite_is_found(dtype: type, row: int, place: int) -> None:
    array = np.zeros((7, 5), dtype)
    array[row, place] = np.nan
    others = np.delete(np.arange(7), row)
    assert rows_are_finite(array.ravel(), 5, others)
    assert not rows_are_finite(array.ravel(), 5, np.array([row]))
    assert not rows_are_finite(array.ravel(), 5, np.array([*others, row]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 1000])
def test_one_number_anywhere_is_found(dtype: type, size: int) -> None:
    numbers = np.linspace(-1, 1, size).astype(dtype)
    largest = np.finfo(dtype).max
    for place in {0, size // 2, size - 1}:
        for bad in (np.nan, np.inf, -np.inf):
            array = numbers.copy()
            array[place] = bad
            assert not rows_are_finite(array, size, np.zeros(1, np.int64))
            assert not within(array, np.array([-1, 1], dtype))
        array[place] = largest
        assert rows_are_finite(array, size, np.zeros(1, np.int64))
        assert rows_are_finite(-array, size, np.zeros(1, np.int64))
        assert not within(array, np.array([-1, 1], dtype))
    assert within(numbers, np.array([-1, 1], dtype))


def test_arrays_of_any_layout() -> None:
    array = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    read_only = array.copy()
    read_only.flags.writeable = False
    for view in (
        array[:, ::2],
        array.T,
        array[::-1],
        np.asfortranarray(array),
        read_only,
        np.broadcast_to(array, (2, 4, 6)),
    ):
        assert within(view, np.array([0, 23], np.float32))
        assert not within(view, np.array([1, 23], np.float32))


def test_what_is_not_a_number_is_within_no_limits() -> None:
    anything = np.array([-np.inf, np.inf], np.float32)
    assert not within(np.array([np.nan], np.float32), anything)
    assert within(np.array([np.inf, -np.inf], np.float32), anything)
