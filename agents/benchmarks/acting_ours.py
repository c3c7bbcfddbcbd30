"""`agents.acting.Actor` as a subject of the acting benchmark, used as `agents.training` uses it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.acting import Actor, epsilon_greedy
from agents.benchmarks.acting_work import EPSILON, UNITS, prepare_acting
from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_ours import network, set_weights
from agents.benchmarks.recurrent_work import weights


class Ours:
    """See `agents.benchmarks.acting_work.Acting`."""

    def __init__(self, num_envs: int) -> None:
        shared = network(UNITS)
        set_weights(shared, weights(UNITS))
        self._actor = Actor(shared, num_envs)
        self._epsilon = np.full(num_envs, EPSILON)
        self._reward = np.zeros(num_envs)
        self._rng = np.random.default_rng(0)

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        return self._actor.q_values(observation, first)

    def refresh(self) -> None:
        """Take over the network's weights, as training does before it acts again after an update."""
        self._actor.refresh()

    def step(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> None:
        q_values, _ = self._actor.q_values(observation, first)
        self._actor.took(epsilon_greedy(q_values, self._epsilon, self._rng), self._reward)


def prepare(num_envs: int, seconds: float) -> Prepared:
    """See `prepare_acting`."""
    subject = Ours(num_envs)
    microseconds = 1e6 * seconds_per_call(subject.refresh, seconds)
    note = f"takes over the weights once after an update, not at every step; that takes {microseconds:.0f} us"
    return prepare_acting(subject, num_envs, seconds, note=note)
