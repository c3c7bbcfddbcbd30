"""Asking letter by letter, compared with an LSTM written out in NumPy that is asked the same by hand."""

import numpy as np
import pytest

import r2d2
from agents.experiments.epochs import in_order
from agents.experiments.letter_tests import LetterTests
from agents.experiments.models import build_model
from agents.experiments.trainer import shared_trainer
from envs.alphabet_windows import letter_windows

SHAPE = (3, 1)


class ByHand:
    """The model's answers from its weights alone."""

    def __init__(self, model, *, stateful):
        self.kernel, self.recurrent, self.bias, self.dense, self.dense_bias = model.get_weights()
        self.stateful = stateful
        self.h = self.c = np.zeros(16)

    def answer(self, window):
        h, c = (self.h, self.c) if self.stateful else (np.zeros(16), np.zeros(16))
        for letter in window:
            i, f, g, o = np.split(letter * self.kernel[0] + h @ self.recurrent + self.bias, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        self.h, self.c = h, c
        return int(np.argmax(h @ self.dense + self.dense_bias))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def trained(kind, epochs):
    """A model, half trained, so that neither all answers are right nor none."""
    windows = letter_windows(3)
    shared = shared_trainer(kind, 1, SHAPE, 26)
    shared.begin(seed=2)
    shared.train(windows, in_order(epochs, 23))
    model = build_model(kind, batch_size=1, shape=SHAPE, classes=26, seed=0)
    model.set_weights(shared.model.get_weights())
    return model


@pytest.fixture(scope="module")
def stateful():
    return trained("stateful LSTM", 90)


@pytest.fixture(scope="module")
def stateless():
    return trained("LSTM", 250)


def right(answers, labels):
    """In per cent of all 23."""
    return 100 * sum(answer == label for answer, label in zip(answers, labels, strict=True)) / 23


def test_in_order_from_zero_states_without_a_reset_in_between(stateful):
    windows, by_hand = letter_windows(3), ByHand(stateful, stateful=True)
    expected = right([by_hand.answer(window) for window in windows.inputs], windows.labels)
    tests = LetterTests(stateful, windows)
    assert tests.in_order() == expected
    assert tests.in_order() == expected  # the first asking leaves no trace
    assert 20 < expected < 100


def test_in_reverse_the_states_go_on_too(stateful):
    windows, by_hand = letter_windows(3), ByHand(stateful, stateful=True)
    answers = [by_hand.answer(window) for window in windows.inputs[::-1]]
    expected = right(answers, windows.labels[::-1])
    assert LetterTests(stateful, windows).in_reverse() == expected
    assert expected < LetterTests(stateful, windows).in_order()


@pytest.mark.parametrize("is_stateful", [True, False])
def test_in_a_loop_answers_are_fed_back(stateful, stateless, is_stateful):
    model = stateful if is_stateful else stateless
    windows, by_hand = letter_windows(3), ByHand(model, stateful=is_stateful)
    letters = [0, 1, 2]  # ABC
    for _ in range(23):
        letters.append(by_hand.answer([letter / 26 for letter in letters[-3:]]))
    expected = right(letters[3:], windows.labels)
    tests = LetterTests(model, windows)
    assert tests.in_loop() == pytest.approx(expected)
    assert tests.in_loop() == pytest.approx(expected)
    assert tests.in_loop() < 100 > tests.in_order()  # mistakes have been fed back


def test_a_stateless_model_answers_alike_in_any_order(stateless):
    windows, by_hand = letter_windows(3), ByHand(stateless, stateful=False)
    expected = right([by_hand.answer(window) for window in windows.inputs], windows.labels)
    tests = LetterTests(stateless, windows)
    assert (tests.in_order(), tests.in_reverse()) == (expected, expected)
    assert 20 < expected < 100


def test_reset_before_every_letter_makes_a_stateful_model_answer_like_a_stateless_one(stateless):
    windows = letter_windows(3)
    model = build_model("stateful LSTM", batch_size=1, shape=SHAPE, classes=26, seed=0)
    model.set_weights(stateless.get_weights())
    asked, tests = LetterTests(stateless, windows), LetterTests(model, windows, reset_every_letter=True)
    assert tests.in_order() == asked.in_order()
    assert tests.in_reverse() == asked.in_reverse()
    assert tests.in_loop() == asked.in_loop()
    assert LetterTests(model, windows).in_order() < asked.in_order()


def test_it_may_start_from_given_states_and_from_a_later_window(stateful):
    windows, by_hand = letter_windows(3), ByHand(stateful, stateful=True)
    for window in windows.inputs[:10]:
        by_hand.answer(window)
    name = stateful.layers[0].name
    states = {name: tuple(part[None].astype(np.float32) for part in (by_hand.h, by_hand.c))}
    answers = [by_hand.answer(window) for window in windows.inputs[10:]]
    tests = LetterTests(stateful, windows)
    expected = 100 * sum(answers == windows.labels[10:]) / 23  # of all 23, though 13 were asked
    assert tests.in_order(states, first=10) == expected
    assert tests.in_order(first=10) < expected  # from zero states it is lost
    r2d2.write_states(stateful, states)
    assert tests.in_order(first=10) < expected  # whatever it was left in
