"""What `SequenceReplay.sample` hands out, and how it is gathered from the rows."""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import past_caches, trees
from r2d2.replay.gather import copy_observations, copy_steps, keys_and_weights, runs_of
from r2d2.replay.memory import Block, Layout, ReusedMemory
from r2d2.replay.records import PREFIX_LENGTH, UNROLL_LENGTH
from r2d2.replay.reuse import ReusedBatches, SharedMemory
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.spaces import ObservationSpec
from r2d2.replay.storage import StepStorage
from r2d2.replay.trees import Tree
from r2d2.replay.two_threads import in_two


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


_OF_STEPS, _OF_UNROLL, _PREFIX = 2, 6, 13
"""Places in the layout of a batch, see `BatchGatherer._make_layout`: of what `copy_steps` writes, of the part of it
that is the unrolls' alone, and of the prefixes' observations."""


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
        self._unroll_at = _PREFIX + len(spec.leaves)
        self._states_at = self._unroll_at + len(spec.leaves)
        self._memory = ReusedMemory()
        self._batches = ReusedBatches(trees.is_of_tuples(spec.tree) and trees.is_of_tuples(state_example))
        self._layout = lru_cache(maxsize=4096)(self._make_layout)

    def batch(
        self, storage: StepStorage, table: SequenceTable, slots: NDArray[np.int64], importance_exponent: float = 0.0
    ) -> Batch:
        """The sequences in ``slots`` (int64[B]), with importance weights for ``importance_exponent``."""
        runs, longest_prefix, longest_unroll = runs_of(table.entries, slots)
        memory = self._batches.take(self._layout(len(slots), longest_prefix, longest_unroll))
        arrays, tree = memory.arrays, table.tree
        self._copy(storage, runs, memory.block, longest_prefix, longest_unroll)
        keys_and_weights(table.entries, tree.nodes, len(table), importance_exponent, slots, arrays[0], arrays[1])
        for stored, out in zip(table.states, arrays[self._states_at :], strict=True):
            stored.take(slots, axis=0, out=out, mode="clip")
        batch = self._make_batch(arrays)
        batch.memory = memory
        return batch

    def inputs(self, storage: StepStorage, runs: NDArray[np.int64]) -> Inputs:
        """What the network reads in the prefixes of ``runs`` (see `r2d2.replay.gather`), ``[B, F, ...]``."""
        runs = runs.copy()
        runs[UNROLL_LENGTH] = 0
        longest = int(runs[PREFIX_LENGTH].max())
        arrays = self._memory.arrays(self._layout(runs.shape[1], longest, 0))
        self._copy(storage, runs, Block.of(arrays), longest, 0)
        return Inputs(self._spec.build(arrays[_PREFIX : self._unroll_at]), *arrays[_OF_STEPS : _OF_STEPS + 2])

    def _copy(self, storage: StepStorage, runs: NDArray[np.int64], block: Block, prefix: int, unroll: int) -> None:
        """Everything of the steps, for the longest ``prefix`` and ``unroll``."""
        (memory, starts), rows = block, storage.rows_per_env
        of_steps = starts[_OF_STEPS:_PREFIX]
        copy_steps(storage.action, storage.reward, storage.flags, rows, runs, memory, of_steps, prefix, unroll)
        for leaf, ring in enumerate(storage.observation_bytes):
            places = starts[_PREFIX + leaf], starts[self._unroll_at + leaf]
            row_bytes, batch = storage.row_bytes[leaf], runs.shape[1]
            nbytes = batch * (prefix + unroll) * row_bytes
            where = (memory, places[0], prefix, places[1], unroll, nbytes >= past_caches.LEAST_BYTES)
            in_two(partial(copy_observations, ring, row_bytes, rows, runs, *where), batch, nbytes)

    def _make_batch(self, arrays: list[NDArray[Any]]) -> Batch:
        keys, weights, *previous = arrays[:_OF_UNROLL]
        action, reward, terminated, truncated, prefix_length, train_length, unroll_length = arrays[_OF_UNROLL:_PREFIX]
        state, unroll = trees.build(self._state_example, arrays[self._states_at :]), self._unroll_at
        return Batch._make(
            (
                keys,
                weights,
                state,
                Inputs(self._spec.build(arrays[_PREFIX:unroll]), previous[0], previous[1]),
                prefix_length,
                Inputs(self._spec.build(arrays[unroll : self._states_at]), previous[2], previous[3]),
                unroll_length,
                train_length,
                action,
                reward,
                terminated,
                truncated,
            )
        )

    def _make_layout(self, batch: int, prefix: int, unroll: int) -> Layout:
        """Keys, importance weights; what `copy_steps` writes; observations of the prefixes, of the unrolls; states."""
        whole, real, flag = np.dtype(np.int32), np.dtype(np.float32), np.dtype(np.bool_)
        return Layout.of(
            [
                ((batch,), np.dtype(np.int64)),
                ((batch,), real),
                *[((batch, width), dtype) for width in (prefix, unroll) for dtype in (whole, real)],
                *[((batch, unroll), dtype) for dtype in (whole, real, flag, flag)],
                *[((batch,), whole)] * 3,
                *[
                    ((batch, width, *leaf.shape), leaf.dtype)
                    for width in (prefix, unroll)
                    for leaf in self._spec.leaves
                ],
                *[((batch, *leaf.shape), leaf.dtype) for leaf in self._states],
            ]
        )
