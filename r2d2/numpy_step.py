"""One step of a small network on NumPy arrays: what acting needs, without the price of a call into TensorFlow.

At one step of a few environments nearly all time of a compiled call is the call. The arithmetic here is that of
`RecurrentQNetwork.unroll` for one step; what it cannot do, such as convolutions, is left to TensorFlow. Its products
are those of `r2d2.tiles`, in one thread: NumPy's own, of a few rows, spend more on waking others than on the sums.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces
from numpy.typing import NDArray

from r2d2.cores import State
from r2d2.lstm import is_standard
from r2d2.lstm_kernel import dense, one_step
from r2d2.network import RecurrentQNetwork
from r2d2.replay import trees
from r2d2.tiles import panels

Array = NDArray[np.float32]


def can_step(network: RecurrentQNetwork) -> bool:
    """Whether `NumpyStep` computes the same as ``network``: vectors and one-hot values in, LSTM layers, dense heads."""
    return network.torso.is_dense and all(is_standard(layer) for layer in network.core_layers)


class NumpyStep:
    """A copy of a network's weights, and one step with them.

    Args:
        network: for which `can_step` holds.
    """

    def __init__(self, network: RecurrentQNetwork) -> None:
        self._network = network
        self._readers = [_reader(space) for space in network.torso.spaces]
        self._one_hot = np.eye(network.num_actions + 1, network.num_actions, dtype=np.float32)  # the last: no action
        heads = [*network.hidden, network.advantage, *([] if network.value is None else [network.value])]
        layers = [network.torso.dense, *network.core_layers, *heads]
        variables = [network.reward_scale, *[variable for layer in layers for variable in layer.weights]]
        self._shapes = [tuple(variable.shape) for variable in variables]
        self._ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        # All in one piece: to read one variable after the other costs ten times as much.
        self._read = tf.function(
            lambda: tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)
        ).get_concrete_function()
        self.refresh()

    def refresh(self) -> None:
        """Take over the network's weights as they are now."""
        parts = np.split(self._read().numpy(), self._ends)
        arrays = (part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True))
        self._reward_scale = next(arrays)[()]
        self._torso = _dense(arrays)
        self._cells = [(panels(next(arrays)), panels(next(arrays)), next(arrays)) for _ in self._network.core_layers]
        self._hidden = [_dense(arrays) for _ in self._network.hidden]
        self._advantage = _dense(arrays)
        self._value = None if self._network.value is None else _dense(arrays)

    def __call__(
        self, observation: Any, previous_action: NDArray[np.int32], previous_reward: Array, state: State
    ) -> tuple[Array, State]:
        """Q-values float32[n, num_actions] and the new state, from leaves ``[n, ...]``, ``[n]`` and ``[n]``."""
        # As TensorFlow does: what overflows is infinite, without a word. The learner says when weights diverge.
        with np.errstate(all="ignore"):
            return self._step(observation, previous_action, previous_reward, state)

    def _step(
        self, observation: Any, previous_action: NDArray[np.int32], previous_reward: Array, state: State
    ) -> tuple[Array, State]:
        network = self._network
        leaves = trees.leaves_like(network.observation_spec.tree, observation, "observation")
        flat = [read(leaf) for read, leaf in zip(self._readers, leaves, strict=True)]
        parts = [np.maximum(_apply(self._torso, flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)), 0)]
        if network.read_previous_action:
            parts.append(self._one_hot[previous_action])
        if network.read_previous_reward:
            parts.append((previous_reward * self._reward_scale)[:, None])
        outputs = np.concatenate(parts, axis=1)
        new_state: list[Array] = []
        for number, weights in enumerate(self._cells):
            outputs, cell = one_step(outputs, *state[2 * number : 2 * number + 2], *weights)
            new_state += [outputs, cell]
        return self._head(outputs), tuple(new_state)

    def _head(self, outputs: Array) -> Array:
        hidden = [np.maximum(_apply(layer, outputs), 0) for layer in self._hidden] or [outputs]
        advantage = _apply(self._advantage, hidden[-1])
        if self._value is None:
            return advantage
        return _apply(self._value, hidden[0]) + advantage - advantage.mean(axis=1, keepdims=True)


def _dense(arrays: Iterator[Array]) -> tuple[Array, Array]:
    return panels(next(arrays)), next(arrays)


def _apply(layer: tuple[Array, Array], inputs: Array) -> Array:
    outputs: Array = dense(np.ascontiguousarray(inputs), *layer)
    return outputs


def _reader(space: Any) -> Callable[[Any], Array]:
    """One leaf as float32[n, width]: the same as the torso reads it."""
    if isinstance(space, spaces.Discrete):
        rows, start = np.eye(int(space.n), dtype=np.float32), int(space.start)
        return lambda leaf: rows[np.asarray(leaf, np.int64) - start]
    if isinstance(space, spaces.MultiDiscrete):
        sizes = np.asarray(space.nvec).reshape(-1)
        starts = np.asarray(space.start).reshape(-1) + np.zeros_like(sizes)
        tables = [np.eye(int(size), dtype=np.float32) for size in sizes]
        return lambda leaf: np.concatenate(
            [table[column] for table, column in zip(tables, (leaf.reshape(len(leaf), -1) - starts).T, strict=True)],
            axis=1,
        )
    scale = np.float32(1.0)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        scale = np.float32(max(1, abs(int(space.low.min())), abs(int(space.high.max()))))
    return lambda leaf: np.asarray(leaf).reshape(len(leaf), -1).astype(np.float32) / scale
