"""Rows of arrays copied from place to place."""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_BYTES = np.dtype(np.uint8)


@njit(cache=True, nogil=True)
def copy_rows(to: Any, rows: Any, values: Any, numbers: Any, count: int, nbytes: int) -> None:
    """Copy rows of ``values`` to rows of ``to``; of a row given twice, the last one stays.

    Args:
        to, values: rows of ``nbytes`` bytes, uint8[all * nbytes].
        rows, numbers: int64[n], rows of ``to`` and of ``values``; nothing checks that they are inside.
        count: how many of these are copied, at most n.
    """
    begin = 0
    while begin < count:
        # Rows that follow each other in both are one.
        end = begin + 1
        while end < count and rows[end] == rows[end - 1] + 1 and numbers[end] == numbers[end - 1] + 1:
            end += 1
        move(to, rows[begin] * nbytes, values, numbers[begin] * nbytes, (end - begin) * nbytes)
        begin = end


def as_bytes(values: NDArray[Any], dtype: Any) -> NDArray[np.uint8]:
    """An array at ``dtype`` as bytes, uint8[n]; a copy only where it must be one."""
    if values.dtype != dtype:
        values = np.ascontiguousarray(values, dtype)
    return values.ravel().view(_BYTES)


def rows_of(array: NDArray[Any], numbers: NDArray[np.int64], lead: tuple[int, ...]) -> NDArray[Any]:
    """The rows ``numbers`` (int64[k]) of an array ``[*lead, ...]``, whose axes ``lead`` are taken for one."""
    return array.reshape(math.prod(lead), *array.shape[len(lead) :]).take(numbers, axis=0, mode="clip")


@intrinsic
def move(typing_context: Any, out: Any, at: Any, values: Any, first: Any, count: Any) -> Any:
    """``out[at : at + count] = values[first : first + count]``, as the C library copies memory.

    It writes large runs without reading first what they replace, which no loop does. Both are arrays of one axis and of
    one dtype. Nothing checks that the places are inside of them.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, source = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2))
        size = context.get_abi_sizeof(context.get_data_type(out.dtype))
        to, source = builder.gep(to, [arguments[1]]), builder.gep(source, [arguments[3]])
        cgutils.raw_memcpy(builder, to, source, arguments[4], size)
        return context.get_dummy_value()

    return types.void(out, at, values, first, count), generate
