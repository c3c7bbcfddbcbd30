"""What has to be known of steps before they are written, in one look at them."""

from typing import Any

import numpy as np
from numba import njit

from r2d2.replay.geometry import begun_by
from r2d2.replay.records import TERMINATED, TRUNCATED

BUILT_ON = {"geometry.py": "37458fe0bdf0", "records.py": "1df071088303"}
"""Hashes of what is imported here: what is compiled is kept on disk for this file's text alone."""

STEP_BYTES = 14
"""Of what is one number of each step, see `columns_of`."""


@njit(cache=True, nogil=True)
def columns_of(block: Any) -> tuple[Any, Any, Any, Any]:
    """What is one number of each of n steps: one block of bytes, uint8[n * `STEP_BYTES`], as four arrays.

    Returns:
        Indices of actions, int64[n]; rewards, float32[n]; how an episode ends with the step, uint8[n], see
        `r2d2.replay.records`; whether it was made, uint8[n].
    """
    n = len(block) // STEP_BYTES
    action, reward = block[: 8 * n].view(np.int64), block[8 * n : 12 * n].view(np.float32)
    return action, reward, block[12 * n : 13 * n], block[13 * n :]


@njit(cache=True, nogil=True)
def survey(
    lengths: Any,
    open_step: Any,
    action_count: int,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
    active: Any,
    block: Any,
    kept: Any,
) -> tuple[bool, bool, int]:
    """Look at n steps, and copy what is one number of each.

    Args:
        lengths: burn_in, train_length, period, n_step.
        open_step: int64[num_envs], steps of the open episodes.
        action_count: how many actions there are.
        action: int64[n], indices; step ``i`` is of environment ``i % num_envs``.
        reward: float32[n] or float64[n], which is rounded.
        terminated, truncated: bool[n]
        active: bool[n], False where no step was made; empty: all were.
        block: of `columns_of`, written to. What is found holds of it, whatever another thread does to the arrays
            meanwhile.
        kept: int64[n], to which the numbers of those steps are written whose recurrent states are kept, since sequences
            begin with them.

    Returns:
        Whether every action is one of these and every reward finite; whether an episode ends; how many states are kept.
    """
    # Whole numbers that are or-ed, and no way out before the end, are what the compiler can do many at a time.
    unfit = np.int32(0)
    indices, rewards, flags, made = columns_of(block)
    for i in range(len(rewards)):
        index, value = action[i], np.float32(reward[i])
        unfit |= np.int32(index < 0) | np.int32(index >= action_count) | np.int32(value - value != 0)
        indices[i], rewards[i] = index, value
    for i in range(len(flags)):
        flags[i] = terminated[i] * np.uint8(TERMINATED) + truncated[i] * np.uint8(TRUNCATED)
    made[:] = 1
    for i in range(len(active)):
        made[i] = active[i]
    burn_in, _, period, _ = lengths
    step = open_step.copy()
    due = np.zeros_like(step)  # no sequence begins before
    any_ends = False
    k, env = 0, 0
    for i in range(len(made)):
        if made[i]:
            if step[env] >= due[env]:
                begun = begun_by(step[env] + 1, burn_in, period)
                if begun > begun_by(step[env], burn_in, period):
                    kept[k] = i
                    k += 1
                due[env] = begun * period - burn_in
            step[env] += 1
            if flags[i]:
                step[env], due[env] = 0, 0
                any_ends = True
        env = env + 1 if env + 1 < len(step) else 0
    return unfit == 0, any_ends, k
