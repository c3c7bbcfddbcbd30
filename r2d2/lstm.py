"""The steps of a Keras LSTM layer, run by TensorFlow's fused kernel where that is the faster way.

On a CPU, `keras.layers.LSTM` is a loop of small operations whose overhead outweighs the arithmetic of small
layers; `BlockLSTMV2` runs all steps, forward and backward, in one operation each. The weights stay those of the
Keras layer, in its order of gates (input, forget, cell, output).
"""

from typing import Any

import keras
import tensorflow as tf

MOST_UNITS = 96
"""Above this width the kernel's weight gradient, one small product a step, costs more than the loop."""


def can_fuse(layer: Any) -> bool:
    """Whether `fused_lstm` computes the same as calling ``layer``, and faster on this machine."""
    return (
        type(layer) is keras.layers.LSTM
        and layer.units <= MOST_UNITS
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not layer.dropout
        and not layer.recurrent_dropout
        and not layer.go_backwards
        and layer.compute_dtype == "float32"
        and not tf.config.list_physical_devices("GPU")
    )


def fused_lstm(layer: Any, inputs: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
    """Hidden and cell states after each step.

    Args:
        layer: a built `keras.layers.LSTM` for which `can_fuse` holds.
        inputs: float32[batch, time, features], time at least 1.
        state: ``(h, c)``, each float32[batch, units].

    Returns:
        ``h`` and ``c`` after each step, each float32[time, batch, units].
    """
    hidden, cell = state
    inputs = tf.transpose(inputs, [1, 0, 2])
    unused_peephole = tf.zeros([layer.units])
    result = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.cast(tf.shape(inputs)[0], tf.int64),
        x=inputs,
        cs_prev=cell,
        h_prev=hidden,
        w=tf.concat([layer.cell.kernel, layer.cell.recurrent_kernel], axis=0),
        wci=unused_peephole,
        wcf=unused_peephole,
        wco=unused_peephole,
        b=tf.convert_to_tensor(layer.cell.bias),
        cell_clip=0.0,
        use_peephole=False,
    )
    return result.h, result.cs
