"""The gradient of a loss behind burn-in, for `r2d2.check_burn_in`: that of a constant state, and not of nothing."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from r2d2.burn_in_measure import Measurement, NotApplicable, Unfit, largest_difference
from r2d2.burn_in_trial import Trial, map_leaves
from r2d2.compiled import CompiledFunction
from r2d2.replay import trees

Gradients = tuple[list[Any], list[Any], list[Any]]
"""With respect to floats read in the prefix, to floats of the stored state, and to variables; zeros where nothing is
connected."""


NUDGE = 1e-3
"""By which inputs are moved to see what depends on them: little, since where a network is saturated its outputs at
distant inputs differ though no gradient is left."""


class Recorded(NamedTuple):
    """A loss, the tape that has recorded it, and the tensors whose gradient should be zero."""

    tape: Any
    loss: Any
    prefix: list[Any]
    state: list[Any]

    def gradients(self, variables: list[Any]) -> Gradients:
        sources = [*self.prefix, *self.state, *variables]
        found = self.tape.gradient(self.loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        dense = [tf.convert_to_tensor(gradient) for gradient in found]  # that of an embedding is sparse
        first, second = len(self.prefix), len(self.prefix) + len(self.state)
        return dense[:first], dense[first:second], dense[second:]


def no_gradient(trial: Trial) -> Iterator[Measurement]:
    """No gradient reaches what was read in the prefix, or the stored state, or the weights by way of either."""
    for length in trial.burn_in:
        warm, through = _from_warm_state(trial, length), _through_burn_in(trial, *_tensors(trial, length))
        variables = _variables(warm, through)
        yield from _compare(trial, length, warm.gradients(variables), through.gradients(variables))


def gradient(trial: Trial) -> Iterator[Measurement]:
    """The outputs of the last step have a gradient to the first step behind burn-in, if they depend on it.

    A network that lets none through holds `no_gradient` too, and learns nothing of what it is to remember.
    """
    length = trial.burn_in[-1]
    _, prefix, rest = _tensors(trial, length)
    floats = [leaf for leaf in trees.leaves(rest) if leaf.dtype.is_floating]
    if not floats:
        raise NotApplicable("the steps hold no floating-point numbers: there is no gradient to them")

    def last_outputs(steps: Any) -> list[Any]:
        trial.restore(trial.start)
        trial.network.warm_up(prefix)
        return trial.last_of(trial.network(steps))

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(floats)
        outputs = last_outputs(rest)
        loss = _loss(outputs, trial.seed)
    found = tape.gradient(loss, floats, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if any(np.any(leaf[:, 0]) for leaf in found):
        yield from ()
        return
    nudged = last_outputs(map_leaves(_first_step_nudged, rest))
    if all(np.array_equal(a, b) for a, b in zip(outputs, nudged, strict=True)):
        raise NotApplicable("the outputs of the last step do not depend on the first step behind burn-in")
    raise Unfit(
        "the outputs of the last step depend on the first step behind burn-in, and have no gradient to it: "
        "what is to be remembered cannot be learned"
    )


def _first_step_nudged(leaf: Any) -> Any:
    if not leaf.dtype.is_floating:
        return leaf
    moved = leaf[:, :1] * (1 + NUDGE) + NUDGE
    return tf.concat([moved, leaf[:, 1:]], axis=1)


def no_gradient_compiled(trial: Trial) -> Iterator[Measurement]:
    """The same inside a `tf.function`."""
    length = trial.burn_in[-1]
    warm = _from_warm_state(trial, length)
    variables = _variables(warm)
    tensors = _tensors(trial, length)
    compiled = CompiledFunction(
        lambda *given: _through_burn_in(trial, *given).gradients(variables),
        *tf.nest.map_structure(tf.TensorSpec.from_tensor, tensors),
    )
    try:
        found = compiled(*tensors)
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]  # where it happened comes first, what last
        raise NotApplicable(f"tf.function cannot trace the network: {said[-1].strip()}") from error
    yield from _compare(trial, length, warm.gradients(variables), found)


def _compare(trial: Trial, length: int, expected: Gradients, found: Gradients) -> Iterator[Measurement]:
    (of_prefix, of_state, of_weights), (_, _, expected_of_weights) = _arrays(found), _arrays(expected)
    if of_prefix:
        claim = "the loss behind burn-in has a gradient to the steps of the prefix"
        yield trial.outputs_differ(claim, _zeros(of_prefix), of_prefix, end=length, exact=True)
    if of_state:
        claim = "the loss behind burn-in has a gradient to the stored state"
        yield trial.states_differ(claim, _zeros(of_state), of_state, step=0, exact=True)
    if of_weights:
        claim = (
            "the loss behind burn-in has another gradient to the weights than the loss from the same state held fixed"
        )
        yield largest_difference(claim, expected_of_weights, of_weights, trial.tolerance)


def _from_warm_state(trial: Trial, length: int) -> Recorded:
    """The loss on the steps behind a prefix, the state after it being a constant."""
    _, prefix, rest = _tensors(trial, length)
    trial.restore(trial.start)
    trial.network.warm_up(prefix)
    with tf.GradientTape() as tape:
        loss = _loss(trial.network(rest), trial.seed)
    return Recorded(tape, loss, [], [])


def _through_burn_in(trial: Trial, start: Any, prefix: Any, rest: Any) -> Recorded:
    with tf.GradientTape() as tape:
        watched = [[leaf for leaf in trees.leaves(tree) if leaf.dtype.is_floating] for tree in (prefix, start)]
        tape.watch(watched)
        trial.network.restore(start)
        trial.network.warm_up(prefix)
        loss = _loss(trial.network(rest), trial.seed)
    return Recorded(tape, loss, *watched)


def _loss(outputs: Any, seed: int) -> Any:
    """A random weighting of all outputs: their plain sum may be constant, as that of probabilities is."""
    leaves = [leaf for leaf in trees.leaves(outputs) if tf.is_tensor(leaf) and leaf.dtype.is_floating]
    if not leaves:
        raise NotApplicable("the outputs are not floating-point tensors of TensorFlow: there is nothing to derive")
    weights = [
        tf.random.stateless_normal(tf.shape(leaf), [seed, number], dtype=leaf.dtype)
        for number, leaf in enumerate(leaves)
    ]
    return tf.add_n(
        [tf.cast(tf.reduce_sum(leaf * weight), tf.float32) for leaf, weight in zip(leaves, weights, strict=True)]
    )


def _tensors(trial: Trial, length: int) -> tuple[Any, Any, Any]:
    """The stored state, a prefix of ``length`` steps, and the steps behind it."""
    arrays = trial.start, trial.part(0, length), trial.part(length, None)
    start, prefix, rest = (map_leaves(tf.constant, tree) for tree in arrays)
    return start, prefix, rest


def _variables(*recorded: Recorded) -> list[Any]:
    """The trainable variables that were read."""
    found = {id(variable): variable for each in recorded for variable in each.tape.watched_variables()}
    return list(found.values())


def _arrays(gradients: Gradients) -> list[list[Any]]:
    return [[gradient.numpy() for gradient in each] for each in gradients]


def _zeros(arrays: list[Any]) -> list[Any]:
    return [np.zeros_like(array) for array in arrays]
