"""Value rescaling keeps its digits in float32, in both directions (law 12)."""

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import tensorflow as tf

from r2d2.rescaling import rescale, unscale

LAW_BOUND = 1e-6
MAGNITUDES = np.logspace(-4, 6, 1001).astype(np.float32)
BOTH_SIGNS = np.concatenate([-MAGNITUDES[::-1], np.zeros(1, np.float32), MAGNITUDES])


def exact_rescale(x: float, epsilon: float) -> float:
    """The definition of h with fifty digits."""
    with localcontext() as context:
        context.prec = 50
        size, e = Decimal(abs(x)), Decimal(epsilon)
        return float((((size + 1).sqrt() - 1) + e * size).copy_sign(Decimal(x)))


def exact_unscale(y: float, epsilon: float) -> float:
    """The inverse as the literature writes it, with fifty digits, so that cancellation does no harm."""
    if y == 0:
        return 0.0
    with localcontext() as context:
        context.prec = 50
        size, e = Decimal(abs(y)), Decimal(epsilon)
        root = ((1 + 4 * e * (size + 1 + e)).sqrt() - 1) / (2 * e)
        return float((root * root - 1).copy_sign(Decimal(y)))


def relative_error(actual: np.ndarray, exact: np.ndarray) -> float:
    """The largest one; where the exact value is 0 the actual one must be 0 too."""
    actual = actual.astype(np.float64)
    np.testing.assert_array_equal(actual[exact == 0], 0)
    nonzero = exact != 0
    return float(np.max(np.abs(actual[nonzero] - exact[nonzero]) / np.abs(exact[nonzero])))


def apply_exactly(function: Callable[[float, float], float], values: np.ndarray, epsilon: float) -> np.ndarray:
    return np.array([function(float(value), epsilon) for value in values])


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2])
def test_inverse_is_within_the_law_for_returns_of_every_size_and_sign(epsilon: float) -> None:
    y = apply_exactly(exact_rescale, BOTH_SIGNS, epsilon).astype(np.float32)
    actual = unscale(tf.constant(y), epsilon).numpy()
    assert actual.dtype == np.float32
    assert relative_error(actual, apply_exactly(exact_unscale, y, epsilon)) <= LAW_BOUND


def test_inverse_is_within_the_law_for_rescaled_values_of_every_size_and_sign() -> None:
    actual = unscale(tf.constant(BOTH_SIGNS)).numpy()
    assert relative_error(actual, apply_exactly(exact_unscale, BOTH_SIGNS, 1e-3)) <= LAW_BOUND


def test_textbook_inverse_would_break_the_law() -> None:
    """The bound has teeth: the usual form in float32 misses it a thousandfold and more."""
    e, one = np.float32(1e-3), np.float32(1)
    y = apply_exactly(exact_rescale, MAGNITUDES, 1e-3).astype(np.float32)
    root = (np.sqrt(one + 4 * e * (y + one + e)) - one) / (2 * e)
    textbook = root * root - one
    assert textbook.dtype == np.float32
    exact = apply_exactly(exact_unscale, y, 1e-3)
    assert relative_error(textbook, exact) > 1000 * LAW_BOUND
    assert relative_error(textbook[MAGNITUDES > 1], exact[MAGNITUDES > 1]) > 50 * LAW_BOUND


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 0.0])
def test_rescale_is_as_accurate_as_its_inverse(epsilon: float) -> None:
    actual = rescale(tf.constant(BOTH_SIGNS), epsilon).numpy()
    assert actual.dtype == np.float32
    assert relative_error(actual, apply_exactly(exact_rescale, BOTH_SIGNS, epsilon)) <= LAW_BOUND


def test_definition_of_rescale_taken_literally_would_not_be() -> None:
    one = np.float32(1)
    literal = np.sqrt(MAGNITUDES + one) - one + np.float32(1e-3) * MAGNITUDES
    assert relative_error(literal, apply_exactly(exact_rescale, MAGNITUDES, 1e-3)) > 100 * LAW_BOUND


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 0.0])
def test_there_and_back_is_the_identity(epsilon: float) -> None:
    back = unscale(rescale(tf.constant(BOTH_SIGNS), epsilon), epsilon).numpy()
    assert relative_error(back, BOTH_SIGNS.astype(np.float64)) <= LAW_BOUND


def test_values_that_can_be_checked_by_eye() -> None:
    # sqrt(3 + 1) - 1 = 1 and sqrt(8 + 1) - 1 = 2; the default epsilon adds a thousandth of x.
    x = tf.constant([0.0, 3.0, -3.0, 8.0, -8.0])
    np.testing.assert_allclose(rescale(x, 0.0), [0, 1, -1, 2, -2], rtol=1e-6)
    np.testing.assert_allclose(rescale(x), [0, 1.003, -1.003, 2.008, -2.008], rtol=1e-6)
    np.testing.assert_allclose(unscale(tf.constant([0.0, 1.0, -2.0]), 0.0), [0, 3, -8], rtol=1e-6)
    np.testing.assert_allclose(unscale(tf.constant([0.0, 1.003, -2.008])), [0, 3, -8], rtol=1e-6)


def test_slopes_at_zero() -> None:
    """h'(0) = 1/2 + epsilon, and the inverse has the inverse slope: no kink, no NaN."""
    zero = tf.constant(0.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(zero)
        there, back = rescale(zero, 0.1), unscale(zero, 0.1)
    np.testing.assert_allclose(tape.gradient(there, zero), 0.6, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(back, zero), 1 / 0.6, rtol=1e-6)


@pytest.mark.parametrize("function", [rescale, unscale])
def test_inside_a_graph_with_unknown_dimensions(function: Callable[[tf.Tensor], tf.Tensor]) -> None:
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def in_graph(x: tf.Tensor) -> tf.Tensor:
        traces.append(x)
        return function(x)

    for shape in [(1, 2000), (4, 500), (40, 50)]:
        x = tf.reshape(tf.constant(BOTH_SIGNS[:2000]), shape)
        # Not bit for bit: the graph's optimizer may fold two operations into one.
        np.testing.assert_allclose(in_graph(x), function(x), rtol=1e-6)
    assert len(traces) == 1
