"""Experiment 5, burn-in: a model is lost without the states that it was trained from.

Experiment 3's stateful model, trained, is run over its first 11 windows, those that start with A to K. A second
model with weights of its own is trained on all windows, in order and with batch 1, and put into those states before
each epoch. The second model is then asked in three ways:

1. from zero states, all windows;
2. from zero states, the windows from the one that starts with K on, counted over all 23, so that 56.5 % (13 of 23)
   would be all right;
3. from the states that it was trained with, all windows.
"""

from agents.experiments.epochs import in_order
from agents.experiments.letter_tests import LetterTests
from agents.experiments.models import samples
from agents.experiments.results import Experiment, Figure, Outcome, Setup
from agents.experiments.trainer import shared_trainer
from r2d2.keras_states import read_states, reset_states, warm_up

EPOCHS = 500
SHAPE = (3, 1)
WARMED_ON = 11
"""Windows, A to K."""
FROM_K = 10
"""The number of the window that starts with K."""
SECOND_SEED = 1000
"""Added to the first model's seed, for other weights."""

ZERO, ZERO_FROM_K, TRAINED_FROM = "from zero states", "from zero states, K on", "from the states it was trained with"
TEST = "in order"


def run(setup: Setup) -> Outcome:
    """Train the first model, take its states, train the second from them, test."""
    windows = setup.windows(3)
    order = in_order(setup.epochs or EPOCHS, len(windows.labels))
    trainer = shared_trainer("stateful LSTM", 1, SHAPE, windows.classes)
    trainer.begin(setup.seed)
    trainer.train(windows, order)
    setup.advance(0.5)

    reset_states(trainer.model)
    for window in samples(windows, SHAPE)[0][:WARMED_ON]:
        warm_up(trainer.model, window[None])
    states = read_states(trainer.model)  # arrays, which outlive the first model

    trainer.begin(setup.seed + SECOND_SEED)
    trainer.train(windows, order, start=states)
    setup.advance(1.0)

    tests = LetterTests(trainer.model, windows)
    return Outcome(
        {
            (ZERO, TEST): tests.in_order(),
            (ZERO_FROM_K, TEST): tests.in_order(first=FROM_K),
            (TRAINED_FROM, TEST): tests.in_order(start=states),
        }
    )


EXPERIMENT = Experiment(
    "burn-in",
    "Experiment 5, burn-in: trained from given states",
    run,
    figures=(Figure(ZERO, TEST, 4.35), Figure(ZERO_FROM_K, TEST, 13.04), Figure(TRAINED_FROM, TEST, 100)),
    note="All counted over 23 windows: 4.35 % is one right answer, 13.04 % are 3.",
)
