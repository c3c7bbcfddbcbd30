"""`check_burn_in`: whether a recurrent network may be trained from stored states with burn-in, property by property.

It is for networks of your own, as Gymnasium's `check_env` is for environments of your own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np

from r2d2.burn_in_measure import Measurement, NotApplicable, Unfit
from r2d2.burn_in_properties import PROPERTIES, Property
from r2d2.burn_in_subjects import subject_of
from r2d2.burn_in_trial import Trial
from r2d2.replay import trees

REMAINDER = 3
"""Steps behind the longest prefix, where the check may choose."""
LONGEST_PREFIX = 4
"""Steps of it, where the check may choose."""
LARGEST_TOLERANCE = 0.1


@dataclass(frozen=True)
class BurnInReport:
    """A network that holds all that could be checked."""

    checked: tuple[str, ...]
    """Names of the properties that hold."""
    skipped: Mapping[str, str]
    """Properties that could not be checked, and why."""
    largest_differences: Mapping[str, float]
    """For each property checked the largest difference found where none should be, rounding apart."""

    def __str__(self) -> str:
        width = max(map(len, (*self.checked, *self.skipped)))
        return "\n".join(
            [
                f"burn-in is sound as far as checked: {len(self.checked)} properties hold, "
                f"{len(self.skipped)} could not be checked",
                *(
                    f"  {name:<{width}}  largest difference {self.largest_differences[name]:.2g}"
                    for name in self.checked
                ),
                *(f"  {name:<{width}}  not checked: {reason}" for name, reason in self.skipped.items()),
            ]
        )


@dataclass(frozen=True)
class Fault:
    """A property that does not hold."""

    property: str
    amount: float | None
    """Largest difference found; None if the network raised instead."""
    step: int | None
    """Where: index into the steps (of a state, the step before which it stands); None if it is no matter of steps."""
    row: int | None
    """Row of the batch; None if it is no matter of rows."""
    message: str
    """All of it in words."""

    def __str__(self) -> str:
        return f"{self.property}: {self.message}"


class BurnInError(AssertionError):
    """A network does not hold what burn-in needs; the text lists all faults, what explains others first."""

    def __init__(self, text: str, faults: tuple[Fault, ...] = (), skipped: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.faults = faults
        self.skipped = skipped or {}
        """Properties that were not checked, and why."""


def check_burn_in(
    network: Any,
    steps: Any = None,
    *,
    burn_in: Sequence[int] | None = None,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> BurnInReport:
    """Check that ``network`` can be trained from stored states with burn-in.

    The properties, by name:

    - interface: it can be reset, called on the steps and read, and nothing is NaN.
    - weights unmoved: burn-in changes no weight, such as the averages of a batch normalisation.
    - restore: the state after a restore does not depend on what came before.
    - reset: nor does the state after a reset.
    - repeatable calls, repeatable: calls, and burn-in, from the same state do the same again, bit for bit.
    - alignment: from the state read just before a step, that step and all following give the outputs that were played.
    - rows independent: what a row reads and holds changes no other row.
    - partial reset: a row that is reset is in its initial state, the other rows are unchanged, bit for bit.
    - pieces: steps in one piece or in many, called or burnt in, lead to the same; no step changes an earlier output.
    - empty prefix: burn-in over no steps, or with all lengths 0, leaves the state as it is.
    - padding inert: burn-in over right-padded prefixes is the same as over each row's own steps.
    - mixed lengths: the same in a batch of prefixes of different lengths.
    - no gradient: none reaches the prefix or the stored state, and the one of the weights is that of a constant state.
    - no gradient, compiled: the same inside a `tf.function`.
    - gradient: the outputs of the last step have one to the first step behind burn-in, if they depend on it.

    States and weights are put back as they were, whatever the outcome. A few steps find what many would: the time taken
    grows with the square of their number (seconds for ten, minutes for a hundred). Give no steps that the network masks
    (as an embedding with ``mask_zero`` does with 0): alone in a call they are not what they are among others.

    Args:
        network: a `RecurrentQNetwork`, a `StatefulNetwork`, a built Keras model with ``stateful=True`` layers, or an
            object with the verbs of `SupportsBurnIn`. It is called as it is for acting; Keras models with
            ``training=False``.
        steps: what the network is called with, arrays ``[batch, time, ...]`` or a tree of them; at least two steps, not
            all the same. Default: random steps, where their form is known - that of the spaces of a
            `RecurrentQNetwork`, or the one floating-point input of a Keras model.
        burn_in: lengths of the prefixes to try, each from 1 to time - 1. Default: 1, and all but the last 3 steps.
        tolerance: largest difference that counts as rounding, from 0 to 0.1, as a fraction of the largest value in the
            array that is compared. The default is for float32.
        seed: of random steps and of the loss whose gradient is taken.

    Returns:
        What was checked and what could not be.

    Raises:
        BurnInError: a property does not hold; all faults that were found are listed. If the network raised, that
            error is the cause.
        TypeError: ``network`` is nothing that can be checked.
        ValueError: an argument is not as said above.
    """
    if not 0.0 <= tolerance <= LARGEST_TOLERANCE:
        raise ValueError(
            f"tolerance={tolerance} must be from 0 to {LARGEST_TOLERANCE}: a fraction of the values compared"
        )
    burn_in = None if burn_in is None else list(burn_in)
    if burn_in is not None and not (burn_in and all(isinstance(n, int | np.integer) and n >= 1 for n in burn_in)):
        raise ValueError(f"burn_in={burn_in} must hold whole numbers of at least 1 (burn-in of 0 is always tried)")
    wanted = max(burn_in) if burn_in else LONGEST_PREFIX
    subject = subject_of(network, steps, int(wanted) + REMAINDER, seed)
    time = trees.leaves(subject.steps)[0].shape[1]
    lengths = sorted(set(burn_in or (1, max(1, time - REMAINDER))))
    if lengths[-1] >= time:
        raise ValueError(
            f"burn_in={burn_in} must be below {time}, the time of the steps: outputs behind it are compared"
        )
    return _judge(Trial(subject, tuple(lengths), tolerance, seed))


def _judge(trial: Trial) -> BurnInReport:
    differences: dict[str, float] = {}
    skipped: dict[str, str] = {}
    faults: list[Fault] = []
    cause: Exception | None = None
    put_back = False
    try:
        for each in PROPERTIES:
            missing = [name for name in each.needs if name in trial.failed]
            if missing:
                skipped[each.name] = f"it means nothing without {', '.join(missing)}"
                trial.failed.add(each.name)
                continue
            try:
                worst = _worst(each.check(trial))
                fault = None if worst.holds else _fault(each, worst, each.diagnosis(trial, worst))
            except NotApplicable as reason:
                skipped[each.name] = str(reason)
                continue
            except Exception as error:
                fault, cause = _raised(each, error), cause or error
            if fault is None:
                differences[each.name] = worst.amount
            else:
                faults.append(fault)
                trial.failed.add(each.name)
    finally:
        put_back = trial.put_back()
    if faults:
        raise BurnInError(_text(faults, skipped, put_back), tuple(faults), skipped) from cause
    return BurnInReport(tuple(differences), skipped, differences)


def _worst(measurements: Iterable[Measurement]) -> Measurement:
    """Of the first claim that is too far off, the measurement that is furthest off; if none is, the largest."""
    worst: dict[str, Measurement] = {}
    for measurement in measurements:
        before = worst.setdefault(measurement.claim, measurement)
        worst[measurement.claim] = max(before, measurement, key=lambda either: either.size)
    largest = max(worst.values(), key=lambda measurement: measurement.amount, default=Measurement("", 0.0, 0.0))
    return next((measurement for measurement in worst.values() if not measurement.holds), largest)


def _fault(each: Property, worst: Measurement, diagnosis: str) -> Fault:
    places = [f"{word} {place}" for word, place in (("step", worst.step), ("row", worst.row)) if place is not None]
    message = f"{worst.claim}; largest difference {worst.amount:.2g}, allowed {worst.allowed:.2g}"
    message += f", at {', '.join(places)}" * bool(places) + f"; {diagnosis}" * bool(diagnosis)
    return Fault(each.name, worst.amount, worst.step, worst.row, message)


def _raised(each: Property, error: Exception) -> Fault:
    said = str(error) if isinstance(error, Unfit) else shorten(f"it raised {type(error).__name__}: {error}", 400)
    return Fault(each.name, None, None, None, said)


def _text(faults: Sequence[Fault], skipped: Mapping[str, str], put_back: bool) -> str:
    lines = [f"burn-in is not sound: {len(faults)} of {len(PROPERTIES)} properties do not hold"]
    lines += [f"  {fault}" for fault in faults]
    lines += [f"  {name}: not checked: {reason}" for name, reason in skipped.items()]
    if not put_back:
        lines.append("The network could not be put back as it was: restore() does not take it there.")
    return "\n".join(lines)
