"""What TD errors become: the loss that is minimised, and the priorities sequences are sampled by."""

import tensorflow as tf


def sequence_loss(
    td_error: tf.Tensor,
    mask: tf.Tensor,
    importance_weights: tf.Tensor,
    huber_delta: float | None,
) -> tf.Tensor:
    """Importance-weighted loss of a batch of sequences, per valid step.

        loss = Σ_{b,t valid} w_b H(δ_{b,t}) / (number of valid steps in the batch)
        H(δ) = δ² / 2 where |δ| <= d, and d (|δ| - d / 2) beyond

    The weights multiply the loss of a step, never its TD error: inside H they would count squared near
    zero. A step that is not valid may hold anything, NaN included: it reaches neither the loss nor a
    gradient.

    Args:
        td_error: float32[B, T], δ.
        mask: bool[B, T], or float32[B, T] of 0 and 1: which steps are valid.
        importance_weights: float32[B], w.
        huber_delta: d > 0, from where on the loss grows linearly; None for half the squared error.

    Returns:
        float32 scalar; 0 for a batch without a valid step.

    Raises:
        ValueError: `huber_delta` is not positive or an array has the wrong rank.
    """
    if huber_delta is not None and not huber_delta > 0.0:
        raise ValueError(f"huber_delta={huber_delta} must be None or greater than 0")
    tf.debugging.assert_rank(importance_weights, 1, message="importance_weights must be [batch]")
    valid, num_valid = _valid_steps(td_error, mask)
    td_error = tf.where(valid, td_error, 0.0)  # before anything is computed: 0 * NaN would be NaN
    if huber_delta is None:
        step_loss = 0.5 * tf.square(td_error)
    else:
        size = tf.abs(td_error)
        clipped = tf.minimum(size, huber_delta)
        step_loss = clipped * (size - 0.5 * clipped)
    weighted_sum = tf.reduce_sum(importance_weights[:, None] * step_loss)
    return tf.math.divide_no_nan(weighted_sum, tf.reduce_sum(num_valid))


def sequence_priorities(td_error: tf.Tensor, mask: tf.Tensor, eta: float) -> tf.Tensor:
    """Priorities of a batch of sequences (R2D2, section 2.3).

        p = η max_t |δ_t| + (1 - η) mean_t |δ_t|        over the valid steps t

    Args:
        td_error: float32[B, T], δ; anything, NaN included, where a step is not valid.
        mask: bool[B, T], or float32[B, T] of 0 and 1: which steps are valid.
        eta: η in [0, 1], the weight of the largest error.

    Returns:
        float32[B]; 0 for a sequence without a valid step.

    Raises:
        ValueError: `eta` is outside its range or an array has the wrong rank.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta={eta} must lie in [0, 1]")
    valid, num_valid = _valid_steps(td_error, mask)
    size = tf.where(valid, tf.abs(td_error), 0.0)
    mean = tf.math.divide_no_nan(tf.reduce_sum(size, axis=1), num_valid)
    return eta * tf.reduce_max(size, axis=1) + (1.0 - eta) * mean


def _valid_steps(td_error: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The mask as bool[B, T], and the number of valid steps of each sequence as float32[B]."""
    tf.debugging.assert_rank(td_error, 2, message="td_error must be [batch, time]")
    tf.debugging.assert_rank(mask, 2, message="mask must be [batch, time]")
    valid = tf.cast(mask, tf.bool)
    return valid, tf.reduce_sum(tf.cast(valid, tf.float32), axis=1)
