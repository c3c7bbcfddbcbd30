"""Numbers within limits. Of arrays it is asked at every step that is added, so it must cost little."""

from numbers import Integral
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def whole(value: Any, name: str) -> int:
    """A whole number of any type.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} must be an integer")
    return int(value)


def within(array: NDArray[Any], limits: NDArray[Any]) -> bool:
    """Whether ``low <= x <= high`` for every ``x`` of the array, which what is not a number is not.

    Args:
        array: of whole numbers, float32 or float64.
        limits: low and high, ``[2]``, of its dtype.
    """
    return bool(_within(array.ravel(), limits))


def rows_are_finite(array: NDArray[Any], size: int, rows: NDArray[np.int64]) -> bool:
    """Whether every number of these rows is finite.

    Args:
        array: rows of ``size`` numbers, ``[m * size]``.
        size: as said.
        rows: int64[n]; nothing checks that they are inside.
    """
    if array.dtype in _COMPILED:
        return bool(_rows_are_finite(array, size, rows))
    return not size or bool(np.isfinite(array.reshape(-1, size)[rows]).all())


_COMPILED = (np.dtype(np.float32), np.dtype(np.float64))


@njit(cache=True, nogil=True)
def _within(values: Any, limits: Any) -> bool:
    low, high = limits[0], limits[1]
    # Whole numbers that are or-ed, and no way out before the end, are what the compiler can do many at a time.
    outside = np.int32(0)
    for i in range(values.size):
        outside |= np.int32(not values[i] >= low) | np.int32(not values[i] <= high)
    return outside == 0


@njit(cache=True, nogil=True)
def _rows_are_finite(values: Any, size: int, rows: Any) -> bool:
    infinite = np.int32(0)
    for row in rows:
        numbers = values[row * size : (row + 1) * size]
        for i in range(len(numbers)):
            infinite |= np.int32(numbers[i] - numbers[i] != 0)
    return infinite == 0
