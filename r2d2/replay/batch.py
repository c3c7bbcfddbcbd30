"""What `SequenceReplay.sample` hands out, and how it is gathered from the rows."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.gather import PREFIX_LENGTH, UNROLL_LENGTH, copy_observations, copy_steps, runs_of
from r2d2.replay.memory import Layout, ReusedMemory
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.spaces import ObservationSpec
from r2d2.replay.storage import StepStorage
from r2d2.replay.trees import Tree


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


class BatchGatherer:
    """Copies sequences out of the rows, into memory that is used again once a batch is gone.

    Args:
        spec: of observations.
        state_example: tree of arrays, the recurrent state of one row.
    """

    def __init__(self, spec: ObservationSpec, state_example: Tree) -> None:
        self._spec = spec
        self._state_example = state_example
        self._states = [np.asarray(leaf) for leaf in trees.leaves(state_example)]
        self._memory = ReusedMemory()
        self._layout = lru_cache(maxsize=4096)(self._make_layout)

    def batch(self, storage: StepStorage, table: SequenceTable, slots: NDArray[np.int64]) -> Batch:
        """The sequences in ``slots`` (int64[B]); all importance weights are 1."""
        runs, longest_prefix, longest_unroll = runs_of(table.columns, slots)
        arrays = self._memory.arrays(self._layout(len(slots), longest_prefix, longest_unroll))
        keys, weights, *steps = arrays[:13]
        count = len(storage.observations)
        prefix, unroll, state = arrays[13 : 13 + count], arrays[13 + count : 13 + 2 * count], arrays[13 + 2 * count :]
        table.keys.take(slots, out=keys, mode="clip")
        weights.fill(1.0)
        for ring, of_prefix, of_unroll in zip(storage.observations, prefix, unroll, strict=True):
            copy_observations(ring, storage.rows_per_env, runs, of_prefix, of_unroll)
        copy_steps(storage.action, storage.reward, storage.flags, storage.rows_per_env, runs, *steps)
        for stored, out in zip(table.states, state, strict=True):
            stored.take(slots, axis=0, out=out, mode="clip")
        return Batch(
            keys=keys,
            importance_weights=weights,
            state=trees.build(self._state_example, state),
            prefix=Inputs(self._spec.build(prefix), steps[0], steps[1]),
            prefix_length=steps[8],
            unroll=Inputs(self._spec.build(unroll), steps[2], steps[3]),
            unroll_length=steps[10],
            train_length=steps[9],
            action=steps[4],
            reward=steps[5],
            terminated=steps[6],
            truncated=steps[7],
        )

    def inputs(self, storage: StepStorage, runs: NDArray[np.int64]) -> Inputs:
        """What the network reads in the prefixes of ``runs`` (see `r2d2.replay.gather`), ``[B, F, ...]``."""
        runs = runs.copy()
        runs[UNROLL_LENGTH] = 0
        arrays = self._memory.arrays(self._layout(runs.shape[1], int(runs[PREFIX_LENGTH].max()), 0))
        steps, count = arrays[2:13], len(storage.observations)
        observations = arrays[13 : 13 + count]
        for ring, prefix, unroll in zip(storage.observations, observations, arrays[13 + count :], strict=False):
            copy_observations(ring, storage.rows_per_env, runs, prefix, unroll)
        copy_steps(storage.action, storage.reward, storage.flags, storage.rows_per_env, runs, *steps)
        return Inputs(self._spec.build(observations), steps[0], steps[1])

    def _make_layout(self, batch: int, prefix: int, unroll: int) -> Layout:
        """Keys, importance weights, what `copy_steps` writes, observations of prefix and unroll, states."""

        def of(width: int, *dtypes: Any) -> list[Any]:
            return [((batch, width), np.dtype(dtype)) for dtype in dtypes]

        leaves = self._spec.leaves
        return Layout.of(
            [
                ((batch,), np.dtype(np.int64)),
                ((batch,), np.dtype(np.float32)),
                *of(prefix, np.int32, np.float32),
                *of(unroll, np.int32, np.float32, np.int32, np.float32, np.bool_, np.bool_),
                *[((batch,), np.dtype(np.int32))] * 3,
                *[((batch, prefix, *leaf.shape), leaf.dtype) for leaf in leaves],
                *[((batch, unroll, *leaf.shape), leaf.dtype) for leaf in leaves],
                *[((batch, *leaf.shape), leaf.dtype) for leaf in self._states],
            ]
        )
