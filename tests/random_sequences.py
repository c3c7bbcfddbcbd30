"""Networks with random weights and batches of random sequences, for tests of what must hold for all of them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from r2d2.network import RecurrentQNetwork
from r2d2.replay import NO_ACTION, Batch, Inputs

FEATURES, NUM_ACTIONS = 3, 4
OBSERVATIONS = spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)
ACTIONS = spaces.Discrete(NUM_ACTIONS)
RETURNING = {"return_sequences": True, "return_state": True}

CORES: dict[str, Callable[[], dict[str, Any]]] = {
    "lstm": lambda: {"core": "lstm", "core_units": (6,)},
    "lstm_left_to_keras": lambda: {"core": keras.layers.LSTM(6, use_bias=False, **RETURNING)},
    "gru": lambda: {"core": "gru", "core_units": (6,)},
    "stacked_lstm": lambda: {"core": "lstm", "core_units": (6, 5)},
    "lstm_then_gru": lambda: {"core": [keras.layers.LSTM(5, **RETURNING), keras.layers.GRU(6, **RETURNING)]},
    "rnn_of_stacked_cells": lambda: {
        "core": keras.layers.RNN([keras.layers.LSTMCell(5), keras.layers.GRUCell(4)], **RETURNING)
    },
    "simple_rnn": lambda: {"core": keras.layers.SimpleRNN(6, **RETURNING)},
}
"""Options of a network for each kind of core; made anew by each call, because layers belong to one network."""


def random_network(seed: int = 0, observation_space: Any = OBSERVATIONS, **options: Any) -> RecurrentQNetwork:
    """A small network with `randomize`d weights that multiplies rewards by 0.7."""
    small: dict[str, Any] = {"torso_units": 8, "core_units": (6,)}
    network = RecurrentQNetwork(observation_space, ACTIONS, **(small | options))
    randomize(network, seed)
    network.reward_scale.assign(0.7)
    return network


def randomize(network: Any, seed: int) -> None:
    """Weights far from zero, biases too: a state that is slightly wrong then shows in the Q-values."""
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0.0, 0.5, variable.shape))


def random_inputs(rng: np.random.Generator, batch: int, time: int) -> Inputs:
    return Inputs(
        rng.normal(size=(batch, time, FEATURES)).astype(np.float32),
        rng.integers(NO_ACTION, NUM_ACTIONS, (batch, time)).astype(np.int32),
        rng.normal(size=(batch, time)).astype(np.float32),
    )


def random_state(rng: np.random.Generator, network: RecurrentQNetwork, batch: int) -> tuple[np.ndarray, ...]:
    return tuple(rng.normal(0, 0.5, (batch, *part.shape)).astype(np.float32) for part in network.state_example)


def steps_of(inputs: Inputs, rows: Any, times: Any) -> Inputs:
    """The rows and the times asked for, both slices."""
    return tf.nest.map_structure(lambda leaf: leaf[rows, times], inputs)


def random_batch(
    network: RecurrentQNetwork,
    seed: int,
    prefix_lengths: Sequence[int],
    unroll_lengths: Sequence[int],
    *,
    train_length: int,
    n_step: int,
    garbage: float | None = None,
) -> Batch:
    """Sequences of these lengths. The same seed gives the same steps, whatever is in the padding.

    An unroll shorter than ``train_length + n_step`` ends its episode, every second one by termination.

    Args:
        garbage: size of what padded rows hold; None for the replay's own padding.
    """
    rng, size = np.random.default_rng(seed), len(prefix_lengths)
    prefix_length, unroll_length = np.array(prefix_lengths, np.int32), np.array(unroll_lengths, np.int32)
    assert unroll_length.max() <= train_length + n_step
    f, w = int(prefix_length.max()), int(unroll_length.max())
    terminated, truncated = np.zeros((size, w), np.bool_), np.zeros((size, w), np.bool_)
    for row, length in enumerate(unroll_lengths):
        if length < train_length + n_step:
            (truncated if row % 2 else terminated)[row, length - 2] = True
    batch = Batch(
        keys=np.arange(100, 100 + size),
        importance_weights=rng.uniform(0.2, 1.0, size).astype(np.float32),
        state=random_state(rng, network, size),
        prefix=random_inputs(rng, size, f),
        prefix_length=prefix_length,
        unroll=random_inputs(rng, size, w),
        unroll_length=unroll_length,
        train_length=np.minimum(train_length, unroll_length - 1).astype(np.int32),
        action=rng.integers(0, NUM_ACTIONS, (size, w)).astype(np.int32),
        reward=rng.normal(size=(size, w)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
    )
    in_prefix = np.arange(f) >= prefix_length[:, None]
    in_unroll = np.arange(w) >= unroll_length[:, None]
    _fill(batch.prefix, in_prefix, garbage, rng)
    _fill(batch.unroll, in_unroll, garbage, rng)
    if garbage is None:
        batch.action[in_unroll] = 0
        batch.reward[in_unroll] = 0.0
    else:
        batch.reward[in_unroll] *= garbage
        batch.terminated[in_unroll] = rng.integers(0, 2, int(in_unroll.sum())) == 1
    return batch


def _fill(inputs: Inputs, padding: np.ndarray, garbage: float | None, rng: np.random.Generator) -> None:
    if garbage is None:
        inputs.observation[padding] = 0.0
        inputs.previous_action[padding] = NO_ACTION
        inputs.previous_reward[padding] = 0.0
    else:
        inputs.observation[padding] *= garbage
        inputs.previous_reward[padding] *= garbage
        inputs.previous_action[padding] = rng.integers(0, NUM_ACTIONS, int(padding.sum()))


def as_tensors(tree: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, tree)
