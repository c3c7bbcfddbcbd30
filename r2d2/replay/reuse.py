"""Memory of batches that is used again, with the arrays and tensors in it, once nobody holds any part of it.

Fresh memory for a large batch costs more than the copy into it: the system hands it over page by page, as zeros. And
for a small batch to make its seventeen arrays, and a tensor of each, costs as much as to fill them. Whether anybody
holds an array, a view of one, or what another library has made of one, is told by reference counts. What they do not
tell is who shares the memory of a tensor kept here: see `SharedMemory.keep`.
"""

import sys
import threading
from operator import attrgetter, is_
from typing import Any

from numpy.typing import NDArray

from r2d2.replay.memory import Block, Layout, ReusedMemory

_KEPT = 3
"""Batches: one being filled, one being learned from, one looked at."""


class SharedMemory:
    """The arrays of a batch, and the tensors that its learner has made of them.

    Args:
        layout: of ``arrays``.
        arrays: in memory of their own.
        in_tuples: whether they are handed out in nothing but tuples, so that what is handed out stays these arrays.
    """

    def __init__(self, layout: Layout, arrays: list[NDArray[Any]], in_tuples: bool) -> None:
        self.in_tuples = in_tuples
        self.layout = layout
        self.arrays = arrays
        self.block = Block.of(arrays)
        self._forms = list(map(_form, arrays))
        self._kept: tuple[list[Any], list[Any]] = ([], [])
        self._of_tensors: list[int] = []
        self._of_arrays = [_IN_ONE_LIST] * len(arrays)
        self._of_block = sys.getrefcount(self.block.memory)

    @property
    def tensors(self) -> list[Any]:
        """What `keep` was given last, in its order; an empty list before."""
        return list(self._kept[1])

    def tensors_of(self, leaves: list[Any]) -> list[Any]:
        """What `keep` was given for these very arrays; an empty list if it was not."""
        known = self._kept[0]
        return self.tensors if len(known) == len(leaves) and all(map(is_, leaves, known)) else []

    def keep(self, leaves: list[Any], tensors: list[Any]) -> None:
        """Keep a tensor for each of ``leaves`` if they are the arrays here, in any order.

        Each is to hold its array, if that holds any byte. What comes of such a tensor without a copy must be gone with
        it: nobody would know.
        """
        if len(leaves) == len(self.arrays) and {id(leaf) for leaf in leaves} == {id(array) for array in self.arrays}:
            self._kept = (list(leaves), list(tensors))
            self._of_tensors = [_IN_ONE_LIST] * len(tensors)
            self._of_arrays = [_IN_ONE_LIST + 1 + (array.size > 0) for array in self.arrays]

    def is_unused(self) -> bool:
        """Whether nobody holds any part, and all is as it was made."""
        # From the whole to its parts, the memory last: who holds none of the first can come by none of the later.
        return (
            _references(self._kept[1]) == self._of_tensors
            and _references(self.arrays) == self._of_arrays
            and sys.getrefcount(self.block.memory) == self._of_block
            and list(map(_form, self.arrays)) == self._forms
        )


_form = attrgetter("shape", "dtype", "flags.carray")


def _references(parts: list[Any]) -> list[int]:
    return list(map(sys.getrefcount, parts))


_LIST = [object()]
_IN_ONE_LIST = _references(_LIST)[0]
"""References of what nothing but a list holds, as `_references` counts them."""
_UNNAMED = sys.getrefcount(_LIST[0])
"""The same where it is asked for by its place in the list."""


class ReusedBatches:
    """Memory for batches. Threads may share it.

    Args:
        in_tuples: see `SharedMemory`.
    """

    def __init__(self, in_tuples: bool = False) -> None:
        self._in_tuples = in_tuples
        self._memory = ReusedMemory(_KEPT)
        self._lock = threading.Lock()
        self._batches: list[SharedMemory] = []

    def take(self, layout: Layout) -> SharedMemory:
        """Arrays laid out so. Every byte is to be written: they hold what was there before."""
        with self._lock:
            numbers = range(len(self._batches))
            for number in numbers:
                if self._batches[number].layout is layout and self._is_unused(number):
                    return self._batches[number]
            unused = [self._is_unused(number) for number in numbers]
            # Those of other layouts give their memory back, so that there are never more blocks than batches.
            self._batches = [self._batches[number] for number in numbers if not unused[number]][1 - _KEPT :]
            self._batches.append(SharedMemory(layout, self._memory.arrays(layout), self._in_tuples))
            return self._batches[-1]

    def _is_unused(self, number: int) -> bool:
        return sys.getrefcount(self._batches[number]) == _UNNAMED and self._batches[number].is_unused()
