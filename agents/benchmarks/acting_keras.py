"""A Keras model called once a step, as subjects of the acting benchmark.

Compiled, with its states held by a stateful layer or passed from call to call; or by `model.predict`.
"""

from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from agents.acting import epsilon_greedy
from agents.benchmarks.acting_work import EPSILON, UNITS, prepare_acting
from agents.benchmarks.prepared import Prepared
from agents.benchmarks.recurrent_keras import KerasNetwork
from agents.benchmarks.recurrent_work import ACTIONS, FEATURES, weights

Kind = Literal["held", "passed", "predict"]


class _Keras:
    """What the three have in common; see `agents.benchmarks.acting_work.Acting`."""

    def __init__(self, num_envs: int) -> None:
        self._epsilon = np.full(num_envs, EPSILON)
        self._rng = np.random.default_rng(0)

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        raise NotImplementedError

    def step(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> None:
        epsilon_greedy(self.q_values(observation, first)[0], self._epsilon, self._rng)


class StatesPassed(_Keras):
    """A compiled function of observation and states; the states are kept outside it."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        network = KerasNetwork(weights(UNITS))
        self._state: Any = [tf.zeros((num_envs, UNITS))] * 2

        @tf.function
        def compiled(observation: Any, state: Any, first: Any) -> Any:
            state = [tf.where(first[:, None], 0.0, part) for part in state]
            q_values, after = network(observation[:, None], state)
            return q_values[:, 0], state, after

        self._compiled = compiled

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        q_values, before, self._state = self._compiled(tf.constant(observation), self._state, tf.constant(first))
        return q_values.numpy(), [part.numpy() for part in before]


class StatesHeld(_Keras):
    """A compiled model whose stateful LSTM holds the states."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        model, lstm = stateful_model(num_envs)

        @tf.function
        def compiled(observation: Any, first: Any) -> Any:
            for part in lstm.states:
                part.assign(tf.where(first[:, None], 0.0, part))
            before = [tf.identity(part) for part in lstm.states]
            return model(observation[:, None])[:, 0], before

        self._compiled = compiled

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        q_values, before = self._compiled(tf.constant(observation), tf.constant(first))
        return q_values.numpy(), [part.numpy() for part in before]


class Predict(_Keras):
    """`model.predict` of the stateful model: what many a tutorial does. Resets no row and hands out no states."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        self._model, _ = stateful_model(num_envs)
        self._num_envs = num_envs

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        return self._model.predict(observation[:, None], verbose=0, batch_size=self._num_envs)[:, 0], ()


def stateful_model(num_envs: int) -> tuple[Any, Any]:
    """The network as a Keras model with a stateful LSTM, and that LSTM."""
    inputs = keras.Input(batch_shape=(num_envs, 1, FEATURES))
    layers = (
        keras.layers.Dense(UNITS, activation="relu"),
        keras.layers.LSTM(UNITS, return_sequences=True, stateful=True),
        keras.layers.Dense(ACTIONS),
        keras.layers.Dense(1),
    )
    torso, lstm, advantage_layer, value_layer = layers
    outputs = lstm(torso(inputs))
    advantage = advantage_layer(outputs)
    q_values = value_layer(outputs) + advantage - keras.ops.mean(advantage, axis=-1, keepdims=True)
    for layer, own in zip(layers, weights(UNITS), strict=True):
        layer.set_weights(list(own))
    return keras.Model(inputs, q_values), lstm


def prepare(kind: Kind, num_envs: int, seconds: float) -> Prepared:
    """See `prepare_acting`."""
    kinds: dict[Kind, type[_Keras]] = {"held": StatesHeld, "passed": StatesPassed, "predict": Predict}
    return prepare_acting(kinds[kind](num_envs), num_envs, seconds, compared=kind != "predict")
