"""One R2D2 update as one compiled function: burn-in of both networks, targets, loss, gradient step, priorities.

Source: Kapturowski et al. (ICLR 2019), sections 2.3 and 3; the double-Q target is that of van Hasselt et al. (2016).
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.burn_in import burn_in
from r2d2.compiled import CompiledFunction
from r2d2.losses import sequence_loss, sequence_priorities
from r2d2.network import RecurrentQNetwork
from r2d2.replay.batch import Batch
from r2d2.settings import LearnerSettings
from r2d2.targets import n_step_double_q_targets


class Errors(NamedTuple):
    """TD errors of a batch; T is the longest unroll but its last row."""

    td_error: Any
    """float32[B, T], target minus Q-value of the action taken, rescaled if values are."""
    mask: Any
    """bool[B, T], True at trained steps."""
    q_taken: Any
    """float32[B, T], Q-values of the actions taken."""


class Update(NamedTuple):
    """What one update did."""

    loss: float
    priorities: NDArray[np.float32]
    """float32[B], for `SequenceReplay.update_priorities`."""
    gradient_norm: float
    """Global norm before clipping."""
    mean_q: float
    """Mean Q-value of the actions taken, over the trained steps."""


class DivergenceError(RuntimeError):
    """The loss or its gradient is not finite. The weights are those before the update."""

    def __init__(self, update: int, loss: float, gradient_norm: float, keys: NDArray[np.int64]) -> None:
        self.update, self.keys = update, keys
        super().__init__(
            f"update {update} diverged: loss {loss}, gradient norm {gradient_norm}; "
            f"its sequences have the keys {keys.tolist()}. Weights are left as they were before it. "
            "A smaller learning_rate, or a look at the environment's rewards, may help"
        )


def td_errors(
    network: RecurrentQNetwork, target_network: RecurrentQNetwork, batch: Batch, settings: LearnerSettings
) -> Errors:
    """TD errors of the trained steps, differentiable with respect to the weights of ``network`` only.

    Both networks start from the stored state and burn in with their own weights.
    """
    state = burn_in(network, batch.state, batch.prefix, batch.prefix_length)
    target_state = burn_in(target_network, batch.state, batch.prefix, batch.prefix_length)
    q_values, _ = network.unroll(batch.unroll, state)
    target_q_values, _ = target_network.unroll(batch.unroll, target_state, with_gradient=False)
    targets = n_step_double_q_targets(
        reward=batch.reward * network.reward_scale,
        terminated=batch.terminated,
        unroll_length=batch.unroll_length,
        online_q=q_values,
        target_q=target_q_values,
        n_step=settings.n_step,
        gamma=settings.gamma,
        rescaling_epsilon=settings.rescaling_epsilon,
    )
    q_taken = tf.gather(q_values[:, :-1], batch.action[:, :-1], batch_dims=2)
    mask = tf.sequence_mask(batch.train_length, tf.shape(q_taken)[1])
    return Errors(tf.where(mask, targets - q_taken, 0.0), mask, q_taken)


class Learner:
    """Trains ``network`` on batches of sequences; owns the target network and the optimizer.

    Args:
        network: the online network, trained in place.
        settings: numbers of the update.
    """

    def __init__(self, network: RecurrentQNetwork, settings: LearnerSettings) -> None:
        self.network = network
        self.target_network = network.copy()
        self.settings = settings
        self.optimizer = keras.optimizers.Adam(settings.learning_rate, epsilon=settings.adam_epsilon)
        self.optimizer.build(network.trainable_variables)
        self.updates = 0
        """Updates made."""
        self._state_shapes = [tuple(part.shape[1:]) for part in network.state_signature]
        self._compiled = CompiledFunction(self._update, batch_signature(network), tf.TensorSpec([], tf.bool))

    @property
    def traces(self) -> int:
        """How often the update has been traced; 1 however the batches differ in size and length."""
        return self._compiled.traces

    def set_reward_scale(self, factor: float) -> None:
        """What both networks multiply rewards by from now on."""
        for network in (self.network, self.target_network):
            network.reward_scale.assign(factor)

    def update(self, batch: Batch) -> Update:
        """Train on one batch, of any number of sequences.

        Raises:
            DivergenceError: the loss or its gradient is not finite.
            ValueError: the batch holds states of another network, or fewer steps of lookahead than ``n_step``.

        Nothing has been changed then.
        """
        self._refuse_other_states(batch.state)
        self._refuse_short_lookahead(batch)
        period = self.settings.target_period
        copy_now = period is not None and (self.updates + 1) % period == 0
        numbers, priorities = self._compiled(batch, copy_now)
        loss, gradient_norm, mean_q = numbers.numpy().tolist()
        if not np.isfinite(gradient_norm + loss):
            raise DivergenceError(self.updates + 1, loss, gradient_norm, batch.keys)
        self.updates += 1
        return Update(loss, priorities.numpy(), gradient_norm, mean_q)

    def _refuse_other_states(self, state: Any) -> None:
        found = [tuple(np.shape(part))[1:] for part in tf.nest.flatten(state)]
        if found != self._state_shapes:
            raise ValueError(
                f"batch.state has parts of the shapes [batch, ...] with {found}, must be {self._state_shapes}: "
                "it is of another network"
            )

    def _refuse_short_lookahead(self, batch: Batch) -> None:
        """Targets would be formed all the same, over fewer steps than asked for."""
        n_step = self.settings.n_step
        unroll, trained = np.asarray(batch.unroll_length), np.asarray(batch.train_length)
        short = np.flatnonzero((unroll - trained < n_step) & (trained > 0))
        last_step = unroll[short] - 2  # before the final observation, if there is one
        ended = np.logical_or(
            np.asarray(batch.terminated)[short, last_step], np.asarray(batch.truncated)[short, last_step]
        )
        if not ended.all():
            row = short[~ended][0]
            raise ValueError(
                f"n_step={n_step} of the learner must be at most that of the replay's SequenceGeometry: in row {row} "
                f"of the batch the lookahead is {unroll[row] - trained[row]}, and neither terminated nor truncated "
                "says that the episode ends there"
            )

    def _update(self, batch: Batch, copy_now: Any) -> tuple[Any, Any]:
        variables = self.network.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            errors = td_errors(self.network, self.target_network, batch, self.settings)
            loss = sequence_loss(errors.td_error, errors.mask, batch.importance_weights, self.settings.huber_delta)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        # An embedding's gradient is a list of rows, of which the norm of the list is not that of their sum.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients, norm = tf.clip_by_global_norm(gradients, self.settings.max_gradient_norm)
        tf.cond(
            tf.math.is_finite(norm) & tf.math.is_finite(loss),
            lambda: self._step(gradients, copy_now),
            lambda: tf.constant(False),
        )
        priorities = sequence_priorities(errors.td_error, errors.mask, self.settings.eta)
        mean_q = tf.reduce_mean(tf.boolean_mask(errors.q_taken, errors.mask))
        return tf.stack([loss, norm, mean_q]), priorities

    def _step(self, gradients: list[Any], copy_now: Any) -> Any:
        """Apply the gradients, then move the target network."""
        variables = self.network.trainable_variables
        self.optimizer.apply(gradients, variables)
        pairs = list(zip(self.target_network.trainable_variables, variables, strict=True))
        if self.settings.target_mixing is None:
            tf.cond(copy_now, lambda: _mix(pairs, 1.0), lambda: tf.constant(False))
        else:
            _mix(pairs, self.settings.target_mixing)
        return tf.constant(True)


def _mix(pairs: list[tuple[Any, Any]], share: float) -> Any:
    for target, online in pairs:
        target.assign(online if share == 1.0 else target + share * (online - target))
    return tf.constant(True)


def batch_signature(network: RecurrentQNetwork) -> Batch:
    """Tensor specifications of a batch for ``network``, of any number of sequences of any length."""

    def spec(dtype: Any, *shape: None) -> Any:
        return tf.TensorSpec(shape, dtype)

    return Batch(
        keys=spec(tf.int64, None),
        importance_weights=spec(tf.float32, None),
        state=network.state_signature,
        prefix=network.inputs_signature,
        prefix_length=spec(tf.int32, None),
        unroll=network.inputs_signature,
        unroll_length=spec(tf.int32, None),
        train_length=spec(tf.int32, None),
        action=spec(tf.int32, None, None),
        reward=spec(tf.float32, None, None),
        terminated=spec(tf.bool, None, None),
        truncated=spec(tf.bool, None, None),
    )
