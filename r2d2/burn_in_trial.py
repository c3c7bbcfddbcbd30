"""A network on trial for `r2d2.check_burn_in`: its verbs on NumPy arrays, and what several checks need of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from r2d2.burn_in_measure import Array, Measurement, NotApplicable, Rows, Unfit, largest_difference
from r2d2.burn_in_subjects import Subject
from r2d2.replay import trees
from r2d2.replay.trees import Tree


class Played(NamedTuple):
    """Steps run one by one."""

    outputs: list[Array]
    """Leaves ``[batch, time, ...]``."""
    states: list[Tree]
    """Those read just before each step, and the one after the last."""


class Trial:
    """The verbs of a network on arrays, and comparisons of what they give.

    Args:
        subject: network, steps and weights.
        burn_in: lengths of prefixes, ascending, each from 1 to time - 1.
        tolerance: see `largest_difference`.
        seed: of the loss whose gradient is taken.
    """

    def __init__(self, subject: Subject, burn_in: tuple[int, ...], tolerance: float, seed: int) -> None:
        self.network, self.steps, self.weights = subject.network, subject.steps, subject.weights
        self.burn_in, self.tolerance, self.seed = burn_in, tolerance, seed
        self.batch, self.time = trees.leaves(subject.steps)[0].shape[:2]
        self.other_steps = map_leaves(self._moved, self.steps)
        """The same steps at other places: what may stand in their stead, and in padding."""
        self.start: Tree = None
        """A state unlike the initial one, another for each row; known once `open` has run."""
        self.failed: set[str] = set()
        """Properties that have failed, and those that could not be checked for that reason."""
        self._before: Tree = None
        self._weights_before = self.weight_values()
        self._in_time: list[bool] = []

    def open(self) -> None:
        """Run the network for the first time, and reach `start`.

        Raises:
            Unfit: outputs or states are not numbers, not of the batch, or not finite.
        """
        self._before = self.read()
        self.network.reset()
        outputs = _arrays(self.network(self.part(0, 1)), "outputs")
        self._in_time = [leaf.shape[1:2] == (1,) for leaf in outputs]
        self._check("outputs", _arrays(self.network(self.other_steps), "outputs"))
        self.start = self.read()
        self._check("state", trees.leaves(self.start))

    def put_back(self) -> bool:
        """Give the network the weights and the state that it had; False if it does not take them."""
        try:
            for weight, value in zip(self.weights or [], self._weights_before, strict=True):
                if not np.array_equal(_array(weight), value):
                    weight.assign(value)
            if self._before is None:
                return True
            self.restore(self._before)
            if not self._is_as_before():
                self.restore(self.read())  # what exchanges parts exchanges them back the second time
            return self._is_as_before()
        except Exception:
            return False

    def weight_values(self) -> list[Array]:
        return [_array(weight) for weight in self.weights or []]

    def read(self) -> Tree:
        """A copy of the state."""
        state = self.network.state
        return trees.build(state, _arrays(state, "state"))

    def restore(self, state: Tree) -> None:
        """Restore a copy: the network may change in place what it is given."""
        self.network.restore(map_leaves(np.copy, state))

    def run(self, steps: Tree) -> list[Array]:
        """Outputs ``[batch, time, ...]``; those without a time axis as the last step's, ``[batch, 1, ...]``."""
        outputs = _arrays(self.network(steps), "outputs")
        return [leaf if in_time else leaf[:, None] for leaf, in_time in zip(outputs, self._in_time, strict=True)]

    def last_of(self, outputs: Tree) -> list[Any]:
        """Leaves of what a call has given, as it was given, cut down to the last step."""
        leaves = zip(trees.leaves(outputs), self._in_time, strict=True)
        return [leaf[:, -1:] if in_time else leaf for leaf, in_time in leaves]

    def run_from(self, state: Tree, steps: Tree) -> list[Array]:
        self.restore(state)
        return self.run(steps)

    def run_one_by_one_from(self, state: Tree, steps: Tree) -> Played:
        """The same with a call for each step."""
        self.restore(state)
        return self._play(steps)

    def warmed(self, prefix: Tree, *lengths: Array, state: Tree = None) -> Tree:
        """The state after burn-in over ``prefix`` from ``state``, by default `start`."""
        self.restore(self.start if state is None else state)
        self.network.warm_up(prefix, *lengths)
        return self.read()

    @cached_property
    def played(self) -> Played:
        """All steps, one by one from a reset."""
        self.network.reset()
        return self._play(self.steps)

    @cached_property
    def replayed(self) -> list[list[Array]]:
        """For each step, the outputs of all from it on, in one call from the state that was read before it."""
        return [self.run_from(state, self.part(t, None)) for t, state in enumerate(self.played.states[:-1])]

    def replayed_one_by_one(self, t: int) -> list[Array]:
        """The same for step ``t``, with a call for each step."""
        return self.run_one_by_one_from(self.played.states[t], self.part(t, None)).outputs

    def part(self, start: int, stop: int | None, steps: Tree = None) -> Tree:
        """The steps from ``start`` to just before ``stop``."""
        return map_leaves(lambda leaf: leaf[:, start:stop], self.steps if steps is None else steps)

    def padded(self, length: int) -> list[Tree]:
        """The first ``length`` steps and padding up to the whole time: of zeros, and of steps from elsewhere."""
        return [
            self._joined(lambda own, padding: np.concatenate([own[:, :length], padding[:, length:]], axis=1), filling)
            for filling in (map_leaves(np.zeros_like, self.steps), self.other_steps)
        ]

    def with_others_in(self, rows: Rows) -> tuple[Tree, Tree]:
        """`start` and the steps, with those of other rows in the ``rows``."""
        state = map_leaves(lambda leaf: _where(rows, np.roll(leaf, 1, axis=0), leaf), self.start)
        return state, self._joined(lambda own, other: _where(rows, other, own), self.other_steps)

    def sets_of_rows(self) -> list[Rows]:
        """A few sets (bool[batch]) such that of any two rows each is in one of them without the other.

        Raises:
            NotApplicable: there is one row only.
        """
        self.demand_two_rows()
        bits = [(np.arange(self.batch) >> bit) % 2 == 1 for bit in range((self.batch - 1).bit_length())]
        return [rows for bit in bits for rows in (bit, ~bit)]

    def demand_two_rows(self) -> None:
        if self.batch == 1:
            raise NotApplicable("it takes two rows: check the network with a batch of 2 or more")

    def outputs_differ(
        self,
        claim: str,
        expected: Sequence[Array],
        found: Sequence[Array],
        *,
        end: int,
        rows: Rows | None = None,
        exact: bool = False,
    ) -> Measurement:
        """Compare outputs whose last step is ``end - 1``, as far back as both reach, in some rows or all."""
        widths = [min(a.shape[1], b.shape[1]) for a, b in zip(expected, found, strict=True)]
        a, b = (
            [leaf[:, leaf.shape[1] - width :] for leaf, width in zip(leaves, widths, strict=True)]
            for leaves in (expected, found)
        )
        worst = largest_difference(claim, a, b, 0.0 if exact else self.tolerance, rows)
        return replace(worst, step=end - widths[worst.leaf] + worst.index[1], row=worst.index[0])

    def states_differ(
        self,
        claim: str,
        expected: Tree,
        found: Tree,
        *,
        step: int | None = None,
        rows: Rows | None = None,
        exact: bool = False,
    ) -> Measurement:
        """Compare states, those before step ``step`` if one is given, in some rows or all."""
        a, b = trees.leaves(expected), trees.leaves(found)
        worst = largest_difference(claim, a, b, 0.0 if exact else self.tolerance, rows)
        return replace(worst, step=step, row=worst.index[0])

    def _play(self, steps: Tree) -> Played:
        outputs, states = [], [self.read()]
        for t in range(trees.leaves(steps)[0].shape[1]):
            outputs.append(self.run(self.part(t, t + 1, steps)))
            states.append(self.read())
        return Played([np.concatenate(leaves, axis=1) for leaves in zip(*outputs, strict=True)], states)

    def _moved(self, leaf: Array) -> Array:
        """Each step in the place of the one after it and one row on; of a single row, one step on."""
        flat = leaf.reshape(-1, *leaf.shape[2:])
        return np.roll(flat, self.time + 1, axis=0).reshape(leaf.shape)

    def _joined(self, function: Callable[[Array, Array], Array], others: Tree) -> Tree:
        pairs = zip(trees.leaves(self.steps), trees.leaves(others), strict=True)
        return trees.build(self.steps, [function(own, other) for own, other in pairs])

    def _check(self, name: str, leaves: list[Array]) -> None:
        if not leaves:
            raise Unfit(f"{name}: there is no array")
        for number, leaf in enumerate(leaves):
            if leaf.shape[:1] != (self.batch,):
                raise Unfit(f"{name}: array {number} has shape {leaf.shape}, must be [batch, ...], batch={self.batch}")
            # An output may be minus infinity: that of an action that is not allowed.
            if np.isnan(leaf).any() or (name == "state" and np.isinf(leaf).any()):
                raise Unfit(f"{name}: array {number} holds values that are not finite")

    def _is_as_before(self) -> bool:
        pairs = zip(trees.leaves(self.read()), trees.leaves(self._before), strict=True)
        return all(np.array_equal(now, before) for now, before in pairs)


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    return trees.build(tree, [function(leaf) for leaf in trees.leaves(tree)])


def _where(rows: Rows, chosen: Array, other: Array) -> Array:
    return np.where(rows.reshape(-1, *[1] * (other.ndim - 1)), chosen, other)


def _arrays(tree: Tree, name: str) -> list[Array]:
    arrays = [_array(leaf) for leaf in trees.leaves(tree)]
    for number, array in enumerate(arrays):
        if array.dtype.kind in "OSUMmc":
            raise Unfit(f"{name}: array {number} has dtype {array.dtype}, must be real numbers or bools")
    return arrays


def _array(value: Any) -> Array:
    """A copy as a NumPy array, also of a variable."""
    return np.array(value.numpy() if hasattr(value, "numpy") else value)
