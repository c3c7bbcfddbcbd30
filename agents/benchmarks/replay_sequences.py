"""From steps to whole sequences, for replays that store those: the episode so far, and what has become complete."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.replay_data import EPISODE, PERIOD, ROWS, Profile, Steps

FIELDS = ("observation", "action", "reward", "flags", "hidden", "cell")
_TERMINATED = 2


class EpisodeSoFar:
    """Keeps the open episode of ``num_envs`` environments in lockstep, and cuts sequences out of it.

    A sequence of ROWS rows begins at every PERIOD-th step of an episode that has so many rows left; the last row of an
    episode is its final observation, with action and reward 0.
    """

    def __init__(self, profile: Profile, num_envs: int) -> None:
        rows = EPISODE + 1
        self._fields: dict[str, NDArray[Any]] = {
            "observation": np.zeros((num_envs, rows, *profile.shape), profile.dtype),
            "action": np.zeros((num_envs, rows), np.int32),
            "reward": np.zeros((num_envs, rows), np.float32),
            "flags": np.zeros((num_envs, rows), np.uint8),
        }
        self._states = np.zeros((2, num_envs, rows // PERIOD, profile.units), np.float32)
        self._length = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self._states.nbytes + sum(field.nbytes for field in self._fields.values())

    def add(self, chunk: Steps) -> Iterator[dict[str, NDArray[Any]]]:
        """Add steps; gives the sequences that they complete, fields ``[N, ROWS, ...]`` and states ``[N, units]``.

        What it gives is valid until the next call.
        """
        before, count = self._length, len(chunk.reward)
        after = before + count
        fields = self._fields
        fields["observation"][:, before:after] = chunk.observation.swapaxes(0, 1)
        fields["action"][:, before:after] = chunk.action.T
        fields["reward"][:, before:after] = chunk.reward.T
        fields["flags"][:, before:after] = 0
        for step in range(-(-before // PERIOD) * PERIOD, after, PERIOD):
            self._states[0, :, step // PERIOD] = chunk.hidden[step - before]
            self._states[1, :, step // PERIOD] = chunk.cell[step - before]
        if chunk.ends:
            fields["flags"][:, after - 1] = _TERMINATED
            fields["observation"][:, after] = chunk.final_observation
            for name in ("action", "reward", "flags"):
                fields[name][:, after] = 0
            after += 1
        for end in range(before + 1, after + 1):
            first = end - ROWS
            if first >= 0 and first % PERIOD == 0:
                hidden, cell = self._states[:, :, first // PERIOD]
                yield {**{name: field[:, first:end] for name, field in fields.items()}, "hidden": hidden, "cell": cell}
        self._length = 0 if chunk.ends else after


def split(chunk: Steps, *, one_by_one: bool) -> Iterator[Steps]:
    """The chunk as it is, or its steps one after the other."""
    if not one_by_one:
        yield chunk
        return
    last = len(chunk.reward) - 1
    for t in range(last + 1):
        yield Steps(
            chunk.observation[t : t + 1],
            chunk.action[t : t + 1],
            chunk.reward[t : t + 1],
            chunk.ends and t == last,
            chunk.hidden[t : t + 1],
            chunk.cell[t : t + 1],
            chunk.final_observation,
        )
