"""One step of a small network in NumPy: what acting needs, without the price of a call into TensorFlow.

At one step of a few environments nearly all time of a compiled call is the call. The arithmetic here is that of
`RecurrentQNetwork.unroll` for one step; what it cannot do, such as convolutions, is left to TensorFlow.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from r2d2.cores import State
from r2d2.network import RecurrentQNetwork
from r2d2.replay import trees

Array = NDArray[np.float32]


def can_step(network: RecurrentQNetwork) -> bool:
    """Whether `NumpyStep` computes the same as ``network``: vectors and one-hot values in, LSTM layers, dense heads."""
    return network.torso.is_dense and all(_is_standard_lstm(layer) for layer in network.core_layers)


class NumpyStep:
    """A copy of a network's weights, and one step with them.

    Args:
        network: for which `can_step` holds.
    """

    def __init__(self, network: RecurrentQNetwork) -> None:
        self._network = network
        self._readers = [_reader(space) for space in network.torso.spaces]
        self._one_hot = np.eye(network.num_actions + 1, network.num_actions, dtype=np.float32)  # the last: no action
        self.refresh()

    def refresh(self) -> None:
        """Take over the network's weights as they are now."""
        network = self._network
        self._torso = _dense(network.torso.dense)
        self._cells = [tuple(variable.numpy() for variable in layer.weights) for layer in network.core_layers]
        self._hidden = [_dense(layer) for layer in network.hidden]
        self._advantage = _dense(network.advantage)
        self._value = None if network.value is None else _dense(network.value)
        self._reward_scale = network.reward_scale.numpy()

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
            outputs, cell = _lstm_step(weights, outputs, *state[2 * number : 2 * number + 2])
            new_state += [outputs, cell]
        return self._head(outputs), tuple(new_state)

    def _head(self, outputs: Array) -> Array:
        hidden = [np.maximum(_apply(layer, outputs), 0) for layer in self._hidden] or [outputs]
        advantage = _apply(self._advantage, hidden[-1])
        if self._value is None:
            return advantage
        return _apply(self._value, hidden[0]) + advantage - advantage.mean(axis=1, keepdims=True)


def _is_standard_lstm(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.LSTM
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not layer.dropout
        and not layer.recurrent_dropout
        and layer.compute_dtype == "float32"
    )


def _dense(layer: Any) -> tuple[Array, Array]:
    return layer.kernel.numpy(), layer.bias.numpy()


def _apply(layer: tuple[Array, Array], inputs: Array) -> Array:
    return inputs @ layer[0] + layer[1]


def _lstm_step(weights: tuple[Array, ...], inputs: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Hidden and cell states after a step; Keras's order of gates: input, forget, cell, output."""
    kernel, recurrent, bias = weights
    gates = inputs @ kernel
    gates += hidden @ recurrent
    gates += bias
    units = hidden.shape[1]
    candidate = np.tanh(gates[:, 2 * units : 3 * units])
    np.negative(gates, out=gates)
    np.exp(gates, out=gates)  # infinite for a gate that is shut: its sigmoid is zero
    gates += 1.0
    np.reciprocal(gates, out=gates)
    new_cell = gates[:, units : 2 * units] * cell
    new_cell += gates[:, :units] * candidate
    return gates[:, 3 * units :] * np.tanh(new_cell), new_cell


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
