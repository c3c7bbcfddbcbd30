"""The steps of a Keras LSTM layer, run by TensorFlow's fused kernel where that is the faster way.

On a CPU, `keras.layers.LSTM` is a loop of small operations whose overhead outweighs the arithmetic of small
layers; `BlockLSTMV2` runs all steps forward in one operation, and the gradient here needs a smaller loop. The weights
stay those of the Keras layer, in its order of gates (input, forget, cell, output).
"""

from typing import Any

import keras
import tensorflow as tf

MOST_UNITS = 96
"""Wider layers are left to Keras: their arithmetic outweighs the overhead (measured at 64 and at 128 units)."""


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
    """The fused kernel forward, time-major, and its gradient.

    The gradient is written here for two reasons. TensorFlow registers the gradient kernel of the first `BlockLSTM`
    for `BlockLSTMV2` too, which has its gates in another order: what automatic differentiation gives there is wrong
    (seen in TensorFlow 2.21). And the kernel's own gradient forms the product for the weights step by step, where one
    product over all steps does; only what a step hands to the one before it needs a loop.
    """
    unused_peephole = tf.zeros_like(bias[: bias.shape[0] // 4])
    run = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.cast(tf.shape(inputs)[0], tf.int64),
        x=inputs,
        cs_prev=cell,
        h_prev=hidden,
        w=weights,
        wci=unused_peephole,
        wcf=unused_peephole,
        wco=unused_peephole,
        b=bias,
        cell_clip=0.0,
        use_peephole=False,
    )

    def gradient(hidden_gradient: Any, cell_gradient: Any) -> tuple[Any, ...]:
        units = run.f.shape[-1]
        gates, first_hidden, first_cell = _gate_gradients(run, cell, weights[-units:], hidden_gradient, cell_gradient)
        flat = tf.reshape(gates, [-1, 4 * units])
        before = tf.concat([hidden[None], run.h[:-1]], axis=0)
        read = tf.reshape(tf.concat([inputs, before], axis=-1), [-1, weights.shape[0]])
        return (
            tf.reshape(tf.matmul(flat, weights[:-units], transpose_b=True), tf.shape(inputs)),
            first_hidden,
            first_cell,
            tf.matmul(read, flat, transpose_a=True),
            tf.reduce_sum(flat, axis=0),
        )

    return (run.h, run.cs), gradient


def _gate_gradients(run: Any, cell: Any, recurrent: Any, hidden_gradient: Any, cell_gradient: Any) -> tuple[Any, ...]:
    """Gradients of the gates before their activations, float32[time, batch, 4 units], and of ``h`` and ``c`` at first.

    ``run`` holds the gates after their activations (i, f, o, ci), the cells ``cs`` and ``co = tanh(cs)``.
    """
    units = run.f.shape[-1]
    # All that needs no recursion is done for all steps at once: how a gate moves its cell, or its output.
    before = tf.concat([cell[None], run.cs[:-1]], axis=0)
    of_gates = [
        run.ci * run.i * (1.0 - run.i),
        before * run.f * (1.0 - run.f),
        run.i * (1.0 - run.ci * run.ci),
        run.co * run.o * (1.0 - run.o),
    ]
    through_output = run.o * (1.0 - run.co * run.co)
    sizes = [units] * 4 + [4 * units]
    # One array and one look-up a step: the loop's cost is its operations, not their size.
    steps = tf.concat([hidden_gradient, cell_gradient, through_output, run.f, *of_gates], axis=-1)
    time = tf.shape(steps)[0]
    rows = tf.TensorArray(tf.float32, size=time).unstack(steps)

    def step_back(t: Any, of_hidden: Any, of_cell: Any, gates: Any) -> tuple[Any, ...]:
        given_hidden, given_cell, through, forget, inner = tf.split(rows.read(t), sizes, axis=-1)
        of_hidden = given_hidden + of_hidden
        of_cell = given_cell + of_cell + of_hidden * through
        of_step = tf.concat([of_cell, of_cell, of_cell, of_hidden], axis=-1) * inner
        return t - 1, tf.matmul(of_step, recurrent, transpose_b=True), of_cell * forget, gates.write(t, of_step)

    nothing = tf.zeros_like(cell)
    _, first_hidden, first_cell, gates = tf.while_loop(
        lambda t, *_: t >= 0,
        step_back,
        (time - 1, nothing, nothing, tf.TensorArray(tf.float32, size=time, element_shape=[None, 4 * units])),
        parallel_iterations=1,
    )
    return gates.stack(), first_hidden, first_cell
