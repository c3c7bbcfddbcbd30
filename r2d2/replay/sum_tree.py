"""Weights that can be changed one by one and drawn from in proportion, in time that grows as their logarithm.

Every inner node is the sum of its 32 children and is computed anew from them when one changes: nothing is
added to or taken from a running sum, so a million updates leave no drift. With 32 children, a NumPy call
serves five levels of a binary tree.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHILDREN = 32


class SumTree:
    """Non-negative weights ``float64[size]``, all zero at first.

    Args:
        size: number of leaves, at least 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size={size} must be at least 1")
        self.size = size
        # _levels[0] holds the leaves, _levels[-1] is one block of children whose sum is the total; each level is
        # kept as blocks [parents, CHILDREN], padded with zeros.
        self._levels: list[NDArray[np.float64]] = []
        nodes = size
        while True:
            blocks = -(-nodes // CHILDREN)
            self._levels.append(np.zeros((blocks, CHILDREN)))
            if blocks == 1:
                break
            nodes = blocks

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._levels[-1].sum())

    @property
    def leaves(self) -> NDArray[np.float64]:
        """The weights, ``float64[size]``; to be read only."""
        return self._levels[0].reshape(-1)[: self.size]

    def set(self, indices: NDArray[np.int64], weights: NDArray[np.float64] | float) -> None:
        """Give the leaves ``indices`` (int64[n]) new weights; of an index given twice, the last one stays."""
        self._levels[0].reshape(-1)[indices] = weights
        for children, parents in zip(self._levels[:-1], self._levels[1:], strict=True):
            indices = indices // CHILDREN
            parents.reshape(-1)[indices] = children[indices].sum(axis=1)

    def draw(self, fractions: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaf under each of ``fractions`` (float64[n] in [0, 1)) of the total; never one of weight zero.

        The total must be positive.
        """
        block = np.zeros(len(fractions), np.int64)
        mass = fractions * self.total
        rows = np.arange(len(fractions))
        for level in reversed(self._levels):
            sums = np.cumsum(level[block], axis=1)
            # The block's own sum may differ from the weight its parent holds for it in the last bit; without this,
            # a draw at the very end of a block would run past its last child of positive weight.
            mass = np.minimum(mass, np.nextafter(sums[:, -1], 0.0))
            child = (sums <= mass[:, None]).sum(axis=1)
            mass = mass - np.where(child > 0, sums[rows, child - 1], 0.0)
            block = block * CHILDREN + child
        return block

    def resized(self, size: int) -> "SumTree":
        """A tree of ``size`` leaves with the weights of this one, as far as they go."""
        tree = SumTree(size)
        kept = min(size, self.size)
        tree.set(np.arange(kept), self.leaves[:kept])
        return tree

    def check_consistency(self) -> list[str]:
        """What is wrong with the tree, in words; empty if nothing is."""
        problems: list[str] = []
        if not np.isfinite(self._levels[0]).all() or (self._levels[0] < 0).any():
            problems.append("the sum tree holds a weight that is negative or not finite")
        if self._levels[0].reshape(-1)[self.size :].any():
            problems.append("the sum tree holds weight beyond its last leaf")
        for height, (children, parents) in enumerate(zip(self._levels[:-1], self._levels[1:], strict=True)):
            sums: NDArray[Any] = children.sum(axis=1)
            wrong = np.flatnonzero(parents.reshape(-1)[: len(sums)] != sums)
            if len(wrong):
                problems.append(f"node {wrong[0]} of the sum tree's level {height + 1} is not its children's sum")
        return problems
