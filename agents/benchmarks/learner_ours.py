"""`r2d2.Learner` as a subject of the learner benchmark."""

import time

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_ours import network, set_weights, variables
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
    Size,
    Work,
    answers,
    weights,
    work,
)
from r2d2.learner import Learner
from r2d2.replay import NO_ACTION, Batch, Inputs, trees
from r2d2.replay.memory import Layout, ReusedMemory
from r2d2.replay.reuse import SharedMemory
from r2d2.settings import LearnerSettings


def prepare(size: str, seconds: float) -> Prepared:
    """A learner that has made its first update."""
    of = SIZES[size]
    online = network(of.units)
    set_weights(online, weights(of.units))
    learner = Learner(
        online,
        LearnerSettings(
            n_step=N_STEP,
            gamma=GAMMA,
            eta=ETA,
            rescaling_epsilon=None,
            learning_rate=LEARNING_RATE,
            adam_epsilon=ADAM_EPSILON,
            max_gradient_norm=LARGEST_NORM,
        ),
    )
    set_weights(learner.target_network, weights(of.units, TARGET_SEED))
    batch = as_batch(work(of), of)
    start = time.perf_counter()
    update = learner.update(batch)
    first = time.perf_counter() - start
    # Adam's first moments after one update are the gradient, but for a factor.
    moments = [np.asarray(v) / (1 - FIRST_MOMENT_DECAY) for v in learner.optimizer.variables if "momentum" in v.path]
    place = {id(variable): number for number, variable in enumerate(online.trainable_variables)}
    gradients = [moments[place[id(variable)]] for variable in variables(online)]
    return Prepared(
        {
            "update": lambda: 1e3 * seconds_per_call(lambda: learner.update(batch), seconds),
            "first update": lambda: first,
        },
        answers(update.loss, update.priorities, gradients),
    )


def as_batch(given: Work, size: Size) -> Batch:
    """The work as the replay hands it out: in memory that the learner's tensors share, which are made once."""

    def inputs(observation: NDArray[np.float32]) -> Inputs:
        rows = observation.shape[:2]
        return Inputs(observation, np.full(rows, NO_ACTION, np.int32), np.zeros(rows, np.float32))

    each = np.ones(size.batch, np.int32)
    never = np.zeros((size.batch, size.rows), np.bool_)
    batch = Batch(
        keys=np.arange(size.batch),
        importance_weights=given.importance_weights,
        state=(given.hidden, given.cell),
        prefix=inputs(given.prefix),
        prefix_length=size.burn_in * each,
        unroll=inputs(given.unroll),
        unroll_length=size.rows * each,
        train_length=size.train_length * each,
        action=given.action,
        reward=given.reward,
        terminated=never,
        truncated=never,
    )
    leaves = trees.leaves(batch)
    layout = Layout.of([(leaf.shape, leaf.dtype) for leaf in leaves])
    memory = SharedMemory(layout, ReusedMemory().arrays(layout), in_tuples=True)
    for array, leaf in zip(memory.arrays, leaves, strict=True):
        array[...] = leaf
    batch = trees.build(batch, memory.arrays)
    batch.memory = memory
    return batch
