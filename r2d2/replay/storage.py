"""Rows of steps, each held once: one ring of rows for each environment.

A row is a step (observation, action, reward, flags) or an episode's final observation. The rows of one
environment follow each other in time, so a sequence is a run of rows of one ring. Positions count the rows
of an environment since the beginning and never wrap; row numbers are where they lie in memory.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r2d2.replay.memory import aligned_zeros
from r2d2.replay.records import FINAL
from r2d2.replay.rows import copy_rows
from r2d2.replay.spaces import ActionSpec, ObservationSpec
from r2d2.replay.write_steps import Rings


class StepStorage:
    """Rings of ``rows_per_env`` rows for ``num_envs`` environments.

    Args:
        observations: leaves of an observation.
        actions: held as action indices.
        num_envs: number of rings.
        rows_per_env: rows of each ring.
    """

    def __init__(self, observations: ObservationSpec, actions: ActionSpec, num_envs: int, rows_per_env: int) -> None:
        self.num_envs = num_envs
        self.rows_per_env = rows_per_env
        rows = num_envs * rows_per_env
        self.observations = [aligned_zeros((rows, *leaf.shape), leaf.dtype) for leaf in observations.leaves]
        self.observation_bytes = [ring.reshape(-1).view(np.uint8) for ring in self.observations]
        """The same memory."""
        self.row_bytes = [math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in observations.leaves]
        """Bytes of one observation."""
        self.action = np.zeros(rows, actions.index_dtype)
        self.action_count = actions.count
        self.reward = np.zeros(rows, np.float32)
        self.flags = np.zeros(rows, np.uint8)
        """See `r2d2.replay.records`."""
        self.position = np.zeros(num_envs, np.int64)
        """Rows written to each ring since the beginning."""
        self.rings = tuple(Rings(self.action, self.reward, self.flags, self.position))
        """The same arrays, for compiled code."""

    @staticmethod
    def bytes_per_row(observations: ObservationSpec, actions: ActionSpec) -> int:
        """Bytes of one row."""
        leaves = sum(leaf.dtype.itemsize * math.prod(leaf.shape) for leaf in observations.leaves)
        return leaves + actions.index_dtype.itemsize + np.dtype(np.float32).itemsize + 1

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, used or not."""
        return sum(a.nbytes for a in (*self.observations, self.action, self.reward, self.flags))

    def rows(self, envs: NDArray[Any], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of ``positions`` in the rings of ``envs`` (broadcast against each other)."""
        return envs * self.rows_per_env + positions % self.rows_per_env

    def put_observations(
        self, rows: NDArray[np.int64], observations: list[NDArray[np.uint8]], numbers: NDArray[np.int64], count: int
    ) -> None:
        """Write the first ``count`` of the observations ``numbers`` (int64[n]) to the first of ``rows`` (int64[n]).

        ``observations``: bytes of their leaves, uint8[all].
        """
        for leaf, new in enumerate(observations):
            copy_rows(self.observation_bytes[leaf], rows, new, numbers, count, self.row_bytes[leaf])

    def oldest_position(self) -> NDArray[np.int64]:
        """The oldest position still held in each ring, int64[num_envs]."""
        return np.maximum(self.position - self.rows_per_env, 0)

    def num_steps(self) -> int:
        """Steps held; final observations are not steps."""
        held = np.minimum(self.position, self.rows_per_env)
        flags = self.flags.reshape(self.num_envs, -1)
        finals = sum(int(np.count_nonzero(flags[env, : held[env]] & FINAL)) for env in range(self.num_envs))
        return int(held.sum()) - finals
