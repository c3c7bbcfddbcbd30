"""Acting: one compiled call of the network for all environments, and the choice of actions."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.compiled import CompiledFunction
from r2d2.network import RecurrentQNetwork
from r2d2.replay import NO_ACTION, Inputs
from r2d2.stateful import StatefulNetwork


class Actor:
    """Follows ``num_envs`` episodes: recurrent states, previous actions and previous rewards.

    Args:
        network: shared with whoever trains it; new weights count from the next step on.
        num_envs: environments acted in together.
    """

    def __init__(self, network: RecurrentQNetwork, num_envs: int) -> None:
        self._view = StatefulNetwork(network, num_envs)
        self._previous_action = np.full(num_envs, NO_ACTION, np.int32)
        self._previous_reward = np.zeros(num_envs, np.float32)
        leaves = [tf.TensorSpec([num_envs, *leaf.shape], leaf.dtype) for leaf in network.observation_spec.leaves]
        self._compiled = CompiledFunction(
            self._step,
            network.observation_spec.build(leaves),
            tf.TensorSpec([num_envs], tf.int32),
            tf.TensorSpec([num_envs], tf.float32),
            tf.TensorSpec([num_envs], tf.bool),
        )

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
        self._previous_action[first] = NO_ACTION
        self._previous_reward[first] = 0.0
        q_values, state = self._compiled(observation, self._previous_action, self._previous_reward, first)
        return q_values.numpy(), tuple(part.numpy() for part in state)

    def took(self, action: NDArray[Any], reward: NDArray[Any]) -> None:
        """Remember the action indices taken and the rewards that followed, each ``[N]``, for the next step's input."""
        self._previous_action[:] = action
        self._previous_reward[:] = reward

    def _step(self, observation: Any, previous_action: Any, previous_reward: Any, first: Any) -> Any:
        self._view.reset(first)
        before = self._view.state_tensors()
        inputs = Inputs(
            tf.nest.map_structure(lambda leaf: leaf[:, None], observation),
            previous_action[:, None],
            previous_reward[:, None],
        )
        return self._view(inputs)[:, 0], before


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
