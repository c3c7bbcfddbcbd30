"""What the Q-values are trained towards: n-step double-Q targets with value rescaling.

Kapturowski et al. 2019 (R2D2), section 2.3; double Q-learning after van Hasselt et al. 2016.
"""

import tensorflow as tf

from r2d2.rescaling import rescale, unscale


def n_step_double_q_targets(
    *,
    reward: tf.Tensor,
    terminated: tf.Tensor,
    unroll_length: tf.Tensor,
    online_q: tf.Tensor,
    target_q: tf.Tensor,
    n_step: int,
    gamma: float,
    rescaling_epsilon: float | None,
) -> tf.Tensor:
    """Targets of the steps of a batch of unrolls, with n shortened at the end of each.

    For a sequence with U valid rows, and each of its steps t = 0 .. U - 2:

        m   = min(n, U - 1 - t)
        b   = t + m                                           the row bootstrapped from
        a*  = argmax_a online_q[b, a]
        G_t = Σ_{i=0}^{m-1} γ^i r_{t+i}  +  γ^m (1 - terminated_{b-1}) h⁻¹(target_q[b, a*])
        target_t = h(G_t)

    The rows are the trained steps and the lookahead. If the episode ends inside them, row U - 1 is the
    final observation: no step is taken on it, `terminated` of the step before stops the return, and a
    truncated episode bootstraps from it. If the episode goes on, U = train_length + n_step, and m = n
    for every trained step; the shortened targets of the lookahead that follows are not trained on.
    Rewards from row U - 1 on, and everything else from row U on, may hold anything, NaN included.

    Args:
        reward: float32[B, W], r_t that followed the action of row t.
        terminated: bool[B, W], whether the episode terminated with the step of row t.
        unroll_length: int32[B], U: valid rows of each sequence, at most W.
        online_q: float32[B, W, A], the online network's (rescaled) Q-values: they choose the action.
        target_q: float32[B, W, A], the target network's (rescaled) Q-values: they value it.
        n_step: n >= 1, the steps of reward before bootstrapping.
        gamma: γ in [0, 1], the discount of one step.
        rescaling_epsilon: ε of h, see `r2d2.rescaling`; None for no rescaling (h is the identity).

    Returns:
        float32[B, W - 1], exactly 0 where t >= U - 1. No gradient flows through it.

    Raises:
        ValueError: a number is outside its range or an array has the wrong rank.
    """
    if n_step < 1:
        raise ValueError(f"n_step={n_step} must be at least 1")
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma={gamma} must lie in [0, 1]")
    if rescaling_epsilon is not None and not rescaling_epsilon >= 0.0:
        raise ValueError(f"rescaling_epsilon={rescaling_epsilon} must be None or at least 0")
    tf.debugging.assert_rank(reward, 2, message="reward must be [batch, time]")
    tf.debugging.assert_rank(terminated, 2, message="terminated must be [batch, time]")
    tf.debugging.assert_rank(unroll_length, 1, message="unroll_length must be [batch]")
    tf.debugging.assert_rank(online_q, 3, message="online_q must be [batch, time, action]")
    tf.debugging.assert_rank(target_q, 3, message="target_q must be [batch, time, action]")

    step = tf.range(tf.shape(reward)[1] - 1)
    final_row = unroll_length[:, None] - 1
    valid = step < final_row  # [B, W - 1]
    # Where there is no step m is 1 rather than 0 or less, to keep the look-ups below in range.
    m = tf.clip_by_value(final_row - step, 1, n_step)

    best_action = tf.argmax(online_q, axis=-1, output_type=tf.int32)
    value = tf.gather(target_q, best_action, batch_dims=2)
    if rescaling_epsilon is not None:
        value = unscale(value, rescaling_epsilon)
    # The value of where each step led: row t + 1, or nothing if the step was terminal.
    successor_value = tf.where(terminated[:, :-1], 0.0, value[:, 1:])
    bootstrap = tf.gather(successor_value, step + m - 1, batch_dims=1)
    discount = tf.gather(tf.constant([gamma**i for i in range(n_step + 1)], tf.float32), m)

    # Rewards beyond the last step count as 0, so that a sum over n steps is the sum over m.
    rewards = tf.pad(tf.where(valid, reward[:, :-1], 0.0), [[0, 0], [0, n_step]])
    reward_sum = tf.add_n([gamma**i * rewards[:, i : i - n_step] for i in range(n_step)])

    target = reward_sum + discount * bootstrap
    if rescaling_epsilon is not None:
        target = rescale(target, rescaling_epsilon)
    return tf.stop_gradient(tf.where(valid, target, 0.0))
