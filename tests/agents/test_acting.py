"""Acting: what the actor reads and remembers, and how often it explores."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from random_sequences import FEATURES, NUM_ACTIONS, OBSERVATIONS, random_network

from agents.acting import Actor, epsilon_greedy, epsilon_ladder
from r2d2.network import RecurrentQNetwork
from r2d2.replay import Inputs


class TestEpsilonLadder:
    def test_of_the_paper(self) -> None:
        """0.4 ** (1 + 7 i / (N - 1)): with N = 8 the exponents are 1, 2, ..., 8."""
        expected = [0.4, 0.16, 0.064, 0.0256, 0.01024, 0.004096, 0.0016384, 0.00065536]
        np.testing.assert_allclose(epsilon_ladder(8, 0.4, 7.0), expected, rtol=1e-12)
        ladder = epsilon_ladder(256, 0.4, 7.0)
        np.testing.assert_allclose(ladder[[0, 51, 255]], [0.4, 0.4**2.4, 0.4**8], rtol=1e-12)
        assert np.all(np.diff(ladder) < 0)

    def test_of_one_and_of_two_actors(self) -> None:
        np.testing.assert_allclose(epsilon_ladder(1, 0.4, 7.0), [0.4])
        np.testing.assert_allclose(epsilon_ladder(2, 0.4, 7.0), [0.4, 0.4**8])

    def test_without_spread_or_base(self) -> None:
        np.testing.assert_array_equal(epsilon_ladder(3, 0.12, 0.0), [0.12, 0.12, 0.12])
        np.testing.assert_array_equal(epsilon_ladder(3, 0.0, 7.0), [0.0, 0.0, 0.0])
        np.testing.assert_array_equal(epsilon_ladder(3, 1.0, 7.0), [1.0, 1.0, 1.0])


class TestEpsilonGreedy:
    def test_frequencies(self) -> None:
        """The best action is taken with probability 1 - epsilon + epsilon / 4, each other one with epsilon / 4."""
        draws, epsilon = 20_000, np.array([0.0, 0.3, 1.0])
        q_values = np.array([[0, 3, 1, 2], [5, -1, 0, 1], [0, 0, 9, 0]], np.float32)
        rng = np.random.default_rng(0)
        counts = np.zeros((3, 4))
        for _ in range(draws):
            counts[np.arange(3), epsilon_greedy(q_values, epsilon, rng)] += 1
        expected = np.repeat(epsilon[:, None] / 4, 4, axis=1)
        expected[np.arange(3), [1, 0, 2]] += 1 - epsilon
        deviation = np.sqrt(expected * (1 - expected) / draws)
        assert np.all(np.abs(counts / draws - expected) <= 4.5 * deviation), counts

    def test_environments_explore_independently(self) -> None:
        rng, n = np.random.default_rng(1), 5000
        q_values = np.tile(np.array([1, 0], np.float32), (n, 1))
        explored = epsilon_greedy(q_values, np.full(n, 0.5), rng)
        assert explored.shape == (n,)
        # With probability a quarter the other action; neighbours agree as often as independent draws do.
        assert abs(explored.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / n)
        together = np.mean(explored[:-1] & explored[1:])
        assert abs(together - 0.0625) < 4.5 * np.sqrt(0.0625 * 0.9375 / n) * 1.5

    def test_the_same_generator_gives_the_same_actions(self) -> None:
        q_values, epsilon = np.zeros((50, 3), np.float32), np.full(50, 0.7)
        first, second = (epsilon_greedy(q_values, epsilon, np.random.default_rng(4)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.int64


class Follower:
    """What an actor should compute for one environment: the network on inputs that are put together here."""

    def __init__(self, network: RecurrentQNetwork) -> None:
        self.network = network
        self.state: Any = network.initial_state(1)

    def read(self, observation: Any, previous_action: int, previous_reward: float) -> np.ndarray:
        inputs = Inputs(
            tf.nest.map_structure(lambda leaf: tf.constant(leaf)[None, None], observation),
            tf.constant([[previous_action]], tf.int32),
            tf.constant([[previous_reward]], tf.float32),
        )
        q_values, self.state = self.network.unroll(inputs, self.state)
        return q_values.numpy()[0, 0]


NOT_FIRST, FIRST = np.array([False, False]), np.array([True, True])


@pytest.fixture(scope="module")
def network() -> RecurrentQNetwork:
    return random_network(8)


@pytest.fixture
def observations() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 2, FEATURES)).astype(np.float32)


class TestActor:
    def test_reads_the_action_and_the_reward_of_the_step_before(
        self, network: RecurrentQNetwork, observations: np.ndarray
    ) -> None:
        actor, follower = Actor(network, 2), Follower(network)
        taken, rewards = [(2, 0), (1, 3), (0, 0)], [(0.5, -1.0), (0.0, 2.0), (9.0, 9.0)]
        found = []
        for t in range(3):
            found.append(actor.q_values(observations[t], FIRST if t == 0 else NOT_FIRST)[0])
            actor.took(np.array(taken[t]), np.array(rewards[t]))
        expected = [
            follower.read(observations[0, 1], -1, 0.0),
            follower.read(observations[1, 1], 0, -1.0),
            follower.read(observations[2, 1], 3, 2.0),
        ]
        np.testing.assert_allclose(np.array(found)[:, 1], expected, atol=1e-5)

    def test_forgets_them_where_an_episode_starts(self, network: RecurrentQNetwork, observations: np.ndarray) -> None:
        """Law 6: environment 1 starts anew at step 2, environment 0 goes on."""
        actor = Actor(network, 2)
        goes_on, starts = Follower(network), Follower(network)
        goes_on.read(observations[0, 0], -1, 0.0)
        actor.q_values(observations[0], FIRST)
        actor.took(np.array([3, 1]), np.array([1.0, 7.0]))
        goes_on.read(observations[1, 0], 3, 1.0)
        actor.q_values(observations[1], NOT_FIRST)
        actor.took(np.array([2, 2]), np.array([-0.5, 8.0]))
        found, _ = actor.q_values(observations[2], np.array([False, True]))
        expected = [goes_on.read(observations[2, 0], 2, -0.5), starts.read(observations[2, 1], -1, 0.0)]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_the_reset_is_for_one_step_only(self, network: RecurrentQNetwork, observations: np.ndarray) -> None:
        actor, follower = Actor(network, 2), Follower(network)
        actor.q_values(observations[0], FIRST)
        actor.took(np.array([3, 1]), np.array([1.0, 7.0]))
        found, _ = actor.q_values(observations[1], NOT_FIRST)
        follower.read(observations[0, 1], -1, 0.0)
        np.testing.assert_allclose(found[1], follower.read(observations[1, 1], 1, 7.0), atol=1e-5)

    def test_hands_out_the_state_before_the_observation_was_read(
        self, network: RecurrentQNetwork, observations: np.ndarray
    ) -> None:
        actor, follower = Actor(network, 2), Follower(network)
        handed_out, expected = [], []
        for t in range(3):
            handed_out.append(actor.q_values(observations[t], FIRST if t == 0 else NOT_FIRST)[1])
            actor.took(np.array([1, 1]), np.array([0.5, 0.5]))
            expected.append(follower.state)
            follower.read(observations[t, 0], -1 if t == 0 else 1, 0.0 if t == 0 else 0.5)
        for parts, expected_parts in zip(handed_out, expected, strict=True):  # also: none changed afterwards
            for part, expected_part in zip(parts, expected_parts, strict=True):
                assert part.shape == (2, 6)
                assert part.dtype == np.float32
                np.testing.assert_allclose(part[0], expected_part[0], atol=1e-5)

    def test_keeps_no_array_of_its_callers(self, network: RecurrentQNetwork, observations: np.ndarray) -> None:
        found = []
        for spoil in (False, True):
            actor = Actor(network, 2)
            actor.q_values(observations[0], FIRST)
            action, reward = np.array([3, 1]), np.array([1.0, 7.0])
            actor.took(action, reward)
            if spoil:
                action[:], reward[:] = 0, 0.0
            found.append(actor.q_values(observations[1], NOT_FIRST)[0])
        np.testing.assert_array_equal(found[0], found[1])

    def test_acts_with_new_weights_from_the_refresh_on(self, observations: np.ndarray) -> None:
        network = random_network(8)
        actor = Actor(network, 2)
        before, _ = actor.q_values(observations[0], FIRST)
        network.value.bias.assign_add([2.0])
        actor.refresh()
        after, _ = actor.q_values(observations[0], FIRST)
        np.testing.assert_allclose(after, before + 2.0, atol=1e-5)

    def test_reads_nested_observations(self) -> None:
        space = spaces.Dict(a=spaces.Tuple((spaces.Discrete(3, start=1), OBSERVATIONS)), b=spaces.MultiBinary(2))
        network = random_network(8, observation_space=space)
        rng = np.random.default_rng(0)
        observation = {
            "a": (np.array([1, 3]), rng.normal(size=(2, FEATURES)).astype(np.float32)),
            "b": np.array([[0, 1], [1, 1]], np.int8),
        }
        found, _ = Actor(network, 2).q_values(observation, FIRST)
        assert found.shape == (2, NUM_ACTIONS)
        for row in range(2):
            alone = tf.nest.map_structure(lambda leaf, row=row: leaf[row], observation)
            np.testing.assert_allclose(found[row], Follower(network).read(alone, -1, 0.0), atol=1e-5)
