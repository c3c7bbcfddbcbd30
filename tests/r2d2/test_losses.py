"""The loss of a batch: what a step counts, what a sequence counts, and what counts for nothing."""

import math

import numpy as np
import pytest
import tensorflow as tf

from r2d2.losses import sequence_loss

TRUE_TRUE = tf.constant([[True, True]])


def loss_and_gradient(
    td_error: tf.Tensor, mask: tf.Tensor, weights: tf.Tensor, huber_delta: float | None
) -> tuple[float, np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(td_error)
        loss = sequence_loss(td_error, mask, weights, huber_delta)
    assert loss.shape == ()
    assert loss.dtype == tf.float32
    return float(loss), tape.gradient(loss, td_error).numpy()


class TestOneStep:
    """One step of weight 1 alone: the loss is the function itself."""

    @pytest.mark.parametrize(
        ("td_error", "loss", "slope"),
        [
            (0.0, 0.0, 0.0),
            (1.0, 0.5 * 1**2, 1.0),
            (-1.0, 0.5 * 1**2, -1.0),
            (2.0, 0.5 * 2**2, 2.0),  # where both halves meet
            (-5.0, 2 * (5 - 0.5 * 2), -2.0),
            (1000.0, 2 * (1000 - 0.5 * 2), 2.0),
        ],
    )
    def test_huber(self, td_error: float, loss: float, slope: float) -> None:
        actual = loss_and_gradient(tf.constant([[td_error]]), tf.constant([[True]]), tf.constant([1.0]), 2.0)
        np.testing.assert_allclose(actual[0], loss, rtol=1e-6)
        np.testing.assert_allclose(actual[1], [[slope]], rtol=1e-6)

    @pytest.mark.parametrize("td_error", [0.0, -0.5, 3.0, -1000.0])
    def test_half_the_squared_error_without_delta(self, td_error: float) -> None:
        actual = loss_and_gradient(tf.constant([[td_error]]), tf.constant([[True]]), tf.constant([1.0]), None)
        np.testing.assert_allclose(actual[0], td_error**2 / 2, rtol=1e-6)
        np.testing.assert_allclose(actual[1], [[td_error]], rtol=1e-6)


class TestImportanceWeights:
    @pytest.mark.parametrize("huber_delta", [1.0, None])
    def test_weigh_the_loss_and_not_the_error(self, huber_delta: float | None) -> None:
        """Inside Huber a weight of 0.1 on a small error would count as 0.01."""
        loss, gradient = loss_and_gradient(tf.constant([[0.2]]), tf.constant([[True]]), tf.constant([0.1]), huber_delta)
        np.testing.assert_allclose(loss, 0.1 * (0.5 * 0.2**2), rtol=1e-6)
        np.testing.assert_allclose(gradient, [[0.1 * 0.2]], rtol=1e-6)

    def test_do_not_move_the_point_where_huber_turns_linear(self) -> None:
        loss, gradient = loss_and_gradient(tf.constant([[4.0]]), tf.constant([[True]]), tf.constant([0.1]), 1.0)
        np.testing.assert_allclose(loss, 0.1 * (4 - 0.5), rtol=1e-6)
        np.testing.assert_allclose(gradient, [[0.1 * 1]], rtol=1e-6)

    def test_belong_each_to_its_own_sequence(self) -> None:
        td_error = tf.constant([[2.0, 2.0], [4.0, 4.0]])
        mask = tf.fill([2, 2], True)
        loss, gradient = loss_and_gradient(td_error, mask, tf.constant([1.0, 0.5]), None)
        np.testing.assert_allclose(loss, (1 * (2 + 2) + 0.5 * (8 + 8)) / 4)
        np.testing.assert_allclose(gradient, np.array([[1 * 2, 1 * 2], [0.5 * 4, 0.5 * 4]]) / 4)


class TestMask:
    @pytest.mark.parametrize("garbage", [1e30, -1e30, math.inf, math.nan])
    @pytest.mark.parametrize("huber_delta", [1.0, None])
    def test_garbage_reaches_neither_loss_nor_gradient(self, garbage: float, huber_delta: float | None) -> None:
        g = garbage
        td_error = tf.constant([[0.5, 1.0, g], [-1.0, g, g], [g, g, g]])
        mask = tf.constant([[True, True, False], [True, False, False], [False, False, False]])
        loss, gradient = loss_and_gradient(td_error, mask, tf.constant([1.0, 0.5, 1.0]), huber_delta)
        np.testing.assert_allclose(loss, (0.5 * 0.5**2 + 0.5 * 1**2 + 0.5 * 0.5 * 1**2) / 3, rtol=1e-6)
        np.testing.assert_allclose(gradient, np.array([[0.5, 1.0, 0], [0.5 * -1, 0, 0], [0, 0, 0]]) / 3, rtol=1e-6)

    def test_every_valid_step_counts_the_same_whatever_sequence_it_is_in(self) -> None:
        """The mean is over the steps of the batch: one of three steps is not one of two sequences."""
        mask = tf.constant([[True, True], [True, False]])
        loss, _ = loss_and_gradient(tf.constant([[2.0, 4.0], [6.0, 9.0]]), mask, tf.ones([2]), None)
        np.testing.assert_allclose(loss, (2 + 8 + 18) / 3, rtol=1e-6)

    def test_more_padding_changes_nothing(self) -> None:
        td_error, weights = tf.constant([[0.3, -2.0]]), tf.constant([0.7])
        loss, gradient = loss_and_gradient(td_error, TRUE_TRUE, weights, 1.0)
        padding = [[0, 0], [0, 5]]
        padded_loss, padded_gradient = loss_and_gradient(
            tf.pad(td_error, padding), tf.pad(TRUE_TRUE, padding), weights, 1.0
        )
        np.testing.assert_allclose(padded_loss, loss, rtol=1e-6)
        np.testing.assert_allclose(padded_gradient, np.pad(gradient, padding), rtol=1e-6)

    def test_may_be_of_floats(self) -> None:
        td_error = tf.constant([[2.0, math.nan]])
        loss, gradient = loss_and_gradient(td_error, tf.constant([[1.0, 0.0]]), tf.ones([1]), None)
        assert loss == 2
        np.testing.assert_array_equal(gradient, [[2, 0]])

    def test_batch_without_a_valid_step(self) -> None:
        td_error, mask = tf.constant([[5.0, math.nan]]), tf.constant([[False, False]])
        loss, gradient = loss_and_gradient(td_error, mask, tf.ones([1]), 1.0)
        assert loss == 0
        np.testing.assert_array_equal(gradient, [[0, 0]])


@pytest.mark.parametrize("huber_delta", [0.7, None])
def test_inside_a_graph_with_unknown_dimensions(huber_delta: float | None) -> None:
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.bool),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def in_graph(td_error: tf.Tensor, mask: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        traces.append(td_error)
        return sequence_loss(td_error, mask, weights, huber_delta)

    random = np.random.default_rng(0)
    for shape in [(1, 1), (3, 5), (32, 80)]:
        td_error = random.normal(size=shape).astype(np.float32)
        mask = random.random(shape) < 0.7
        weights = random.random(shape[0], np.float32)
        td_error[~mask] = np.nan
        np.testing.assert_allclose(
            in_graph(td_error, mask, weights),
            sequence_loss(td_error, mask, weights, huber_delta),
            rtol=1e-6,
        )
    assert len(traces) == 1


class TestRefusals:
    @pytest.mark.parametrize("huber_delta", [0.0, -1.0, math.nan])
    def test_delta_that_is_not_positive(self, huber_delta: float) -> None:
        with pytest.raises(ValueError, match=f"huber_delta={huber_delta} must be None or greater than 0"):
            sequence_loss(tf.zeros([1, 2]), TRUE_TRUE, tf.ones([1]), huber_delta)

    def test_wrong_ranks(self) -> None:
        # Weights of shape [batch, 1] would otherwise spread over the whole batch without a word.
        with pytest.raises(ValueError, match=r"importance_weights must be \[batch\]"):
            sequence_loss(tf.zeros([1, 2]), TRUE_TRUE, tf.ones([1, 1]), None)
        with pytest.raises(ValueError, match=r"td_error must be \[batch, time\]"):
            sequence_loss(tf.zeros([2]), TRUE_TRUE, tf.ones([1]), None)
        with pytest.raises(ValueError, match=r"mask must be \[batch, time\]"):
            sequence_loss(tf.zeros([1, 2]), tf.constant([True, True]), tf.ones([1]), None)
