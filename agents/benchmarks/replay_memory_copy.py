"""The limit of any replay that hands out copies: blocks of memory, chosen at random, copied by a call into C."""

import numpy as np

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.replay_data import PROFILES, ROWS


def prepare(profile: str, capacity: int | None, seconds: float) -> Prepared:
    """As many bytes as the sequences of a batch have, from as many places among as much memory, into a kept batch.

    Observations lie by themselves, as in any replay: among other bytes they would be copied off their alignment, which
    is slower.

    Args:
        profile: one of `PROFILES`.
        capacity: steps among which to choose; None for the profile's own.
        seconds: least time of a round.
    """
    size = PROFILES[profile]
    held = size.capacity if capacity is None else capacity
    observation = int(np.prod(size.shape)) * np.dtype(size.dtype).itemsize
    blocks = (ROWS * observation, ROWS * (size.raw_step - observation) + size.state)
    memory = [np.ones((held // ROWS, block), np.uint8) for block in blocks]
    kept = [np.ones((size.batch, block), np.uint8) for block in blocks]
    rng = np.random.default_rng(0)

    def copy() -> None:
        chosen = rng.integers(len(memory[0]), size=size.batch)
        for source, target in zip(memory, kept, strict=True):
            np.take(source, chosen, axis=0, out=target, mode="clip")  # the default mode would copy twice

    def rate() -> float:
        return 1 / seconds_per_call(copy, seconds)

    return Prepared({"batch for the learner": rate, "sample alone": rate}, note="observations, and all else: two calls")
