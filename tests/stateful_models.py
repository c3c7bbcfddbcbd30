"""Keras models with stateful layers of every kind, and comparisons of their states."""

import keras
import numpy as np
from keras import layers

from r2d2.keras_states import reset_states

BATCH, FEATURES = 3, 2


def model_of(*parts, batch=BATCH):
    return keras.Sequential([keras.Input(batch_shape=(batch, None, FEATURES)), *parts, layers.Dense(2)])


def lstm_model(batch=BATCH, name="memory"):
    return model_of(layers.LSTM(4, stateful=True, return_sequences=True, name=name), batch=batch)


def functional_model(batch=BATCH):
    steps = keras.Input(batch_shape=(batch, None, FEATURES))
    one = layers.GRU(3, stateful=True, return_sequences=True, name="left")(steps)
    other = layers.SimpleRNN(4, stateful=True, return_sequences=True, name="right")(steps)
    return keras.Model(steps, layers.Dense(2)(layers.Concatenate()([one, other])))


def nested_model(batch=BATCH):
    return model_of(
        keras.Sequential([layers.LSTM(4, stateful=True, return_sequences=True, name="memory")]),
        layers.LSTM(5, stateful=True, return_sequences=True, name="memory"),
        batch=batch,
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.cores = [layers.GRU(3, stateful=True, return_sequences=True) for _ in range(2)]
        self.named = {"head": keras.Sequential([layers.LSTM(4, stateful=True, return_sequences=True)])}

    def call(self, steps):
        for core in self.cores:
            steps = core(steps)
        return self.named["head"](steps)


def subclassed_model(batch=BATCH):
    model = Subclassed()
    model(np.zeros((batch, 1, FEATURES), np.float32))
    reset_states(model)
    return model


def stacked_cells(batch=BATCH):
    cells = [layers.LSTMCell(4), layers.GRUCell(5), layers.SimpleRNNCell(3)]
    return model_of(layers.RNN(cells, stateful=True, return_sequences=True), batch=batch)


def one_cell(batch=BATCH):
    return model_of(layers.RNN(layers.GRUCell(5), stateful=True, return_sequences=True), batch=batch)


def bidirectional(batch=BATCH):
    return model_of(
        layers.Bidirectional(layers.LSTM(3, stateful=True, return_sequences=True)),
        batch=batch,
    )


def conv_lstm(batch=BATCH):
    return model_of(
        layers.Reshape((-1, FEATURES, 1)),
        layers.ConvLSTM1D(2, 1, stateful=True, return_sequences=True),
        layers.TimeDistributed(layers.Flatten()),
        batch=batch,
    )


CAUSAL = [lstm_model, functional_model, nested_model, subclassed_model, stacked_cells, one_cell, conv_lstm]
MODELS = [*CAUSAL, bidirectional]


def steps(number, seed=0, batch=BATCH):
    return np.random.default_rng(seed).normal(size=(batch, number, FEATURES)).astype(np.float32)


def parts_of(states):
    return [part for parts in states.values() for part in parts]


def assert_same(states, others, rows=slice(None)):
    assert list(states) == list(others)
    for part, other in zip(parts_of(states), parts_of(others), strict=True):
        np.testing.assert_array_equal(part[rows], other[rows])


def assert_close(states, others):
    for part, other in zip(parts_of(states), parts_of(others), strict=True):
        np.testing.assert_allclose(part, other, atol=1e-6)
