"""Products of small matrices with one that stays the same from call to call.

A step of a recurrent layer multiplies a few rows by the same weights as the step before. A general matrix product lays
the weights out anew at each call, which for so few rows costs as much as the arithmetic. Here they are laid out once
(`panels`), and a tile of the result stays in the processor's registers while its sums are formed.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

ROWS, COLUMNS = 4, 16
"""Of a tile: enough sums that none has to wait for the one before, with AVX2 (eight registers of eight) and AVX-512."""
_DEPTH = 512
"""Rows of a panel used at once: as many as the fastest cache holds."""


@intrinsic
def _add_tile(
    typing_context: Any,
    out: Any,
    at_out: Any,
    out_width: Any,
    left: Any,
    at_left: Any,
    left_width: Any,
    panel: Any,
    at_panel: Any,
    depth: Any,
) -> Any:
    """``out[r, c] += left[r, k] * panel[k, c]``, of ROWS, COLUMNS and ``depth`` (at least 1).

    ``out``, ``left`` and ``panel`` are float32 arrays of one axis; each is followed by the place of its first element,
    and the first two by the distance of their rows. Nothing checks that the places are inside of the arrays.
    """
    signature = types.void(out, at_out, out_width, left, at_left, left_width, panel, at_panel, depth)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, index = ir.FloatType(), ir.IntType(64)
        row = ir.VectorType(number, COLUMNS)
        undefined = ir.Constant(row, ir.Undefined)
        all_first = ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), [0] * COLUMNS)

        def pointers(array: int, rows: int) -> list[Any]:
            """To the first element of each row, of the array that is the argument of this number."""
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            width = arguments[array + 2]
            places = [builder.add(arguments[array + 1], builder.mul(width, index(r))) for r in range(rows)]
            return [builder.gep(data, [place]) for place in places]

        def as_row(pointer: Any) -> Any:
            return builder.bitcast(pointer, row.as_pointer())

        to_out, to_left, (to_panel,) = pointers(0, ROWS), pointers(3, ROWS), pointers(6, 1)
        first = [builder.load(as_row(pointer), align=4) for pointer in to_out]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(index)
        sums = [builder.phi(row) for _ in range(ROWS)]
        weights = builder.load(as_row(builder.gep(to_panel, [builder.mul(k, index(COLUMNS))])), align=4)
        added = []
        for pointer, total in zip(to_left, sums, strict=True):
            factor = builder.insert_element(undefined, builder.load(builder.gep(pointer, [k])), ir.IntType(32)(0))
            product = builder.fmul(builder.shuffle_vector(factor, undefined, all_first), weights, flags=("contract",))
            added.append(builder.fadd(product, total, flags=("contract",)))
        following = builder.add(k, index(1))
        for phi, start, value in zip([k, *sums], [index(0), *first], [following, *added], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[8]), loop, after)
        builder.position_at_end(after)
        for pointer, value in zip(to_out, added, strict=True):
            builder.store(value, as_row(pointer), align=4)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True, nogil=True, error_model="numpy")
def round_up(number: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is not below ``number``."""
    return -(-number // multiple) * multiple


@njit(cache=True, nogil=True, error_model="numpy")
def panels(matrix: Any) -> Any:
    """``matrix`` (float32[K, N]) as `add_product` reads it: float32[panels, K, COLUMNS], with zeros beyond N."""
    depth, width = matrix.shape
    packed = np.zeros((round_up(width, COLUMNS) // COLUMNS, depth, COLUMNS), np.float32)
    for p in range(len(packed)):
        first = p * COLUMNS
        for k in range(depth):
            for c in range(min(COLUMNS, width - first)):
                packed[p, k, c] = matrix[k, first + c]
    return packed


@njit(cache=True, nogil=True, error_model="numpy")
def add_product(out: Any, left: Any, right: Any) -> None:
    """``out += left @ matrix``.

    Args:
        out: float32[M, N], M a multiple of ROWS and N of COLUMNS, contiguous.
        left: float32[M, K], contiguous.
        right: `panels` of the matrix.

    Raises:
        ValueError: their shapes do not fit together.
    """
    rows, depth = left.shape
    width = out.shape[1]
    if rows % ROWS or len(out) != rows or len(right) * COLUMNS != width or right.shape[1:] != (depth, COLUMNS):
        raise ValueError("a product's rows, depth or columns are not those of its factors")
    flat_out, flat_left, flat_right = out.reshape(-1), left.reshape(-1), right.reshape(-1)
    for p in range(len(right)):
        for k in range(0, depth, _DEPTH):
            for r in range(0, rows, ROWS):
                at_out, at_left, at_panel = r * width + p * COLUMNS, r * depth + k, (p * depth + k) * COLUMNS
                deep = min(_DEPTH, depth - k)
                _add_tile(flat_out, at_out, width, flat_left, at_left, depth, flat_right, at_panel, deep)
