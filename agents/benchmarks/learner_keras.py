"""The same update in plain Keras and one `tf.function`, as a subject of the learner benchmark."""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_keras import KerasNetwork
from agents.benchmarks.recurrent_work import (
    ADAM_EPSILON,
    ETA,
    FIRST_MOMENT_DECAY,
    GAMMA,
    LARGEST_NORM,
    LEARNING_RATE,
    N_STEP,
    SIZES,
    TARGET_SEED,
    Work,
    answers,
    weights,
    work,
)


def prepare(size: str, seconds: float, xla: bool) -> Prepared:
    """A compiled update that has been called once. ``xla``: whether it is compiled by XLA."""
    of = SIZES[size]
    online, target = KerasNetwork(weights(of.units)), KerasNetwork(weights(of.units, TARGET_SEED))
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=ADAM_EPSILON)
    optimizer.build(online.variables)
    trained = of.train_length

    @tf.function(jit_compile=xla)
    def update(batch: Work) -> tuple[Any, Any]:
        stored = [batch.hidden, batch.cell]
        state = online(batch.prefix, stored)[1]  # outside the tape: no gradient
        target_q_values, _ = target(batch.unroll, target(batch.prefix, stored)[1])
        with tf.GradientTape() as tape:
            q_values, _ = online(batch.unroll, state)
            best = tf.argmax(q_values[:, N_STEP:], axis=-1, output_type=tf.int32)
            value = tf.gather(target_q_values[:, N_STEP:], best, batch_dims=2)
            returns = tf.add_n([GAMMA**i * batch.reward[:, i : i + trained] for i in range(N_STEP)])
            targets = tf.stop_gradient(returns + GAMMA**N_STEP * value)
            taken = tf.gather(q_values[:, :trained], batch.action[:, :trained], batch_dims=2)
            error = targets - taken
            loss = 0.5 * tf.reduce_mean(batch.importance_weights[:, None] * tf.square(error))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, online.variables), LARGEST_NORM)
        optimizer.apply(gradients, online.variables)
        size_of_error = tf.abs(error)
        priorities = ETA * tf.reduce_max(size_of_error, axis=1) + (1 - ETA) * tf.reduce_mean(size_of_error, axis=1)
        return loss, priorities

    batch = work(of)

    def once() -> tuple[Any, Any]:
        loss, priorities = update(batch)
        return float(loss), priorities.numpy()

    start = time.perf_counter()
    loss, priorities = once()
    first = time.perf_counter() - start
    moments = [np.asarray(v) for v in optimizer.variables if "momentum" in v.path]
    gradients = [moment / (1 - FIRST_MOMENT_DECAY) for moment in moments]
    return Prepared(
        {"update": lambda: 1e3 * seconds_per_call(once, seconds), "first update": lambda: first},
        answers(loss, priorities, gradients),
    )
