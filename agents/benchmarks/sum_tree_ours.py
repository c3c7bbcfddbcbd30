"""`r2d2.replay.sum_tree.SumTree` as a subject of the sum tree benchmark."""

import itertools

import numpy as np

from agents.benchmarks.prepared import Prepared, WrongBatch, seconds_per_call
from agents.benchmarks.sum_tree import DRAWS, UPDATES
from r2d2.replay.sum_tree import SumTree


def prepare(leaves: int, seconds: float) -> Prepared:
    """A tree of weights between 0.1 and 1.

    Raises:
        WrongBatch: it does not draw the leaf that has all the weight.
    """
    rng = np.random.default_rng(0)
    tree = SumTree(leaves)
    tree.set(np.array([leaves // 3]), 1.0)
    if (tree.draw(rng.random(DRAWS)) != leaves // 3).any():
        raise WrongBatch(f"leaf {leaves // 3} has all the weight, and another was drawn")
    tree.set(np.arange(leaves), rng.uniform(0.1, 1.0, leaves))
    weights = rng.uniform(0.1, 1.0, DRAWS)
    places = itertools.cycle(rng.integers(leaves, size=(UPDATES, DRAWS)))
    return Prepared(
        {
            "draw": lambda: (
                1e6 * seconds_per_call(lambda: tree.draw((np.arange(DRAWS) + rng.random(DRAWS)) / DRAWS), seconds)
            ),
            "update": lambda: 1e6 * seconds_per_call(lambda: tree.set(next(places), weights), seconds),
        }
    )
