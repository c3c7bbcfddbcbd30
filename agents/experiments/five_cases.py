"""Five cases: what saving, restoring, resetting and repeating states does to a prediction, bit for bit.

A stateful LSTM is trained with a batch of 6, and its states are not reset. The first window, six times, is the test
batch: equal inputs, so that whatever differs between the rows of a prediction is the states' doing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.experiments.epochs import in_order
from agents.experiments.models import samples
from agents.experiments.results import Experiment, Outcome, Setup
from agents.experiments.trainer import shared_trainer
from r2d2.keras_states import read_states, reset_states, take_rows, write_states

ROWS, EPOCHS = 6, 2
SHAPE = (3, 1)

DIFFERENT_ROWS = "1: after training, the six rows differ"
MOVED_ON = "2: once more, differs from 1"
RESTORED = "3: with the states that 1 began with, equals 1 bit for bit"
RESET = "4: after a reset, all rows are equal"
REPEATED = "5: with row 0's states in every row, all rows equal row 0 of 1 bit for bit"


def run(setup: Setup) -> Outcome:
    """Train, predict five times, compare. The windows have a closing A, number 26: 24 windows, 27 classes."""
    windows = setup.windows(3, closing=True)
    first_window = samples(windows, SHAPE)[0][:1]
    trainer = shared_trainer("stateful LSTM", ROWS, SHAPE, windows.classes)
    trainer.begin(setup.seed)
    model = trainer.model
    for _ in range(setup.epochs or EPOCHS):  # without reset: each epoch starts where the last one has ended
        trainer.train(windows, in_order(1, len(windows.labels)), start=read_states(model))

    def predict() -> NDArray[np.float32]:
        return model(np.repeat(first_window, ROWS, axis=0), training=False).numpy()

    saved = read_states(model)
    first, second = predict(), predict()
    write_states(model, saved)
    restored = predict()
    reset_states(model)
    reset = predict()
    write_states(model, take_rows(saved, [0] * ROWS))
    repeated = predict()

    checks = {
        DIFFERENT_ROWS: len(np.unique(first, axis=0)) == ROWS,
        MOVED_ON: not np.array_equal(second, first),
        RESTORED: np.array_equal(restored, first),
        RESET: np.array_equal(reset, np.broadcast_to(reset[0], reset.shape)),
        REPEATED: np.array_equal(repeated, np.broadcast_to(first[0], first.shape)),
    }
    cases = zip(checks, (first, second, restored, reset, repeated), strict=True)
    probabilities = {case: prediction[:, windows.labels[0]].tolist() for case, prediction in cases}
    return Outcome({}, checks, {"probabilities": probabilities})


def table(details: Any) -> list[list[str]]:
    """Lines of a table of the six probabilities of each case, the header first."""
    header = ["probability of the right letter", *(f"row {row}" for row in range(ROWS))]
    lines = [[case, *(f"{value:.8f}" for value in values)] for case, values in details["probabilities"].items()]
    return [header, *lines]


EXPERIMENT = Experiment(
    "five-cases",
    "Five cases: states saved, restored, reset, repeated",
    run,
    checks=(DIFFERENT_ROWS, MOVED_ON, RESTORED, RESET, REPEATED),
    table=table,
)
