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
    inputs = tf.transpose(inputs, [1, 0, 2])
    kernel = layer.cell.kernel
    if inputs.shape[-1] % 2:  # the kernel's products are slow, and it says so, when rows and features are odd
        inputs = tf.pad(inputs, [[0, 0], [0, 0], [0, 1]])
        kernel = tf.pad(kernel, [[0, 1], [0, 0]])
    weights = tf.concat([kernel, layer.cell.recurrent_kernel], axis=0)
    bias = tf.convert_to_tensor(layer.cell.bias)
    hidden, cell = _block_lstm(inputs, *state, weights, bias)
    return hidden, cell


@tf.custom_gradient
def _block_lstm(inputs: Any, hidden: Any, cell: Any, weights: Any, bias: Any) -> Any:
    """The kernel with its own gradient.

    TensorFlow registers the gradient kernel of the first `BlockLSTM` for `BlockLSTMV2` too, which has its gates in
    another order: what automatic differentiation gives there is wrong (seen in TensorFlow 2.21).
    """
    unused_peephole = tf.zeros_like(bias[: bias.shape[0] // 4])
    arguments = {
        "seq_len_max": tf.cast(tf.shape(inputs)[0], tf.int64),
        "x": inputs,
        "cs_prev": cell,
        "h_prev": hidden,
        "w": weights,
        "wci": unused_peephole,
        "wcf": unused_peephole,
        "wco": unused_peephole,
        "b": bias,
        "use_peephole": False,
    }
    run = tf.raw_ops.BlockLSTMV2(**arguments, cell_clip=0.0)

    def gradient(hidden_gradient: Any, cell_gradient: Any) -> tuple[Any, ...]:
        back = tf.raw_ops.BlockLSTMGradV2(**arguments, **run._asdict(), h_grad=hidden_gradient, cs_grad=cell_gradient)
        return back.x_grad, back.h_prev_grad, back.cs_prev_grad, back.w_grad, back.b_grad

    return (run.h, run.cs), gradient
