"""The network of `agents.benchmarks.recurrent_work` in plain Keras layers: a peer for learning and for acting."""

from typing import Any

import keras
import tensorflow as tf

from agents.benchmarks.recurrent_work import ACTIONS, FEATURES, Weights


class KerasNetwork:
    """Dense torso, `keras.layers.LSTM`, dueling head.

    Args:
        weights: what it starts with.
    """

    def __init__(self, weights: Weights) -> None:
        units = len(weights.torso[1])
        self.torso = keras.layers.Dense(units, activation="relu")
        self.lstm = keras.layers.LSTM(units, return_sequences=True, return_state=True)
        self.advantage = keras.layers.Dense(ACTIONS)
        self.value = keras.layers.Dense(1)
        layers = (self.torso, self.lstm, self.advantage, self.value)
        for layer, inputs, own in zip(layers, (FEATURES, units, units, units), weights, strict=True):
            layer.build((None, None, inputs))
            layer.set_weights(list(own))
        self.variables = [variable for layer in layers for variable in layer.trainable_variables]

    def __call__(self, observation: Any, state: Any) -> tuple[Any, list[Any]]:
        """Q-values [B, T, ACTIONS] of observations [B, T, FEATURES], and the state after them."""
        outputs, *after = self.lstm(self.torso(observation), initial_state=state)
        advantage = self.advantage(outputs)
        return self.value(outputs) + advantage - tf.reduce_mean(advantage, axis=-1, keepdims=True), after
