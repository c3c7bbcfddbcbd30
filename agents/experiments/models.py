"""The models of the articles: a dense layer, an LSTM or a stateful LSTM, below a softmax over the letters."""

from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from agents.experiments.results import Windows

Kind = Literal["dense", "LSTM", "stateful LSTM"]
Shape = tuple[int, int]
"""Time steps of an input, and features of a time step."""

UNITS = 16


def build_model(kind: Kind, *, batch_size: int, shape: Shape, classes: int, seed: int, jit_compile: bool = True) -> Any:
    """A compiled Keras model: Adam with its defaults, categorical cross-entropy.

    The dense layer reads all steps side by side (flattened). It has no activation: none is named in the articles, and
    with relu it would stay far below their figures.

    Args:
        kind: the layer of 16 units below the softmax.
        batch_size: that of every call; a stateful layer holds a state for each row.
        shape: of an input.
        classes: letters to tell apart.
        seed: of the weights, and of all that Keras, NumPy and Python draw from here on.
        jit_compile: whether `fit` is to use XLA. Keras by itself uses none on a machine without a GPU.

    Returns:
        A `keras.Sequential` from float32[batch_size, steps, features] to probabilities float32[batch_size, classes].
    """
    keras.utils.set_random_seed(seed)
    if kind == "dense":
        below = [keras.layers.Flatten(), keras.layers.Dense(UNITS)]
    else:
        below = [keras.layers.LSTM(UNITS, stateful=kind == "stateful LSTM")]
    model = keras.Sequential(
        [keras.Input(batch_shape=(batch_size, *shape)), *below, keras.layers.Dense(classes, activation="softmax")]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", jit_compile=jit_compile)
    return model


def samples(windows: Windows, shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What such a model is trained on: inputs float32[windows, steps, features], targets float32[windows, classes]."""
    targets = np.eye(windows.classes, dtype=np.float32)[windows.labels]
    return windows.inputs.reshape(-1, *shape), targets
