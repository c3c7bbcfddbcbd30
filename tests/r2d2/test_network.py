"""The recurrent Q-network: its head, its switches, its copies, and that everything in it can be trained."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from random_sequences import ACTIONS, CORES, NUM_ACTIONS, OBSERVATIONS, random_inputs, random_network, random_state

from r2d2.network import RecurrentQNetwork, count_parameters
from r2d2.replay import Inputs


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def as_constants(inputs: Inputs) -> Inputs:
    return tf.nest.map_structure(tf.constant, inputs)


def q_values(network: RecurrentQNetwork, inputs: Inputs) -> np.ndarray:
    batch = inputs.previous_action.shape[0]
    return network.unroll(as_constants(inputs), network.initial_state(batch))[0].numpy()


class TestUnroll:
    @pytest.mark.parametrize("core", list(CORES))
    def test_shapes_and_dtypes(self, core: str, rng: np.random.Generator) -> None:
        network = random_network(**CORES[core]())
        state = random_state(rng, network, 2)
        found, after = network.unroll(as_constants(random_inputs(rng, 2, 5)), state)
        assert (found.dtype, found.shape) == (tf.float32, (2, 5, NUM_ACTIONS))
        assert [part.shape for part in after] == [part.shape for part in state]

    def test_calling_the_network_and_advancing_it_are_the_same_function(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(), as_constants(random_inputs(rng, 3, 4))
        state, lengths = random_state(rng, network, 3), tf.constant([4, 0, 2])
        expected, after = network.unroll(inputs, state)
        called, called_after = network(inputs, state)
        np.testing.assert_allclose(called, expected, atol=1e-6)
        for part, other, expected_part in zip(called_after, network.advance(inputs, state), after, strict=True):
            np.testing.assert_allclose(part, expected_part, atol=1e-6)
            np.testing.assert_allclose(other, expected_part, atol=1e-6)
        after = network.unroll(inputs, state, lengths)[1]
        for part, expected_part in zip(network.advance(inputs, state, lengths), after, strict=True):
            np.testing.assert_allclose(part, expected_part, atol=1e-6)

    def test_the_future_does_not_reach_the_past(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(), random_inputs(rng, 2, 6)
        before = q_values(network, inputs)
        inputs.observation[:, 4:] += 1.0
        after = q_values(network, inputs)
        np.testing.assert_array_equal(after[:, :4], before[:, :4])
        assert np.all(np.abs(after[:, 4:] - before[:, 4:]).max(axis=-1) > 1e-4)

    def test_rows_do_not_reach_each_other(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(), random_inputs(rng, 3, 4)
        before = q_values(network, inputs)
        inputs.observation[1] += 1.0
        after = q_values(network, inputs)
        np.testing.assert_allclose(after[[0, 2]], before[[0, 2]], atol=1e-6)
        assert np.abs(after[1] - before[1]).max() > 1e-3

    def test_memory_reaches_from_one_step_to_the_next(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(), random_inputs(rng, 1, 3)
        before = q_values(network, inputs)
        inputs.observation[:, 0] += 1.0
        assert np.abs(q_values(network, inputs)[:, 2] - before[:, 2]).max() > 1e-3

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Discrete(5, start=2),
            spaces.Box(0, 255, (7, 7, 3), np.uint8),
            spaces.Box(-1, 1, (), np.float32),
            spaces.Dict(a=spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2))), b=OBSERVATIONS),
        ],
        ids=["discrete", "image", "scalar", "nested"],
    )
    def test_batch_and_time_are_not_mixed_up(self, space: spaces.Space[Any]) -> None:
        """3 rows of 4 steps at once against one step of the 3 rows at a time."""
        network = random_network(observation_space=space)
        every_step = batch_space(batch_space(space, 4), 3)
        every_step.seed(1)
        observation = every_step.sample()
        inputs = Inputs(observation, np.full((3, 4), -1, np.int32), np.zeros((3, 4), np.float32))
        found, state = q_values(network, inputs), None
        for t in range(4):
            step = tf.nest.map_structure(lambda leaf, t=t: tf.constant(leaf[:, t : t + 1]), inputs)
            q, state = network.unroll(step, state or network.initial_state(3))
            np.testing.assert_allclose(found[:, t], q[:, 0], atol=1e-5)
        assert len(np.unique(found.round(6).reshape(12, -1), axis=0)) > 3

    def test_multi_discrete_actions_are_joint(self) -> None:
        assert RecurrentQNetwork(OBSERVATIONS, spaces.MultiDiscrete([2, 3, 4])).num_actions == 24

    def test_refuses_continuous_actions(self) -> None:
        with pytest.raises(TypeError, match=r"action_space=Box.* is not supported: it must be Discrete or"):
            RecurrentQNetwork(OBSERVATIONS, OBSERVATIONS)


class TestHead:
    @pytest.mark.parametrize("head_units", [0, 7])
    def test_dueling_value_is_the_mean_and_advantages_have_none(
        self, head_units: int, rng: np.random.Generator
    ) -> None:
        """Q = V + A - mean A: the mean of Q over the actions is V, whatever is added to all advantages."""
        network, inputs = random_network(head_units=head_units), random_inputs(rng, 2, 5)
        before = q_values(network, inputs)
        network.advantage.bias.assign_add(np.full(NUM_ACTIONS, 3.0))
        np.testing.assert_allclose(q_values(network, inputs), before, atol=1e-5)
        network.value.bias.assign_add([3.0])
        np.testing.assert_allclose(q_values(network, inputs), before + 3.0, atol=1e-5)
        network.advantage.kernel.assign(network.advantage.kernel * 0.0)
        flat = q_values(network, inputs) - 3.0
        spread = network.advantage.bias - np.mean(network.advantage.bias)
        expected = before.mean(axis=-1, keepdims=True) + spread
        np.testing.assert_allclose(flat, expected, atol=1e-5)

    def test_without_dueling_there_is_no_value(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(dueling=False), random_inputs(rng, 2, 5)
        assert network.value is None
        before = q_values(network, inputs)
        more = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
        network.advantage.bias.assign_add(more)
        np.testing.assert_allclose(q_values(network, inputs), before + more, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "parameters"),
        [
            # torso 3 x 8 + 8, core 4 (13 x 6 + 6 x 6 + 6), advantages 6 x 4 + 4, value 6 + 1
            ({}, 32 + 480 + 28 + 7),
            ({"dueling": False}, 32 + 480 + 28),
            # a hidden layer 6 x 5 + 5 each, advantages 5 x 4 + 4, value 5 + 1
            ({"head_units": 5}, 32 + 480 + 2 * 35 + 24 + 6),
            ({"head_units": 5, "dueling": False}, 32 + 480 + 35 + 24),
            ({"read_previous_action": False}, 32 + 4 * (9 * 6 + 6 * 6 + 6) + 35),
            ({"read_previous_reward": False}, 32 + 4 * (12 * 6 + 6 * 6 + 6) + 35),
        ],
    )
    def test_number_of_parameters(self, options: dict[str, Any], parameters: int) -> None:
        assert count_parameters(random_network(**options)) == parameters


class TestPreviousInputs:
    @pytest.mark.parametrize("action", [True, False])
    @pytest.mark.parametrize("reward", [True, False])
    def test_are_read_if_and_only_if_switched_on(self, action: bool, reward: bool, rng: np.random.Generator) -> None:
        network = random_network(read_previous_action=action, read_previous_reward=reward)
        inputs = random_inputs(rng, 2, 3)
        before = q_values(network, inputs)
        other_action = inputs._replace(previous_action=(inputs.previous_action + 2) % NUM_ACTIONS)
        other_reward = inputs._replace(previous_reward=inputs.previous_reward + 1)
        assert bool(np.abs(q_values(network, other_action) - before).max() > 1e-3) is action
        assert bool(np.abs(q_values(network, other_reward) - before).max() > 1e-3) is reward

    def test_none_is_no_action(self, rng: np.random.Generator) -> None:
        """-1 differs from every action: each has a row of the core's kernel, "none" has none."""
        network, inputs = random_network(), random_inputs(rng, 1, 1)
        by_action = [
            q_values(network, inputs._replace(previous_action=np.full((1, 1), a, np.int32))).tobytes()
            for a in range(-1, NUM_ACTIONS)
        ]
        assert len(set(by_action)) == NUM_ACTIONS + 1
        network.core_layers[0].cell.kernel.assign(
            np.concatenate([network.core_layers[0].cell.kernel.numpy()[:8], np.zeros((5, 24))])
        )
        of_zeros = q_values(network, inputs)
        none = q_values(network, inputs._replace(previous_action=np.full((1, 1), -1, np.int32)))
        np.testing.assert_array_equal(none, of_zeros)

    def test_rewards_are_read_times_the_reward_scale(self, rng: np.random.Generator) -> None:
        network, inputs = random_network(), random_inputs(rng, 2, 3)
        network.reward_scale.assign(0.5)
        expected = q_values(network, inputs)
        network.reward_scale.assign(5.0)
        assert np.abs(q_values(network, inputs) - expected).max() > 1e-3
        smaller = inputs._replace(previous_reward=inputs.previous_reward * np.float32(0.1))
        np.testing.assert_allclose(q_values(network, smaller), expected, atol=1e-5)


class TestWeights:
    def test_the_reward_scale_is_one_of_them_and_is_not_trained(self) -> None:
        network = RecurrentQNetwork(OBSERVATIONS, ACTIONS)
        assert float(network.reward_scale.numpy()) == 1.0
        assert any(variable is network.reward_scale for variable in network.weights)
        assert all(variable is not network.reward_scale for variable in network.trainable_variables)

    @pytest.mark.parametrize(
        "options",
        [*(make() for make in CORES.values()), {"dueling": False}, {"head_units": 5, "dueling": False}],
        ids=[*CORES, "not dueling", "not dueling, hidden layer"],
    )
    def test_all_have_a_gradient(self, options: dict[str, Any], rng: np.random.Generator) -> None:
        network = random_network(**({"head_units": 5} | options))
        inputs, state = as_constants(random_inputs(rng, 4, 3)), random_state(rng, network, 4)
        with tf.GradientTape() as tape:
            found, _ = network.unroll(inputs, state)
            total = tf.reduce_sum(found * rng.normal(size=found.shape).astype(np.float32))
        variables = network.trainable_variables
        assert len(variables) == len(network.weights) - 1
        for variable, gradient in zip(variables, tape.gradient(total, [v.value for v in variables]), strict=True):
            assert gradient is not None, variable.path
            assert np.any(gradient.numpy() != 0), variable.path

    def test_start_otherwise_for_every_network(self, rng: np.random.Generator) -> None:
        inputs = random_inputs(rng, 1, 2)
        one, other = RecurrentQNetwork(OBSERVATIONS, ACTIONS), RecurrentQNetwork(OBSERVATIONS, ACTIONS)
        assert np.abs(q_values(one, inputs) - q_values(other, inputs)).max() > 1e-4


OPTIONS: list[dict[str, Any]] = [
    {"head_units": 5},
    {"dueling": False, "read_previous_action": False},
    {"read_previous_reward": False, "torso_units": 9},
    {"observation_space": spaces.Dict(a=spaces.Discrete(300), b=spaces.Box(0, 255, (8, 8, 3), np.uint8))},
    *(make() for make in CORES.values()),
]


class TestCopy:
    @pytest.mark.parametrize("options", OPTIONS, ids=[", ".join(options) for options in OPTIONS[:4]] + list(CORES))
    def test_is_equal_and_independent(self, options: dict[str, Any], rng: np.random.Generator) -> None:
        network = random_network(**options)
        twin = network.copy()
        assert [v.shape for v in twin.trainable_variables] == [v.shape for v in network.trainable_variables]
        for own, other in zip(network.weights, twin.weights, strict=True):
            assert own is not other
            np.testing.assert_array_equal(own, other)

        space = batch_space(batch_space(network.observation_space, 3), 2)
        space.seed(0)
        inputs = random_inputs(rng, 2, 3)._replace(observation=space.sample())
        before = q_values(network, inputs)
        np.testing.assert_array_equal(q_values(twin, inputs), before)
        for variable in twin.weights:
            variable.assign(variable * 0.5)
        np.testing.assert_array_equal(q_values(network, inputs), before)
        assert np.abs(q_values(twin, inputs) - before).max() > 1e-3


class TestSignatures:
    def test_describe_inputs_and_states_of_any_size(self) -> None:
        space = spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0, 255, (8, 8, 3), np.uint8))
        network = random_network(observation_space=space, core="lstm", core_units=(6, 5))
        observation, previous_action, previous_reward = network.inputs_signature
        assert observation == {
            "a": tf.TensorSpec([None, None], tf.int64),
            "b": tf.TensorSpec([None, None, 8, 8, 3], tf.uint8),
        }
        assert previous_action == tf.TensorSpec([None, None], tf.int32)
        assert previous_reward == tf.TensorSpec([None, None], tf.float32)
        assert network.state_signature == tuple(tf.TensorSpec([None, units], tf.float32) for units in (6, 6, 5, 5))

    def test_the_example_of_a_state_is_the_initial_state_of_one_row(self) -> None:
        network = random_network(core="lstm", core_units=(6, 5))
        assert all(isinstance(part, np.ndarray) for part in network.state_example)
        for part, of_three in zip(network.state_example, network.initial_state(3), strict=True):
            np.testing.assert_array_equal(np.broadcast_to(part, (3, *part.shape)), of_three)
