"""cpprb's sum trees as a subject of the sum tree benchmark: the smallest possible item, one byte."""

import itertools

import cpprb
import numpy as np

from agents.benchmarks.prepared import Prepared, WrongBatch, seconds_per_call
from agents.benchmarks.replay_data import IMPORTANCE_EXPONENT
from agents.benchmarks.sum_tree import DRAWS, UPDATES

_ADDED_AT_ONCE = 1_000_000


def prepare(leaves: int, seconds: float) -> Prepared:
    """A prioritized replay of priorities between 0.1 and 1.

    Raises:
        WrongBatch: it does not draw the item that has all the priority.
    """
    rng = np.random.default_rng(0)
    replay = cpprb.PrioritizedReplayBuffer(leaves, {"item": {"dtype": np.uint8}}, alpha=1.0, eps=0.0)
    for first in range(0, leaves, _ADDED_AT_ONCE):
        count = min(_ADDED_AT_ONCE, leaves - first)
        only = np.zeros(count)
        only[(np.arange(first, first + count) == leaves // 3)] = 1.0
        replay.add(item=np.zeros(count, np.uint8), priorities=only)
    if (replay.sample(DRAWS, beta=0.0)["indexes"] != leaves // 3).any():
        raise WrongBatch(f"item {leaves // 3} has all the priority, and another was drawn")
    replay.update_priorities(np.arange(leaves, dtype=np.uint64), rng.uniform(0.1, 1.0, leaves))
    weights = rng.uniform(0.1, 1.0, DRAWS)
    places = itertools.cycle(rng.integers(leaves, size=(UPDATES, DRAWS)).astype(np.uint64))
    return Prepared(
        {
            "draw": lambda: 1e6 * seconds_per_call(lambda: replay.sample(DRAWS, beta=IMPORTANCE_EXPONENT), seconds),
            "update": lambda: 1e6 * seconds_per_call(lambda: replay.update_priorities(next(places), weights), seconds),
        },
        note="its whole call: draws, importance weights, and the items of one byte",
    )
