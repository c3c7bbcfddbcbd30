"""A stateful view of a network: the recurrent states of a batch that move on with every call.

It means what Keras means by ``stateful=True``, without tying the weights to one batch size: any number of views,
each of its own batch size, share one network.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from r2d2.burn_in import burn_in
from r2d2.cores import State
from r2d2.network import RecurrentQNetwork
from r2d2.replay.batch import Inputs


class StatefulNetwork:
    """Recurrent states of ``batch_size`` rows on the weights of ``network``.

    Calls work eagerly and inside a `tf.function`. The view starts with every row in the initial state.

    Args:
        network: the weights; shared, never copied.
        batch_size: number of rows, at least 1.

    Raises:
        ValueError: ``batch_size`` is less than 1.
    """

    def __init__(self, network: RecurrentQNetwork, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.network = network
        self.batch_size = batch_size
        self._initial = network.initial_state(batch_size)
        self._state = tuple(tf.Variable(part, trainable=False) for part in self._initial)
        self._run = tf.function(network.unroll, reduce_retracing=True)
        self._warm = tf.function(burn_in, reduce_retracing=True)

    @property
    def state(self) -> tuple[Any, ...]:
        """The states that the next call starts from, arrays ``[batch_size, ...]`` (copies)."""
        return tuple(part.numpy() for part in self._state)

    def state_tensors(self) -> State:
        """The same as tensors, for use inside a `tf.function`."""
        return tuple(tf.identity(part) for part in self._state)

    def restore(self, state: State) -> None:
        """Start from ``state``, ``[batch_size, ...]``.

        Raises:
            ValueError: another number of parts, another shape or dtype, or a value that is not finite. No state has
                been changed then.
        """
        parts = [part if tf.is_tensor(part) else np.asarray(part) for part in tf.nest.flatten(state)]
        if len(parts) != len(self._state):
            raise ValueError(f"state has {len(parts)} parts, this network's has {len(self._state)}")
        for number, (part, own) in enumerate(zip(parts, self._state, strict=True)):
            shape, dtype = tuple(part.shape), tf.as_dtype(part.dtype)
            if shape != tuple(own.shape):
                raise ValueError(f"state[{number}] has shape {shape}, must be {tuple(own.shape)}")
            if dtype != own.dtype:
                raise ValueError(f"state[{number}] has dtype {dtype.name}, must be {own.dtype.name}")
            if (not tf.is_tensor(part) or tf.executing_eagerly()) and not np.isfinite(np.asarray(part)).all():
                raise ValueError(f"state[{number}] must be finite; it holds NaN or infinity")
        self._assign(tuple(parts))

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Put rows into the initial state, and leave the others as they are.

        Args:
            rows: bool[batch_size]; default: all rows.
        """
        if rows is None:
            self._assign(self._initial)
            return
        chosen = tf.convert_to_tensor(rows)
        if chosen.dtype != tf.bool or tuple(chosen.shape) != (self.batch_size,):
            raise ValueError(
                f"rows is {chosen.dtype.name}{list(chosen.shape)}, must be bool[{self.batch_size}]: True where to reset"
            )
        self._assign(
            tuple(
                tf.where(tf.reshape(chosen, [-1] + [1] * (len(own.shape) - 1)), initial, own)
                for own, initial in zip(self._state, self._initial, strict=True)
            )
        )

    def warm_up(self, prefix: Inputs, lengths: ArrayLike | None = None) -> None:
        """Move on over a prefix (burn-in) without computing Q-values; no gradient passes.

        Args:
            prefix: ``[batch_size, time, ...]``, right-padded; time may be 0.
            lengths: int32[batch_size], steps of each row, 0 to time; default: all.
        """
        self._check_batch(prefix.previous_action.shape[0])
        time = tf.shape(prefix.previous_action)[1]
        steps = tf.fill([self.batch_size], time) if lengths is None else tf.convert_to_tensor(lengths, tf.int32)
        if tf.executing_eagerly():
            asked, most = steps.numpy(), int(time)
            if asked.shape != (self.batch_size,) or asked.min() < 0 or asked.max() > most:
                raise ValueError(f"lengths={asked.tolist()} must be {self.batch_size} numbers from 0 to {most}")
        self._assign(self._warm(self.network, tuple(self._state), _tensors(prefix), steps))

    def __call__(self, inputs: Inputs) -> Any:
        """Q-values float32[batch_size, time, num_actions] of the next steps, ``[batch_size, time, ...]``."""
        self._check_batch(inputs.previous_action.shape[0])
        q_values, new_state = self._run(_tensors(inputs), tuple(self._state))
        self._assign(new_state)
        return q_values

    def _assign(self, state: State) -> None:
        for own, new in zip(self._state, state, strict=True):
            own.assign(new)

    def _check_batch(self, batch: Any) -> None:
        if batch != self.batch_size:
            raise ValueError(
                f"inputs have batch size {batch}, this view has batch_size={self.batch_size}; "
                "make another StatefulNetwork on the same network"
            )


def _tensors(inputs: Inputs) -> Inputs:
    return tf.nest.map_structure(tf.convert_to_tensor, inputs)
