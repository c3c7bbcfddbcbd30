"""Differences are found where they are worst, and rounding is allowed for by the size of what is compared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from r2d2.burn_in_measure import Unfit, largest_difference

TOLERANCE = 1e-4


def test_it_is_the_largest_of_one_array() -> None:
    expected = np.zeros((2, 3))
    expected[0, 0] = 10.0
    found = expected + np.array([[0.0, -3e-4, 2e-3], [0.0, -5e-3, 1e-3]])
    measured = largest_difference("claim", [expected], [found], TOLERANCE)
    assert measured.claim == "claim"
    assert measured.amount == pytest.approx(5e-3)
    assert measured.allowed == pytest.approx(1e-3)
    assert (measured.leaf, measured.index) == (0, (1, 1))
    assert not measured.holds


def test_of_several_arrays_it_is_where_the_most_times_too_much_is_found() -> None:
    expected = [np.array([1000.0]), np.array([1.0]), np.array([10.0])]
    found = [np.array([1000.05]), np.array([1.0003]), np.array([10.0011])]
    measured = largest_difference("", expected, found, TOLERANCE)
    assert measured.leaf == 1  # 3 times too much, where the others are half and 1.1 times
    assert not measured.holds
    assert largest_difference("", expected[:1], found[:1], TOLERANCE).holds


def test_where_nothing_is_allowed_the_largest_counts() -> None:
    measured = largest_difference("", [np.zeros(1), np.zeros(2)], [np.full(1, 0.1), np.array([0.0, 0.2])], 0.0)
    assert (measured.amount, measured.allowed, measured.leaf, measured.index) == (0.2, 0.0, 1, (1,))
    assert not measured.holds


@pytest.mark.parametrize(("amount", "holds"), [(9e-7, True), (1.1e-6, False)])
def test_small_values_are_allowed_no_less_than_a_hundredth_is(amount: float, holds: bool) -> None:
    expected = np.array([1e-9, 0.0])
    assert largest_difference("", [expected], [expected + amount], TOLERANCE).holds is holds


def test_only_the_rows_asked_for_count() -> None:
    expected, found = np.zeros((3, 2)), np.array([[9.0, 9.0], [0.0, 0.1], [9.0, 9.0]])
    measured = largest_difference("", [expected], [found], TOLERANCE, np.array([False, True, False]))
    assert (measured.amount, measured.index) == (0.1, (1, 1))
    assert largest_difference("", [expected], [found], TOLERANCE, np.zeros(3, np.bool_)).amount == 0.0


@pytest.mark.parametrize(
    ("expected", "found", "amount"),
    [
        (-np.inf, -np.inf, 0.0),
        (-np.inf, np.inf, np.inf),
        (1.0, np.inf, np.inf),
        (np.inf, 1.0, np.inf),
        (1.0, np.nan, np.inf),
        (np.nan, np.nan, np.inf),
    ],
)
def test_infinities_differ_unless_they_are_equal_and_nan_from_all(expected: float, found: float, amount: float) -> None:
    measured = largest_difference("", [np.array([expected, 1.0])], [np.array([found, 1.0])], TOLERANCE)
    assert measured.amount == amount
    assert measured.allowed == TOLERANCE
    assert measured.holds == (amount == 0.0)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.float16])
def test_other_numbers_are_compared_as_what_they_mean(dtype: type) -> None:
    """In uint8, 0 - 1 would be 255."""
    assert largest_difference("", [np.zeros(2, dtype)], [np.ones(2, dtype)], 0.0).amount == 1.0


def test_arrays_of_no_axes_and_of_no_values_are_compared_too() -> None:
    assert largest_difference("", [np.array(1.0)], [np.array(1.5)], 0.0).amount == 0.5
    assert largest_difference("", [np.zeros((3, 0))], [np.zeros((3, 0))], 0.0).holds


def test_another_shape_is_named() -> None:
    with pytest.raises(Unfit, match=r"array 1 has shape \(2,\) where \(3,\) was expected"):
        largest_difference("", [np.zeros(1), np.zeros(3)], [np.zeros(1), np.zeros(2)], 0.0)


small = arrays.arrays(np.float64, (2, 3), elements=st.floats(-100, 100))


@given(
    expected=st.lists(small, min_size=1, max_size=3), seed=st.integers(0, 100), tolerance=st.sampled_from([0.0, 0.01])
)
def test_it_is_what_a_walk_over_all_values_finds(expected: list[np.ndarray], seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    found = [array + rng.choice([0.0, 0.0, 0.01, 1.0], array.shape) for array in expected]
    measured = largest_difference("", expected, found, tolerance)
    excesses = []
    for a, b in zip(expected, found, strict=True):
        allowed = tolerance * max(0.01, *(abs(value) for value in a.flat))
        excesses += [abs(x - y) > allowed for x, y in zip(a.flat, b.flat, strict=True)]
    assert measured.holds == (not any(excesses))
    assert measured.amount == abs(expected[measured.leaf][measured.index] - found[measured.leaf][measured.index])
