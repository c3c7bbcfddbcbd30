"""Law 13: a sequence's priority is eta * max + (1 - eta) * mean of its absolute TD errors."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.losses import sequence_priorities


def prefix_mask(lengths: list[int], width: int) -> np.ndarray:
    return np.arange(width) < np.array(lengths)[:, None]


def test_errors_of_opposite_signs_do_not_cancel() -> None:
    td_error = tf.constant([[3.0, -3.0], [1.0, -5.0]])
    mask = tf.constant([[True, True], [True, True]])
    # max 3, mean 3 and max 5, mean 3.
    np.testing.assert_allclose(
        sequence_priorities(td_error, mask, 0.9), [0.9 * 3 + 0.1 * 3, 0.9 * 5 + 0.1 * 3], rtol=1e-6
    )


def test_largest_error_may_be_negative() -> None:
    td_error = tf.constant([[1.0, -7.0, 1.0]])
    np.testing.assert_allclose(sequence_priorities(td_error, tf.fill([1, 3], True), 1.0), [7])


@pytest.mark.parametrize("garbage", [1e30, -1e30, math.inf, math.nan])
def test_padding_neither_raises_nor_lowers_a_priority(garbage: float) -> None:
    g = garbage
    td_error = tf.constant([[1.0, -2.0, g, g], [4.0, g, g, g], [g, g, g, g]])
    mask = tf.constant(prefix_mask([2, 1, 0], 4))
    # One step weighs the same however much padding follows it, and no step at all weighs nothing.
    np.testing.assert_allclose(sequence_priorities(td_error, mask, 0.9), [0.9 * 2 + 0.1 * 1.5, 4, 0], rtol=1e-6)


def test_zeros_in_the_padding_do_not_lower_the_mean() -> None:
    td_error = tf.constant([[2.0, -4.0, 0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(sequence_priorities(td_error, tf.constant(prefix_mask([2], 6)), 0.0), [3], rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    padding=st.integers(1, 3),
    eta=st.floats(0, 1),
    garbage=st.sampled_from([math.nan, math.inf, 3e38, 0.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_batch_against_float64(lengths: list[int], padding: int, eta: float, garbage: float, seed: int) -> None:
    width = max(lengths) + padding
    mask = prefix_mask(lengths, width)
    td_error = np.random.default_rng(seed).normal(0, 10, mask.shape).astype(np.float32)
    td_error[~mask] = garbage
    priorities = sequence_priorities(tf.constant(td_error), tf.constant(mask), eta)
    assert priorities.dtype == tf.float32
    for priority, errors, length in zip(priorities.numpy(), td_error, lengths, strict=True):
        sizes = [abs(float(error)) for error in errors[:length]]
        exact = eta * max(sizes) + (1 - eta) * sum(sizes) / length if sizes else 0.0
        np.testing.assert_allclose(priority, exact, rtol=1e-6)


def test_mask_may_be_of_floats() -> None:
    td_error = tf.constant([[1.0, -2.0, math.nan]])
    mask = tf.constant([[1.0, 1.0, 0.0]])
    np.testing.assert_allclose(sequence_priorities(td_error, mask, 0.5), [0.5 * 2 + 0.5 * 1.5])


def test_inside_a_graph_with_unknown_dimensions() -> None:
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None, None], tf.bool)])
    def in_graph(td_error: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        traces.append(td_error)
        return sequence_priorities(td_error, mask, 0.9)

    for lengths in ([1], [5, 0, 3], [20, 7]):
        mask = tf.constant(prefix_mask(lengths, max(lengths) + 1))
        td_error = tf.random.stateless_normal(mask.shape, seed=[0, len(lengths)])
        eager = sequence_priorities(td_error, mask, 0.9)
        np.testing.assert_allclose(in_graph(td_error, mask), eager, rtol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_outside_its_range_is_refused(eta: float) -> None:
    with pytest.raises(ValueError, match=rf"eta={eta} must lie in \[0, 1\]"):
        sequence_priorities(tf.zeros([1, 1]), tf.fill([1, 1], True), eta)


def test_wrong_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"td_error must be \[batch, time\]"):
        sequence_priorities(tf.zeros([2]), tf.fill([1, 2], True), 0.9)
    with pytest.raises(ValueError, match=r"mask must be \[batch, time\]"):
        sequence_priorities(tf.zeros([1, 2]), tf.fill([2], True), 0.9)
