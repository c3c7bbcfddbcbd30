"""Whatever can be checked has its verbs and steps; whatever cannot is refused with what would help."""

from typing import Any

import broken_networks
import keras
import numpy as np
import pytest
from broken_networks import Sound, random_steps
from gymnasium import spaces
from random_sequences import random_inputs, random_network

from r2d2.burn_in_subjects import SupportsBurnIn, subject_of
from r2d2.replay import Inputs
from r2d2.stateful import StatefulNetwork

SPACE = spaces.Dict(
    {
        "place": spaces.Tuple([spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 4])]),
        "image": spaces.Box(0, 255, (6, 5, 3), np.uint8),
        "velocity": spaces.Box(np.float32([0.0, -1.0]), np.float32([3.4e38, 1.0])),
        "free": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "buttons": spaces.MultiBinary(2),
    }
)


def model_of(*stack: Any, **inputs: Any) -> keras.Model:
    return keras.Sequential([keras.Input(batch_shape=(2, None, 3)) if not inputs else keras.Input(**inputs), *stack])


def memory() -> Any:
    return keras.layers.GRU(4, stateful=True)


class TestStepsAreMade:
    def test_of_a_networks_spaces(self) -> None:
        network = random_network(observation_space=SPACE)
        subject = subject_of(network, None, 6, seed=0)
        assert subject.network.batch_size == 4
        assert subject.steps.previous_action.shape == subject.steps.previous_reward.shape == (4, 6)
        assert subject.steps.previous_action.dtype == np.int32
        assert set(np.unique(subject.steps.previous_action)) <= {-1, 0, 1, 2, 3}
        leaves = []
        for t in range(6):
            observation = keras.tree.map_structure(lambda leaf, t=t: leaf[:, t], subject.steps.observation)
            network.observation_spec.check(observation, (4,))  # inside the spaces
            leaves.append(keras.tree.flatten(observation))
        assert all(np.abs(leaf.astype(float)).max() <= 1000 for leaf in leaves[0])
        for leaf in zip(*leaves, strict=True):
            assert np.ptp(np.stack(leaf)) > 0

    def test_and_leave_the_spaces_random_state_alone(self) -> None:
        network = random_network(observation_space=spaces.Box(-1, 1, (3,), seed=3))
        subject_of(network, None, 6, seed=0)
        np.testing.assert_array_equal(network.observation_space.sample(), spaces.Box(-1, 1, (3,), seed=3).sample())

    def test_of_a_keras_models_input(self) -> None:
        steps = subject_of(model_of(memory()), None, 6, seed=0).steps
        assert (steps.shape, steps.dtype) == ((2, 6, 3), np.float32)

    def test_for_the_batch_of_a_view(self) -> None:
        subject = subject_of(StatefulNetwork(random_network(), 2), None, 6, seed=0)
        assert subject.steps.previous_reward.shape == (2, 6)

    @pytest.mark.parametrize("network", [lambda: random_network(), lambda: model_of(memory())], ids=["q", "keras"])
    def test_by_the_seed(self, network: Any) -> None:
        first, same, other = (keras.tree.flatten(subject_of(network(), None, 6, seed).steps) for seed in (1, 1, 2))
        for a, b, c in zip(first, same, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.any(a != c)


class TestStepsAreTaken:
    def test_of_the_batch_that_they_are(self) -> None:
        inputs = random_inputs(np.random.default_rng(0), 5, 3)
        subject = subject_of(random_network(), inputs, 6, seed=0)
        assert subject.network.batch_size == 5
        np.testing.assert_array_equal(subject.steps.observation, inputs.observation)

    def test_as_arrays_where_they_are_tensors(self) -> None:
        steps = {"a": keras.ops.convert_to_tensor(random_steps())}
        assert isinstance(subject_of(Sound(), steps, 6, seed=0).steps["a"], np.ndarray)


class TestWeights:
    def test_are_those_of_the_network(self) -> None:
        network, model, own = random_network(), model_of(memory()), Sound()
        assert len(subject_of(network, None, 6, 0).weights or []) == len(network.weights)
        assert subject_of(StatefulNetwork(network, 2), None, 6, 0).weights == network.weights
        assert subject_of(model, None, 6, 0).weights == model.weights
        assert subject_of(own, random_steps(), 6, 0).weights == own.weights

    def test_of_ones_own_network_may_be_unknown(self) -> None:
        own = Sound()
        del own.weights
        assert subject_of(own, random_steps(), 6, 0).weights is None


def test_the_stateful_view_and_a_network_with_the_same_verbs_support_burn_in() -> None:
    assert isinstance(StatefulNetwork(random_network(), 2), SupportsBurnIn)
    assert isinstance(Sound(), SupportsBurnIn)


class TestRefuses:
    def test_what_has_no_verbs(self) -> None:
        with pytest.raises(
            TypeError, match=r"network is a dict, must be .* missing: batch_size, state, restore, reset, w"
        ):
            subject_of({}, None, 6, 0)

    def test_a_model_without_state(self) -> None:
        with pytest.raises(ValueError, match="has no layer with stateful=True"):
            subject_of(model_of(keras.layers.GRU(4)), None, 6, 0)

    def test_a_model_that_is_not_built(self) -> None:
        with pytest.raises(ValueError, match="call the model once, or build it"):
            subject_of(keras.Sequential([memory()]), random_steps(), 6, 0)

    @pytest.mark.parametrize(
        ("network", "said"),
        [
            (lambda: Sound(), "for a network of your own"),
            (
                lambda: model_of(keras.layers.Embedding(9, 2), memory(), batch_shape=(2, None), dtype="int32"),
                "reads int32",
            ),
            (
                lambda: model_of(
                    keras.layers.TimeDistributed(keras.layers.GlobalAveragePooling1D()),
                    memory(),
                    batch_shape=(2, None, None, 3),
                ),
                r"reads inputs of shape \(2, None, None, 3\)",
            ),
            (
                lambda: keras.Model(
                    pair := [keras.Input(batch_shape=(2, None, 3)) for _ in range(2)],
                    memory()(keras.layers.Add()(pair)),
                ),
                "has several inputs",
            ),
            (lambda: called(memory()), "has inputs of a shape that Keras does not know"),
        ],
        ids=["own", "integers", "unknown width", "two inputs", "layer"],
    )
    def test_steps_that_are_missing(self, network: Any, said: str) -> None:
        with pytest.raises(ValueError, match=f"steps must be given.*{said}"):
            subject_of(network(), None, 6, 0)

    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            (random_steps(batch=2), r"steps has shape \(2, 5, 2\), must be \[batch, time, ...\] with batch=3"),
            (random_steps(time=1), r"steps has shape \(3, 1, 2\), must be .* at least 2"),
            (np.ones(3), r"steps has shape \(3,\), must be"),
            (
                {"a": random_steps(), "b": random_steps(4)},
                r"steps\['b'\] has shape \(3, 4, 2\), must be .* one time for all",
            ),
            ((), "steps must hold at least one array"),
            (random_steps().astype(str), "steps has dtype <U32, must be numbers or bools"),
            ([[1.0], [1.0, 2.0]], r"steps\[0\]\[0\] has shape \(\), must be"),
            (random_steps()[:, [0] * 5], "steps of row 0 are all the same, must differ"),
        ],
        ids=str,
    )
    def test_steps_that_do_not_fit(self, steps: Any, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            subject_of(Sound(), steps, 6, 0)

    @pytest.mark.parametrize("steps", [random_steps(), (), {"a": 1.0}])
    def test_steps_that_are_not_the_inputs_of_a_q_network(self, steps: Any) -> None:
        with pytest.raises(ValueError, match=r"steps is a (ndarray|tuple|dict), must be r2d2.Inputs"):
            subject_of(random_network(), steps, 6, 0)

    def test_inputs_of_another_batch_than_the_views(self) -> None:
        inputs: Inputs = random_inputs(np.random.default_rng(0), 5, 3)
        with pytest.raises(ValueError, match=r"steps\[0\] has shape \(5, 3, 3\), must be .* batch=2"):
            subject_of(StatefulNetwork(random_network(), 2), inputs, 6, 0)


def called(layer: Any) -> Any:
    layer(np.zeros((broken_networks.BATCH, 1, 2), np.float32))
    return layer
