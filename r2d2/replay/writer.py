"""Writes steps: rows to the storage, sequences and their recurrent states to the table."""

import numpy as np
from numpy.typing import NDArray

from r2d2.replay.geometry import SequenceGeometry
from r2d2.replay.records import ENV, NO_SLOT, SLOT_MASK
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.steps import Steps
from r2d2.replay.storage import StepStorage
from r2d2.replay.write_steps import Open, Plan, end_episodes, write_steps

MOST_STEPS = 4096
"""That are written at once, so that the plans kept for the next ones stay small."""


class SequenceWriter:
    """Follows the open episode of each environment.

    Args:
        geometry: lengths of the sequences.
        storage: of rows.
        table: of sequences.
    """

    def __init__(self, geometry: SequenceGeometry, storage: StepStorage, table: SequenceTable) -> None:
        self._lengths = geometry.lengths
        self._storage = storage
        self._table = table
        n = storage.num_envs
        self.step = np.zeros(n, np.int64)
        """Steps of the open episode, 0 between episodes."""
        self.episode_start = np.zeros(n, np.int64)
        """Position of the open episode's first step."""
        self.slots = np.full((n, geometry.most_open), NO_SLOT, np.int64)
        """Where in the table the states of the sequences begun and not complete are; see `Open`."""
        self.writes = 0
        """Begun and not ended; between two calls, those that an interrupt has cut short."""
        self.quiet = np.zeros(n, np.int64)
        """See `Open`."""
        self._open = tuple(Open(self.step, self.episode_start, self.slots, self.quiet))
        # A step may take two rows, and what is written at once may not lap itself.
        self._most = n * max(1, min(storage.rows_per_env // 2 - 1, MOST_STEPS // n))
        # All sequences whose burn-in reaches back to an episode's first step begin with it.
        self._most_begun = 1 + geometry.burn_in // geometry.period
        self._plan = Plan.of(0, 0)

    def write(self, steps: Steps, priorities: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Write T steps of every environment.

        Args:
            steps: ``[T * num_envs]``, those of one time after the other.
            priorities: float64[num_envs] of the sequences complete by the steps; default: the largest there was.

        Returns:
            Keys of these sequences, int64[n], in the order of their completion.
        """
        storage, table, count = self._storage, self._table, steps.size
        weights = table.weights_of(priorities)
        # What may fail for want of memory comes before anything is changed.
        plan = self._room_for(min(count, self._most), len(steps.kept))
        own = (steps.block, steps.kept, steps.in_place, weights, plan.of_steps, plan.of_begun)
        keys: list[NDArray[np.int64]] = []
        ended = written_to = 0
        while written_to < count:
            end = min(count, written_to + self._most)
            self.writes += 1
            written_to, active, ends, begun, complete = write_steps(
                self._lengths, storage.rings, tuple(table.slots), self._open, written_to, end, *own
            )
            storage.put_observations(plan.rows, steps.observations, plan.steps, active)
            if ends:
                storage.put_observations(plan.final_rows, steps.finals, np.arange(ended, ended + ends), ends)
                ended += ends
            if begun:
                table.put_states(plan.begun, steps.states, plan.begun_with, begun)
            self.writes -= 1
            keys.append(plan.keys[:complete].copy())
            if written_to < end:
                table.grow()
        of_all = keys[0] if len(keys) == 1 else np.concatenate(keys)
        if priorities is not None and len(of_all):
            table.has_seen(priorities[table.entries[of_all & SLOT_MASK, ENV]])
        return of_all

    def _room_for(self, steps: int, kept: int) -> Plan:
        """A plan with room for so many steps, of which at most ``kept`` have states that are kept."""
        complete, begun, plan = steps + self.slots.size, min(steps, kept) * self._most_begun, self._plan
        if len(plan.rows) < complete or len(plan.begun) < begun:
            self._plan = plan = Plan.of(max(complete, len(plan.rows)), max(begun, len(plan.begun)))
        return plan

    def end_episodes(self, envs: NDArray[np.int64], finals: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
        """End the open episodes of ``envs`` (int64[n]) as truncated; keys of the sequences complete by that.

        Args:
            envs: environments with an open episode.
            finals: bytes of the leaves of the final observations.
        """
        weight = float(self._table.weights_of(None)[0])
        numbers = np.arange(len(envs))
        self.writes += 1
        rows, keys = end_episodes(
            self._lengths, self._storage.rings, tuple(self._table.slots), self._open, envs, weight
        )
        self._storage.put_observations(rows, finals, numbers, len(numbers))
        self.writes -= 1
        return keys
