"""Memory for batches, used again once nobody holds what lies in it.

Fresh memory for a large batch costs more than the copy into it: the system hands it over page by page, as zeros. So
the arrays of a batch are views into one block, and a block is taken again when no view of it is left, which its
reference count tells. Every array starts at a multiple of 64 bytes, where TensorFlow takes it over without a copy.
"""

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes."""


class Layout(NamedTuple):
    """Where arrays lie in a block."""

    places: tuple[tuple[tuple[int, ...], np.dtype[Any], int], ...]
    """Shape, dtype and first byte of each."""
    nbytes: int

    @staticmethod
    def of(arrays: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> "Layout":
        """Arrays of these shapes and dtypes one after the other."""
        places, end = [], 0
        for shape, dtype in arrays:
            places.append((shape, dtype, end))
            end += -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return Layout(tuple(places), end)


def aligned_zeros(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """Zeros that begin at a multiple of `ALIGNMENT`: rows are copied from there to other such places much faster."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    block = np.zeros(nbytes + ALIGNMENT, np.uint8)
    return np.ndarray(tuple(shape), dtype, block, -block.ctypes.data % ALIGNMENT)


class Block(NamedTuple):
    """Where arrays lie, for compiled code: to hand over one array costs less than to hand over a dozen."""

    memory: NDArray[np.uint8]
    starts: NDArray[np.int64]
    """The byte where each begins."""

    @staticmethod
    def of(arrays: Sequence[NDArray[Any]]) -> "Block":
        """Of arrays that were given out together."""
        memory = arrays[0].base
        assert isinstance(memory, np.ndarray)
        return Block(memory, np.array([array.ctypes.data - memory.ctypes.data for array in arrays]))


class ReusedMemory:
    """Blocks of memory that are handed out as arrays, and again when those are gone. Threads may share it.

    Args:
        kept: blocks to keep. The default is for batches: one being filled, one being learned from, one looked at.
    """

    def __init__(self, kept: int = 3) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._blocks: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self._unused = self._references(0)  # of a block that nobody else holds, counted as it will be
        self._blocks.clear()

    def arrays(self, layout: Layout) -> list[NDArray[Any]]:
        """Arrays laid out so. Every byte is to be written: they hold what was there before."""
        with self._lock:
            block = self._free_block(layout.nbytes + ALIGNMENT)
        skipped = -block.ctypes.data % ALIGNMENT
        # The base of these arrays, and of any view of them, is the block itself.
        return [np.ndarray(shape, dtype, block, skipped + start) for shape, dtype, start in layout.places]

    def _free_block(self, nbytes: int) -> NDArray[np.uint8]:
        for number in range(len(self._blocks)):
            if len(self._blocks[number]) >= nbytes and self._references(number) == self._unused:
                return self._blocks[number]
        if len(self._blocks) == self._kept:
            del self._blocks[0]
        self._blocks.append(np.empty(nbytes, np.uint8))
        return self._blocks[-1]

    def _references(self, number: int) -> int:
        return sys.getrefcount(self._blocks[number])
