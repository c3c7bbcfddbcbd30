"""Cores: any Keras recurrent layer as a function of inputs and state, with lengths by row."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_sequences import CORES, RETURNING, random_network

from r2d2.cores import Core, make_core

FEATURES = 5
STATE_SHAPES = {
    "lstm": [(6,), (6,)],
    "lstm_left_to_keras": [(6,), (6,)],
    "gru": [(6,)],
    "stacked_lstm": [(6,), (6,), (5,), (5,)],
    "lstm_then_gru": [(5,), (5,), (6,)],
    "rnn_of_stacked_cells": [(5,), (5,), (4,)],
    "simple_rnn": [(6,)],
}
OUTPUTS = dict(zip(STATE_SHAPES, (6, 6, 6, 5, 6, 4, 6), strict=True))


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return tf.constant(rng.normal(size=shape).astype(np.float32))


def make(name: str) -> Core:
    options = CORES[name]()
    layers = options["core"]
    if isinstance(layers, str):
        layers = make_core(layers, options["core_units"])
    core = Core(layers if isinstance(layers, list) else [layers])
    core.build(FEATURES)
    rng = np.random.default_rng(0)
    for layer in core.layers:
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.weights])
    return core


@pytest.fixture(scope="module", params=list(CORES))
def named(request: pytest.FixtureRequest) -> tuple[str, Core]:
    return request.param, make(request.param)


def keras_states(core: Core, state: Any) -> list[Any]:
    """The parts of a state as each Keras layer wants them, layer by layer."""
    parts, by_layer = list(state), []
    for layer in core.layers:
        template = layer.get_initial_state(1)
        count = len(tf.nest.flatten(template))
        by_layer.append(tf.nest.pack_sequence_as(template, parts[:count]))
        parts = parts[count:]
    return by_layer


class TestEveryCore:
    def test_state_is_that_of_all_layers_in_order(self, named: Any) -> None:
        name, core = named
        state = core.initial_state(3)
        assert [tuple(part.shape) for part in state] == [(3, *shape) for shape in STATE_SHAPES[name]]
        for part in state:
            np.testing.assert_array_equal(part, np.zeros(part.shape))

    def test_outputs_and_states_are_those_of_the_keras_layers(self, named: Any) -> None:
        name, core = named
        rng = np.random.default_rng(1)
        inputs, state = normal(rng, 3, 6, FEATURES), [normal(rng, 3, *shape) for shape in STATE_SHAPES[name]]
        outputs, after = core.unroll(inputs, tuple(state))
        expected, expected_after = inputs, []
        for layer, before in zip(core.layers, keras_states(core, state), strict=True):
            expected, *parts = layer(expected, initial_state=before)
            expected_after += tf.nest.flatten(parts)
        assert outputs.shape == (3, 6, OUTPUTS[name])
        assert core.output_features == OUTPUTS[name]
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
        for part, expected_part in zip(after, expected_after, strict=True):
            np.testing.assert_allclose(part, expected_part, atol=1e-5)

    @pytest.mark.parametrize("compiled", [False, True])
    def test_lengths_end_each_row_after_its_own_steps(self, named: Any, compiled: bool) -> None:
        name, core = named
        rng = np.random.default_rng(2)
        inputs, state = normal(rng, 4, 5, FEATURES), tuple(normal(rng, 4, *shape) for shape in STATE_SHAPES[name])
        lengths = [5, 0, 1, 3]
        run = tf.function(core.unroll) if compiled else core.unroll
        outputs, after = run(inputs, state, tf.constant(lengths))
        for row, length in enumerate(lengths):
            before = tuple(part[row : row + 1] for part in state)
            if length == 0:
                expected, expected_after = np.zeros((1, 0, OUTPUTS[name])), before
            else:
                expected, expected_after = core.unroll(inputs[row : row + 1, :length], before)
            np.testing.assert_allclose(outputs[row, :length], expected[0], atol=1e-5)
            for part, expected_part in zip(after, expected_after, strict=True):
                np.testing.assert_allclose(part[row], expected_part[0], atol=1e-5)

    def test_what_is_beyond_a_rows_length_does_not_reach_its_state(self, named: Any) -> None:
        name, core = named
        rng = np.random.default_rng(3)
        inputs, state = normal(rng, 2, 5, FEATURES), tuple(normal(rng, 2, *shape) for shape in STATE_SHAPES[name])
        lengths = tf.constant([2, 4])
        padding = np.arange(5) >= lengths.numpy()[:, None]
        garbage = tf.where(padding[:, :, None], 1e6 * normal(rng, 2, 5, FEATURES), inputs)
        for part, expected in zip(
            core.unroll(garbage, state, lengths)[1], core.unroll(inputs, state, lengths)[1], strict=True
        ):
            np.testing.assert_allclose(part, expected, atol=1e-6)


class TestMakeCore:
    def test_one_layer_for_each_number_of_units(self) -> None:
        layers = make_core("gru", (7, 3))
        assert [(type(layer), layer.units) for layer in layers] == [(keras.layers.GRU, 7), (keras.layers.GRU, 3)]

    def test_refuses_a_kind_it_does_not_know(self) -> None:
        with pytest.raises(ValueError, match=r"core='transformer' must be one of \['gru', 'lstm'\]"):
            make_core("transformer", (4,))


class TestRefuses:
    @pytest.mark.parametrize(
        ("make_layer", "said"),
        [
            (lambda: keras.layers.LSTM(3, return_state=True, name="a"), "'a' has return_sequences=False, must be"),
            (lambda: keras.layers.GRU(3, return_sequences=True, name="b"), "'b' has return_state=False, must be"),
            (lambda: keras.layers.LSTM(3, stateful=True, name="c", **RETURNING), "'c' has stateful=True, must be"),
            (lambda: keras.layers.LSTM(3, go_backwards=True, name="d", **RETURNING), "'d' has go_backwards=True, must"),
            (
                lambda: keras.layers.Bidirectional(keras.layers.LSTM(3, **RETURNING), name="e"),
                "'e' is a Bidirectional, must be a keras.layers.RNN",
            ),
            (lambda: keras.layers.Dense(3, name="f"), "'f' is a Dense, must be a keras.layers.RNN such as LSTM or GRU"),
            (lambda: keras.layers.LSTMCell(3, name="g"), "'g' is a LSTMCell, must be a keras.layers.RNN"),
            (lambda: 64, "64 is a int, must be a keras.layers.RNN"),
        ],
    )
    def test_a_layer_made_otherwise_and_names_it(self, make_layer: Any, said: str) -> None:
        with pytest.raises(ValueError, match=rf"core layer {said}"):
            random_network(core=make_layer())
        with pytest.raises(ValueError, match=rf"core layer {said}"):  # also behind a good one
            random_network(core=[keras.layers.LSTM(3, **RETURNING), make_layer()])

    def test_no_layer(self) -> None:
        with pytest.raises(ValueError, match="core must hold at least one recurrent layer"):
            random_network(core=[])
        with pytest.raises(ValueError, match="core must hold at least one recurrent layer"):
            random_network(core="lstm", core_units=())


def test_no_row_handed_to_a_layer_is_masked_from_its_first_step_on():
    # cuDNN refuses such a row; one without steps keeps its state all the same.
    layer = keras.layers.GRU(3, return_sequences=True, return_state=True)
    core = Core([layer])
    core.build(2)
    masks, call = [], layer.call

    def spy(*args, mask=None, **kwargs):
        masks.append(np.asarray(mask))
        return call(*args, mask=mask, **kwargs)

    layer.call = spy
    inputs, before = np.ones((3, 4, 2), np.float32), (np.full((3, 3), 0.5, np.float32),)
    _, after = core.unroll(tf.constant(inputs), before, tf.constant([0, 1, 4]))
    assert masks[0].any(axis=1).all()
    np.testing.assert_array_equal(after[0][0], before[0][0])
    assert (np.asarray(after[0][1:]) != 0.5).all()


@pytest.mark.parametrize("name", CORES)
def test_without_gradient_there_is_none_and_all_else_is_the_same(name: str) -> None:
    core, rng = make(name), np.random.default_rng(0)
    inputs = normal(rng, 3, 4, FEATURES)
    state = tuple(normal(rng, 3, *shape) for shape in STATE_SHAPES[name])
    with tf.GradientTape() as tape:
        tape.watch([inputs, *state])
        outputs, after = core.unroll(inputs, state, with_gradient=False)
    expected, expected_after = core.unroll(inputs, state)
    for found, wanted in zip((outputs, *after), (expected, *expected_after), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert tape.gradient([outputs, *after], [inputs, *state]) == [None] * (1 + len(state))
