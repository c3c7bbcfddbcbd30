"""Experiments 1 to 4: what a dense layer, an LSTM and a stateful LSTM make of the alphabet.

Every model is trained on all windows and then asked in three ways (see `LetterTests`): in order, in reverse, in a loop.
A stateful model starts every epoch from zero states. Samples are shuffled only where the model's name says so.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agents.experiments.epochs import in_order, shuffled
from agents.experiments.letter_tests import LetterTests
from agents.experiments.models import Kind, Shape, samples
from agents.experiments.results import Experiment, Figure, Outcome, Setup, Windows
from agents.experiments.trainer import shared_trainer
from r2d2.keras_states import reset_states

TESTS = ("in order", "in reverse", "in a loop")


@dataclass(frozen=True)
class _Model:
    """A line of an article's table."""

    name: str
    kind: Kind
    published: tuple[float, float, float]
    """In order, in reverse, in a loop."""
    shuffled: bool = False
    reset_every_letter: bool = False
    in_one_batch: bool = False
    """Ask once more with all windows side by side, in the batch it was trained with."""

    @property
    def name_in_one_batch(self) -> str:
        return f"{self.name}, all in one batch"

    def figures(self) -> list[Figure]:
        """In the order of the table."""
        figures = [Figure(self.name, test, figure) for test, figure in zip(TESTS, self.published, strict=True)]
        return [*figures, Figure(self.name_in_one_batch, TESTS[0])] if self.in_one_batch else figures


@dataclass(frozen=True)
class _Task:
    """An article's table: what all its models have in common."""

    letters: int
    """Of a window."""
    shape: Shape
    models: tuple[_Model, ...]
    epochs: int = 500
    batch_size: int = 1


def _run(task: _Task, setup: Setup) -> Outcome:
    windows = setup.windows(task.letters)
    figures: dict[tuple[str, str], float] = {}
    for number, line in enumerate(task.models, start=1):
        model = _trained(task, line, setup, windows)
        asked = model
        if task.batch_size > 1:
            asked = shared_trainer(line.kind, 1, task.shape, windows.classes).model
            asked.set_weights(model.get_weights())
        tests = LetterTests(asked, windows, reset_every_letter=line.reset_every_letter)
        measured = tests.in_order(), tests.in_reverse(), tests.in_loop()
        figures.update({(line.name, test): value for test, value in zip(TESTS, measured, strict=True)})
        if line.in_one_batch:
            figures[line.name_in_one_batch, TESTS[0]] = _accuracy_in_one_batch(model, task, windows)
        setup.advance(number / len(task.models))
    return Outcome(figures)


def _trained(task: _Task, line: _Model, setup: Setup, windows: Windows) -> Any:
    trainer = shared_trainer(line.kind, task.batch_size, task.shape, windows.classes)
    trainer.begin(setup.seed)
    epochs, number = setup.epochs or task.epochs, len(windows.labels)
    trainer.train(windows, shuffled(epochs, number, setup.seed) if line.shuffled else in_order(epochs, number))
    return trainer.model


def _accuracy_in_one_batch(model: Any, task: _Task, windows: Windows) -> float:
    """Per cent right of all windows at once, each row from its own zero state."""
    reset_states(model)
    answers = np.argmax(model(samples(windows, task.shape)[0], training=False), axis=1)
    return float(100.0 * np.mean(answers == windows.labels))


def _experiment(name: str, title: str, task: _Task, note: str = "") -> Experiment:
    figures = tuple(figure for line in task.models for figure in line.figures())
    return Experiment(name, title, partial(_run, task), figures, note=note)


ONE_LETTER = _experiment(
    "one-letter",
    "Experiment 1: one letter -> the next",
    _Task(
        letters=1,
        shape=(1, 1),
        models=(
            _Model("dense", "dense", (68, 68, 4)),
            _Model("LSTM", "LSTM", (72, 72, 4)),
            _Model("stateful LSTM", "stateful LSTM", (68, 4, 68)),
            _Model("stateful LSTM, shuffled", "stateful LSTM", (12, 8, 4), shuffled=True),
        ),
    ),
    note="25 windows: 4 % is one right answer, 68 % are 17, 72 % are 18.",
)

FEATURES = _experiment(
    "features",
    "Experiment 2: three letters as features -> the next",
    _Task(
        letters=3,
        shape=(1, 3),
        models=(
            _Model("dense", "dense", (78, 78, 74)),
            _Model("LSTM", "LSTM", (83, 83, 83)),
            _Model("stateful LSTM", "stateful LSTM", (78, 4, 78)),
        ),
    ),
    note="23 windows: 4 % is one right answer, 74 % are 17, 78 % are 18, 83 % are 19.",
)

TIME_STEPS = _experiment(
    "time-steps",
    "Experiment 3: three letters as time steps -> the next",
    _Task(
        letters=3,
        shape=(3, 1),
        models=(
            _Model("dense", "dense", (78, 78, 30.4)),
            _Model("LSTM", "LSTM", (97, 97, 97)),
            _Model("stateful LSTM", "stateful LSTM", (96, 0, 96)),
        ),
    ),
    note="23 windows: 30.4 % are 7 right answers, 78 % are 18, 96 % are 22; 97 % is no share of 23.",
)

BATCH = _experiment(
    "batch",
    "Experiment 4: as 3, all windows in one batch",
    _Task(
        letters=3,
        shape=(3, 1),
        epochs=1000,
        batch_size=23,
        models=(
            _Model("LSTM, shuffled", "LSTM", (96, 96, 96), shuffled=True),
            _Model(
                "stateful LSTM, shuffled, reset every letter",
                "stateful LSTM",
                (96, 96, 96),
                shuffled=True,
                reset_every_letter=True,
            ),
            _Model("stateful LSTM, no reset", "stateful LSTM", (96, 4, 4), in_one_batch=True),
        ),
    ),
    note=(
        "With one batch an epoch and states reset before it, a stateful LSTM learns what a stateless one does, and has "
        "never gone on from a state: asked letter by letter without a reset, it is lost after the first. The 96 "
        "published for that are what it gets when all letters are asked in one batch."
    ),
)
