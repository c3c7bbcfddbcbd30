"""`check_burn_in` passes sound networks of every kind, names what is wrong with each of the broken ones, and leaves all
of them as they were."""

from collections.abc import Callable
from typing import Any

import broken_networks as broken
import keras
import numpy as np
import pytest
import tensorflow as tf
from broken_networks import Sound, random_steps
from random_sequences import CORES, random_inputs, random_network, random_state
from refusals import faults_of, names

from r2d2.burn_in_check import BurnInReport, check_burn_in
from r2d2.burn_in_properties import PROPERTIES
from r2d2.keras_states import read_states
from r2d2.stateful import StatefulNetwork

ALL = tuple(each.name for each in PROPERTIES)
FEATURES = 2
SEQUENCES = {"stateful": True, "return_sequences": True}
layers = keras.layers


def keras_model(*stack: Any, batch: int = 3, features: tuple[int, ...] = (FEATURES,)) -> keras.Model:
    return keras.Sequential([keras.Input(batch_shape=(batch, None, *features)), *stack])


# Sound networks.


def two_inputs() -> keras.Model:
    inputs = [keras.Input(batch_shape=(3, None, 2)), keras.Input(batch_shape=(3, None), dtype="int32")]
    joined = layers.Concatenate()([inputs[0], layers.Embedding(5, 2)(inputs[1])])
    inner = keras.Sequential([keras.Input(batch_shape=(3, None, 4)), layers.LSTM(4, **SEQUENCES)])
    return keras.Model(inputs, [layers.Dense(2)(inner(joined)), layers.Dense(1)(joined)])


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = layers.GRU(4, stateful=True), layers.Dense(2)

    def call(self, steps: Any) -> Any:
        return self.head(self.memory(steps))


def built(model: Any) -> Any:
    model(random_steps(1))
    return model


KERAS: dict[str, Callable[[], Any]] = {
    "lstm with dropout and normalisation": lambda: keras_model(
        layers.LSTM(4, dropout=0.5, **SEQUENCES), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)
    ),
    "stacked cells": lambda: keras_model(layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], **SEQUENCES)),
    "convolutional": lambda: keras_model(layers.ConvLSTM1D(2, 1, **SEQUENCES), features=(FEATURES, 1)),
    "subclassed, with outputs of the last step only": lambda: built(Subclassed()),
    "as many units as steps": lambda: keras_model(layers.SimpleRNN(4, **SEQUENCES), layers.LSTM(3, stateful=True)),
    "a single layer": lambda: built(layers.LSTM(4, **SEQUENCES)),
}


class NumPyNetwork:
    """No TensorFlow, states by name and changed in place, and an action that is not allowed."""

    def __init__(self) -> None:
        self.batch_size = 3
        self.state = {"h": np.zeros((3, 4), np.float32), "steps": np.zeros(3, np.int64)}
        self.kernel = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)

    def restore(self, state: Any) -> None:
        self.state = state

    def reset(self, rows: Any = None) -> None:
        for part in self.state.values():
            part[slice(None) if rows is None else rows] = 0

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        for t in range(prefix.shape[1]):
            self.step(prefix[:, t], np.ones(3, np.bool_) if lengths is None else t < lengths)

    def __call__(self, steps: Any) -> Any:
        return {"q": np.stack([self.step(steps[:, t], np.ones(3, np.bool_)) for t in range(steps.shape[1])], axis=1)}

    def step(self, inputs: Any, rows: Any) -> Any:
        self.state["h"][rows] = np.tanh(np.concatenate([inputs, self.state["h"]], axis=-1) @ self.kernel)[rows]
        self.state["steps"] += rows
        q_values = self.state["h"] * (1 + self.state["steps"] % 2)[:, None]
        return np.where(np.arange(4) == 3, -np.inf, q_values)


class TestSoundNetworksPass:
    @pytest.mark.parametrize("core", list(CORES))
    def test_recurrent_q_networks(self, core: str) -> None:
        inputs = random_inputs(np.random.default_rng(0), 2, 3)
        report = check_burn_in(random_network(4, **CORES[core]()), inputs)
        assert report.checked == ALL
        assert not report.skipped

    @pytest.mark.parametrize("kind", list(KERAS))
    def test_keras_models(self, kind: str) -> None:
        steps = random_steps(3)
        report = check_burn_in(KERAS[kind](), steps[..., None] if kind == "convolutional" else steps)
        assert report.checked == ALL

    def test_keras_models_with_several_inputs_and_outputs(self) -> None:
        steps = [random_steps(3), np.random.default_rng(0).integers(0, 5, (3, 3)).astype(np.int32)]
        assert check_burn_in(two_inputs(), steps).checked == ALL

    @pytest.mark.parametrize("network", [lambda: random_network(4), lambda: keras_model(layers.GRU(4, stateful=True))])
    def test_without_steps_where_these_can_be_made(self, network: Any) -> None:
        assert check_burn_in(network(), burn_in=[1]).checked == ALL

    def test_networks_of_ones_own(self) -> None:
        assert check_burn_in(Sound(), random_steps()).checked == ALL

    def test_networks_without_tensorflow_save_for_gradients_and_unknown_weights(self) -> None:
        report = check_burn_in(NumPyNetwork(), random_steps())
        assert set(ALL) - set(report.checked) == set(report.skipped)
        assert report.skipped == {
            "weights unmoved": "its variables are not known; give it an attribute `weights`, the list of them",
            "no gradient": "the outputs are not floating-point tensors of TensorFlow: there is nothing to derive",
            "no gradient, compiled": (
                "the outputs are not floating-point tensors of TensorFlow: there is nothing to derive"
            ),
            "gradient": "the outputs are not floating-point tensors of TensorFlow: there is nothing to derive",
        }

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_in_any_batch_but_some_properties_take_two_rows(self, batch: int) -> None:
        report = check_burn_in(Sound(batch), random_steps(4, batch))
        alone = {"rows independent", "partial reset", "mixed lengths"} if batch == 1 else set()
        assert set(report.skipped) == alone
        assert all("batch of 2 or more" in reason for reason in report.skipped.values())
        assert (*report.checked, *report.skipped) == (*(n for n in ALL if n not in alone), *report.skipped)

    @pytest.mark.parametrize("time", [2, 3, 12])
    def test_on_any_number_of_steps(self, time: int) -> None:
        assert check_burn_in(Sound(), random_steps(time)).checked == ALL

    def test_whose_outputs_hardly_depend_on_the_state_cannot_be_aligned(self) -> None:
        network = Sound()
        network.head.assign(1e-7 * network.head)
        report = check_burn_in(network, random_steps())
        assert list(report.skipped) == ["alignment"]
        assert "try other weights, or a smaller tolerance" in report.skipped["alignment"]
        assert "alignment" in check_burn_in(network, random_steps(), tolerance=1e-7).checked

    def test_that_remember_nothing_of_a_step_need_no_gradient_to_it(self) -> None:
        class Forgets(Sound):
            def step(self, inputs: Any) -> Any:
                self.carried = 0 * self.carried[0], 0 * self.carried[1]
                return super().step(inputs)

        skipped = check_burn_in(Forgets(), random_steps()).skipped
        assert "do not depend on the first step behind burn-in" in skipped["gradient"]

    def test_nor_do_those_that_read_whole_numbers_or_are_saturated(self) -> None:
        class Counts(Sound):
            def step(self, inputs: Any) -> Any:
                return super().step(tf.cast(inputs, tf.float32))

        whole = np.random.default_rng(0).integers(0, 9, (3, 5, 2))
        assert "no floating-point numbers" in check_burn_in(Counts(), whole).skipped["gradient"]
        skipped = check_burn_in(Sound(), 1e6 * random_steps()).skipped
        assert "do not depend on the first step behind burn-in" in skipped["gradient"]

    def test_that_tf_function_cannot_trace_are_checked_eagerly(self) -> None:
        class Eager(Sound):
            def step(self, inputs: Any) -> Any:
                return super().step(inputs * tf.ones([]).numpy())

        report = check_burn_in(Eager(), random_steps())
        assert list(report.skipped) == ["no gradient, compiled"]
        assert report.skipped["no gradient, compiled"].startswith("tf.function cannot trace the network: ")


# Broken networks: what must be found, with words that must be said of it - and nothing else.

FAULTS: dict[type[Sound], dict[str, str]] = {
    broken.OneStepEarly: {"alignment": "each state kept is that of the previous step: one step early"},
    broken.OneStepLate: {"alignment": "each state kept is that of the following step: one step late"},
    broken.WrongAtOneStep: {"alignment": "not those that were played"},
    broken.ExchangedOnRestore: {"alignment": r"state[0] and state[1] are exchanged (of an LSTM: h and c)"},
    broken.ExchangedOnRead: {"alignment": r"state[0] and state[1] are exchanged (of an LSTM: h and c)"},
    broken.HidesItsCell: {"alignment": "not those that were played"},
    broken.RestoresNothing: {"restore": "it does not restore, or not every part"},
    broken.RestoresHiddenOnly: {"restore": "it does not restore, or not every part"},
    broken.ResetsNever: {"reset": "the state after reset() depends on what came before"},
    broken.ResetsAllRows: {"partial reset": "the reset of other rows changes a row's state"},
    broken.ResetsNoRow: {"partial reset": "a row that is reset is not in its initial state"},
    broken.ResetsTheOtherRows: {"partial reset": "a row that is reset is not in its initial state"},
    broken.ResetsHiddenOnly: {"partial reset": "a row that is reset is not in its initial state"},
    broken.LeaksFromRowToRow: {"rows independent": "other rows change a row's outputs"},
    broken.LeaksInBurnIn: {
        "rows independent": "in burn-in, other rows change a row's state",
        "pieces": "burn-in leads elsewhere than calls",
    },
    broken.NoisyCalls: {"repeatable calls": "dropout, or noise?"},
    broken.DropoutInBurnIn: {"repeatable": "dropout, or noise?"},
    broken.NormalisesOverTime: {"pieces": "a later step changes an earlier output"},
    broken.ReadsBackwards: {"pieces": "a later step changes an earlier output"},
    broken.ForgetsInLongCalls: {"pieces": "several steps in one call give other outputs than one call for each"},
    broken.OtherWeightsInBurnIn: {"pieces": "burn-in leads elsewhere than calls with the same steps: other weights"},
    broken.BurnsInFromZero: {"pieces": "burn-in leads elsewhere than calls", "empty prefix": "of no steps"},
    broken.BurnsInFromTheLastRestore: {"pieces": "burn-in in several pieces leads elsewhere than in one"},
    broken.MovesAnAverage: {"weights unmoved": "it is moving_mean"},
    broken.MovesOverNothing: {"empty prefix": "burn-in over a prefix of no steps moves the state"},
    broken.RaisesOverNothing: {"empty prefix": "it raised IndexError: a prefix must hold a step"},
    broken.RunsOneStepAtLeast: {"empty prefix": "burn-in with all lengths 0 moves the state"},
    broken.IgnoresLengths: {"empty prefix": "lengths 0", "padding inert": "the lengths are ignored"},
    broken.RunsThroughPadding: {"empty prefix": "lengths 0", "padding inert": "the lengths are ignored"},
    broken.LooksIntoPadding: {"padding inert": "leads elsewhere than over its own steps"},
    broken.HasNoLengths: {"empty prefix": "it raised TypeError", "padding inert": "it raised TypeError"},
    broken.OneLengthForAll: {"mixed lengths": "beside rows of other lengths"},
    broken.SortsLengths: {"mixed lengths": "beside rows of other lengths"},
    broken.LosesTheLastStepOfTheLongest: {"mixed lengths": "beside rows of other lengths"},
    broken.GradientToPrefix: {"no gradient": "has a gradient to the steps of the prefix"},
    broken.GradientToStoredState: {"no gradient": "has a gradient to the stored state"},
    broken.GradientToWeights: {"no gradient": "has another gradient to the weights"},
    broken.GradientWhenCompiled: {"no gradient, compiled": "has another gradient to the weights"},
    broken.LearnsNothing: {"gradient": "what is to be remembered cannot be learned"},
    broken.LearnsNothingOverTime: {"gradient": "what is to be remembered cannot be learned"},
    broken.HandsOutNaN: {"interface": "outputs: array 0 holds values that are not finite"},
    broken.HasNoState: {"interface": "state: there is no array"},
    broken.HandsOutOneRow: {"interface": "state: array 0 has shape (4,), must be [batch, ...], batch=3"},
    broken.RaisesWhenCalled: {"interface": "it raised RuntimeError: not today"},
}
NOT_PUT_BACK = {broken.OneStepLate, broken.RestoresNothing, broken.RestoresHiddenOnly, broken.HandsOutOneRow}
"""Their `restore` is what is broken, in a way that nobody could make good."""


def test_the_table_of_faults_is_of_every_broken_network() -> None:
    kinds = {kind for kind in vars(broken).values() if isinstance(kind, type) and issubclass(kind, Sound)}
    assert kinds - {Sound} == set(FAULTS)
    found = {name for faults in FAULTS.values() for name in faults}
    assert found == set(ALL)


@pytest.mark.parametrize("kind", list(FAULTS), ids=lambda kind: kind.__name__)
def test_a_broken_network_is_refused_for_what_is_wrong_and_left_as_it_was(kind: type[Sound]) -> None:
    network = kind()
    Sound.restore(network, [random_steps(4)[:, :, 0], random_steps(4)[:, :, 1]])
    before, weights = network.carried, [weight.numpy() for weight in network.weights]

    error = faults_of(network, random_steps())

    assert names(error) == list(FAULTS[kind])
    for fault, words in zip(error.faults, FAULTS[kind].values(), strict=True):
        assert words in fault.message
        assert f"{fault.property}: {fault.message}" in str(error)
    assert all(
        reason.startswith("it means nothing without") or "cannot trace" in reason for reason in error.skipped.values()
    )
    for weight, value in zip(network.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert ("could not be put back" in str(error)) == (kind in NOT_PUT_BACK)
    if kind not in NOT_PUT_BACK | {broken.HidesItsCell, broken.HasNoState}:  # what is hidden cannot be put back
        for part, expected in zip(network.carried, before, strict=True):
            np.testing.assert_array_equal(part, expected)


class TestBrokenKerasModels:
    @pytest.mark.parametrize(
        ("stack", "expected"),
        [
            (
                lambda: [layers.LSTM(4, **SEQUENCES), Training(layers.BatchNormalization())],
                {"weights unmoved": "/moving_", "rows independent": "on rows", "pieces": "a later step changes"},
            ),
            (
                lambda: [
                    layers.LSTM(4, **SEQUENCES),
                    layers.LayerNormalization(axis=(1, 2), scale=False, center=False),
                ],
                {"pieces": "a later step changes an earlier output"},
            ),
            (
                lambda: [Training(layers.Dropout(0.5)), layers.LSTM(4, **SEQUENCES)],
                {"repeatable calls": "dropout", "repeatable": "dropout"},
            ),
            (
                lambda: [layers.Bidirectional(layers.GRU(3, **SEQUENCES))],
                {"pieces": "a later step changes an earlier output"},
            ),
            (
                lambda: [layers.Lambda(lambda x: x - 0.1 * tf.reduce_mean(x, axis=0)), layers.GRU(3, **SEQUENCES)],
                {"rows independent": "it depends on rows"},
            ),
        ],
        ids=["batch normalisation", "normalisation over time", "dropout", "bidirectional", "row to row"],
    )
    def test_are_refused_for_what_is_wrong_and_left_as_they_were(self, stack: Any, expected: dict[str, str]) -> None:
        model = keras_model(*stack())
        model(random_steps(3, seed=1))
        states, weights = read_states(model), model.get_weights()
        error = faults_of(model, random_steps(3, seed=2))
        assert names(error) == list(expected)
        for fault, words in zip(error.faults, expected.values(), strict=True):
            assert words in fault.message
        for name, parts in read_states(model).items():
            np.testing.assert_array_equal(parts, states[name])
        for now, before in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, before)


class Training(layers.Layer):
    """A layer called as in training, also when the network acts."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs, training=True)


class ExchangedView(StatefulNetwork):
    def restore(self, state: Any) -> None:
        super().restore(tuple(state)[::-1])


class TargetView(StatefulNetwork):
    """Burnt in with the weights of another network."""

    def __init__(self, network: Any, batch_size: int) -> None:
        super().__init__(network, batch_size)
        self.online = StatefulNetwork(random_network(5), batch_size)

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        self.online.restore(self.state_tensors())
        self.online.warm_up(prefix, lengths)
        self.restore(self.online.state_tensors())


@pytest.mark.parametrize(
    ("view", "expected"),
    [(ExchangedView, {"alignment": "state[0] and state[1] are exchanged"}), (TargetView, {"pieces": "other weights"})],
)
def test_views_on_a_network_are_checked_as_they_are(view: type[StatefulNetwork], expected: dict[str, str]) -> None:
    network = view(random_network(4), 2)
    error = faults_of(network, random_inputs(np.random.default_rng(0), 2, 4))
    assert names(error) == list(expected)
    assert all(words in fault.message for fault, words in zip(error.faults, expected.values(), strict=True))


class TestAllIsPutBack:
    def test_states_and_weights_of_a_sound_view(self) -> None:
        view = StatefulNetwork(random_network(4), 3)
        state = random_state(np.random.default_rng(0), view.network, 3)
        view.restore(state)
        weights = view.network.get_weights()
        check_burn_in(view, burn_in=[2])
        for now, before in zip((*view.state, *view.network.get_weights()), (*state, *weights), strict=True):
            np.testing.assert_array_equal(now, before)

    def test_after_an_interrupt(self) -> None:
        class Interrupted(Sound):
            calls = 0

            def step(self, inputs: Any) -> Any:
                self.calls += 1
                if self.calls == 40:
                    raise KeyboardInterrupt
                return super().step(inputs)

        network = Interrupted()
        network(random_steps(3))
        before = network.carried
        with pytest.raises(KeyboardInterrupt):
            check_burn_in(network, random_steps())
        for part, expected in zip(network.carried, before, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_a_report_reads_well() -> None:
    report = check_burn_in(Sound(1), random_steps(4, 1))
    lines = str(report).splitlines()
    assert lines[0] == "burn-in is sound as far as checked: 13 properties hold, 3 could not be checked"
    assert lines[1] == "  interface              largest difference 0"
    assert lines[-1].startswith("  mixed lengths          not checked: it takes two rows")
    assert isinstance(report, BurnInReport)
    assert set(report.largest_differences) == set(report.checked)


class TestArguments:
    @pytest.mark.parametrize("tolerance", [-1e-9, 0.11, np.nan])
    def test_tolerance(self, tolerance: float) -> None:
        with pytest.raises(ValueError, match=r"tolerance=.* must be from 0 to 0.1"):
            check_burn_in(Sound(), random_steps(), tolerance=tolerance)

    @pytest.mark.parametrize("burn_in", [[], [0, 2], [-1], [1.5], np.array([0, 2])])
    def test_burn_in(self, burn_in: Any) -> None:
        with pytest.raises(ValueError, match=r"burn_in=.* must hold whole numbers of at least 1"):
            check_burn_in(Sound(), random_steps(), burn_in=burn_in)

    def test_burn_in_that_leaves_no_step(self) -> None:
        with pytest.raises(ValueError, match=r"burn_in=\[1, 5\] must be below 5, the time of the steps"):
            check_burn_in(Sound(), random_steps(), burn_in=[1, 5])
