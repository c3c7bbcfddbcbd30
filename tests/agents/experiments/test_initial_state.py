"""States from features: set on a stateful layer or passed as initial_state, the same numbers; the one difference."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from agents.experiments import initial_state
from agents.experiments.initial_state import BATCH, EXPERIMENT, PASSED, WRITTEN, ZERO, trajectories
from agents.experiments.results import Results, Setup
from r2d2.keras_states import read_states, write_states
from r2d2.state_callbacks import StatesBeforeBatch

TWO_BATCHES = trajectories(2 * BATCH, np.random.default_rng(0))
FIRST = TWO_BATCHES._make(part[:BATCH] for part in TWO_BATCHES)


def test_the_positions_given_lie_level_and_all_later_ones_are_on_the_wave_of_the_features():
    for features, inputs, later in zip(*trajectories(20, np.random.default_rng(1)), strict=True):
        level = inputs[0, 0]
        assert inputs[:, 0].tolist() == [level] * 3 + [0.0] * 26
        for number, position in enumerate(later[:, 0], start=1):
            wave = 0.5 * features[0] * math.sin((0.35 + 0.1 * features[1]) * number)
            assert position == pytest.approx(level + wave, abs=1e-6)


def test_trajectories_are_those_of_the_seed():
    for one, again in zip(TWO_BATCHES, trajectories(2 * BATCH, np.random.default_rng(0)), strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(TWO_BATCHES.features, trajectories(2 * BATCH, np.random.default_rng(1)).features)


@pytest.fixture(scope="module")
def models():
    """A stateful model and one with ``initial_state``, of the same weights."""
    keras.utils.set_random_seed(0)
    written, passed = initial_state.from_states(), initial_state.from_features()
    for name in ("memory", "position"):
        written.get_layer(name).set_weights(passed.get_layer(name).get_weights())
    return written, passed


def same_as_passed(predictions, passed, data=FIRST):
    np.testing.assert_allclose(predictions, passed([data.inputs, data.features]), atol=1e-6)


def test_states_set_before_each_batch_give_the_predictions_of_initial_state(models):
    written, passed = models
    setting = StatesBeforeBatch(initial_state.states_of(passed, TWO_BATCHES.features))
    predictions = written.predict(TWO_BATCHES.inputs, batch_size=BATCH, verbose=0, callbacks=[setting])
    same_as_passed(predictions, passed, TWO_BATCHES)
    ignored = written.predict(TWO_BATCHES.inputs, batch_size=BATCH, verbose=0)
    assert np.abs(ignored - predictions).max() > 0.1


def test_the_first_prediction_is_made_when_the_third_position_has_been_read(models):
    passed = models[1]
    changed = FIRST.inputs.copy()
    changed[:, 2] += 1
    before, after = (passed([inputs, FIRST.features]).numpy() for inputs in (FIRST.inputs, changed))
    assert before.shape == FIRST.later.shape
    assert np.abs(after - before)[:, 0].min() > 1e-3
    changed[:, 3] += 1
    np.testing.assert_array_equal(passed([changed, FIRST.features])[:, 0], after[:, 0])


def test_states_set_before_every_batch_survive_what_comes_between(models):
    """Setting them once does not: Keras's second build zeroes them, and `fit` moves them on."""
    written, passed = models
    states = initial_state.states_of(passed, FIRST.features)
    setting = StatesBeforeBatch(states)
    write_states(written, states(0))
    written.get_layer("memory").build((BATCH, None, 1))
    assert not any(part.any() for part in read_states(written)["memory"])
    written.compile(keras.optimizers.SGD(0.0), "mse")
    written.fit(FIRST.inputs, FIRST.later, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[setting])
    same_as_passed(written.predict(FIRST.inputs, batch_size=BATCH, verbose=0, callbacks=[setting]), passed)


@pytest.mark.parametrize(
    "later",
    [
        lambda model: model.compile(keras.optimizers.SGD(0.0), "mse"),
        lambda model: model.build((BATCH, None, 1)),
        lambda model: model.set_weights(model.get_weights()),
        lambda model: keras.utils.clear_session(),
    ],
    ids=["compile", "build of the model", "new weights", "a cleared session"],
)
def test_states_set_once_survive(models, later):
    written, passed = models
    write_states(written, initial_state.states_of(passed, FIRST.features)(0))
    later(written)
    same_as_passed(written(FIRST.inputs), passed)


def test_states_set_are_seen_by_functions_compiled_before(models):
    written, passed = models
    compiled = tf.function(lambda inputs: written(inputs))
    compiled(FIRST.inputs)
    written.predict(FIRST.inputs, batch_size=BATCH, verbose=0)
    for predict in (compiled, lambda inputs: written.predict(inputs, batch_size=BATCH, verbose=0)):
        write_states(written, initial_state.states_of(passed, FIRST.features)(0))
        same_as_passed(predict(FIRST.inputs), passed)


def test_the_function_of_the_features_learns_through_initial_state_only(models):
    written, passed = models
    function = [passed.get_layer(name) for name in ("h", "c")]
    kernels = [layer.kernel for layer in function]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((passed([FIRST.inputs, FIRST.features]) - FIRST.later) ** 2)
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, kernels))
    with tf.GradientTape() as tape:
        write_states(written, {"memory": tuple(layer(FIRST.features) for layer in function)})
        loss = tf.reduce_mean((written(FIRST.inputs) - FIRST.later) ** 2)
    assert tape.gradient(loss, kernels) == [None, None]


def differences_of(outcome):
    return {measure: value for (model, measure), value in outcome.figures.items() if "difference" in model}


@pytest.fixture(scope="module")
def shares():
    return []


@pytest.fixture(scope="module")
def outcome(shares):
    return EXPERIMENT.run(Setup(0, None, advance=shares.append))


@pytest.mark.slow
class TestRun:
    def test_features_help_whichever_way_they_come(self, outcome):
        error = {model: outcome.figures[model, "test error"] for model in (ZERO, WRITTEN, PASSED)}
        assert 40 < error[ZERO] < 80
        assert error[WRITTEN] < 15
        assert error[PASSED] == pytest.approx(error[WRITTEN], abs=1e-4)

    def test_set_or_passed_training_is_the_same_to_rounding(self, outcome):
        assert outcome.details["updates_compared"] == 48
        differences = differences_of(outcome)
        assert len(differences) == 4
        assert max(differences.values()) < 1e-5
        assert outcome.checks == dict.fromkeys(EXPERIMENT.checks, True)

    def test_it_fits_the_table_and_json_and_tells_its_progress(self, outcome, shares):
        results = Results(EXPERIMENT)
        results.add(0, outcome, 1.0)
        assert results.summary(EXPERIMENT.figures[0]).average == outcome.figures[ZERO, "test error"]
        assert json.loads(json.dumps(outcome.details)) == outcome.details
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) == 33  # epochs: 15 from zero, 12 for the function, 3 and 3 with the function held fixed


@pytest.mark.slow
class TestQuickLook:
    def test_the_same_seed_gives_the_same(self):
        one, again = (EXPERIMENT.run(Setup(1, None, epochs=1)) for _ in range(2))
        assert one == again
        assert one.figures[WRITTEN, "test error"] == pytest.approx(one.figures[PASSED, "test error"], abs=1e-3)
        assert one.details["updates_compared"] == 16

    def test_states_of_other_rows_are_found_out(self, monkeypatch):
        right = initial_state.states_of
        monkeypatch.setattr(initial_state, "states_of", lambda model, features: right(model, features[::-1]))
        told = []
        outcome = EXPERIMENT.run(Setup(1, None, epochs=1, advance=told.append))
        assert len(told) == 5
        assert outcome.checks == dict.fromkeys(EXPERIMENT.checks, False)
        differences = differences_of(outcome)
        assert differences.pop("losses of training") > 1e-4
        assert min(differences.values()) > 0.01
