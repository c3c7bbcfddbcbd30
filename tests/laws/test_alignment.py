"""Law 1: with unchanged weights, a stored state and the sequence's steps give the Q-values that the actor computed.
Law 6 end to end: the previous actions and rewards that the network reads while training are those of acting.

Observations are random, so that each is met once: an observation names its step. The oracle replays every episode
from its start, one step at a time.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_sequences import ACTIONS, CORES, FEATURES, NUM_ACTIONS, OBSERVATIONS, random_network, steps_of

from agents.acting import Actor
from r2d2.burn_in import burn_in
from r2d2.network import RecurrentQNetwork
from r2d2.replay import Batch, Inputs, SequenceGeometry, SequenceReplay
from r2d2.stateful import StatefulNetwork

ROUNDING = 1e-5


class Place(NamedTuple):
    env: int
    episode: int
    step: int


class Step(NamedTuple):
    observation: np.ndarray
    action: int
    reward: float
    q_values: np.ndarray | None
    """What the actor computed; None for a final observation, on which it does not act."""


class Player:
    """Plays episodes of given lengths with an `Actor`, as a training loop does, and remembers all of it.

    Args:
        lengths: of the episodes; each environment takes them from another place on.
        resetting_step: whether a vector environment makes a step without meaning between two episodes, as
            Gymnasium's NEXT_STEP autoreset does: the actor reads the final observation, nothing counts.
    """

    def __init__(self, actor: Actor, replay: SequenceReplay, lengths: list[int], resetting_step: bool, seed: int):
        self.actor, self.replay, self.lengths, self.resetting_step = actor, replay, lengths, resetting_step
        self.rng = np.random.default_rng(seed)
        self.num_envs = replay.num_envs
        self.places: dict[bytes, Place] = {}
        self.episodes: dict[tuple[int, int], list[Step]] = {}
        self.episode, self.step = np.zeros(self.num_envs, int), np.zeros(self.num_envs, int)
        self.resetting = np.zeros(self.num_envs, np.bool_)
        self.observation = self._new_observation()

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        n, active = self.num_envs, ~self.resetting
        q_values, state = self.actor.q_values(self.observation, (self.step == 0) & active)
        action = self.rng.integers(0, NUM_ACTIONS, n)
        reward = np.where(active, self.rng.normal(size=n).astype(np.float32), 0.0)
        length = np.array([self.lengths[(self.episode[i] + i) % len(self.lengths)] for i in range(n)])
        ended = (self.step + 1 == length) & active
        terminated = ended & (self.episode % 2 == 0)
        following = self._new_observation()
        self.replay.add(
            self.observation,
            action,
            reward,
            terminated,
            ended & ~terminated,
            state,
            final_observation=following,
            active=active,
        )
        self.actor.took(action, reward)

        for env in np.flatnonzero(active).tolist():
            self._remember(env, self.observation[env], int(action[env]), float(reward[env]), q_values[env])
        self.step += active
        for env in np.flatnonzero(ended).tolist():
            self._remember(env, following[env], 0, 0.0, None)
        # A step without meaning shows the final observation; an episode starts with an observation of its own.
        self.observation = following.copy()
        starts = self.resetting if self.resetting_step else ended
        self.observation[starts] = self._new_observation()[starts]
        self.episode += starts
        self.step[starts] = 0
        self.resetting = ended if self.resetting_step else np.zeros(n, np.bool_)

    def _new_observation(self) -> np.ndarray:
        return self.rng.normal(size=(self.num_envs, FEATURES)).astype(np.float32)

    def _remember(self, env: int, observation: np.ndarray, action: int, reward: float, q_values: Any) -> None:
        steps = self.episodes.setdefault((env, int(self.episode[env])), [])
        self.places[observation.tobytes()] = Place(env, int(self.episode[env]), len(steps))
        steps.append(Step(observation.copy(), action, reward, q_values))


@cache
def network_of(core: str) -> RecurrentQNetwork:
    return random_network(3, **CORES[core]())


@cache
def actor_of(core: str, num_envs: int) -> Actor:
    """One actor serves many plays: an episode's first step must make it forget the one before."""
    return Actor(network_of(core), num_envs)


@cache
def one_step_of(core: str) -> Any:
    return tf.function(network_of(core).unroll)


@cache
def restored_of(core: str) -> Any:
    """Q-values of unrolls from stored states, as a learner computes them."""
    network = network_of(core)
    signature = (network.state_signature, network.inputs_signature, tf.TensorSpec([None], tf.int32))

    @tf.function(input_signature=(*signature, network.inputs_signature))
    def restored(state: Any, prefix: Inputs, lengths: Any, unroll: Inputs) -> Any:
        return network.unroll(unroll, burn_in(network, state, prefix, lengths))[0]

    return restored


def replayed(core: str, episode: list[Step]) -> np.ndarray:
    """The Q-values of an episode from its start, one step at a time, float32[steps, actions]."""
    state = tuple(part[None] for part in network_of(core).state_example)
    previous_action, previous_reward, q_values = -1, 0.0, []
    for step in episode:
        inputs = Inputs(
            step.observation[None, None],
            np.array([[previous_action]], np.int32),
            np.array([[previous_reward]], np.float32),
        )
        q, state = one_step_of(core)(tf.nest.map_structure(tf.constant, inputs), state)
        q_values.append(q.numpy()[0, 0])
        previous_action, previous_reward = step.action, step.reward
    return np.array(q_values)


def play(
    core: str,
    geometry: SequenceGeometry,
    lengths: list[int],
    *,
    num_envs: int = 2,
    steps: int = 40,
    capacity: int = 2000,
    resetting_step: bool = False,
    seed: int = 0,
) -> tuple[Player, Batch]:
    """Play, and return with the player all sequences of the replay."""
    capacity = max(capacity, geometry.rows_needed * num_envs)
    replay = SequenceReplay(
        OBSERVATIONS, ACTIONS, network_of(core).state_example, geometry, capacity=capacity, num_envs=num_envs
    )
    player = Player(actor_of(core, num_envs), replay, lengths, resetting_step, seed)
    player.play(steps)
    while not len(replay):
        player.play(1)
    return player, replay.get(replay.keys())


def assert_aligned(core: str, player: Player, batch: Batch) -> None:
    oracle = {key: replayed(core, episode) for key, episode in player.episodes.items()}
    for key, steps in player.episodes.items():
        acted = np.array([step.q_values for step in steps if step.q_values is not None])
        np.testing.assert_allclose(acted, oracle[key][: len(acted)], atol=ROUNDING, err_msg=f"acting, {key}")

    restored = restored_of(core)(batch.state, batch.prefix, batch.prefix_length, batch.unroll).numpy()
    for row, q_values in enumerate(restored):
        prefix_length, unroll_length = int(batch.prefix_length[row]), int(batch.unroll_length[row])
        rows = np.concatenate([batch.prefix.observation[row, :prefix_length], batch.unroll.observation[row]])
        places = [player.places[observation.tobytes()] for observation in rows[: prefix_length + unroll_length]]
        env, episode, first = places[0]
        assert places == [Place(env, episode, first + i) for i in range(len(places))]
        expected = oracle[env, episode][first + prefix_length :][:unroll_length]
        where = f"sequence from step {first} of episode {episode} of environment {env}, prefix {prefix_length}"
        np.testing.assert_allclose(q_values[:unroll_length], expected, atol=ROUNDING, err_msg=where)


@st.composite
def geometries(draw: Any) -> SequenceGeometry:
    train_length = draw(st.integers(1, 7), label="train_length")
    return SequenceGeometry(
        burn_in=draw(st.sampled_from([0, 1, 2, 3, 5, 9]), label="burn_in"),
        train_length=train_length,
        overlap=draw(st.integers(0, train_length - 1), label="overlap"),
        n_step=draw(st.integers(1, 5), label="n_step"),
    )


plays = {
    "geometry": geometries(),
    "lengths": st.lists(st.sampled_from([1, 2, 3, 4, 6, 9, 14, 25, 100]), min_size=1, max_size=5),
    "num_envs": st.integers(1, 3),
    "steps": st.integers(10, 60),
    "resetting_step": st.booleans(),
    "seed": st.integers(0, 99),
}


class TestAnyPlay:
    @settings(max_examples=30, deadline=None)
    @given(**plays, capacity=st.sampled_from([1, 60, 2000]))
    @example(
        geometry=SequenceGeometry(0, 1, 0, 1),
        lengths=[1],
        num_envs=1,
        steps=5,
        resetting_step=False,
        seed=0,
        capacity=1,
    )
    @example(
        geometry=SequenceGeometry(9, 7, 6, 5),
        lengths=[100],
        num_envs=2,
        steps=60,
        resetting_step=True,
        seed=1,
        capacity=2000,
    )
    def test_lstm(self, geometry: SequenceGeometry, lengths: list[int], **options: Any) -> None:
        player, batch = play("lstm", geometry, lengths, **options)
        assert_aligned("lstm", player, batch)

    @pytest.mark.parametrize("core", [core for core in CORES if core != "lstm"])
    @settings(max_examples=3, deadline=None)
    @given(**plays)
    def test_other_cores(self, core: str, geometry: SequenceGeometry, lengths: list[int], **options: Any) -> None:
        player, batch = play(core, geometry, lengths, **options)
        assert_aligned(core, player, batch)


class TestEveryPosition:
    def test_an_episode_gives_sequences_with_every_length_of_prefix(self) -> None:
        """Period 1: sequence k starts at step k, with a prefix of min(k, 4) steps."""
        geometry = SequenceGeometry(burn_in=4, train_length=3, overlap=2, n_step=2)
        player, batch = play("lstm", geometry, [11], num_envs=1, steps=11)
        # Steps 0-2, 1-3, ..., 8-10; the last one that trains a step of its own is the one that starts at 8.
        assert batch.prefix_length.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4]
        assert batch.unroll_length.tolist() == [5, 5, 5, 5, 5, 5, 5, 5, 4]
        assert_aligned("lstm", player, batch)

    def test_sequences_from_an_episodes_first_step_have_the_exact_initial_state(self) -> None:
        player, batch = play("lstm", SequenceGeometry(5, 4, 1, 1), [3, 9, 1])
        first_rows = np.where(
            batch.prefix_length[:, None] > 0, batch.prefix.observation[:, 0], batch.unroll.observation[:, 0]
        )
        starts = np.array([player.places[row.tobytes()].step == 0 for row in first_rows])
        assert np.unique(batch.prefix_length[starts]).tolist() == [0, 3]  # of the first and the second sequence
        for stored, initial in zip(batch.state, network_of("lstm").state_example, strict=True):
            np.testing.assert_array_equal(stored[starts], np.broadcast_to(initial, stored[starts].shape))
            assert np.abs(stored[~starts]).min() > 0

    def test_previous_actions_and_rewards_are_those_of_the_step_before(self) -> None:
        player, batch = play("lstm", SequenceGeometry(2, 4, 1, 3), [13, 2])
        inside = 0
        for row, length in enumerate(batch.unroll_length):
            for t in range(length):
                place = player.places[batch.unroll.observation[row, t].tobytes()]
                read = (batch.unroll.previous_action[row, t], batch.unroll.previous_reward[row, t])
                if place.step == 0:
                    assert read == (-1, 0.0)
                else:
                    before = player.episodes[place.env, place.episode][place.step - 1]
                    assert read == (before.action, np.float32(before.reward))
                    inside += t == 0
        assert inside > 0, "no sequence started inside an episode"


class TestStatefulView:
    """The same through the tools that a library user has: restore, warm up, run."""

    def test_restore_warm_up_and_run(self) -> None:
        player, batch = play("lstm", SequenceGeometry(3, 4, 2, 2), [9, 4], num_envs=2, steps=30)
        size = len(batch.keys)
        view = StatefulNetwork(network_of("lstm"), size)
        view(steps_of(batch.unroll, slice(None), slice(None)))  # what it held before must not matter
        view.restore(batch.state)
        view.warm_up(batch.prefix, batch.prefix_length)
        q_values = view(batch.unroll).numpy()
        compared = 0
        for row, length in enumerate(batch.unroll_length):
            for t in range(length):
                place = player.places[batch.unroll.observation[row, t].tobytes()]
                acted = player.episodes[place.env, place.episode][place.step].q_values
                if acted is not None:
                    np.testing.assert_allclose(q_values[row, t], acted, atol=ROUNDING)
                    compared += 1
        assert compared > 50
