"""The compiled product and the compiled activations against NumPy in float64."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.activations import sigmoid, tanh
from r2d2.tiles import COLUMNS, ROWS, add_product, panels, round_up


@settings(max_examples=60, deadline=None)
@given(blocks=st.integers(1, 4), depth=st.integers(1, 1100), width=st.integers(1, 70), seed=st.integers(0, 999))
def test_product_is_added(blocks: int, depth: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = blocks * ROWS
    left = rng.normal(size=(rows, depth)).astype(np.float32)
    right = rng.normal(size=(depth, width)).astype(np.float32)
    start = rng.normal(size=(rows, round_up(width, COLUMNS))).astype(np.float32)
    out = start.copy()
    add_product(out, left, panels(right))
    expected = start[:, :width] + left.astype(np.float64) @ right
    np.testing.assert_allclose(out[:, :width], expected, rtol=0, atol=1e-5 * np.sqrt(depth) * 10)
    np.testing.assert_array_equal(out[:, width:], start[:, width:])


def test_panels_of_a_transposed_matrix() -> None:
    matrix = np.arange(35, dtype=np.float32).reshape(5, 7)
    np.testing.assert_array_equal(panels(matrix.T), panels(np.ascontiguousarray(matrix.T)))
    np.testing.assert_array_equal(panels(matrix)[0, :, :7], matrix)
    assert not panels(matrix)[0, :, 7:].any()


def test_round_up() -> None:
    assert [round_up(n, 4) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]


NUMBERS = np.concatenate(
    [
        np.linspace(-100, 100, 200_001),
        np.linspace(-1, 1, 100_001),
        np.geomspace(1e-30, 1, 5_000),
        -np.geomspace(1e-30, 1, 5_000),
    ]
).astype(np.float32)


def test_sigmoid_is_exact_to_two_units_in_the_last_place() -> None:
    values = NUMBERS.copy()
    sigmoid(values)
    expected = 1 / (1 + np.exp(-NUMBERS.astype(np.float64)))
    near = NUMBERS > -85
    np.testing.assert_allclose(values[near], expected[near], rtol=2.4e-7, atol=0)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1.2e-7)


def test_tanh_is_exact_to_two_units_in_the_last_place() -> None:
    values = NUMBERS.copy()
    tanh(values)
    np.testing.assert_allclose(values, np.tanh(NUMBERS.astype(np.float64)), rtol=2.4e-7, atol=0)


def test_far_away_and_not_a_number() -> None:
    far = np.array([-np.inf, -1e30, -0.0, 0.0, 1e30, np.inf, np.nan], np.float32)
    values = far.copy()
    sigmoid(values)
    np.testing.assert_allclose(values, [0, 0, 0.5, 0.5, 1, 1, np.nan], atol=1e-37)
    values = far.copy()
    tanh(values)
    np.testing.assert_array_equal(values, [-1, -1, 0, 0, 1, 1, np.nan])
