"""A buffer in use whose compiled code checks every index: with NUMBA_BOUNDSCHECK=1, in a process of its own."""

from typing import Any

import numpy as np
from gymnasium import spaces
from numba import njit

from r2d2.replay import SequenceGeometry, SequenceReplay, gather, past_caches, rows


@njit
def move(out: Any, at: int, values: Any, first: int, count: int) -> None:
    if min(at, first, count) < 0 or at + count > len(out) or first + count > len(values):
        raise IndexError("outside")
    out[at : at + count] = values[first : first + count]


@njit
def move_lines(out: Any, at: int, values: Any, first: int, lines: int) -> None:
    if lines and (out.ctypes.data + at) % past_caches.LINE != 0:
        raise IndexError("not where a line begins")
    move(out, at, values, first, lines * past_caches.LINE)


rows.move = gather.move = past_caches.move = move  # before any code that calls it is compiled
past_caches._move_lines = move_lines
past_caches.LEAST_RUN = past_caches.LINE
LEAST_BYTES = past_caches.LEAST_BYTES

SPACE = spaces.Dict(
    {"none": spaces.Box(-1, 1, (0,)), "kind": spaces.Discrete(5), "pixels": spaces.Box(0, 9, (9, 7), np.uint8)}
)
STATE = {"h": np.zeros(2, np.float32), "count": np.zeros((), np.int64), "none": np.zeros((0,), np.float32)}


def steps(rng: np.random.Generator, shape: tuple[int, ...], ending: float, active: float) -> dict[str, Any]:
    ends = rng.random(shape) < ending
    terminated = ends & (rng.random(shape) < 0.5)
    seen = {
        "none": np.zeros((*shape, 0), np.float32),
        "kind": rng.integers(0, 5, shape),
        "pixels": rng.integers(0, 9, (*shape, 9, 7)),  # of another dtype than the space's
    }
    return {
        "observation": seen,
        "action": rng.integers(0, 3, shape),
        "reward": rng.normal(size=shape),
        "terminated": terminated,
        "truncated": ends & ~terminated,
        "state": {"h": np.ones((*shape, 2), np.float32), "count": np.ones(shape, np.int64), "none": seen["none"]},
        "final_observation": seen,
        "active": rng.random(shape) < active,
    }


def use(seed: int) -> None:
    rng = np.random.default_rng(seed)
    train_length, n = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    geometry = SequenceGeometry(
        int(rng.integers(0, 6)), train_length, int(rng.integers(0, train_length)), int(rng.integers(1, 4))
    )
    capacity = n * (geometry.rows_needed + int(rng.choice([0, 0, 1, 30])))
    replay = SequenceReplay(SPACE, spaces.Discrete(3), STATE, geometry, capacity=capacity, num_envs=n)
    ending, active = rng.choice([0.0, 0.1, 0.5, 1.0]), rng.choice([0.0, 0.7, 1.0])
    for _ in range(15):
        replay.add_many(**steps(rng, (int(rng.integers(1, 2 * capacity)), n), ending, active))
        for _ in range(5):
            replay.add(**steps(rng, (n,), ending, active), priority=rng.random(n))
        if rng.random() < 0.3:
            replay.end_episodes(rng.random(n) < 0.5, steps(rng, (n,), 0.0, 1.0)["observation"])
        if replay.can_sample():
            batch = replay.sample(int(rng.integers(1, 6)))
            replay.update_priorities(batch.keys, rng.random(len(batch.keys)))
            replay.before(batch.keys)
        assert replay.check_consistency() == []
    twin = SequenceReplay(SPACE, spaces.Discrete(3), STATE, geometry, capacity=capacity, num_envs=n)
    twin.set_state(replay.get_state())
    twin.add_many(**steps(rng, (20, n), ending, active))
    assert twin.check_consistency() == []


if __name__ == "__main__":
    for number in range(60):
        past_caches.LEAST_BYTES = (0, LEAST_BYTES)[number % 2]
        use(number)
    print("inside")
