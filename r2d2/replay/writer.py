"""Writes steps: rows to the storage, sequences and their recurrent states to the table."""

import numpy as np
from numpy.typing import NDArray

from r2d2.replay.geometry import SequenceGeometry
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.steps import Steps
from r2d2.replay.storage import StepStorage
from r2d2.replay.write_steps import NO_SLOT, SLOT_MASK, Open, Written, end_episodes, write_steps

_ALL = np.empty(0, np.bool_)


class SequenceWriter:
    """Follows the open episode of each environment.

    Args:
        geometry: lengths of the sequences.
        storage: of rows.
        table: of sequences.
    """

    def __init__(self, geometry: SequenceGeometry, storage: StepStorage, table: SequenceTable) -> None:
        self._lengths = (geometry.burn_in, geometry.train_length, geometry.period, geometry.n_step)
        self._storage = storage
        self._table = table
        n = storage.num_envs
        self.step = np.zeros(n, np.int64)
        """Steps of the open episode, 0 between episodes."""
        self.episode_start = np.zeros(n, np.int64)
        """Position of the open episode's first step."""
        self.slots = np.full((n, geometry.most_open), NO_SLOT, np.int64)
        """Where in the table the states of the sequences begun and not complete are; see `Open`."""
        self._open = Open(self.step, self.episode_start, self.slots)
        # A step may take two rows, and what is written at once may not lap itself.
        self._most = n * max(1, storage.rows_per_env // 2 - 1)

    def write(self, steps: Steps, priorities: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Write T steps of every environment.

        Args:
            steps: ``[T * num_envs]``, those of one time after the other.
            priorities: float64[num_envs] of the sequences complete by them; default: the largest there was.

        Returns:
            Keys of these sequences, int64[n], in the order of their completion.
        """
        table, count = self._table, len(steps.action)
        weights = table.weights_of(priorities)
        active = _ALL if steps.active is None else steps.active
        written: list[Written] = []
        while not written or written[-1].end < count:
            begin = written[-1].end if written else 0
            end = min(count, begin + self._most)
            written.append(
                write_steps(
                    self._lengths,
                    self._storage.rings,
                    table.slots,
                    self._open,
                    begin,
                    end,
                    steps.action,
                    steps.reward,
                    steps.terminated,
                    steps.truncated,
                    active,
                    weights,
                )
            )
            self._copy(written[-1], steps, sum(len(each.final_rows) for each in written[:-1]))
            if written[-1].end < end:
                table.grow()
        keys = written[0].keys if len(written) == 1 else np.concatenate([each.keys for each in written])
        if priorities is not None and len(keys):
            table.has_seen(priorities[table.columns[0, keys & SLOT_MASK]])
        return keys

    def _copy(self, written: Written, steps: Steps, finals_before: int) -> None:
        """What the compiled loop leaves to be copied: arrays whose number and dtypes are the spaces'."""
        everything = len(written.rows) == len(steps.action)
        new = steps.observations if everything else [leaf[written.steps] for leaf in steps.observations]
        self._storage.put_observations(written.rows, new)
        if len(written.final_rows):
            these = slice(finals_before, finals_before + len(written.final_rows))
            self._storage.put_observations(written.final_rows, [final[these] for final in steps.finals])
        if len(written.begun):
            # Of a slot that was taken, freed and taken again, the last state stays.
            for kept, state in zip(self._table.states, steps.states, strict=True):
                kept[written.begun] = state[written.begun_at]

    def end_episodes(self, envs: NDArray[np.int64], finals: list[NDArray]) -> NDArray[np.int64]:
        """End the open episodes of ``envs`` (int64[n]) as truncated; keys of the sequences complete by that.

        Args:
            envs: environments with an open episode.
            finals: leaves ``[n, ...]`` of the final observations.
        """
        weight = self._table.weights_of(None)[0]
        rows, keys = end_episodes(
            self._lengths, self._storage.rings, self._table.slots, self._open, envs, float(weight)
        )
        self._storage.put_observations(rows, finals)
        return keys
