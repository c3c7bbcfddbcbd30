"""The least that a replay in NumPy can be: steps held once in rings, sequences copied by slices into a kept batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared
from agents.benchmarks.replay_data import (
    EPISODE,
    IMPORTANCE_EXPONENT,
    PERIOD,
    PRIORITY_EXPONENT,
    ROWS,
    Profile,
    Sequence,
    Steps,
)
from agents.benchmarks.replay_measures import prepare_replay
from agents.benchmarks.replay_sequences import split

_STARTS = np.arange(0, EPISODE + 2 - ROWS, PERIOD)
"""First rows of an episode's sequences: all have ROWS rows."""


class NumpyRing:
    """See `agents.benchmarks.replay_measures.Replay`. Holds episodes of EPISODE steps; an open one is not drawn."""

    prioritized = True

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        self._batch_size = profile.batch
        self._episodes = max(2, capacity // (num_envs * EPISODE))
        rows = (num_envs, self._episodes * (EPISODE + 1))
        self._fields: list[NDArray[Any]] = [
            np.zeros((*rows, *profile.shape), profile.dtype),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.uint8),
        ]
        self._states = np.zeros((2, num_envs, self._episodes * (EPISODE // PERIOD), profile.units), np.float32)
        self._weights = np.zeros((num_envs, self._episodes, len(_STARTS)))
        self._sums: NDArray[np.float64] | None = None
        self._kept = [np.zeros((profile.batch, ROWS, *field.shape[2:]), field.dtype) for field in self._fields]
        self._kept_states = np.zeros((2, profile.batch, profile.units), np.float32)
        self._chosen = np.zeros(profile.batch, np.int64)
        self._rng = np.random.default_rng(0)
        self._step = self._episode = self._complete = 0

    @property
    def nbytes(self) -> int:
        return sum(field.nbytes for field in self._fields) + self._states.nbytes + self._weights.nbytes

    @property
    def num_steps(self) -> int:
        return self._complete * len(self._weights) * EPISODE

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        for part in split(chunk, one_by_one=one_by_one):
            self._add(part)

    def sample(self) -> tuple[list[NDArray[Any]], NDArray[np.float32], NDArray[np.float64]]:
        if self._sums is None:
            self._sums = np.cumsum(self._weights)
        sums = self._sums
        places = (np.arange(self._batch_size) + self._rng.random(self._batch_size)) / self._batch_size
        self._chosen = np.searchsorted(sums, places * sums[-1], side="right")
        env, episode, start = np.unravel_index(self._chosen, self._weights.shape)
        first = episode * (EPISODE + 1) + start * PERIOD
        for place, (e, row) in enumerate(zip(env.tolist(), first.tolist(), strict=True)):
            for kept, field in zip(self._kept, self._fields, strict=True):
                kept[place] = field[e, row : row + ROWS]
        np.take(
            self._states.reshape(2, -1, self._states.shape[-1]),
            env * self._states.shape[2] + episode * (EPISODE // PERIOD) + start,
            axis=1,
            out=self._kept_states,
            mode="clip",
        )
        weights = self._weights.reshape(-1)[self._chosen] ** -IMPORTANCE_EXPONENT
        return self._kept, self._kept_states, weights / weights.max()

    def sequences(self, batch: Any) -> list[Sequence]:
        (observation, action, reward, _), (hidden, cell), _ = batch
        return [Sequence(*fields) for fields in zip(observation, action, reward, hidden, cell, strict=True)]

    def sampled(self) -> NDArray[np.int64]:
        return self._chosen

    def everything(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._weights)

    def set_priorities(self, names: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        self._weights.reshape(-1)[names] = priorities**PRIORITY_EXPONENT
        self._sums = None

    def _add(self, chunk: Steps) -> None:
        if self._step == 0:  # the episode that is overwritten from now on
            self._weights[:, self._episode] = 0.0
            self._sums = None
        first = self._episode * (EPISODE + 1) + self._step
        after = first + len(chunk.reward)
        observation, action, reward, flags = self._fields
        observation[:, first:after] = chunk.observation.swapaxes(0, 1)
        action[:, first:after] = chunk.action.T
        reward[:, first:after] = chunk.reward.T
        if self._step % PERIOD == 0:
            place = self._episode * (EPISODE // PERIOD) + self._step // PERIOD
            self._states[0, :, place], self._states[1, :, place] = chunk.hidden[0], chunk.cell[0]
        self._step += len(chunk.reward)
        if chunk.ends:
            observation[:, after] = chunk.final_observation  # in every round at the same rows, with action and reward 0
            flags[:, after - 1] = 2
            self._weights[:, self._episode] = 1.0
            self._step, self._episode = 0, (self._episode + 1) % self._episodes
            self._complete = min(self._complete + 1, self._episodes)


def prepare(profile: str, capacity: int | None, seconds: float) -> Prepared:
    """See `prepare_replay`."""
    return prepare_replay(
        NumpyRing,
        profile=profile,
        capacity=capacity,
        seconds=seconds,
        note="the least that works: no check of what comes in, whole episodes in lockstep only",
    )
