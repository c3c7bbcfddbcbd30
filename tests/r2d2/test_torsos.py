"""What a network makes of one observation of each kind of space."""

from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from r2d2.network import RecurrentQNetwork
from r2d2.torsos import EMBEDDING_UNITS, LARGEST_ONE_HOT, Torso

UNITS = 8
VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)


@pytest.fixture(autouse=True)
def _same_weights_in_every_run() -> None:
    keras.utils.set_random_seed(0)


def image(*shape: int, dtype: Any = np.uint8, high: float = 255) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype)


def samples(space: spaces.Space[Any], n: int, seed: int = 0) -> Any:
    batch = batch_space(space, n)
    batch.seed(seed)
    return batch.sample()


def kinds_of_layers(torso: Torso) -> list[str]:
    found = [type(layer).__name__ for layer in torso._flatten_layers(include_self=False)]
    return sorted(name for name in found if name != "_Image")


SPACES: dict[str, spaces.Space[Any]] = {
    "vector": VECTOR,
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "float64": spaces.Box(-1, 1, (2,), np.float64),
    "float16": spaces.Box(-1, 1, (2,), np.float16),
    "integers": spaces.Box(-100, 1000, (2,), np.int64),
    "bool": spaces.Box(0, 1, (2,), np.bool_),
    "board": image(6, 6),
    "cube_of_few_cells": image(4, 4, 3),
    "image_channels_last": image(40, 44, 3),
    "image_channels_first": image(4, 40, 44),
    "image_small": image(7, 7, 3),
    "image_small_channels_first": image(2, 9, 6),
    "image_float": image(10, 10, 1, dtype=np.float32, high=1),
    "discrete": spaces.Discrete(5),
    "discrete_from_a_start": spaces.Discrete(5, start=-7),
    "discrete_large": spaces.Discrete(LARGEST_ONE_HOT + 1),
    "discrete_large_from_a_start": spaces.Discrete(LARGEST_ONE_HOT + 1, start=100),
    "multi_binary": spaces.MultiBinary(4),
    "multi_binary_matrix": spaces.MultiBinary((2, 3)),
    "multi_discrete": spaces.MultiDiscrete([2, 5, 3]),
    "multi_discrete_from_a_start": spaces.MultiDiscrete([2, 5], start=[3, -2]),
    "multi_discrete_matrix": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    "dict": spaces.Dict(position=VECTOR, door=spaces.Discrete(3)),
    "dict_in_its_own_order": spaces.Dict(OrderedDict(z=spaces.Discrete(3), a=VECTOR)),
    "tuple": spaces.Tuple((spaces.Discrete(3), image(12, 12, 3), image(8, 8))),
    "nested": spaces.Dict(a=spaces.Tuple((VECTOR, spaces.Dict(c=spaces.MultiBinary(2)))), b=image(6, 6, 2)),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
class TestEverySpace:
    def test_gives_features_that_tell_observations_apart(self, space: spaces.Space[Any]) -> None:
        torso = Torso(space, UNITS)
        features = torso(samples(space, 16)).numpy()
        assert features.dtype == np.float32
        assert features.shape[0] == 16
        assert np.isfinite(features).all()
        assert len(np.unique(features.round(7), axis=0)) > 1

    def test_each_row_is_read_by_itself(self, space: spaces.Space[Any]) -> None:
        torso, observation = Torso(space, UNITS), samples(space, 5)
        features = torso(observation).numpy()
        for row in range(5):
            alone = torso(tf.nest.map_structure(lambda leaf, row=row: leaf[row : row + 1], observation))
            np.testing.assert_allclose(alone[0], features[row], rtol=1e-5, atol=1e-5)

    def test_is_the_same_in_a_graph_of_any_batch_size(self, space: spaces.Space[Any]) -> None:
        torso, observation = Torso(space, UNITS), samples(space, 3)
        features = torso(observation)
        signature = tf.nest.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), observation)
        compiled = tf.function(lambda given: torso(given), input_signature=[signature])
        np.testing.assert_allclose(compiled(observation), features, rtol=1e-5, atol=1e-5)

    def test_every_weight_has_a_gradient(self, space: spaces.Space[Any]) -> None:
        torso, observation = Torso(space, UNITS), samples(space, 16)
        with tf.GradientTape() as tape:
            features = torso(observation)
            total = tf.reduce_sum(features * tf.range(1.0, features.shape[1] + 1))
        for variable, gradient in zip(
            torso.trainable_variables,
            tape.gradient(total, [variable.value for variable in torso.trainable_variables]),
            strict=True,
        ):
            assert gradient is not None, variable.path
            assert np.any(tf.convert_to_tensor(gradient).numpy() != 0), variable.path


def dense_inputs(space: spaces.Space[Any], observation: Any) -> np.ndarray:
    """What the dense layer reads: recovered by a torso whose dense layer is the identity."""
    torso = Torso(space, 256)
    torso(observation)
    kernel, bias = torso.trainable_variables
    width = kernel.shape[0]
    kernel.assign(np.eye(width, 256))
    bias.assign(np.full(256, 10.0))  # so that rectification cuts nothing off
    return torso(observation).numpy()[:, :width] - 10.0


class TestWhatIsRead:
    def test_floats_as_they_are(self) -> None:
        read = dense_inputs(VECTOR, np.array([[1.5, -2.0, 0.25]], np.float32))
        np.testing.assert_allclose(read, [[1.5, -2.0, 0.25]], atol=1e-5)

    def test_whole_numbers_over_the_largest_of_their_range(self) -> None:
        space = spaces.Box(-200, 100, (3,), np.int32)
        np.testing.assert_allclose(dense_inputs(space, np.array([[-200, 100, 0]], np.int32)), [[-1, 0.5, 0]], atol=1e-5)
        np.testing.assert_allclose(
            dense_inputs(image(2, 2), np.array([[[0, 255], [51, 102]]], np.uint8)), [[0, 1, 0.2, 0.4]], atol=1e-5
        )

    @pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32])
    def test_discrete_values_one_hot_whatever_their_dtype(self, dtype: Any) -> None:
        space = spaces.Discrete(3, start=5, dtype=dtype)
        np.testing.assert_allclose(
            dense_inputs(space, np.array([5, 7, 6], dtype)), [[1, 0, 0], [0, 0, 1], [0, 1, 0]], atol=1e-5
        )
        multi = spaces.MultiDiscrete([2, 3], start=[1, 10], dtype=dtype)
        np.testing.assert_allclose(
            dense_inputs(multi, np.array([[1, 12], [2, 10]], dtype)), [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]], atol=1e-5
        )

    def test_discrete_values_far_from_zero(self) -> None:
        far = spaces.Discrete(3, start=2**40)
        np.testing.assert_allclose(dense_inputs(far, np.array([2**40 + 1])), [[0, 1, 0]], atol=1e-5)

    def test_one_hot_up_to_a_size_and_embedded_beyond(self) -> None:
        assert kinds_of_layers(Torso(spaces.Discrete(LARGEST_ONE_HOT), UNITS)) == ["Dense"]
        large = Torso(spaces.Discrete(LARGEST_ONE_HOT + 1, start=100), UNITS)
        assert kinds_of_layers(large) == ["Dense", "Embedding"]
        large(np.array([100]))
        table = next(v for v in large.trainable_variables if v.shape == (LARGEST_ONE_HOT + 1, EMBEDDING_UNITS))
        # The first and the last value find the first and the last row of the table.
        before = large(np.array([100, 100 + LARGEST_ONE_HOT])).numpy()
        moved = table.numpy()
        moved[1:-1] += 1.0
        table.assign(moved)
        np.testing.assert_array_equal(large(np.array([100, 100 + LARGEST_ONE_HOT])), before)

    def test_parts_are_joined_in_the_order_of_the_space(self) -> None:
        space = spaces.Tuple((spaces.Discrete(2), VECTOR, spaces.MultiBinary(2)))
        observation = (np.array([1]), np.array([[3, 4, 5]], np.float32), np.array([[1, 0]], np.int8))
        np.testing.assert_allclose(dense_inputs(space, observation), [[0, 1, 3, 4, 5, 1, 0]], atol=1e-5)

    def test_the_order_in_which_a_dict_is_given_does_not_matter(self) -> None:
        space = SPACES["dict"]
        torso, observation = Torso(space, UNITS), samples(space, 4)
        turned = dict(reversed(list(observation.items())))
        np.testing.assert_array_equal(torso(turned), torso(observation))


class TestImages:
    @pytest.mark.parametrize(
        ("shape", "kernels"),
        [
            ((84, 84, 3), [(8, 8, 3, 32), (4, 4, 32, 64), (3, 3, 64, 64)]),
            ((4, 84, 84), [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64)]),
            ((36, 36, 1), [(8, 8, 1, 32), (4, 4, 32, 64), (3, 3, 64, 64)]),
            ((35, 90, 3), [(3, 3, 3, 16), (3, 3, 16, 32)]),
            ((7, 7, 3), [(3, 3, 3, 16), (3, 3, 16, 32)]),
            ((3, 7, 7), [(3, 3, 3, 16), (3, 3, 16, 32)]),
            ((5, 5, 5), [(3, 3, 5, 16), (3, 3, 16, 32)]),
        ],
        ids=str,
    )
    def test_go_through_convolutions_over_their_height_and_width(self, shape: Any, kernels: Any) -> None:
        torso = Torso(image(*shape), UNITS)
        assert torso(samples(image(*shape), 2)).shape == (2, UNITS)
        assert [v.shape for v in torso.trainable_variables if len(v.shape) == 4] == kernels

    @pytest.mark.parametrize("shape", [(4, 4, 3), (3, 4, 9), (84, 4, 3), (6, 6), (2, 6, 6, 3)], ids=str)
    def test_are_only_what_is_large_enough(self, shape: Any) -> None:
        torso = Torso(image(*shape), UNITS)
        assert torso(samples(image(*shape), 2)).shape == (2, UNITS)
        assert kinds_of_layers(torso) == ["Dense"]

    def test_channels_first_is_channels_last_turned(self) -> None:
        first, last = Torso(image(2, 9, 7), UNITS), Torso(image(9, 7, 2), UNITS)
        pixels = samples(image(9, 7, 2), 3)
        turned = pixels.transpose(0, 3, 1, 2)
        first(turned)
        last(pixels)
        last.set_weights(first.get_weights())
        np.testing.assert_allclose(first(turned), last(pixels), rtol=1e-5, atol=1e-5)

    def test_of_whole_numbers_are_scaled_to_one(self) -> None:
        of_bytes, of_units = Torso(image(8, 8, 3), UNITS), Torso(image(8, 8, 3, dtype=np.float32, high=1), UNITS)
        pixels = samples(image(8, 8, 3), 4)
        scaled = (pixels / 255).astype(np.float32)
        of_bytes(pixels)
        of_units(scaled)
        of_units.set_weights(of_bytes.get_weights())
        np.testing.assert_allclose(of_bytes(pixels), of_units(scaled), rtol=1e-4, atol=1e-5)

    def test_beside_other_parts_have_features_of_their_own(self) -> None:
        space = spaces.Dict(camera=image(8, 8, 3), map=image(9, 9), speed=VECTOR)
        torso = Torso(space, UNITS)
        # One dense layer for the camera, one for everything flat together.
        assert torso(samples(space, 2)).shape == (2, 2 * UNITS)
        assert kinds_of_layers(torso) == ["Conv2D", "Conv2D", "Dense", "Dense", "Flatten"]


class TestRefuses:
    def test_a_space_it_does_not_know(self) -> None:
        with pytest.raises(TypeError, match=r"observation_space\['words'\] is a Text space; supported are Box"):
            RecurrentQNetwork(spaces.Dict(words=spaces.Text(5)), spaces.Discrete(2))

    def test_an_observation_nested_otherwise(self) -> None:
        torso = Torso(SPACES["dict"], UNITS)
        torso(samples(SPACES["dict"], 1))
        with pytest.raises(ValueError, match=r"observation must be a dict of \['door', 'position'\]"):
            torso({"door": np.array([1])})
