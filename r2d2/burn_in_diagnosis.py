"""What may be the cause of a property that does not hold, for `r2d2.check_burn_in`."""

from collections.abc import Mapping

import numpy as np

from r2d2.burn_in_measure import Measurement
from r2d2.burn_in_trial import Trial
from r2d2.replay import trees
from r2d2.replay.trees import Tree


def nothing_known(trial: Trial, measurement: Measurement) -> str:
    return ""


def which_weight(trial: Trial, measurement: Measurement) -> str:
    weight = (trial.weights or [])[measurement.leaf]
    return f"it is {getattr(weight, 'path', getattr(weight, 'name', measurement.leaf))}"


def which_state(trial: Trial, measurement: Measurement) -> str:
    """What was kept in the place of the state of each step: that of a step beside it, or its parts in another order."""
    states = trial.played.states
    if _explain(trial, dict(enumerate(states[1:]))):
        return "each state kept is that of the previous step: one step early"
    if _explain(trial, dict(enumerate(states[:-2], start=1))):
        return "each state kept is that of the following step: one step late"
    order = _order_after_restore(trial)
    exchanged = [number for number, other in enumerate(order) if number != other]
    inverse = np.argsort(order).tolist()
    if exchanged and _explain(trial, {t: _reordered(state, inverse) for t, state in enumerate(states[:-1])}):
        names = [trees.named_leaves(states[0], "state")[number][0] for number in exchanged]
        return f"{' and '.join(names)} are exchanged" + " (of an LSTM: h and c)" * (len(names) == 2)
    return ""


def which_rows(trial: Trial, measurement: Measurement) -> str:
    """The rows that each change the row measured."""
    alone, length = np.arange(trial.batch) == measurement.row, trial.burn_in[-1]
    outputs, warm = trial.run_from(trial.start, trial.steps), trial.warmed(trial.part(0, length))
    leaking = []
    for row in np.flatnonzero(~alone).tolist():
        state, steps = trial.with_others_in(np.arange(trial.batch) == row)
        changed = trial.run_from(state, steps)
        changed_warm = trial.warmed(trial.part(0, length, steps), state=state)
        if not (
            trial.outputs_differ("", outputs, changed, end=trial.time, rows=alone).holds
            and trial.states_differ("", warm, changed_warm, rows=alone).holds
        ):
            leaking.append(str(row))
    return f"it depends on row{'s' * (len(leaking) > 1)} {', '.join(leaking)}" if leaking else ""


def which_steps(trial: Trial, measurement: Measurement) -> str:
    """Whether what comes later changes what comes before."""
    half = trial.time // 2
    either = (trial.run_from(trial.start, steps) for steps in (trial.steps, trial.padded(half)[1]))
    one, other = ([leaf[:, :half] for leaf in outputs if leaf.shape[1] == trial.time] for outputs in either)
    if one and not trial.outputs_differ("", one, other, end=half).holds:
        return "a later step changes an earlier output: a layer that reads backwards, or that normalises over time?"
    return ""


def which_length(trial: Trial, measurement: Measurement) -> str:
    """Whether the padding is run through."""
    length = measurement.step or 0
    padded = trial.padded(length)[0]
    found = trial.warmed(padded, np.full(trial.batch, length, np.int32))
    if trial.states_differ("", trial.warmed(padded), found).holds:
        return "it is the state behind the padding: the lengths are ignored"
    return ""


def _explain(trial: Trial, states: Mapping[int, Tree]) -> bool:
    """Whether the output from each of these states, by step, is the one that was played."""
    return all(
        trial.outputs_differ(
            "",
            [leaf[:, t : t + 1] for leaf in trial.played.outputs],
            trial.run_from(state, trial.part(t, t + 1)),
            end=t + 1,
        ).holds
        for t, state in states.items()
    )


def _order_after_restore(trial: Trial) -> list[int]:
    """Which part of a restored state is read as each part; each its own if that cannot be told."""
    trial.restore(trial.start)
    restored, found = trees.leaves(trial.start), trees.leaves(trial.read())
    return [
        next((other for other, part in enumerate(restored) if np.array_equal(part, own)), number)
        for number, own in enumerate(found)
    ]


def _reordered(state: Tree, order: list[int]) -> Tree:
    parts = trees.leaves(state)
    return trees.build(state, [parts[number] for number in order])
