"""From steps to sequences: which stored state to keep when, and when a sequence is complete.

The writer only obeys `SequenceGeometry`: at a step where a sequence may begin it keeps the recurrent state,
and when the last row of that sequence has been written, or its episode has ended, it says so.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay.geometry import SequenceGeometry, Window


class Opened(NamedTuple):
    """A sequence that has begun and is not complete: its number in the episode, and the leaves of its stored state."""

    number: int
    state: list[NDArray[Any]]


class Completed(NamedTuple):
    """A sequence whose rows are all written."""

    env: int
    episode_start: int
    """Position of the episode's first step."""
    window: Window
    state: list[NDArray[Any]]


class SequenceWriter:
    """Follows the open episode of each of ``num_envs`` environments."""

    def __init__(self, geometry: SequenceGeometry, num_envs: int) -> None:
        self._geometry = geometry
        self.step = np.zeros(num_envs, np.int64)
        """Steps of the open episode, 0 between episodes."""
        self.episode_start = np.zeros(num_envs, np.int64)
        """Position of the open episode's first step."""
        self.opened: list[deque[Opened]] = [deque() for _ in range(num_envs)]

    def begin_steps(self, envs: NDArray[np.int64], position: NDArray[np.int64], state: list[NDArray[Any]]) -> None:
        """Before the next step of ``envs`` is written at ``position``: keep the states that sequences start from.

        Args:
            envs: int64[n]
            position: int64[n], where the step's row will be.
            state: leaves ``[num_envs, ...]``, the recurrent states before the step's observation was read.
        """
        g = self._geometry
        step = self.step[envs]
        at_start = step == 0
        self.episode_start[envs[at_start]] = position[at_start]
        for env in envs[at_start | ((step + g.burn_in) % g.period == 0)].tolist():
            kept = [leaf[env].copy() for leaf in state]
            for number in g.sequences_starting_at(int(self.step[env])):
                self.opened[env].append(Opened(number, kept))

    def end_steps(self, envs: NDArray[np.int64], ended: NDArray[np.bool_]) -> list[Completed]:
        """After the step of ``envs`` is written: the sequences complete by it; ``ended`` (bool[n]) ends episodes."""
        g = self._geometry
        step = self.step[envs]
        self.step[envs] = step + 1
        rows = step + 1 - g.unroll_rows
        due = ~ended & (rows >= 0) & (rows % g.period == 0)
        completed: list[Completed] = []
        for env in envs[due | ended].tolist():
            completed.extend(self._finish(env) if ended[envs == env][0] else self._complete_one(env))
        return completed

    def add_run(
        self, env: int, position: int, rows: NDArray[np.int64], state: list[NDArray[Any]], ended: bool
    ) -> list[tuple[int, Completed]]:
        """Steps of ``env`` that follow each other in one episode: the same as beginning and ending each.

        Args:
            env: an environment.
            position: where the first step's row is.
            rows: int64[n], where in ``state`` the steps are.
            state: leaves of the recurrent states.
            ended: whether the last step ends the episode.

        Returns:
            The sequences complete by these steps, each with the number from ``rows`` of the step that completed it.
        """
        g = self._geometry
        first = int(self.step[env])
        end = first + len(rows)
        if first == 0:
            self.episode_start[env] = position
        opening = range(first + (-(first + g.burn_in)) % g.period, end, g.period)
        for step in opening if first or 0 in opening else (0, *opening):
            kept = [leaf[rows[step - first]].copy() for leaf in state]
            for number in g.sequences_starting_at(step):
                self.opened[env].append(Opened(number, kept))
        completed: list[tuple[int, Completed]] = []
        soonest = max(first, g.unroll_rows - 1)
        for step in range(soonest + (g.unroll_rows - 1 - soonest) % g.period, end - ended, g.period):
            self.step[env] = step + 1
            completed += [(int(rows[step - first]), each) for each in self._complete_one(env)]
        self.step[env] = end
        if ended:
            completed += [(int(rows[-1]), each) for each in self._finish(env)]
        return completed

    def end_episode(self, env: int) -> list[Completed]:
        """End the open episode after the steps it has; the sequences that this completes."""
        return self._finish(env)

    def _complete_one(self, env: int) -> list[Completed]:
        number = self._geometry.sequence_completed_by(int(self.step[env]) - 1)
        opened = self.opened[env].popleft()
        assert opened.number == number, "sequences complete in the order in which they began"
        return [Completed(env, int(self.episode_start[env]), self._geometry.window(opened.number), opened.state)]

    def _finish(self, env: int) -> list[Completed]:
        length, start = int(self.step[env]), int(self.episode_start[env])
        count = self._geometry.sequence_count(length)
        completed = [
            Completed(env, start, self._geometry.window(opened.number, length), opened.state)
            for opened in self.opened[env]
            if opened.number < count
        ]
        self.opened[env].clear()
        self.step[env] = 0
        return completed
