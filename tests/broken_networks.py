"""A sound stateful network, and the same with one thing wrong each: for tests of what finds the fault."""

from typing import Any

import numpy as np
import tensorflow as tf

BATCH, TIME, FEATURES, UNITS = 3, 5, 2, 4


def random_steps(time: int = TIME, batch: int = BATCH, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, time, FEATURES)).astype(np.float32)


class Sound:
    """An LSTM with a linear head. Its state ``(h, c)`` is kept as tensors: a gradient could pass through them."""

    def __init__(self, batch_size: int = BATCH, seed: int = 1) -> None:
        self.batch_size = batch_size
        rng = np.random.default_rng(seed)
        shapes = [(FEATURES + UNITS, 4 * UNITS), (UNITS, 2)]
        self.kernel, self.head = (tf.Variable(rng.normal(0, 0.6, shape).astype(np.float32)) for shape in shapes)
        self.weights = [self.kernel, self.head]
        self.initial = tf.zeros([batch_size, UNITS]), tf.zeros([batch_size, UNITS])
        self.carried = self.initial
        """Which `state`, `restore` and `reset` are about."""

    @property
    def state(self) -> Any:
        return self.carried

    def restore(self, state: Any) -> None:
        self.carried = tuple(tf.convert_to_tensor(part) for part in state)

    def reset(self, rows: Any = None) -> None:
        self.carried = self.initial if rows is None else where(rows, self.initial, self.carried)

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.carried = stopped(self.carried)
        for t in range(prefix.shape[1]):
            before = self.carried
            self.step(tf.stop_gradient(prefix[:, t]))
            if lengths is not None:
                self.carried = where(t < np.asarray(lengths), self.carried, before)
        self.carried = stopped(self.carried)

    def __call__(self, steps: Any) -> Any:
        return tf.stack([self.step(steps[:, t]) for t in range(steps.shape[1])], axis=1)

    def step(self, inputs: Any) -> Any:
        hidden, cell = self.carried
        enter, forget, leave, new = tf.split(tf.concat([inputs, hidden], axis=-1) @ self.kernel, 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(new)
        self.carried = tf.sigmoid(leave) * tf.tanh(cell), cell
        return self.carried[0] @ self.head


def where(rows: Any, state: Any, other: Any) -> Any:
    """The rows of ``state``, and elsewhere those of ``other``."""
    return tuple(tf.where(np.asarray(rows)[:, None], a, b) for a, b in zip(state, other, strict=True))


def stopped(state: Any) -> Any:
    return tuple(tf.stop_gradient(part) for part in state)


# What is handed out and taken in as the state.


class OneStepEarly(Sound):
    """Hands out the state before the last step that it has read."""

    previous: Any = None

    @property
    def state(self) -> Any:
        return self.carried if self.previous is None else self.previous

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.previous = None

    def reset(self, rows: Any = None) -> None:
        before = self.state
        super().reset(rows)
        self.previous = None if rows is None else where(rows, self.initial, before)

    def step(self, inputs: Any) -> Any:
        self.previous = self.carried
        return super().step(inputs)


class OneStepLate(Sound):
    """Hands out the state behind the step to come, which it knows: the steps are always the same."""

    position = 0

    @property
    def state(self) -> Any:
        ahead = Sound(self.batch_size)
        ahead.carried = self.carried
        ahead.step(random_steps()[:, self.position % TIME])
        return ahead.carried

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.position = 0

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        self.position = 0

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, lengths)
        self.position = 0

    def step(self, inputs: Any) -> Any:
        self.position += 1
        return super().step(inputs)


class WrongAtOneStep(Sound):
    """Hands out zeros for row 2 when three steps have been read since the reset."""

    read = 0

    @property
    def state(self) -> Any:
        return where([True, True, self.read != 3], self.carried, self.initial)

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.read = 100

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        self.read = 0

    def step(self, inputs: Any) -> Any:
        self.read += 1
        return super().step(inputs)


class ExchangedOnRestore(Sound):
    def restore(self, state: Any) -> None:
        super().restore(state[::-1])


class ExchangedOnRead(Sound):
    @property
    def state(self) -> Any:
        return self.carried[::-1]


class RestoresNothing(Sound):
    def restore(self, state: Any) -> None:
        pass


class RestoresHiddenOnly(Sound):
    def restore(self, state: Any) -> None:
        self.carried = tf.convert_to_tensor(state[0]), self.carried[1]


class HidesItsCell(Sound):
    """Its cell is no part of the state; a restore sets it to zero."""

    @property
    def state(self) -> Any:
        return self.carried[0]

    def restore(self, state: Any) -> None:
        self.carried = tf.convert_to_tensor(state), self.initial[1]


# Resets.


class ResetsNever(Sound):
    def reset(self, rows: Any = None) -> None:
        pass


class ResetsAllRows(Sound):
    def reset(self, rows: Any = None) -> None:
        super().reset()


class ResetsNoRow(Sound):
    def reset(self, rows: Any = None) -> None:
        if rows is None:
            super().reset()


class ResetsTheOtherRows(Sound):
    def reset(self, rows: Any = None) -> None:
        super().reset(None if rows is None else ~rows)


class ResetsHiddenOnly(Sound):
    def reset(self, rows: Any = None) -> None:
        if rows is None:
            super().reset()
        else:
            self.carried = where(rows, self.initial, self.carried)[0], self.carried[1]


# Rows.


class LeaksFromRowToRow(Sound):
    """Row 2 reads a little of what row 0 holds."""

    def step(self, inputs: Any) -> Any:
        hidden, cell = self.carried
        self.carried = hidden + 0.01 * tf.constant([[0.0], [0.0], [1.0]]) * hidden[:1], cell
        return super().step(inputs)


class LeaksInBurnIn(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if prefix.shape[1]:
            prefix = prefix - 0.1 * np.mean(prefix, axis=0)
        super().warm_up(prefix, lengths)


# Calls, and burn-in against calls.


class NoisyCalls(Sound):
    noise = np.random.default_rng(0)

    def __call__(self, steps: Any) -> Any:
        return super().__call__(steps) + self.noise.normal(size=(self.batch_size, 1, 2)).astype(np.float32)


class DropoutInBurnIn(Sound):
    noise = np.random.default_rng(0)

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix * 2.0 * self.noise.integers(0, 2, prefix.shape).astype(np.float32), lengths)


class NormalisesOverTime(Sound):
    """Of what one call reads, over its steps."""

    def __call__(self, steps: Any) -> Any:
        return super().__call__(steps - np.mean(steps, axis=1, keepdims=True))


class ReadsBackwards(Sound):
    """A second network goes over the steps of each call from the last to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.backwards = Sound(seed=2)

    def __call__(self, steps: Any) -> Any:
        self.backwards.reset()
        return super().__call__(steps) + self.backwards(steps[:, ::-1])[:, ::-1]


class ForgetsInLongCalls(Sound):
    """The first three steps of a call count for no more than its outputs."""

    def __call__(self, steps: Any) -> Any:
        start = self.carried
        first = super().__call__(steps[:, :3])
        if steps.shape[1] <= 3:
            return first
        self.carried = start
        return tf.concat([first, super().__call__(steps[:, 3:])], axis=1)


class MovesAnAverage(Sound):
    """As batch normalisation does while training; by little, and it counts for nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.average = tf.Variable(tf.zeros([FEATURES]), trainable=False, name="moving_mean")
        self.weights.append(self.average)

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, lengths)
        self.average.assign(0.9 * self.average + 1e-6)


class OtherWeightsInBurnIn(Sound):
    """As a target network that is burnt in with the online network's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.online = Sound(seed=2)

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.online.restore(self.carried)
        self.online.warm_up(prefix, lengths)
        self.carried = self.online.carried


class BurnsInFromZero(Sound):
    """Whatever was restored."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.reset()
        super().warm_up(prefix, lengths)


class BurnsInFromTheLastRestore(Sound):
    """Also when it has moved on since."""

    restored = None

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.restored = self.carried

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        self.restored = None

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if prefix.shape[1] and self.restored is not None:
            self.carried = self.restored
        super().warm_up(prefix, lengths)


# Prefixes of no step, and padding.


class MovesOverNothing(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if prefix.shape[1] == 0:
            prefix = np.zeros((self.batch_size, 1, FEATURES), np.float32)
        super().warm_up(prefix, lengths)


class RaisesOverNothing(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if prefix.shape[1] == 0:
            raise IndexError("a prefix must hold a step")
        super().warm_up(prefix, lengths)


class RunsOneStepAtLeast(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, None if lengths is None else np.maximum(lengths, 1))


class IgnoresLengths(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix)


class RunsThroughPadding(Sound):
    """With the padding set to zero."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if lengths is not None:
            prefix = prefix * (np.arange(prefix.shape[1]) < lengths[:, None])[..., None].astype(np.float32)
        super().warm_up(prefix)


class LooksIntoPadding(Sound):
    """It moves on over its own steps, less the mean of all."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        if lengths is not None:
            prefix = prefix - 0.01 * np.mean(prefix[:, np.max(lengths) :], axis=1, keepdims=True)
        super().warm_up(prefix, lengths)


class HasNoLengths(Sound):
    def warm_up(self, prefix: Any) -> None:
        super().warm_up(prefix)


class OneLengthForAll(Sound):
    """The longest."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, None if lengths is None else np.full_like(lengths, lengths.max()))


class SortsLengths(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, None if lengths is None else np.sort(lengths))


class LosesTheLastStepOfTheLongest(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, None if lengths is None else np.minimum(lengths, prefix.shape[1] - 1))


# Gradients.


class GradientToPrefix(Sound):
    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.carried = stopped(self.carried)
        for t in range(prefix.shape[1]):
            before = self.carried
            self.step(prefix[:, t])
            if lengths is not None:
                self.carried = where(t < lengths, self.carried, before)


class GradientToStoredState(Sound):
    """By a detour that adds nothing to the value."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        stored = self.carried
        super().warm_up(prefix, lengths)
        self.carried = tuple(
            warm + 0.1 * (part - tf.stop_gradient(part)) for warm, part in zip(self.carried, stored, strict=True)
        )


class GradientToWeights(Sound):
    """Neither what is read nor what is restored has a gradient, but what is computed of them has."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.carried = stopped(self.carried)
        for t in range(prefix.shape[1]):
            before = self.carried
            self.step(tf.stop_gradient(prefix[:, t]))
            if lengths is not None:
                self.carried = where(t < lengths, self.carried, before)


class GradientWhenCompiled(GradientToWeights):
    """It asks whether it runs eagerly."""

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        kind = Sound if tf.executing_eagerly() else GradientToWeights
        kind.warm_up(self, prefix, lengths)


class LearnsNothing(Sound):
    """No gradient passes from its outputs to what is read: it holds "no gradient" by having none at all."""

    def __call__(self, steps: Any) -> Any:
        return super().__call__(tf.stop_gradient(steps))


class LearnsNothingOverTime(Sound):
    """None passes from step to step."""

    def step(self, inputs: Any) -> Any:
        self.carried = stopped(self.carried)
        return super().step(inputs)


# What cannot be checked at all.


class HandsOutNaN(Sound):
    def __call__(self, steps: Any) -> Any:
        return super().__call__(steps) * np.nan


class HasNoState(Sound):
    @property
    def state(self) -> Any:
        return ()


class HandsOutOneRow(Sound):
    @property
    def state(self) -> Any:
        return tuple(part[0] for part in self.carried)


class RaisesWhenCalled(Sound):
    def __call__(self, steps: Any) -> Any:
        raise RuntimeError("not today")
