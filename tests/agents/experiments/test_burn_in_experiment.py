"""Experiment 5: which states the second model is trained from, and how it fares with others."""

import numpy as np
import pytest

import r2d2
from agents.experiments.burn_in import EXPERIMENT, TRAINED_FROM, ZERO, ZERO_FROM_K
from agents.experiments.models import build_model, samples
from agents.experiments.results import Setup
from envs.alphabet_windows import letter_windows


def by_hand(seed, epochs):
    """The three accuracies, with Keras's `fit` and one call a letter."""
    windows = letter_windows(3)
    inputs, targets = samples(windows, (3, 1))
    first, second = (
        build_model("stateful LSTM", batch_size=1, shape=(3, 1), classes=26, seed=number)
        for number in (seed, seed + 1000)
    )
    for _ in range(epochs):
        r2d2.reset_states(first)
        first.fit(inputs, targets, batch_size=1, epochs=1, shuffle=False, verbose=0)
    r2d2.reset_states(first)
    for letter in range(11):  # ABC, BCD, ... KLM
        first(inputs[letter : letter + 1])
    for _ in range(epochs):
        r2d2.copy_states(first, second)
        second.fit(inputs, targets, batch_size=1, epochs=1, shuffle=False, verbose=0)

    def right(begin, letters):
        begin()
        answers = [int(np.argmax(second(inputs[letter : letter + 1]))) for letter in letters]
        return 100 * sum(answer == letter + 3 for answer, letter in zip(answers, letters, strict=True)) / 23

    return {
        ZERO: right(lambda: r2d2.reset_states(second), range(23)),
        ZERO_FROM_K: right(lambda: r2d2.reset_states(second), range(10, 23)),
        TRAINED_FROM: right(lambda: r2d2.copy_states(first, second), range(23)),
    }


@pytest.mark.slow
def test_it_is_what_keras_does_by_hand():
    figures = EXPERIMENT.run(Setup(seed=4, windows=letter_windows, epochs=45)).figures
    expected = by_hand(4, 45)
    assert {model: figures[model, "in order"] for model in expected} == pytest.approx(expected)
    assert len(set(expected.values())) > 1
    assert 20 < expected[TRAINED_FROM] < 100


@pytest.mark.parametrize("seed", range(5))
def test_the_model_is_lost_without_the_states_it_was_trained_from(seed):
    shares = []
    figures = EXPERIMENT.run(Setup(seed=seed, windows=letter_windows, advance=shares.append)).figures
    assert figures[TRAINED_FROM, "in order"] == 100
    assert figures[ZERO, "in order"] <= 20
    assert figures[ZERO_FROM_K, "in order"] <= 20  # 13 of 23 windows, 56.5 %, were asked
    assert shares == [0.5, 1.0]


def test_the_published_figures_are_the_articles():
    assert [figure.published for figure in EXPERIMENT.figures] == [4.35, 13.04, 100]
