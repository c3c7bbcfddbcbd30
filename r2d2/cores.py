"""The recurrent part of a network as a pure function of inputs and state, whatever Keras layer it is made of."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from r2d2.lstm import can_compile, unroll_lstm

State = tuple[Any, ...]
"""Recurrent states of all layers in order, each ``[batch, ...]``; of one LSTM ``(h, c)``."""


class Core:
    """One or several Keras recurrent layers, each reading the outputs of the one before.

    Args:
        layers: layers made with ``return_sequences=True`` and ``return_state=True``, not ``stateful`` (the state
            is handed in and out) and not bidirectional (a step cannot depend on later ones).

    Raises:
        ValueError: a layer is made otherwise; the message names it and what to change.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        if not layers:
            raise ValueError("core must hold at least one recurrent layer")
        for layer in layers:
            _check_layer(layer)
        self.layers = list(layers)

    def build(self, features: int) -> None:
        """Create the weights for inputs of ``features`` values."""
        for layer in self.layers:
            shape = (None, None, features)
            if not layer.built:
                layer.build(shape)
            features = layer.compute_output_shape(shape)[0][-1]
        self.output_features = features
        """Width of the outputs."""

    def initial_state(self, batch_size: Any) -> State:
        """The state before an episode's first step, for ``batch_size`` rows."""
        return tuple(part for layer in self.layers for part in tf.nest.flatten(layer.get_initial_state(batch_size)))

    def unroll(self, inputs: Any, state: State, lengths: Any = None, with_gradient: bool = True) -> tuple[Any, State]:
        """Run all steps.

        Args:
            inputs: float32[batch, time, features], right-padded if ``lengths`` are given.
            state: before the first step.
            lengths: int32[batch], steps of each row, 0 to time; default: all.
            with_gradient: False for none, which is faster.

        Returns:
            Outputs float32[batch, time, output_features] (beyond a row's length: anything), and the state of each
            row after its last step; of a row without steps, the state it came with.
        """
        new_state: list[Any] = []
        parts = list(state)
        for layer in self.layers:
            template = layer.get_initial_state(1)
            count = len(tf.nest.flatten(template))
            own, parts = parts[:count], parts[count:]
            if can_compile(layer):
                inputs, after = unroll_lstm(layer, inputs, (own[0], own[1]), lengths, with_gradient)
            else:
                inputs, after = _unroll_layer(layer, inputs, tf.nest.pack_sequence_as(template, own), lengths)
            new_state.extend(after)
        if not with_gradient:
            inputs, new_state = tf.stop_gradient(inputs), [tf.stop_gradient(part) for part in new_state]
        return inputs, tuple(new_state)


def _unroll_layer(layer: Any, inputs: Any, state: Any, lengths: Any) -> tuple[Any, State]:
    # Keras layers pass masks on no more, so the mask is handed over. It holds the state at a masked step.
    # cuDNN refuses a row that is masked from its first step on: such a row runs one step, which is then not counted.
    mask = None if lengths is None else tf.sequence_mask(tf.maximum(lengths, 1), tf.shape(inputs)[1])
    outputs, *after = layer(inputs, initial_state=state, mask=mask, training=False)
    new_state = tf.nest.flatten(after)
    if lengths is not None:
        new_state = [
            tf.where(tf.reshape(lengths > 0, [-1] + [1] * (len(new.shape) - 1)), new, old)
            for new, old in zip(new_state, tf.nest.flatten(state), strict=True)
        ]
    return outputs, tuple(new_state)


def _check_layer(layer: Any) -> None:
    name = f"core layer {getattr(layer, 'name', layer)!r}"
    if not isinstance(layer, keras.layers.RNN):
        raise ValueError(f"{name} is a {type(layer).__name__}, must be a keras.layers.RNN such as LSTM or GRU")
    for option, wanted in (("return_sequences", True), ("return_state", True), ("stateful", False)):
        if bool(getattr(layer, option)) is not wanted:
            raise ValueError(f"{name} has {option}={not wanted}, must be made with {option}={wanted}")
    if layer.go_backwards:
        raise ValueError(f"{name} has go_backwards=True, must be made with go_backwards=False")


def make_core(kind: str, units: Sequence[int]) -> list[Any]:
    """Keras layers of a ``kind`` ("lstm" or "gru"), one for each of ``units``, for `Core`."""
    makers = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
    if kind not in makers:
        raise ValueError(f"core={kind!r} must be one of {sorted(makers)}")
    return [makers[kind](n, return_sequences=True, return_state=True) for n in units]
