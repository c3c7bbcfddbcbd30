"""What has to be known of steps before they are written, in one look at them."""

from typing import Any

import numpy as np
from numba import njit

from r2d2.replay.geometry import begun_by

BUILT_ON = {"geometry.py": "b97d7a31673b"}
"""Hash of what is imported here: what is compiled is kept on disk for this file's text alone."""


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
    kept: Any,
) -> tuple[bool, bool, int]:
    """Look at n steps; arrays as `r2d2.replay.write_steps.write_steps` takes them.

    Args:
        lengths: burn_in, train_length, period, n_step.
        open_step: int64[num_envs], steps of the open episodes.
        action_count: how many actions there are.
        action, reward: of the steps.
        terminated, truncated, active: of the steps.
        kept: int64[n], to which the numbers of those steps are written whose recurrent states are kept, since sequences
            begin with them.

    Returns:
        Whether every action is one of these and every reward finite; whether an episode ends; how many states are kept.
    """
    # Whole numbers that are or-ed, and no way out before the end, are what the compiler can do many at a time.
    unfit = np.int32(0)
    for i in range(len(action)):
        unfit |= np.int32(action[i] < 0) | np.int32(action[i] >= action_count) | np.int32(reward[i] - reward[i] != 0)
    burn_in, _, period, _ = lengths
    step = open_step.copy()
    due = np.zeros_like(step)  # no sequence begins before
    any_ends = False
    k, env = 0, 0
    for i in range(len(terminated)):
        if len(active) == 0 or active[i]:
            if step[env] >= due[env]:
                begun = begun_by(step[env] + 1, burn_in, period)
                if begun > begun_by(step[env], burn_in, period):
                    kept[k] = i
                    k += 1
                due[env] = begun * period - burn_in
            step[env] += 1
            if terminated[i] or truncated[i]:
                step[env], due[env] = 0, 0
                any_ends = True
        env = env + 1 if env + 1 < len(step) else 0
    return unfit == 0, any_ends, k
