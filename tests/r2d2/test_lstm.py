"""The compiled LSTM is `keras.layers.LSTM`: its outputs, its states, and every gradient."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2 import lstm
from r2d2.lstm import can_compile, unroll_lstm

RETURNING = {"return_sequences": True, "return_state": True}
WITH_GPU = bool(tf.config.list_physical_devices("GPU"))


def make_layer(units: int, features: int, seed: int = 0, **options: Any) -> Any:
    layer = keras.layers.LSTM(units, **RETURNING, **options)
    layer.build((None, None, features))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, min(0.5, 2 / np.sqrt(weight.shape[0])), weight.shape) for weight in layer.weights])
    return layer


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return tf.constant(rng.normal(size=shape).astype(np.float32))


class Case:
    """A layer, what it reads, and weights that make a scalar of all that it returns."""

    def __init__(self, batch: int, time: int, features: int, units: int, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.layer = make_layer(units, features, seed)
        self.inputs = normal(rng, batch, time, features)
        self.hidden, self.cell = normal(rng, batch, units), normal(rng, batch, units)
        self.lengths = tf.constant(rng.integers(0, time + 1, batch), tf.int32)
        self.of_outputs = normal(rng, batch, time, units)
        self.of_state = normal(rng, batch, units), normal(rng, batch, units)
        self.real = tf.sequence_mask(self.lengths, time)[:, :, None]

    def by_keras(self) -> tuple[Any, Any]:
        """Outputs, and the state of each row after its last step: one call a step, which holds the rows that ended."""
        state, outputs = [self.hidden, self.cell], []
        for t in range(self.inputs.shape[1]):
            _, *after = self.layer(self.inputs[:, t : t + 1], initial_state=state)
            goes_on = (t < self.lengths)[:, None]
            state = [tf.where(goes_on, new, old) for new, old in zip(after, state, strict=True)]
            outputs.append(state[0])
        return tf.stack(outputs, axis=1), tuple(state)

    def compiled(self) -> tuple[Any, Any]:
        return unroll_lstm(self.layer, self.inputs, (self.hidden, self.cell), self.lengths)

    def gradients_in_graph(self) -> list[Any]:
        variables = [variable.value for variable in self.layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            scalar = tf.reduce_sum(self.of_outputs * self.compiled()[0])
        return tape.gradient(scalar, variables)

    def gradients(self, run: Any, of_outputs: float = 1.0, of_hidden: float = 1.0, of_cell: float = 1.0) -> Any:
        """Of a weighted sum of all that is returned."""
        sources = {
            "inputs": self.inputs,
            "h": self.hidden,
            "c": self.cell,
            **{variable.name: variable.value for variable in self.layer.trainable_variables},
        }
        with tf.GradientTape() as tape:
            tape.watch([self.inputs, self.hidden, self.cell])
            outputs, (hidden, cell) = run()
            scalar = of_outputs * tf.reduce_sum(tf.where(self.real, self.of_outputs * outputs, 0.0))
            scalar += of_hidden * tf.reduce_sum(self.of_state[0] * hidden)
            scalar += of_cell * tf.reduce_sum(self.of_state[1] * cell)
        return {name: gradient.numpy() for name, gradient in tape.gradient(scalar, sources).items()}


def assert_equal_to_rounding(found: Any, expected: Any, name: str = "") -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6 * scale, err_msg=name)


SHAPES = [(1, 1, 1, 1), (3, 7, 5, 4), (2, 1, 3, 5), (1, 13, 2, 17), (5, 6, 11, 96), (9, 3, 1, 33), (6, 4, 530, 130)]


@pytest.mark.parametrize(("batch", "time", "features", "units"), SHAPES)
class TestEqualsKeras:
    def test_outputs_and_states(self, batch: int, time: int, features: int, units: int) -> None:
        case = Case(batch, time, features, units)
        outputs, state = case.compiled()
        expected_outputs, expected_state = case.by_keras()
        assert outputs.shape == (batch, time, units)
        assert_equal_to_rounding(tf.where(case.real, outputs, 0), tf.where(case.real, expected_outputs, 0), "outputs")
        for name, found, expected in zip("hc", state, expected_state, strict=True):
            assert_equal_to_rounding(found, expected, name)

    def test_without_lengths_all_steps_are_run(self, batch: int, time: int, features: int, units: int) -> None:
        case = Case(batch, time, features, units)
        outputs, state = unroll_lstm(case.layer, case.inputs, (case.hidden, case.cell))
        expected, *expected_state = case.layer(case.inputs, initial_state=[case.hidden, case.cell])
        assert_equal_to_rounding(outputs, expected, "outputs")
        for name, found, wanted in zip("hc", state, expected_state, strict=True):
            assert_equal_to_rounding(found, wanted, name)

    @pytest.mark.parametrize("of", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)])
    def test_gradients(self, batch: int, time: int, features: int, units: int, of: tuple[float, float, float]) -> None:
        """Through the outputs, through either part of the last state, and through all."""
        case = Case(batch, time, features, units)
        found, expected = case.gradients(case.compiled, *of), case.gradients(case.by_keras, *of)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert_equal_to_rounding(found[name], gradient, name)

    def test_without_gradient_everything_else_is_the_same(
        self, batch: int, time: int, features: int, units: int
    ) -> None:
        case = Case(batch, time, features, units)
        state = (case.hidden, case.cell)
        with tf.GradientTape() as tape:
            tape.watch(case.inputs)
            plain = unroll_lstm(case.layer, case.inputs, state, case.lengths, with_gradient=False)
        for found, expected in zip(tf.nest.flatten(plain), tf.nest.flatten(case.compiled()), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert tape.gradient(plain, case.inputs) is None


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 12),
    time=st.integers(0, 6),
    features=st.integers(1, 20),
    units=st.integers(1, 40),
    cores=st.sampled_from([1, 2, 3, 7]),
    seed=st.integers(0, 999),
)
def test_any_shape_on_any_number_of_cores(
    batch: int, time: int, features: int, units: int, cores: int, seed: int
) -> None:
    """Also with more cores than rows, and without a step."""
    case = Case(batch, time, features, units, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lstm, "_cores", lambda: cores)
        found_run, found = case.compiled(), case.gradients(case.compiled)
    if time == 0:
        for part, given_part in zip(found_run[1], (case.hidden, case.cell), strict=True):
            np.testing.assert_array_equal(part, given_part)
        assert not any(np.any(found[variable.name]) for variable in case.layer.trainable_variables)
        np.testing.assert_array_equal(found["h"], case.of_state[0])
        return
    expected_run, expected = case.by_keras(), case.gradients(case.by_keras)
    for part, wanted in zip(found_run[1], expected_run[1], strict=True):
        assert_equal_to_rounding(part, wanted)
    for name, gradient in expected.items():
        assert_equal_to_rounding(found[name], gradient, name)


class TestGradient:
    def test_is_the_slope_of_what_is_returned(self) -> None:
        """By central differences, which ask nobody's gradient: along random directions of all that is read."""
        case = Case(3, 5, 2, 4)
        gradients = case.gradients(case.compiled)
        rng, step = np.random.default_rng(3), 1e-2
        read = {"inputs": case.inputs, "h": case.hidden, "c": case.cell}
        for name, value in read.items():
            direction = rng.normal(size=value.shape).astype(np.float32)
            sums = []
            for sign in (1, -1):
                moved = {**read, name: value + sign * step * direction}
                outputs, state = unroll_lstm(case.layer, moved["inputs"], (moved["h"], moved["c"]), case.lengths)
                total = tf.reduce_sum(tf.where(case.real, case.of_outputs * outputs, 0.0))
                for weights, part in zip(case.of_state, state, strict=True):
                    total += tf.reduce_sum(weights * part)
                sums.append(float(total))
            slope = (sums[0] - sums[1]) / (2 * step)
            np.testing.assert_allclose(np.sum(gradients[name] * direction), slope, rtol=2e-3, atol=2e-2)

    def test_is_the_same_bit_for_bit_in_a_graph_and_again(self) -> None:
        case = Case(5, 7, 5, 4)
        first = case.gradients(case.compiled)
        for run in (case.compiled, tf.function(case.compiled)):
            for name, gradient in case.gradients(run).items():
                np.testing.assert_array_equal(gradient, first[name], name)

    def test_is_not_a_number_if_something_read_is_not(self) -> None:
        """A run that diverges has to be seen."""
        case = Case(3, 4, 2, 5)
        case.lengths = tf.fill([3], 4)
        broken = tf.tensor_scatter_nd_update(case.inputs, [[1, 2, 0]], [np.nan])
        outputs, state = unroll_lstm(case.layer, broken, (case.hidden, case.cell))
        assert np.isnan(outputs[1, 2:]).all()
        assert all(np.isnan(part[1]).all() for part in state)
        assert np.isfinite(outputs[1, :2]).all()
        assert np.isfinite(tf.gather(outputs, [0, 2])).all()


class TestMemory:
    def test_results_stay_as_they_are_while_they_are_held(self) -> None:
        """The memory of results is used again, but not before they are gone."""
        case = Case(4, 6, 3, 8)
        held = [case.compiled()[0] for _ in range(50)]
        expected = held[0].numpy().copy()
        Case(4, 6, 3, 8, seed=2).compiled()
        for outputs in held:
            np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("with_gradient", [True, False])
@pytest.mark.parametrize("wrong", ["wide state", "narrow state", "wide inputs", "narrow inputs", "rows", "lengths"])
def test_what_does_not_fit_the_weights_is_refused(wrong: str, with_gradient: bool) -> None:
    """The kernels check no bounds: what fits nowhere must not reach them."""
    case = Case(4, 3, 5, 20)
    rng = np.random.default_rng(0)
    inputs, state, lengths = case.inputs, (case.hidden, case.cell), case.lengths
    if wrong in ("wide state", "narrow state"):
        units = 300 if wrong == "wide state" else 3
        state = normal(rng, 4, units), normal(rng, 4, units)
    elif wrong in ("wide inputs", "narrow inputs"):
        inputs = normal(rng, 4, 3, 300 if wrong == "wide inputs" else 2)
    elif wrong == "rows":
        state = normal(rng, 2, 20), normal(rng, 2, 20)
    else:
        lengths = lengths[:2]
    for run in (unroll_lstm, tf.function(unroll_lstm)):
        with pytest.raises((ValueError, tf.errors.OpError), match=r"another width|incompatible|not compatible"):
            run(case.layer, inputs, state, lengths, with_gradient)


def test_a_sparse_gradient_of_the_outputs() -> None:
    case = Case(4, 3, 5, 6)
    with tf.GradientTape() as tape:
        tape.watch(case.inputs)
        outputs = case.compiled()[0]
        some = tf.reduce_sum(tf.gather(outputs, [0, 2]) * case.of_outputs[:2])
    with tf.GradientTape() as expected_tape:
        expected_tape.watch(case.inputs)
        outputs = case.by_keras()[0]
        expected = tf.reduce_sum(tf.gather(outputs, [0, 2]) * case.of_outputs[:2])
    assert_equal_to_rounding(tape.gradient(some, case.inputs), expected_tape.gradient(expected, case.inputs))


def test_threads_run_side_by_side() -> None:
    """Each has what it would have alone."""
    cases = [Case(5, 8, 3, 17, seed) for seed in range(4)]
    alone = [case.gradients(case.compiled) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: [case.gradients(case.compiled) for _ in range(10)], cases))
    for expected, found in zip(alone, together, strict=True):
        for gradients in found:
            for name, gradient in gradients.items():
                np.testing.assert_array_equal(gradient, expected[name], name)


def test_a_gradient_of_a_size_that_is_worth_several_threads_is_repeated_bit_for_bit() -> None:
    case = Case(32, 20, 64, 128)
    run = tf.function(lambda: case.gradients_in_graph())
    first = run()
    for _ in range(5):
        for gradient, expected in zip(run(), first, strict=True):
            np.testing.assert_array_equal(gradient, expected)


def test_without_gradient_nothing_is_kept_for_one() -> None:
    """As steps of gates and cells, which are most of the memory."""
    arrays = [np.zeros(shape, np.float32) for shape in ((2, 3, 1), (2, 4), (2, 4), (1, 16), (4, 16), (16,))]
    read, weights = [*arrays[:3], np.full(2, 3, np.int32)], arrays[3:]
    assert [len(part[0]) for part in lstm._run(*read, *weights)[:3]] == [3, 3, 3]
    assert [len(part[0]) for part in lstm._run_only(*read, *weights)[:3]] == [3, 0, 0]


class OtherLSTM(keras.layers.LSTM):
    """A subclass may do anything in its call."""


class TestCanCompile:
    @pytest.mark.skipif(WITH_GPU, reason="a GPU has kernels of its own")
    def test_a_plain_lstm_of_any_width(self) -> None:
        assert can_compile(make_layer(1, 3))
        assert can_compile(make_layer(700, 3))

    def test_also_after_its_configuration_has_been_written_and_read(self) -> None:
        layer = keras.layers.LSTM.from_config(keras.layers.LSTM(4, **RETURNING).get_config())
        assert can_compile(layer) is not WITH_GPU

    @pytest.mark.parametrize(
        "layer",
        [
            keras.layers.GRU(4, **RETURNING),
            keras.layers.SimpleRNN(4, **RETURNING),
            keras.layers.RNN(keras.layers.LSTMCell(4), **RETURNING),
            OtherLSTM(4, **RETURNING),
            keras.layers.LSTM(4, activation="relu", **RETURNING),
            keras.layers.LSTM(4, recurrent_activation="hard_sigmoid", **RETURNING),
            keras.layers.LSTM(4, use_bias=False, **RETURNING),
            keras.layers.LSTM(4, dropout=0.5, **RETURNING),
            keras.layers.LSTM(4, recurrent_dropout=0.5, **RETURNING),
            keras.layers.LSTM(4, go_backwards=True, **RETURNING),
            keras.layers.LSTM(4, dtype="float64", **RETURNING),
            keras.layers.LSTM(4, dtype="mixed_bfloat16", **RETURNING),
        ],
        ids=lambda layer: layer.name,
    )
    def test_nothing_else(self, layer: Any) -> None:
        assert not can_compile(layer)

    def test_not_with_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """cuDNN is left its work."""
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] if kind == "GPU" else [])
        assert not can_compile(make_layer(4, 3))
