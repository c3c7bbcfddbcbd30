"""Rows are copied as NumPy's assignment by index copies them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r2d2.replay.rows import as_bytes, copy_rows


@given(st.data())
def test_as_numpy_copies_rows_one_after_the_other(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), max_size=2), label="shape"))
    dtype = data.draw(st.sampled_from([np.uint8, np.float32, np.int64, np.bool_]))
    n, m = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    # Runs of consecutive rows, which are copied as one, and rows given twice.
    starts = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, m - 1), st.integers(1, 6)), max_size=8))
    pairs = [(to + i, of + i) for to, of, length in starts for i in range(length) if to + i < n and of + i < m]
    rows, numbers = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    rng = np.random.default_rng(0)
    to, values = (rng.integers(0, 100, (count, *shape)).astype(dtype) for count in (n, m))
    expected = to.copy()
    for row, number in pairs:
        expected[row] = values[number]
    nbytes = to.nbytes // n
    copy_rows(as_bytes(to, dtype), rows, as_bytes(values, dtype), numbers, len(rows), nbytes)
    np.testing.assert_array_equal(to, expected)


def test_rows_of_no_bytes() -> None:
    memory = np.arange(8, dtype=np.uint8)
    before = memory.copy()
    copy_rows(memory[4:4], np.array([0, 3]), np.zeros(0, np.uint8), np.array([2, 0]), 2, 0)
    np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("view", [np.s_[:, ::2], np.s_[::-1], np.s_[1:]])
def test_bytes_are_those_of_the_values_in_their_order(view: tuple) -> None:
    array = np.arange(24, dtype=np.int32).reshape(4, 6)[view]
    assert as_bytes(array, np.int32).tobytes() == array.tobytes()
    assert as_bytes(array.astype(">i4"), np.int32).tobytes() == array.tobytes()
    assert as_bytes(array.astype(np.int64), np.int32).tobytes() == array.tobytes()


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.zeros((3, 2), np.float32)
    assert np.shares_memory(as_bytes(array, np.float32), array)
    assert not np.shares_memory(as_bytes(array, np.float64), array)
