"""What `SequenceReplay.sample` hands out, and how it is gathered from the rows."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.gather import PREFIX_LENGTH, UNROLL_LENGTH, copy_observations, copy_steps, runs_of
from r2d2.replay.memory import Layout, ReusedMemory
from r2d2.replay.reuse import ReusedBatches, SharedMemory
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


class _Batch(NamedTuple):
    """Fields of `Batch`."""

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


class Batch(_Batch):
    """Sequences sampled together. B: batch, F: longest prefix and W: longest unroll among them.

    Rows at and beyond a sequence's ``prefix_length`` or ``unroll_length`` are padding: zero everywhere, and
    `NO_ACTION` as previous action. The picture of a sequence is in `r2d2.replay.geometry`.
    """

    memory: SharedMemory | None = None
    """Of a batch as the replay made it; none of one put together otherwise, by ``_replace`` for example."""

    def __getstate__(self) -> None:
        """A copy, or what is read from a file, lies in memory of its own."""


_PREFIX = 9
"""Place of the prefixes' arrays in the layout of a batch; see `BatchGatherer._make_layout`."""


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
        self._batches = ReusedBatches()
        self._layout = lru_cache(maxsize=4096)(self._make_layout)

    def batch(self, storage: StepStorage, table: SequenceTable, slots: NDArray[np.int64]) -> Batch:
        """The sequences in ``slots`` (int64[B]); all importance weights are 1."""
        runs, longest_prefix, longest_unroll = runs_of(table.columns, slots)
        memory = self._batches.take(self._layout(len(slots), longest_prefix, longest_unroll))
        arrays = memory.arrays
        self._copy(storage, runs, arrays)
        table.keys.take(slots, out=arrays[0], mode="clip")
        arrays[1].fill(1.0)
        for stored, out in zip(table.states, arrays[len(arrays) - len(table.states) :], strict=True):
            stored.take(slots, axis=0, out=out, mode="clip")
        batch = self._make_batch(arrays)
        batch.memory = memory
        return batch

    def inputs(self, storage: StepStorage, runs: NDArray[np.int64]) -> Inputs:
        """What the network reads in the prefixes of ``runs`` (see `r2d2.replay.gather`), ``[B, F, ...]``."""
        runs = runs.copy()
        runs[UNROLL_LENGTH] = 0
        arrays = self._memory.arrays(self._layout(runs.shape[1], int(runs[PREFIX_LENGTH].max()), 0))
        self._copy(storage, runs, arrays)
        return self._inputs(arrays, 0)

    def _copy(self, storage: StepStorage, runs: NDArray[np.int64], arrays: list[NDArray[Any]]) -> None:
        """All but the keys, the importance weights and the states."""
        leaves = len(storage.observations)
        unroll = _PREFIX + leaves + 2
        previous = *arrays[unroll - 2 : unroll], *arrays[unroll + leaves : unroll + leaves + 2]
        copy_steps(
            storage.action, storage.reward, storage.flags, storage.rows_per_env, runs, *previous, *arrays[2:_PREFIX]
        )
        for leaf, ring in enumerate(storage.observations):
            copy_observations(ring, storage.rows_per_env, runs, arrays[_PREFIX + leaf], arrays[unroll + leaf])

    def _inputs(self, arrays: list[NDArray[Any]], number: int) -> Inputs:
        """Of the prefixes (0) or the unrolls (1)."""
        leaves = len(self._spec.leaves)
        first = _PREFIX + number * (leaves + 2)
        return Inputs(self._spec.build(arrays[first : first + leaves]), *arrays[first + leaves : first + leaves + 2])

    def _make_batch(self, arrays: list[NDArray[Any]]) -> Batch:
        keys, weights, action, reward, terminated, truncated, prefix_length, train_length, unroll_length = arrays[:9]
        return Batch(
            keys=keys,
            importance_weights=weights,
            state=trees.build(self._state_example, arrays[len(arrays) - len(self._states) :]),
            prefix=self._inputs(arrays, 0),
            prefix_length=prefix_length,
            unroll=self._inputs(arrays, 1),
            unroll_length=unroll_length,
            train_length=train_length,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
        )

    def _make_layout(self, batch: int, prefix: int, unroll: int) -> Layout:
        """Keys, importance weights; of the unrolls' steps action, reward, terminated, truncated; the three lengths;
        observations, previous actions and rewards of the prefixes, then of the unrolls; states."""

        def inputs(width: int) -> list[Any]:
            observations = [((batch, width, *leaf.shape), leaf.dtype) for leaf in self._spec.leaves]
            return [*observations, ((batch, width), np.dtype(np.int32)), ((batch, width), np.dtype(np.float32))]

        return Layout.of(
            [
                ((batch,), np.dtype(np.int64)),
                ((batch,), np.dtype(np.float32)),
                *[((batch, unroll), np.dtype(dtype)) for dtype in (np.int32, np.float32, np.bool_, np.bool_)],
                *[((batch,), np.dtype(np.int32))] * 3,
                *inputs(prefix),
                *inputs(unroll),
                *[((batch, *leaf.shape), leaf.dtype) for leaf in self._states],
            ]
        )
