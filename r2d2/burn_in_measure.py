"""How far arrays are apart, against what rounding may do, for `r2d2.check_burn_in`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = NDArray[np.bool_]
FLOOR = 0.01
"""An array of smaller values is given as much room for rounding as one whose largest value is this."""


class Unfit(Exception):
    """The network hands out what cannot be compared; the text says what."""


class NotApplicable(Exception):
    """A property that cannot be checked on this network; the text says why, and what would help."""


@dataclass(frozen=True)
class Measurement:
    """The largest difference between what was expected and what was found."""

    claim: str
    """What is wrong if it is more than allowed."""
    amount: float
    allowed: float
    leaf: int = 0
    """Number of the array in its tree."""
    index: tuple[int, ...] = ()
    """Where in that array."""
    step: int | None = None
    row: int | None = None

    @property
    def holds(self) -> bool:
        return self.amount <= self.allowed

    @property
    def size(self) -> tuple[float, float]:
        """By which to find the worst: as a multiple of what is allowed, then by itself."""
        if self.amount == 0.0:
            return 0.0, 0.0
        return (self.amount / self.allowed if self.allowed else np.inf), self.amount


def largest_difference(
    claim: str, expected: Sequence[Array], found: Sequence[Array], tolerance: float, rows: Rows | None = None
) -> Measurement:
    """Compare arrays pair by pair.

    Args:
        claim: see `Measurement`.
        expected: at least one array, of real numbers or bools.
        found: as many, of the same shapes.
        tolerance: what is allowed, as a fraction of the largest value of each expected array; 0: nothing at all.
        rows: bool[batch], the rows to compare, of arrays ``[batch, ...]``; default: all.

    Raises:
        Unfit: the shapes differ.
    """
    pairs = enumerate(zip(expected, found, strict=True))
    measurements = (_difference(claim, number, a, b, tolerance, rows) for number, (a, b) in pairs)
    return max(measurements, key=lambda measurement: measurement.size)


def _difference(
    claim: str, number: int, expected: Array, found: Array, tolerance: float, rows: Rows | None
) -> Measurement:
    if expected.shape != found.shape:
        raise Unfit(f"array {number} has shape {found.shape} where {expected.shape} was expected")
    a, b = expected.astype(np.float64), found.astype(np.float64)
    allowed = tolerance * max(FLOOR, np.abs(a[np.isfinite(a)]).max(initial=0.0))
    if not a.size:
        return Measurement(claim, 0.0, allowed, number, (0,) * a.ndim)
    with np.errstate(invalid="ignore"):  # equal infinities differ by nothing, unequal ones by infinity
        distance = np.where(a == b, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))
    if rows is not None:
        distance[~rows] = 0.0
    index = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
    return Measurement(claim, float(distance[index]), float(allowed), number, index)
