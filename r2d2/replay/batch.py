"""What `SequenceReplay.sample` hands out, and how it is gathered from the rows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay.sequences import Runs
from r2d2.replay.spaces import ObservationSpec
from r2d2.replay.storage import TERMINATED, TRUNCATED, StepStorage
from r2d2.replay.trees import Tree

NO_ACTION = -1
"""Previous action at an episode's first step, and in padding."""


class Inputs(NamedTuple):
    """What a recurrent network reads at each step; leading axes ``[batch, time]``."""

    observation: Tree
    """Leaves ``[batch, time, ...]`` at the dtypes of their spaces."""
    previous_action: Any
    """int32[batch, time], index of the action before; -1 at an episode's first step."""
    previous_reward: Any
    """float32[batch, time], the reward that followed it; 0 at an episode's first step."""


class Batch(NamedTuple):
    """Sequences sampled together. B: batch, F: longest prefix and W: longest unroll among them.

    Rows at and beyond a sequence's ``prefix_length`` or ``unroll_length`` are padding: zero everywhere, and
    `NO_ACTION` as previous action. The picture of a sequence is in `r2d2.replay.geometry`.
    """

    keys: NDArray[np.int64]
    """int64[B], for `SequenceReplay.update_priorities`."""
    importance_weights: NDArray[np.float32]
    """float32[B], the largest is 1."""
    state: Tree
    """Stored states, leaves ``[B, ...]``: before the first step of the prefix, or of the unroll if it is empty."""
    prefix: Inputs
    """Burn-in steps, ``[B, F, ...]``, right-padded."""
    prefix_length: NDArray[np.int32]
    """int32[B], 0 to F."""
    unroll: Inputs
    """Trained steps, lookahead, final observation, ``[B, W, ...]``, right-padded."""
    unroll_length: NDArray[np.int32]
    """int32[B], 2 to W."""
    train_length: NDArray[np.int32]
    """int32[B], trained steps; smaller than ``unroll_length``."""
    action: NDArray[np.int32]
    """int32[B, W], indices; 0 in the row of a final observation."""
    reward: NDArray[np.float32]
    """float32[B, W], 0 in the row of a final observation."""
    terminated: NDArray[np.bool_]
    """bool[B, W]"""
    truncated: NDArray[np.bool_]
    """bool[B, W]"""


class Steps(NamedTuple):
    """Runs of rows, right-padded to the longest."""

    inputs: Inputs
    action: NDArray[np.int32]
    reward: NDArray[np.float32]
    flags: NDArray[np.uint8]


def gather(
    storage: StepStorage,
    spec: ObservationSpec,
    env: NDArray[np.int64],
    episode_start: NDArray[np.int64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
) -> Steps:
    """Rows ``start .. start + length - 1`` of the rings of ``env`` (all int64[B]), as ``[B, max(length), ...]``."""
    width = int(length.max())
    # One row more in front holds the previous action and reward of the first.
    positions = start[:, None] + np.arange(-1, width)
    rows = storage.rows(env[:, None], positions)
    valid = np.arange(width) < length[:, None]
    padded = not valid.all()

    action = storage.action[rows].astype(np.int32)
    reward = storage.reward[rows]
    previous_action, action = action[:, :-1].copy(), action[:, 1:]
    previous_reward, reward = reward[:, :-1].copy(), reward[:, 1:]
    flags = storage.flags[rows[:, 1:]]
    if width:
        starts_episode = start == episode_start
        previous_action[starts_episode, 0] = NO_ACTION
        previous_reward[starts_episode, 0] = 0.0
    leaves = [stored[rows[:, 1:]] for stored in storage.observations]
    if padded:
        padding = ~valid
        previous_action[padding] = NO_ACTION
        zeroed: list[NDArray[Any]] = [previous_reward, action, reward, flags, *leaves]
        for array in zeroed:
            array[padding] = 0
    return Steps(Inputs(spec.build(leaves), previous_action, previous_reward), action, reward, flags)


def gather_batch(
    storage: StepStorage,
    spec: ObservationSpec,
    runs: Runs,
    keys: NDArray[np.int64],
    importance_weights: NDArray[np.float32],
    state: Tree,
) -> Batch:
    """The batch of the sequences whose rows are at ``runs``."""
    prefix = gather(storage, spec, runs.env, runs.episode_start, runs.first, runs.prefix_length)
    start = runs.first + runs.prefix_length
    unroll = gather(storage, spec, runs.env, runs.episode_start, start, runs.unroll_length)
    return Batch(
        keys=keys,
        importance_weights=importance_weights,
        state=state,
        prefix=prefix.inputs,
        prefix_length=runs.prefix_length.astype(np.int32),
        unroll=unroll.inputs,
        unroll_length=runs.unroll_length.astype(np.int32),
        train_length=runs.train_length.astype(np.int32),
        action=unroll.action,
        reward=unroll.reward,
        terminated=(unroll.flags & TERMINATED) != 0,
        truncated=(unroll.flags & TRUNCATED) != 0,
    )
