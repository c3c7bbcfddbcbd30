"""Sigmoid and tanh of float32 arrays, compiled: as exact as float32 allows, many numbers at a time.

The exponential is that of Cephes (S. L. Moshier): e**x = 2**n e**r with n the whole number nearest to x / ln 2, ln 2 in
two parts so that r is exact, and a polynomial for e**r.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_float = np.float32
_LOG2_E = _float(1.44269504088896341)
_LN2_HIGH, _LN2_LOW = _float(0.693359375), _float(-2.12194440e-4)
_LOWEST, _HIGHEST = _float(-87.0), _float(87.0)
"""Beyond them e**x is not a normal number; sigmoid and tanh are 0 or 1 there."""
_E0, _E1, _E2, _E3, _E4, _E5 = (
    _float(value)
    for value in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)
_T0, _T1, _T2, _T3, _T4 = (
    _float(value)
    for value in (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
)
_SMALL = _float(0.625)
"""Below it tanh is a polynomial: from the exponential it would have lost digits."""
_HALF, _ONE, _TWO, _NOTHING = _float(0.5), _float(1.0), _float(2.0), _float(0.0)
_BIAS, _SHIFT = np.int32(127), np.int32(23)


@intrinsic
def _from_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")
def _exp(x: Any) -> Any:
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    whole = np.int32(n if n == n else _NOTHING)  # not a number stays so through the polynomial
    return (p * r * r + r + _ONE) * _from_bits((whole + _BIAS) << _SHIFT)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sigmoid(values: Any) -> None:
    """Replace ``values`` (float32[n]) by ``1 / (1 + e**-x)``."""
    for i in range(len(values)):
        values[i] = _ONE / (_ONE + _exp(-values[i]))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def tanh(values: Any) -> None:
    """Replace ``values`` (float32[n]) by their tanh."""
    for i in range(len(values)):
        x = values[i]
        size = abs(x)
        square = x * x
        small = ((((_T0 * square + _T1) * square + _T2) * square + _T3) * square + _T4) * square * x + x
        large = _ONE - _TWO / (_exp(size + size) + _ONE)
        values[i] = small if size < _SMALL else (large if x > _NOTHING else -large)
