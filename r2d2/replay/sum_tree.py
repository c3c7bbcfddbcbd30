"""Weights that can be changed one by one and drawn from in proportion, in time that grows as their logarithm.

Every inner node is the sum of its children and is computed anew from them when one changes: nothing is added to or
taken from a running sum, so a million updates leave no drift. The two loops are compiled: a draw visits few nodes, far
fewer than would be worth a NumPy call a level.
"""

import itertools
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

CHILDREN = 16
"""A block of children is two cache lines."""


class SumTree:
    """Non-negative weights ``float64[size]``, all zero at first.

    Args:
        size: number of leaves, at least 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size={size} must be at least 1")
        self.size = size
        blocks = [-(-size // CHILDREN)]
        while blocks[-1] > 1:
            blocks.append(-(-blocks[-1] // CHILDREN))
        # _levels[0] holds the leaves, _levels[-1] is one block of children whose sum is the total; each level is
        # kept as blocks [parents, CHILDREN], padded with zeros. All lie in one array, each from its start on.
        starts = np.cumsum([0, *blocks]) * CHILDREN
        self.starts = starts[:-1]
        self.nodes = np.zeros(starts[-1])
        """All levels, to be changed by `set` and `set_weight` only."""
        self._levels = [
            self.nodes[start:end].reshape(-1, CHILDREN) for start, end in itertools.pairwise(starts.tolist())
        ]

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(total_of(self.nodes))

    @property
    def leaves(self) -> NDArray[np.float64]:
        """The weights, ``float64[size]``; to be read only."""
        return self.nodes[: self.size]

    def set(self, indices: NDArray[np.int64], weights: NDArray[np.float64] | float) -> None:
        """Give the leaves ``indices`` (int64[n]) new weights; of an index given twice, the last one stays."""
        self.leaves[indices] = weights
        add_up(self.nodes, self.starts, np.array(indices, np.int64))

    def draw(self, fractions: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaf under each of ``fractions`` (float64[n] in [0, 1)) of the total; never one of weight zero.

        The total must be positive.
        """
        return _draw(self.nodes, self.starts, fractions)

    def draw_strata(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """One leaf from each of n equal parts of the total, where in it ``uniform`` (float64[n] in [0, 1)) says.

        Source: Schaul et al. 2016, appendix B.2.1.
        """
        return _draw_strata(self.nodes, self.starts, uniform)

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
            sums: NDArray[Any] = np.array(
                [_block_sum(children.reshape(-1), i * CHILDREN) for i in range(len(children))]
            )
            wrong = np.flatnonzero(parents.reshape(-1)[: len(sums)] != sums)
            if len(wrong):
                problems.append(f"node {wrong[0]} of the sum tree's level {height + 1} is not its children's sum")
        return problems


@njit(cache=True, nogil=True)
def _block_sum(nodes: Any, start: int) -> float:
    # Four sums side by side: an addition need not wait for the one before.
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    for child in range(start, start + CHILDREN, 4):
        first += nodes[child]
        second += nodes[child + 1]
        third += nodes[child + 2]
        fourth += nodes[child + 3]
    return (first + second) + (third + fourth)


@njit(cache=True, nogil=True)
def total_of(nodes: Any) -> float:
    """Sum of all weights."""
    return _block_sum(nodes, len(nodes) - CHILDREN)


@njit(cache=True, nogil=True)
def set_weight(nodes: Any, starts: Any, leaf: int, weight: float) -> None:
    """Give one leaf a new weight, for compiled code."""
    nodes[leaf] = weight
    number = leaf
    for height in range(1, len(starts)):
        number = number // CHILDREN
        nodes[starts[height] + number] = _block_sum(nodes, starts[height - 1] + number * CHILDREN)


@njit(cache=True, nogil=True)
def add_up(nodes: Any, starts: Any, numbers: Any) -> None:
    """The inner nodes above the leaves ``numbers`` (int64[n], overwritten), level by level, for compiled code."""
    for height in range(1, len(starts)):
        for i in range(len(numbers)):
            block = numbers[i] // CHILDREN
            nodes[starts[height] + block] = _block_sum(nodes, starts[height - 1] + block * CHILDREN)
            numbers[i] = block


@njit(cache=True, nogil=True)
def _draw(nodes: Any, starts: Any, fractions: Any) -> Any:
    """The leaf under each fraction."""
    drawn = np.empty(len(fractions), np.int64)
    total = total_of(nodes)
    for i in range(len(fractions)):
        mass = fractions[i] * total
        block = 0
        for height in range(len(starts) - 1, -1, -1):
            first = starts[height] + block * CHILDREN
            last, chosen = 0, -1
            for child in range(CHILDREN):
                weight = nodes[first + child]
                if weight > 0.0:
                    last = child
                    if mass < weight:
                        chosen = child
                        break
                    mass -= weight
            if chosen < 0:
                # Taking weights off one by one may round to the block's very end, beyond its last child of positive
                # weight: then that child it is, at its end.
                chosen = last
                mass = np.nextafter(nodes[first + last], 0.0)
            block = block * CHILDREN + chosen
        drawn[i] = block
    return drawn


@njit(cache=True, nogil=True)
def _draw_strata(nodes: Any, starts: Any, uniform: Any) -> Any:
    n = len(uniform)
    fractions = np.empty(n)
    for i in range(n):
        fractions[i] = i / n + uniform[i] / n
    return _draw(nodes, starts, fractions)
