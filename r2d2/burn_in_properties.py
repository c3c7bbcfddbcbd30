"""The properties that `r2d2.check_burn_in` checks, each a function from a trial to measurements.

The claims of a property come in order, the one that explains the others first; and each property is checked in a way
that depends on as few of the others as can be, so that several faults of one network are all found at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from r2d2 import burn_in_diagnosis as diagnosis
from r2d2.burn_in_gradients import gradient, no_gradient, no_gradient_compiled
from r2d2.burn_in_measure import Array, Measurement, NotApplicable, Rows, largest_difference
from r2d2.burn_in_trial import Trial
from r2d2.replay.trees import Tree

End = tuple[Tree, list[Array]]
"""Where burn-in leads: the state read behind it, and the outputs of the steps that follow."""


@dataclass(frozen=True)
class Property:
    """A property by name."""

    name: str
    check: Callable[[Trial], Iterator[Measurement]]
    needs: tuple[str, ...] = ("interface",)
    """Properties without which this one means nothing."""
    diagnosis: Callable[[Trial, Measurement], str] = diagnosis.nothing_known
    """The likely cause once it has failed; empty if there is nothing to say."""


def interface(trial: Trial) -> Iterator[Measurement]:
    """The network can be reset and called, and its state read."""
    trial.open()
    yield from ()


def weights_unmoved(trial: Trial) -> Iterator[Measurement]:
    """Burn-in changes no weight."""
    if not trial.weights:
        raise NotApplicable("its variables are not known; give it an attribute `weights`, the list of them")
    before = trial.weight_values()
    trial.network.warm_up(trial.part(0, trial.burn_in[-1]))
    yield largest_difference("burn-in changes a weight", before, trial.weight_values(), 0.0)


def restore(trial: Trial) -> Iterator[Measurement]:
    """The network goes on from what is restored, whatever was before."""
    found = []
    for steps in (trial.other_steps, trial.steps):
        trial.network(steps)
        trial.restore(trial.start)
        found.append(trial.read())
    claim = "the state after restore() depends on what came before: it does not restore, or not every part"
    yield trial.states_differ(claim, *found, exact=True)


def reset(trial: Trial) -> Iterator[Measurement]:
    """A reset of all rows leads to the same state, whatever was before."""
    found = []
    for steps in (trial.other_steps, trial.steps):
        trial.network(steps)
        trial.network.reset()
        found.append(trial.read())
    yield trial.states_differ("the state after reset() depends on what came before", *found, exact=True)


def repeatable_calls(trial: Trial) -> Iterator[Measurement]:
    """The same steps from the same state give the same outputs, bit for bit."""
    once, again = (trial.run_from(trial.start, trial.steps) for _ in range(2))
    claim = "the same steps from the same state give other outputs the second time: dropout, or noise?"
    yield trial.outputs_differ(claim, once, again, end=trial.time, exact=True)


def repeatable(trial: Trial) -> Iterator[Measurement]:
    """The same burn-in from the same state leads to the same state, bit for bit."""
    claim = "the same burn-in from the same state leads to another state the second time: dropout, or noise?"
    for length in trial.burn_in:
        once, again = (trial.warmed(trial.part(0, length)) for _ in range(2))
        yield trial.states_differ(claim, once, again, step=length, exact=True)


def alignment(trial: Trial) -> Iterator[Measurement]:
    """From the state read just before a step, that step and the following give the outputs that were played."""
    outputs, states = trial.played
    either = (trial.run_from(state, trial.steps) for state in (states[0], trial.start))
    effect = trial.outputs_differ("", *either, end=trial.time)
    if effect.holds:
        raise NotApplicable(
            f"another state changes the outputs by {effect.amount:.2g} at most, which a tolerance of "
            f"{effect.allowed:.2g} hides; try other weights, or a smaller tolerance"
        )
    claim = "the outputs from the state kept before this step are not those that were played"
    for t, found in enumerate(trial.replayed):
        expected = _from(t, outputs)
        measured = trial.outputs_differ(claim, expected, found, end=trial.time)
        if not measured.holds:  # steps in one call may give something else for another reason: `pieces`
            measured = trial.outputs_differ(claim, expected, trial.replayed_one_by_one(t), end=trial.time)
        yield replace(measured, step=t)


def rows_independent(trial: Trial) -> Iterator[Measurement]:
    """What a row reads and holds changes no output and no state of another."""
    sets = trial.sets_of_rows()
    length = trial.burn_in[-1]
    outputs, state = trial.run_from(trial.start, trial.steps), trial.read()
    warm = trial.warmed(trial.part(0, length))
    for rows in sets:
        start, steps = trial.with_others_in(rows)
        changed = trial.run_from(start, steps)
        yield trial.outputs_differ("other rows change a row's outputs", outputs, changed, end=trial.time, rows=~rows)
        yield trial.states_differ("other rows change a row's state", state, trial.read(), step=trial.time, rows=~rows)
        found = trial.warmed(trial.part(0, length, steps), state=start)
        yield trial.states_differ("in burn-in, other rows change a row's state", warm, found, step=length, rows=~rows)


def partial_reset(trial: Trial) -> Iterator[Measurement]:
    """A row that is reset is in its initial state, the others are unchanged, bit for bit."""
    sets = trial.sets_of_rows()
    trial.network.reset()
    initial = trial.read()
    for rows in sets:
        trial.network(trial.other_steps)
        before = trial.read()
        trial.network.reset(rows)
        after = trial.read()
        yield trial.states_differ(
            "a row that is reset is not in its initial state", initial, after, rows=rows, exact=True
        )
        yield trial.states_differ(
            "the reset of other rows changes a row's state", before, after, rows=~rows, exact=True
        )


def pieces(trial: Trial) -> Iterator[Measurement]:
    """Steps in one piece or in many, called or burnt in, lead to the same outputs and states."""
    claim = "several steps in one call give other outputs than one call for each"
    for t, found in enumerate(trial.replayed):
        measured = trial.outputs_differ(claim, _from(t, trial.played.outputs), found, end=trial.time)
        if not measured.holds:  # it may be the state that is wrong: `alignment`
            measured = trial.outputs_differ(claim, trial.replayed_one_by_one(t), found, end=trial.time)
        yield measured

    called = trial.run_one_by_one_from(trial.start, trial.steps)
    for length in trial.burn_in:
        remaining = trial.part(length, None)
        expected = called.states[length], _from(length, called.outputs)
        in_one = _end(trial, remaining, (trial.part(0, length),))
        claim = "burn-in leads elsewhere than calls with the same steps: other weights, or another start?"
        yield from _ends_differ(trial, claim, length, expected, in_one)
        claim = "burn-in in several pieces leads elsewhere than in one"
        for size in sorted({1, max(1, length // 2)}):
            cuts = pairwise([*range(0, length, size), length])
            in_many = _end(trial, remaining, *((trial.part(start, stop),) for start, stop in cuts))
            yield from _ends_differ(trial, claim, length, in_one, in_many)


def empty_prefix(trial: Trial) -> Iterator[Measurement]:
    """Burn-in over nothing leaves the state exactly as it is."""
    trial.restore(trial.start)
    stored = trial.read()
    outputs = trial.run(trial.steps)
    none = np.zeros(trial.batch, np.int32)
    for claim, time, lengths in (
        ("burn-in over a prefix of no steps moves the state", 0, ()),
        ("burn-in with all lengths 0 moves the state", trial.burn_in[-1], (none,)),
    ):
        found = trial.warmed(trial.part(0, time), *lengths)
        yield trial.states_differ(claim, stored, found, step=0, exact=True)
        yield trial.outputs_differ(claim, outputs, trial.run(trial.steps), end=trial.time)


def padding_inert(trial: Trial) -> Iterator[Measurement]:
    """Right-padding has no influence, whatever stands in it."""
    claim = "burn-in over a right-padded prefix leads elsewhere than over its own steps"
    for length in trial.burn_in:
        own = _end(trial, trial.steps, (trial.part(0, length),))
        lengths = np.full(trial.batch, length, np.int32)
        for padded in trial.padded(length):
            yield from _ends_differ(trial, claim, length, own, _end(trial, trial.steps, (padded, lengths)))


def mixed_lengths(trial: Trial) -> Iterator[Measurement]:
    """In a batch of prefixes of different lengths, each row moves on over its own steps."""
    trial.demand_two_rows()
    claim = "beside rows of other lengths, burn-in leads a row elsewhere than its own steps do"
    alone = {0: _end(trial, trial.steps)}
    alone |= {n: _end(trial, trial.steps, (trial.part(0, n),)) for n in (*trial.burn_in, trial.time)}
    every = np.array(list(alone), np.int32)
    for shift in range(len(every)):
        lengths = np.resize(np.roll(every, shift), trial.batch)
        found = _end(trial, trial.steps, (trial.steps, lengths))
        for length in np.unique(lengths).tolist():
            yield from _ends_differ(trial, claim, length, alone[length], found, rows=lengths == length)


def _from(step: int, outputs: list[Array]) -> list[Array]:
    return [leaf[:, step:] for leaf in outputs]


def _end(trial: Trial, following: Tree, *prefixes: tuple[Any, ...]) -> End:
    """Where burn-in over prefixes, each with lengths or without, leads from `Trial.start`."""
    trial.restore(trial.start)
    for prefix in prefixes:
        trial.network.warm_up(*prefix)
    return trial.read(), trial.run(following)


def _ends_differ(
    trial: Trial, claim: str, length: int, expected: End, found: End, rows: Rows | None = None
) -> Iterator[Measurement]:
    yield replace(trial.outputs_differ(claim, expected[1], found[1], end=trial.time, rows=rows), step=length)
    if "alignment" not in trial.failed:  # else what is read need not be the state of this step
        yield trial.states_differ(claim, expected[0], found[0], step=length, rows=rows)


PROPERTIES = (
    Property("interface", interface, ()),
    Property("weights unmoved", weights_unmoved, diagnosis=diagnosis.which_weight),
    Property("restore", restore),
    Property("reset", reset),
    Property("repeatable calls", repeatable_calls, ("restore",)),
    Property("repeatable", repeatable, ("restore",)),
    Property("alignment", alignment, ("restore", "repeatable calls"), diagnosis.which_state),
    Property("rows independent", rows_independent, ("repeatable calls", "repeatable"), diagnosis.which_rows),
    Property("partial reset", partial_reset, ("reset",)),
    Property("pieces", pieces, ("repeatable calls", "repeatable"), diagnosis.which_steps),
    Property("empty prefix", empty_prefix, ("repeatable calls",)),
    Property("padding inert", padding_inert, ("repeatable calls", "repeatable"), diagnosis.which_length),
    Property("mixed lengths", mixed_lengths, ("rows independent", "pieces", "empty prefix", "padding inert")),
    Property("no gradient", no_gradient, ("repeatable calls", "repeatable")),
    Property("no gradient, compiled", no_gradient_compiled, ("no gradient",)),
    Property("gradient", gradient, ("repeatable calls", "repeatable")),
)
"""In the order in which they are checked: what explains others comes before them."""
