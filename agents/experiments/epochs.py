"""Many epochs of training in one compiled loop: the updates of a `fit` per epoch, without the cost of the calls."""

from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.keras_states import States, state_variables

Start = States | Literal["zero"]
"""What an epoch starts from."""


class Epochs:
    """Trains a compiled Keras model, epoch after epoch, on the same samples.

    An epoch changes the model as ``model.fit(..., epochs=1, shuffle=False)`` does on the samples in its order: the
    model's own layers, loss and optimizer are called, one batch after the other, and their variables hold the result.
    With the same ``jit_compile`` it is the same bit for bit. Callbacks, metrics and the reported loss are left out.

    Args:
        model: a compiled model of a fixed batch size, stateful or not.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        is_stateful = any(getattr(layer, "stateful", False) for layer in model.layers)
        self._states = state_variables(model) if is_stateful else {}
        model.optimizer.build(model.trainable_variables)  # a compiled function may make no variables
        batch_size = model.input_shape[0]
        loop = tf.function(self._loop, jit_compile=model.jit_compile)
        self._compiled = loop.get_concrete_function(
            tf.TensorSpec([None, *model.input_shape[1:]]),
            tf.TensorSpec([None, *model.output_shape[1:]]),
            tf.TensorSpec([None, None, batch_size], tf.int32),
            [tf.TensorSpec(variable.shape) for parts in self._states.values() for variable in parts],
        )

    def run(
        self,
        inputs: NDArray[np.float32],
        targets: NDArray[np.float32],
        order: NDArray[np.integer[Any]],
        start: Start = "zero",
    ) -> None:
        """Train.

        Args:
            inputs: float32[samples, ...].
            targets: float32[samples, ...].
            order: int[epochs, samples], by number: each epoch's samples, from which batches are cut as they come.
            start: the states that every epoch of a stateful model starts from.

        Raises:
            ValueError: ``order`` has another shape, the samples cannot be cut into whole batches, or ``start`` is of
                other layers than the model's. Nothing has been trained then.
        """
        batch_size = self._model.input_shape[0]
        if order.ndim != 2 or order.shape[1] != len(inputs):
            raise ValueError(f"order has shape {order.shape}, must be [epochs, {len(inputs)}]")
        if len(inputs) % batch_size:
            raise ValueError(f"inputs has {len(inputs)} samples, must be a multiple of the batch size, {batch_size}")
        batches = order.reshape(len(order), -1, batch_size)
        values = [tf.constant(value) for value in self._values(start)]
        self._compiled(tf.constant(inputs), tf.constant(targets), tf.constant(batches, tf.int32), values)

    def _values(self, start: Start) -> list[Any]:
        if start == "zero":
            return [np.zeros(variable.shape, np.float32) for parts in self._states.values() for variable in parts]
        if set(start) != set(self._states):
            raise ValueError(f"start is of layers {sorted(start)}, the model's are {sorted(self._states)}")
        return [part for name in self._states for part in start[name]]

    def _loop(self, inputs: Any, targets: Any, order: Any, start: list[Any]) -> None:
        states = [variable for parts in self._states.values() for variable in parts]
        for epoch in tf.range(tf.shape(order)[0]):
            for variable, value in zip(states, start, strict=True):
                variable.assign(value)
            for batch in tf.range(tf.shape(order)[1]):
                rows = order[epoch, batch]
                self._update(tf.gather(inputs, rows), tf.gather(targets, rows))

    def _update(self, inputs: Any, targets: Any) -> None:
        model = self._model
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=inputs, y=targets, y_pred=model(inputs, training=True))
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)


def in_order(epochs: int, samples: int) -> NDArray[np.int64]:
    """int64[epochs, samples]: as they stand, in every epoch."""
    return np.tile(np.arange(samples), (epochs, 1))


def shuffled(epochs: int, samples: int, seed: int) -> NDArray[np.int64]:
    """int64[epochs, samples]: another permutation in every epoch."""
    return np.random.default_rng(seed).permuted(in_order(epochs, samples), axis=1)
