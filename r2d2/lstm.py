"""The steps of a Keras LSTM layer on a CPU: all of them in one compiled call, forward and backward.

`keras.layers.LSTM` on a CPU is a loop of small operations, in which each step lays the weights out anew for its
products, and whose gradient adds each step's share to that of the weights. Here `r2d2.lstm_kernel` lays them out once
and runs the steps, and the gradient of each weight is one product over all of them. The weights stay the layer's.
"""

from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.lstm_kernel import backward, forward
from r2d2.replay.memory import Layout, ReusedMemory
from r2d2.replay.two_threads import available_cores

_MOST_PARTS = 8
"""Each part lays the weights out for itself."""


def is_standard(layer: Any) -> bool:
    """Whether a Keras layer is an LSTM as the compiled kernels compute it: Keras's defaults, in float32."""
    return (
        type(layer) is keras.layers.LSTM
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not layer.dropout
        and not layer.recurrent_dropout
        and not layer.go_backwards
        and layer.compute_dtype == "float32"
    )


def can_compile(layer: Any) -> bool:
    """Whether `unroll_lstm` computes the same as calling ``layer``, and faster on this machine."""
    return is_standard(layer) and not tf.config.list_physical_devices("GPU")


def unroll_lstm(
    layer: Any, inputs: Any, state: tuple[Any, Any], lengths: Any = None, with_gradient: bool = True
) -> tuple[Any, tuple[Any, Any]]:
    """Outputs of all steps and the state after them.

    Args:
        layer: a built `keras.layers.LSTM` for which `can_compile` holds.
        inputs: float32[batch, time, features].
        state: ``(h, c)``, each float32[batch, units].
        lengths: int32[batch], steps of each row, 0 to time; default: all.
        with_gradient: False if nobody will ask for one: what it needs is then not kept.

    Returns:
        Outputs float32[batch, time, units] (beyond a row's length: its last), and each row's ``(h, c)`` after its last
        step.
    """
    if lengths is None:
        lengths = tf.fill(tf.shape(inputs)[:1], tf.shape(inputs)[1])
    weights = [tf.convert_to_tensor(w) for w in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)]
    read: Any = (inputs, *state, *weights, lengths)
    if with_gradient:
        outputs, *after = _steps(*read)
    else:
        outputs, _, _, *after = _run_steps(False, *read)
    return outputs, (after[0], after[1])


@tf.custom_gradient
def _steps(inputs: Any, hidden: Any, cell: Any, kernel: Any, recurrent: Any, bias: Any, lengths: Any) -> Any:
    outputs, cells, gates, *after = _run_steps(True, inputs, hidden, cell, kernel, recurrent, bias, lengths)

    def gradient(*of_results: Any) -> tuple[Any, ...]:
        of_outputs, of_hidden, of_cell = (tf.convert_to_tensor(each) for each in of_results)  # they may be sparse
        before = tf.concat([hidden[:, None][:, : tf.shape(outputs)[1]], outputs[:, :-1]], axis=1)
        rows = (inputs, before, cell, lengths, cells, gates, of_outputs, of_hidden, of_cell)
        parts = [_gradient_of_rows(kernel, recurrent, *part) for part in _parts(_cores(), rows)]
        of_rows, of_weights = [list(zip(*each, strict=True)) for each in zip(*parts, strict=True)]
        of_read = [
            tf.ensure_shape(part, like.shape)
            for part, like in zip(_joined(of_rows), (inputs, hidden, cell), strict=True)
        ]
        return (*of_read, *[tf.add_n(part) for part in of_weights], None)

    return (outputs, *after), gradient


def _run_steps(
    keep: bool, inputs: Any, hidden: Any, cell: Any, kernel: Any, recurrent: Any, bias: Any, lengths: Any
) -> list[Any]:
    """Outputs, cells and gates of all steps, and the state after them; without ``keep`` no cells and no gates."""
    units, (batch, time, _) = recurrent.shape[0], inputs.shape
    # The online and the target network run side by side, so that each has half of the cores.
    parts = _parts(max(1, _cores() // 2), (inputs, hidden, cell, lengths))
    results = [_call(_run if keep else _run_only, 5, *part, kernel, recurrent, bias) for part in parts]
    shapes = [[batch, time, units], [batch, None, units], [batch, None, 4 * units], [batch, units], [batch, units]]
    joined = _joined(list(zip(*results, strict=True)))
    return [tf.ensure_shape(result, shape) for result, shape in zip(joined, shapes, strict=True)]


def _cores() -> int:
    """How many parts of a batch to work on side by side.

    Sums over the batch are formed part by part, so their rounding depends on it: where equal seeds are to give equal
    losses, the number of cores belongs to what "the same machine" means.
    """
    return min(available_cores(), _MOST_PARTS)


def _parts(count: int, arrays: tuple[Any, ...]) -> Any:
    """The arrays' rows in ``count`` parts: a row does not depend on the others."""
    batch = tf.shape(arrays[0])[0]
    bounds = [batch * part // count for part in range(count + 1)]
    return [[array[start:end] for array in arrays] for start, end in pairwise(bounds)]


def _joined(parts: list[Any]) -> list[Any]:
    return [part[0] if len(part) == 1 else tf.concat(part, axis=0) for part in parts]


def _gradient_of_rows(
    kernel: Any,
    recurrent: Any,
    inputs: Any,
    before: Any,
    cell: Any,
    lengths: Any,
    cells: Any,
    gates: Any,
    of_outputs: Any,
    of_hidden: Any,
    of_cell: Any,
) -> tuple[list[Any], list[Any]]:
    """Of the inputs and the state of these rows; and their share in those of the weights."""
    features, units = kernel.shape[0], recurrent.shape[0]
    of_inputs, of_gates, of_first_hidden, of_first_cell = _call(
        _run_back, 4, gates, cells, cell, lengths, of_outputs, of_hidden, of_cell, kernel, recurrent
    )
    of_rows = [of_inputs, of_first_hidden, of_first_cell]
    flat = tf.reshape(of_gates, [-1, 4 * units])
    of_weights = [
        tf.matmul(tf.reshape(inputs, [-1, features]), flat, transpose_a=True),
        tf.matmul(tf.reshape(before, [-1, units]), flat, transpose_a=True),
        tf.reduce_sum(flat, axis=0),
    ]
    return of_rows, of_weights


def _call(function: Any, outputs: int, *arguments: Any) -> Any:
    # Not stateful: else TensorFlow would run one after the other what can run side by side.
    return tf.numpy_function(function, arguments, [tf.float32] * outputs, stateful=False)


def _run(
    inputs: NDArray[Any],
    hidden: NDArray[Any],
    cell: NDArray[Any],
    lengths: NDArray[Any],
    kernel: NDArray[Any],
    recurrent: NDArray[Any],
    bias: NDArray[Any],
    keep: bool = True,
) -> list[NDArray[Any]]:
    batch, time, units = *inputs.shape[:2], hidden.shape[1]
    kept = time if keep else 0
    shapes = (batch, time, units), (batch, kept, units), (batch, kept, 4 * units), hidden.shape, cell.shape
    outputs, cells, gates, last_hidden, last_cell = _memory.arrays(_layout(*shapes))
    last_hidden[:], last_cell[:] = hidden, cell
    forward(inputs, lengths, kernel, recurrent, bias, last_hidden, last_cell, outputs, cells, gates)
    return [outputs, cells, gates, last_hidden, last_cell]


_run_only = partial(_run, keep=False)


def _run_back(
    gates: NDArray[Any],
    cells: NDArray[Any],
    first_cell: NDArray[Any],
    lengths: NDArray[Any],
    of_outputs: NDArray[Any],
    of_hidden: NDArray[Any],
    of_cell: NDArray[Any],
    kernel: NDArray[Any],
    recurrent: NDArray[Any],
) -> list[NDArray[Any]]:
    shapes = (*gates.shape[:2], len(kernel)), gates.shape, of_hidden.shape, of_cell.shape
    of_inputs, of_gates, of_first_hidden, of_first_cell = results = _memory.arrays(_layout(*shapes))
    of_first_hidden[:], of_first_cell[:] = of_hidden, of_cell
    state = of_first_hidden, of_first_cell
    backward(gates, cells, first_cell, lengths, kernel, recurrent, of_outputs, *state, of_inputs, of_gates)
    return results


_memory = ReusedMemory(kept=32)


@lru_cache(maxsize=4096)
def _layout(*shapes: tuple[int, ...]) -> Layout:
    return Layout.of([(shape, np.dtype(np.float32)) for shape in shapes])
