"""Acting: one call of the network for all environments, and the choice of actions."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.compiled import CompiledFunction
from r2d2.network import RecurrentQNetwork
from r2d2.numpy_step import NumpyStep, can_step
from r2d2.replay import NO_ACTION, Inputs


class Actor:
    """Follows ``num_envs`` episodes: recurrent states, previous actions and previous rewards.

    Args:
        network: whose weights are taken over now and at every `refresh`.
        num_envs: environments acted in together.
    """

    def __init__(self, network: RecurrentQNetwork, num_envs: int) -> None:
        self._previous_action = np.full(num_envs, NO_ACTION, np.int32)
        self._previous_reward = np.zeros(num_envs, np.float32)
        self._initial = tuple(part.numpy() for part in network.initial_state(num_envs))
        self._state = tuple(part.copy() for part in self._initial)
        self._run = NumpyStep(network) if can_step(network) else CompiledStep(network)

    def refresh(self) -> None:
        """Act with the weights that the network has now."""
        self._run.refresh()

    def q_values(self, observation: Any, first: NDArray[np.bool_]) -> tuple[NDArray[np.float32], tuple[Any, ...]]:
        """Read one observation of every environment. N: ``num_envs``.

        Args:
            observation: leaves ``[N, ...]`` at the dtypes of their space.
            first: bool[N], rows whose observation starts an episode: their state, previous action and previous
                reward are reset before it is read.

        Returns:
            Q-values float32[N, num_actions], and the recurrent states before the observations were read, which is
            what the replay stores, arrays ``[N, ...]``.
        """
        if first.any():
            self._previous_action[first] = NO_ACTION
            self._previous_reward[first] = 0.0
            for part, initial in zip(self._state, self._initial, strict=True):
                part[first] = initial[first]
        before = self._state
        q_values, self._state = self._run(observation, self._previous_action, self._previous_reward, before)
        return q_values, before

    def took(self, action: NDArray[Any], reward: NDArray[Any]) -> None:
        """Remember the action indices taken and the rewards that followed, each ``[N]``, for the next step's input."""
        self._previous_action[:] = action
        self._previous_reward[:] = reward


class CompiledStep:
    """One step of any network, as a compiled function that always has the network's present weights."""

    def __init__(self, network: RecurrentQNetwork) -> None:
        one_step = Inputs(
            network.observation_spec.build(
                [tf.TensorSpec([None, *leaf.shape], leaf.dtype) for leaf in network.observation_spec.leaves]
            ),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
        )
        self._network = network
        self._compiled = CompiledFunction(self._step, one_step, network.state_signature)

    def refresh(self) -> None:
        """Nothing to do."""

    def __call__(self, observation: Any, previous_action: Any, previous_reward: Any, state: Any) -> Any:
        """As `NumpyStep`."""
        q_values, new_state = self._compiled(Inputs(observation, previous_action, previous_reward), state)
        return q_values.numpy(), tuple(np.array(part) for part in new_state)

    def _step(self, inputs: Inputs, state: Any) -> Any:
        q_values, new_state = self._network.unroll(tf.nest.map_structure(lambda leaf: leaf[:, None], inputs), state)
        return q_values[:, 0], new_state


def epsilon_ladder(num_envs: int, base: float, spread: float) -> NDArray[np.float64]:
    """Actors' epsilons ``base ** (1 + spread * i / (N - 1))``, float64[N] (Horgan et al. 2018, section 4.1)."""
    place = np.arange(num_envs) / max(1, num_envs - 1)
    return np.asarray(base ** (1.0 + spread * place), np.float64)


def epsilon_greedy(
    q_values: NDArray[np.float32], epsilon: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Action indices int64[N]: the best of ``q_values`` [N, A], or with probability ``epsilon`` [N] any."""
    n, num_actions = q_values.shape
    explore = rng.random(n) < epsilon
    return np.where(explore, rng.integers(num_actions, size=n), q_values.argmax(axis=1))
