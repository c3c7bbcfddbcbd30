"""Batches that are used again, memory and objects, once nobody holds any part of them.

Fresh memory for a large batch costs more than the copy into it: the system hands it over page by page, as zeros. And
for a small batch to make its seventeen arrays, and a tensor of each, costs as much as to fill them. Whether anybody
holds a part - the batch, an array, a view of one, a tensor of another library - is told by reference counts.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from r2d2.replay.memory import Layout, ReusedMemory


class _Entry:
    """A batch and whether anybody but the entry holds a part of it."""

    def __init__(self, layout: Layout, memory: ReusedMemory, make: Callable[[list[NDArray[Any]]], Any]) -> None:
        self.layout = layout
        # No name but these is to hold any of it here, where the references are first counted.
        self.arrays = memory.arrays(layout)
        self.batch = make(self.arrays)
        # From the whole to its parts, the memory last: who holds none of the first can come by none of the later.
        self._parts = [*_containers(self.batch), self.batch.tensors, *self.arrays, self.arrays[0].base]
        self._unused = _references(self._parts)
        self._tensors: list[Any] = []

    def is_unused(self) -> bool:
        """Whether the references are those of the beginning."""
        if len(self._tensors) != len(self.batch.tensors):
            self._add_tensors()
        return _references(self._parts) == self._unused

    def _add_tensors(self) -> None:
        """Tensors have been made since: each holds its array, if it has any byte of it."""
        self._tensors = list(self.batch.tensors)
        first = len(self._parts) - 1 - len(self.arrays)
        for number, array in enumerate(self.arrays, first):
            self._unused[number] += array.size > 0
        self._parts[first:first] = self._tensors
        self._unused[first:first] = [_TENSOR_REFERENCES] * len(self._tensors)


def _containers(tree: Any) -> list[Any]:
    """The dicts, tuples and lists of a tree, each before those in it."""
    if isinstance(tree, dict):
        return [tree, *[part for value in tree.values() for part in _containers(value)]]
    if isinstance(tree, tuple | list):
        return [tree, *[part for value in tree for part in _containers(value)]]
    return []


def _references(parts: list[Any]) -> list[int]:
    return [sys.getrefcount(part) for part in parts]


def _references_in_lists(count: int) -> int:
    """Of an object that nothing but so many lists hold."""
    part = object()
    lists = [[part] for _ in range(count)]
    del part
    return _references(lists[0])[0]


_TENSOR_REFERENCES = _references_in_lists(3)
"""Of the batch and two lists of an entry."""


class ReusedBatches:
    """Makes batches, and hands them out again.

    Args:
        make: a batch of arrays laid out so. It has a list ``tensors``, empty at first, of those that share its memory.
        kept: batches to keep: one being filled, one being learned from, one looked at.
    """

    def __init__(self, make: Callable[[list[NDArray[Any]]], Any], kept: int = 3) -> None:
        self._make = make
        self._kept = kept
        self._memory = ReusedMemory(kept)
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []

    def batch(self, layout: Layout) -> tuple[Any, list[NDArray[Any]]]:
        """A batch and its arrays, in the layout's order. Every byte is to be written: they hold what was there."""
        with self._lock:
            for entry in self._entries:
                if entry.layout is layout and entry.is_unused():
                    return entry.batch, entry.arrays
            # Those of other layouts give their memory back, so that there are never more blocks than batches.
            self._entries = [entry for entry in self._entries if not entry.is_unused()][1 - self._kept :]
            self._entries.append(_Entry(layout, self._memory, self._make))
            return self._entries[-1].batch, self._entries[-1].arrays
