"""Experiments 1 to 4: the articles' tables, and the patterns in them."""

from functools import cache

import keras
import numpy as np
import pytest

from agents.experiments import letters, trainer
from agents.experiments.letters import BATCH, FEATURES, ONE_LETTER, TIME_STEPS
from agents.experiments.models import build_model
from agents.experiments.results import Setup
from agents.experiments.trainer import Trainer
from envs.alphabet_windows import letter_windows

PUBLISHED = """\
one-letter | dense | 68 / 68 / 4
one-letter | LSTM | 72 / 72 / 4
one-letter | stateful LSTM | 68 / 4 / 68
one-letter | stateful LSTM, shuffled | 12 / 8 / 4
features | dense | 78 / 78 / 74
features | LSTM | 83 / 83 / 83
features | stateful LSTM | 78 / 4 / 78
time-steps | dense | 78 / 78 / 30.4
time-steps | LSTM | 97 / 97 / 97
time-steps | stateful LSTM | 96 / 0 / 96
batch | LSTM, shuffled | 96 / 96 / 96
batch | stateful LSTM, shuffled, reset every letter | 96 / 96 / 96
batch | stateful LSTM, no reset | 96 / 4 / 4
"""


def test_the_published_figures_are_the_articles():
    tables = {}
    for experiment in (ONE_LETTER, FEATURES, TIME_STEPS, BATCH):
        for figure in experiment.figures:
            if figure.published is not None:
                tables.setdefault((experiment.name, figure.model), {})[figure.measure] = figure.published
    lines = [
        f"{name} | {model} | {figures['in order']:g} / {figures['in reverse']:g} / {figures['in a loop']:g}\n"
        for (name, model), figures in tables.items()
    ]
    assert "".join(lines) == PUBLISHED


@pytest.mark.parametrize("asked_epochs", [None, 7])
@pytest.mark.parametrize(
    ("experiment", "shape", "batch_size", "epochs", "windows"),
    [
        (ONE_LETTER, (1, 1), 1, 500, 25),
        (FEATURES, (1, 3), 1, 500, 23),
        (TIME_STEPS, (3, 1), 1, 500, 23),
        (BATCH, (3, 1), 23, 1000, 23),
    ],
)
def test_models_are_trained_as_the_articles_say(
    monkeypatch, experiment, shape, batch_size, epochs, windows, asked_epochs
):
    trained = {}

    class Recorded(Trainer):
        """In place of the training."""

        def __init__(self, kind, *arguments):
            super().__init__(kind, *arguments)
            self.kind = kind
            assert self.model.input_shape == (arguments[0], *shape)

        def begin(self, seed):
            assert seed == 4
            self.begun = True

        def train(self, given, order, start="zero"):
            assert self.model.input_shape[0] == batch_size
            assert self.begun
            assert len(given.labels) == windows
            assert order.shape == (asked_epochs or epochs, windows)
            assert start == "zero"
            names = list(dict.fromkeys(figure.model for figure in experiment.figures if figure.published is not None))
            name = names[len(trained)]
            assert name.startswith(self.kind)
            is_in_order = np.array_equal(order, np.tile(np.arange(windows), (len(order), 1)))
            assert is_in_order == ("shuffled" not in name)
            trained[name] = order
            self.begun = False

    monkeypatch.setattr(trainer, "Epochs", lambda model: None)
    monkeypatch.setattr(letters, "shared_trainer", cache(Recorded))
    shares = []
    outcome = experiment.run(Setup(4, letter_windows, asked_epochs, shares.append))
    assert set(outcome.figures) == {figure.key for figure in experiment.figures}
    assert len(trained) == len(shares)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(("kind", "layer"), [("dense", "Dense"), ("LSTM", "LSTM"), ("stateful LSTM", "LSTM")])
def test_models_are_the_articles(kind, layer):
    model = build_model(kind, batch_size=1, shape=(3, 1), classes=26, seed=0)
    *_, below, softmax = model.layers
    assert type(below) is getattr(keras.layers, layer)
    assert below.units == 16
    assert (softmax.units, softmax.activation) == (26, keras.activations.softmax)
    assert model.loss == "categorical_crossentropy"
    theirs = keras.optimizers.Adam().get_config()
    assert type(model.optimizer) is keras.optimizers.Adam
    assert {**model.optimizer.get_config(), "name": ""} == {**theirs, "name": ""}
    if kind != "dense":
        assert below.stateful == (kind == "stateful LSTM")


def percentages(experiment, **changes):
    """What each model gets in order, in reverse, in a loop, with seed 0."""
    figures = experiment.run(Setup(seed=0, windows=letter_windows, **changes)).figures
    return {
        model: tuple(figures.get((model, test)) for test in ("in order", "in reverse", "in a loop"))
        for model in dict.fromkeys(model for model, _ in figures)
    }


@pytest.mark.slow
def test_stateful_in_order_learns_reversed_it_fails_and_shuffling_destroys_it():
    measured = percentages(ONE_LETTER)
    order, reverse, loop = measured["stateful LSTM"]
    assert order >= 90
    assert reverse <= 8
    assert loop >= 90
    order, reverse, loop = measured["stateful LSTM, shuffled"]
    assert max(order, reverse) <= 60
    assert loop <= 20
    for model in ("dense", "LSTM"):  # without memory, some letters, and no way to go on from a mistake
        order, reverse, loop = measured[model]
        assert order == reverse
        assert 60 <= order <= 90
        assert loop == 4


@pytest.mark.slow
def test_three_time_steps_are_enough_for_an_lstm_and_reversed_a_stateful_one_fails():
    measured = percentages(TIME_STEPS)
    assert min(measured["LSTM"]) >= 85
    order, reverse, loop = measured["stateful LSTM"]
    assert min(order, loop) >= 90
    assert reverse <= 10
    assert measured["dense"][0] == measured["dense"][1] < 85


@pytest.mark.slow
def test_a_stateful_model_of_one_batch_needs_a_reset_before_every_letter():
    measured = percentages(BATCH)
    assert min(measured["LSTM, shuffled"]) >= 85
    assert measured["stateful LSTM, shuffled, reset every letter"] == pytest.approx(measured["LSTM, shuffled"], abs=5)
    assert max(measured["stateful LSTM, no reset"]) <= 9
    assert measured["stateful LSTM, no reset, all in one batch"][0] >= 85


def test_the_same_seed_gives_the_same_figures_and_another_one_others():
    def run(seed):
        return TIME_STEPS.run(Setup(seed=seed, windows=letter_windows, epochs=100)).figures

    once = run(1)
    assert run(1) == once
    assert run(2) != once
