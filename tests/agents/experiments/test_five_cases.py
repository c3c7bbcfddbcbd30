"""The five cases: saved, restored, reset and repeated states, and checks that can tell."""

import numpy as np
import pytest

import r2d2
from agents.experiments import five_cases
from agents.experiments.five_cases import EXPERIMENT, MOVED_ON, REPEATED, RESET, RESTORED
from agents.experiments.models import build_model, samples
from agents.experiments.results import Setup
from envs.alphabet_windows import letter_windows


def run(seed=0):
    return EXPERIMENT.run(Setup(seed=seed, windows=letter_windows))


@pytest.mark.parametrize("seed", range(5))
def test_all_five_hold(seed):
    outcome = run(seed)
    assert outcome.checks == dict.fromkeys(EXPERIMENT.checks, True)
    assert len(outcome.checks) == 5


def test_probabilities_are_those_of_keras_trained_and_asked_by_hand():
    windows = letter_windows(3, closing=True)
    inputs, targets = samples(windows, (3, 1))
    assert (inputs.shape, targets.shape) == ((24, 3, 1), (24, 27))
    model = build_model("stateful LSTM", batch_size=6, shape=(3, 1), classes=27, seed=1)
    model.fit(inputs, targets, batch_size=6, epochs=2, shuffle=False, verbose=0)  # no reset in between
    batch = np.stack([inputs[0]] * 6)  # ABC
    after_training = r2d2.read_states(model)
    expected = [model(batch), model(batch)]
    r2d2.reset_states(model)
    reset = model(batch)
    (name, parts), *_ = after_training.items()
    r2d2.write_states(model, {name: tuple(np.repeat(part[:1], 6, axis=0) for part in parts)})
    expected = [*expected, expected[0], reset, model(batch)]
    probabilities = run(seed=1).details["probabilities"]
    assert list(probabilities) == list(EXPERIMENT.checks)
    for measured, prediction in zip(probabilities.values(), expected, strict=True):
        np.testing.assert_array_equal(np.float32(measured), prediction[:, 3])  # of D


@pytest.mark.parametrize(
    ("tool", "replaced", "broken"),
    [
        ("write_states", lambda model, states: None, {RESTORED, REPEATED}),
        ("reset_states", lambda model: None, {RESET}),
        ("take_rows", lambda states, rows: states, {REPEATED}),
        (
            "read_states",
            lambda model: {name: tuple(0 * part for part in parts) for name, parts in r2d2.read_states(model).items()},
            {RESTORED, REPEATED},
        ),
    ],
)
def test_a_tool_that_does_nothing_is_noticed(monkeypatch, tool, replaced, broken):
    monkeypatch.setattr(five_cases, tool, replaced)
    assert {check for check, held in run().checks.items() if not held} == broken


def test_states_that_do_not_move_on_are_noticed(monkeypatch):
    trainer = five_cases.shared_trainer("stateful LSTM", 6, (3, 1), 27)

    class Standing:
        """Predicts from the same states every time."""

        def __init__(self, model):
            self.model, self.layers = model, model.layers
            self._flatten_layers = model._flatten_layers

        def __call__(self, inputs, training):
            with r2d2.keep_states(self.model):
                return self.model(inputs, training=training)

    class Wrapped:
        begin, train = trainer.begin, trainer.train
        model = Standing(trainer.model)

    monkeypatch.setattr(five_cases, "shared_trainer", lambda *arguments: Wrapped)
    assert {check for check, held in run().checks.items() if not held} == {MOVED_ON}


def test_the_table_has_six_probabilities_for_each_case():
    header, *lines = EXPERIMENT.table(run().details)
    assert header == ["probability of the right letter", "row 0", "row 1", "row 2", "row 3", "row 4", "row 5"]
    assert [line[0] for line in lines] == list(EXPERIMENT.checks)
    assert lines[0][1:] == lines[2][1:]
    assert set(lines[4][1:]) == {lines[0][1]}
    assert all(0 < float(number) < 1 for line in lines for number in line[1:])
