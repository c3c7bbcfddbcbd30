"""The fused LSTM is `keras.layers.LSTM`: its outputs, its states, and every gradient."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import r2d2.lstm
from r2d2.lstm import MOST_UNITS, can_fuse, fused_lstm

RETURNING = {"return_sequences": True, "return_state": True}
WITH_GPU = bool(tf.config.list_physical_devices("GPU"))


def make_layer(units: int, features: int, seed: int = 0, **options: Any) -> Any:
    layer = keras.layers.LSTM(units, **RETURNING, **options)
    layer.build((None, None, features))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.5, weight.shape) for weight in layer.weights])
    return layer


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return tf.constant(rng.normal(size=shape).astype(np.float32))


class Case:
    """A layer, what it reads, and weights that make a scalar of all that it returns."""

    def __init__(self, batch: int, time: int, features: int, units: int) -> None:
        rng = np.random.default_rng(1)
        self.layer = make_layer(units, features)
        self.inputs = normal(rng, batch, time, features)
        self.hidden, self.cell = normal(rng, batch, units), normal(rng, batch, units)
        self.of_hidden, self.of_cell = normal(rng, time, batch, units), normal(rng, time, batch, units)

    def by_keras(self) -> tuple[Any, Any]:
        """Hidden and cell states after each step, [time, batch, units]: one call a step gives the cell states."""
        state = [self.hidden, self.cell]
        steps = []
        for t in range(self.inputs.shape[1]):
            _, *state = self.layer(self.inputs[:, t : t + 1], initial_state=state)
            steps.append(state)
        return tuple(tf.stack(parts) for parts in zip(*steps, strict=True))

    def by_one_keras_call(self) -> tuple[Any, Any]:
        outputs, _, cell = self.layer(self.inputs, initial_state=[self.hidden, self.cell])
        return tf.transpose(outputs, [1, 0, 2]), cell

    def fused(self) -> tuple[Any, Any]:
        return fused_lstm(self.layer, self.inputs, (self.hidden, self.cell))

    def gradients(self, run: Any, of_hidden: float, of_cell: float) -> dict[str, np.ndarray]:
        """Of a weighted sum of all states."""
        kernel, recurrent_kernel, bias = (variable.value for variable in self.layer.trainable_variables)
        sources = {
            "inputs": self.inputs,
            "h": self.hidden,
            "c": self.cell,
            "kernel": kernel,
            "recurrent_kernel": recurrent_kernel,
            "bias": bias,
        }
        with tf.GradientTape() as tape:
            tape.watch([self.inputs, self.hidden, self.cell])
            hidden, cell = run()
            scalar = of_hidden * tf.reduce_sum(self.of_hidden * hidden) + of_cell * tf.reduce_sum(self.of_cell * cell)
        return {name: gradient.numpy() for name, gradient in tape.gradient(scalar, sources).items()}


def assert_equal_to_rounding(found: Any, expected: Any, name: str = "") -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6 * scale, err_msg=name)


@pytest.mark.parametrize(
    ("batch", "time", "features", "units"),
    [(1, 1, 1, 1), (3, 7, 5, 4), (2, 1, 3, 5), (1, 13, 2, 17), (5, 6, 11, MOST_UNITS), (9, 3, 1, 33)],
)
class TestEqualsKeras:
    def test_states_after_each_step(self, batch: int, time: int, features: int, units: int) -> None:
        case = Case(batch, time, features, units)
        hidden, cell = case.fused()
        assert hidden.shape == cell.shape == (time, batch, units)
        for name, found, expected in zip("hc", (hidden, cell), case.by_keras(), strict=True):
            assert_equal_to_rounding(found, expected, name)
        outputs, last_cell = case.by_one_keras_call()
        assert_equal_to_rounding(hidden, outputs, "outputs")
        assert_equal_to_rounding(cell[-1], last_cell, "last c")

    @pytest.mark.parametrize(("of_hidden", "of_cell"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
    def test_gradients(
        self, batch: int, time: int, features: int, units: int, of_hidden: float, of_cell: float
    ) -> None:
        """Through the hidden states, through the cell states, and through both."""
        case = Case(batch, time, features, units)
        found = case.gradients(case.fused, of_hidden, of_cell)
        expected = case.gradients(case.by_keras, of_hidden, of_cell)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert_equal_to_rounding(found[name], gradient, name)
            assert np.any(gradient != 0)


class TestGradient:
    def test_is_the_slope_of_the_states(self) -> None:
        """By central differences, which ask nobody's gradient: along random directions of all that is read."""
        case = Case(3, 5, 2, 4)
        gradients = case.gradients(case.fused, 1.0, 1.0)
        rng, step = np.random.default_rng(3), 1e-2
        read = {"inputs": case.inputs, "h": case.hidden, "c": case.cell}
        for name, value in read.items():
            direction = rng.normal(size=value.shape).astype(np.float32)
            sums = []
            for sign in (1, -1):
                moved = {**read, name: value + sign * step * direction}
                hidden, cell = fused_lstm(case.layer, moved["inputs"], (moved["h"], moved["c"]))
                sums.append(float(tf.reduce_sum(case.of_hidden * hidden) + tf.reduce_sum(case.of_cell * cell)))
            slope = (sums[0] - sums[1]) / (2 * step)
            np.testing.assert_allclose(np.sum(gradients[name] * direction), slope, rtol=2e-3, atol=2e-2)

    def test_is_the_same_in_a_graph(self) -> None:
        case = Case(3, 7, 5, 4)
        eager = case.gradients(case.fused, 1.0, 1.0)
        compiled = case.gradients(tf.function(case.fused), 1.0, 1.0)
        for name, gradient in eager.items():
            assert_equal_to_rounding(compiled[name], gradient, name)

    def test_is_right_where_tensorflows_own_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Documents why the gradient is written by hand: what TensorFlow 2.21 registers for the kernel is wrong."""
        case = Case(3, 7, 5, 4)
        hidden, _ = case.fused()
        found, expected = case.gradients(case.fused, 1.0, 0.0), case.gradients(case.by_keras, 1.0, 0.0)
        monkeypatch.setattr(r2d2.lstm, "_block_lstm", without_custom_gradient)
        assert_equal_to_rounding(case.fused()[0], hidden)
        registered = case.gradients(case.fused, 1.0, 0.0)
        wrong = [name for name, g in expected.items() if np.abs(registered[name] - g).max() > 1e-3 * np.abs(g).max()]
        if not wrong:
            pytest.skip(f"TensorFlow {tf.__version__} has repaired its own gradient")
        for name in wrong:
            assert_equal_to_rounding(found[name], expected[name], name)


def without_custom_gradient(inputs: Any, hidden: Any, cell: Any, weights: Any, bias: Any) -> tuple[Any, Any]:
    zeros = tf.zeros_like(bias[: bias.shape[0] // 4])
    run = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.cast(tf.shape(inputs)[0], tf.int64),
        x=inputs,
        cs_prev=cell,
        h_prev=hidden,
        w=weights,
        wci=zeros,
        wcf=zeros,
        wco=zeros,
        b=bias,
        cell_clip=0.0,
        use_peephole=False,
    )
    return run.h, run.cs


class OtherLSTM(keras.layers.LSTM):
    """A subclass may do anything in its call."""


class TestCanFuse:
    @pytest.mark.skipif(WITH_GPU, reason="nothing is fused where there is a GPU")
    def test_a_plain_lstm_up_to_a_width(self) -> None:
        assert can_fuse(make_layer(1, 3))
        assert can_fuse(make_layer(MOST_UNITS, 3))
        assert not can_fuse(make_layer(MOST_UNITS + 1, 3))

    def test_also_after_its_configuration_has_been_written_and_read(self) -> None:
        layer = keras.layers.LSTM.from_config(keras.layers.LSTM(4, **RETURNING).get_config())
        assert can_fuse(layer) is not WITH_GPU

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
        assert not can_fuse(layer)

    def test_not_with_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] if kind == "GPU" else [])
        assert not can_fuse(make_layer(4, 3))
