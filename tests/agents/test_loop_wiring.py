"""The training loop hands on what was played: an environment that keeps a diary is the oracle.

Each law has its test on the library; here it is the loop that must not mix up what the library is told.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.acting import Actor
from agents.evaluation import play
from agents.networks import make_network, make_replay
from agents.presets import preset
from agents.reports import Evaluation
from agents.training import Trainer
from r2d2.learner import Learner
from r2d2.replay import Batch, Inputs, SequenceReplay
from r2d2.replay.spaces import ActionSpec
from r2d2.weights import save_weights

NOTHING_BEFORE = (-1, 0.0)


class Episode(NamedTuple):
    """What an environment showed, and what it was told: one observation more than steps once it has ended."""

    observations: list[np.ndarray]
    steps: list[tuple[int, float, bool, bool]]

    def before(self, step: int) -> tuple[int, float]:
        """Previous action and reward of a step."""
        return self.steps[step - 1][:2] if step else NOTHING_BEFORE


class Diary(gymnasium.Env):
    """No two observations are the same; episodes of 3, 5 and 9 steps are terminated and truncated in turn."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(3)
    written: ClassVar[dict[tuple[int, int], Episode]] = {}
    made = 0

    def __init__(self) -> None:
        self._row, self._number = Diary.made, -1
        Diary.made += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._number += 1
        self._episode = Diary.written[self._row, self._number] = Episode([], [])
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        step = len(self._episode.steps)
        ended = step + 1 == (3, 5, 9)[self._number % 3]
        terminated = ended and self._number % 2 == 0
        truncated = ended and not terminated
        self._episode.steps.append((int(action), step - 1.0, terminated, truncated))
        return self._observe(), step - 1.0, terminated, truncated, {}

    def _observe(self) -> np.ndarray:
        place = (self._row / 10, self._number / 100, len(self._episode.steps) / 100)
        self._episode.observations.append(np.array(place, np.float32))
        return self._episode.observations[-1]


gymnasium.register("tests/Diary-v0", entry_point=Diary)

CONFIG = preset(
    "memory",
    env_id="tests/Diary-v0",
    num_envs=3,
    total_steps=150,
    learning_starts=60,
    train_length=4,
    burn_in=3,
    overlap=2,
    n_step=2,
    batch_size=6,
    replay_ratio=3.0,
    capacity=900,
    core_units=(8,),
    torso_units=8,
    normalize_rewards=False,
    epsilon_decay_steps=100,
    evaluation_period=10**6,
    evaluation_episodes=1,
    final_evaluation_episodes=1,
    report_period=10**6,
)


def run(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Trainer:
    """A trainer after its run, without evaluations: their environments would write into the diary too."""
    monkeypatch.setattr(Diary, "written", {})
    monkeypatch.setattr(Diary, "made", 0)
    trainer = Trainer(replace(CONFIG, **changes))
    trainer._finish = lambda stopped_because: stopped_because
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def played() -> Any:
    """A run without updates, so that all states are those of one set of weights."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield run(monkeypatch, learning_starts=151)


def start_of(batch: Batch, b: int) -> tuple[Episode, int]:
    """Episode and step in which a sequence's unroll starts."""
    first = batch.unroll.observation[b, 0]
    for episode in Diary.written.values():
        for step, observation in enumerate(episode.observations):
            if np.array_equal(observation, first):
                return episode, step
    raise AssertionError(f"no environment has shown {first}")


def test_sequences_are_what_was_played(played: Trainer) -> None:
    batch = played.replay.get(played.replay.keys())
    assert len(batch.keys) > 20
    ends = set()
    for b in range(len(batch.keys)):
        episode, start = start_of(batch, b)
        for row in range(int(batch.unroll_length[b])):
            step = start + row
            np.testing.assert_array_equal(batch.unroll.observation[b, row], episode.observations[step])
            before = batch.unroll.previous_action[b, row], batch.unroll.previous_reward[b, row]
            assert before == episode.before(step)
            if step < len(episode.steps):
                told = (batch.action, batch.reward, batch.terminated, batch.truncated)
                assert tuple(part[b, row] for part in told) == episode.steps[step]
                ends.add(episode.steps[step][2:])
    assert ends == {(False, False), (True, False), (False, True)}


def test_stored_states_are_those_of_a_replay_from_the_episodes_start(played: Trainer) -> None:
    batch, network = played.replay.get(played.replay.keys()), played.network
    lengths = set()
    for b in range(len(batch.keys)):
        episode, start = start_of(batch, b)
        first = start - int(batch.prefix_length[b])
        lengths.add(first)
        state = network.initial_state(1)
        for step in range(first):
            action, reward = episode.before(step)
            previous = np.array([[action]], np.int32), np.array([[reward]], np.float32)
            one_step = Inputs(episode.observations[step][None, None], *previous)
            _, state = network.unroll(tf.nest.map_structure(tf.convert_to_tensor, one_step), state)
        for stored, expected in zip(batch.state, state, strict=True):
            np.testing.assert_allclose(stored[b], expected[0], atol=1e-5)
    assert len(lengths) > 2


class Watched(NamedTuple):
    """A run with updates, watched from outside."""

    trainer: Trainer
    updates: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]
    """Of each: keys, priorities, importance weights, trained steps."""
    given: list[tuple[np.ndarray, np.ndarray]]
    """Keys and priorities that the replay was given."""
    happened: list[str]
    """Updates, and what the actor did."""


@pytest.fixture(scope="module")
def watched() -> Watched:
    updates: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = []
    given: list[tuple[np.ndarray, np.ndarray]] = []
    happened: list[str] = []
    update, update_priorities = Learner.update, SequenceReplay.update_priorities

    def seen(self: Learner, batch: Batch) -> Any:
        happened.append("update")
        result = update(self, batch)
        weights, lengths = np.array(batch.importance_weights), np.asarray(batch.train_length)
        updates.append((np.array(batch.keys), np.array(result.priorities), weights, int(lengths.sum())))
        return result

    def kept(self: SequenceReplay, keys: Any, priorities: Any) -> int:
        given.append((np.array(keys), np.array(priorities)))
        return update_priorities(self, keys, priorities)

    def noted(name: str) -> Any:
        method = getattr(Actor, name)
        return lambda *arguments: happened.append(name) or method(*arguments)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Learner, "update", seen)
        monkeypatch.setattr(SequenceReplay, "update_priorities", kept)
        for name in ("refresh", "q_values"):
            monkeypatch.setattr(Actor, name, noted(name))
        return Watched(run(monkeypatch), updates, given, happened)


def test_an_update_gives_its_priorities_to_the_sequences_it_was_made_with(watched: Watched) -> None:
    trainer, updates, given, _ = watched
    assert len(updates) == len(given) == trainer.learner.updates > 10
    for (keys, priorities, _, _), (found_keys, found) in zip(updates, given, strict=True):
        np.testing.assert_array_equal(found_keys, keys)
        np.testing.assert_allclose(found, priorities, rtol=1e-6)
    # Once priorities differ, so do the weights; were they not handed on, all would be 1 for ever.
    assert updates[-1][2].std() > 0


def test_as_many_steps_are_trained_as_the_replay_ratio_says(watched: Watched) -> None:
    config = watched.trainer.config
    due = config.replay_ratio * (watched.trainer.env_steps - config.learning_starts)
    trained = sum(length for *_, length in watched.updates)
    assert due <= trained < due + config.batch_size * config.train_length


def test_the_actor_acts_with_the_weights_of_the_last_update(watched: Watched) -> None:
    assert watched.happened.count("update") > 10
    pairs = list(itertools.pairwise(watched.happened))
    assert ("update", "q_values") not in pairs
    assert ("refresh", "q_values") in pairs


def test_epsilon_falls_in_a_line_to_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = run(monkeypatch, learning_starts=151)
    ladder = trainer._epsilon()
    assert trainer.env_steps >= CONFIG.epsilon_decay_steps
    trainer.env_steps = CONFIG.epsilon_decay_steps // 2
    np.testing.assert_allclose(trainer._epsilon(), (1.0 + ladder) / 2)
    trainer.env_steps = 0
    np.testing.assert_allclose(trainer._epsilon(), 1.0)


@pytest.mark.parametrize("reads", [True, False])
def test_settings_reach_network_and_replay(reads: bool) -> None:
    changes = {"read_previous_action": reads, "read_previous_reward": not reads, "importance_exponent": 0.3}
    config = replace(CONFIG, **changes, priority_exponent=0.7)
    env = Diary()
    network = make_network(config, env.observation_space, env.action_space)
    replay = make_replay(config, network, seed=0)
    assert (network.read_previous_action, network.read_previous_reward) == (reads, not reads)
    assert (replay.importance_exponent, replay.priority_exponent) == (0.3, 0.7)
    assert replay.geometry.lengths == (3, 4, 2, 2)


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_the_network_is_the_one_that_was_asked_for(core: str) -> None:
    env = Diary()
    changes = {"core": core, "core_units": (6, 7), "torso_units": 9, "head_units": 5}
    for dueling in (True, False):
        network = make_network(replace(CONFIG, **changes, dueling=dueling), env.observation_space, env.action_space)
        shapes = [(weight.path, tuple(weight.shape)) for weight in network.weights if weight.path.endswith("/kernel")]
        gates = {"lstm": 4, "gru": 3}[core]
        read = shapes[1][1][0]  # the torso's units, the previous action and reward
        expected = [(3, 9), (read, 6 * gates), (6, 7 * gates), (7, 5), (5, 3)]
        if dueling:
            expected[4:] = [(7, 5), (5, 3), (5, 1)]
        assert [shape for _, shape in shapes] == expected
        assert read > 9
        assert all(f"{core}_cell" in path for path, _ in shapes[1:3])


def test_the_weights_that_are_kept_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    once = {"evaluation_period": 40, "evaluation_episodes": 4, "final_evaluation_episodes": 4}
    trainer = Trainer(replace(CONFIG, **once), tmp_path)
    returns = iter([0.1, 0.9, 0.5, 0.9, 0.2, 0.3])
    evaluated: list[dict[str, np.ndarray]] = []

    def measure(episodes: int) -> Evaluation:
        save_weights(tmp_path / "now.npz", trainer._kept)
        with np.load(tmp_path / "now.npz") as arrays:
            evaluated.append(dict(arrays))
        return Evaluation(trainer.env_steps, 0, next(returns), 0.0, episodes, False)

    trainer._measure = measure
    summary = trainer.run()
    assert len(evaluated) > 3
    assert summary.evaluation_return_mean == 0.9
    for name, which in (("best", 1), ("last", -1)):
        with np.load(tmp_path / "checkpoints" / f"{name}.npz") as kept:
            assert set(kept) == set(evaluated[which])
            assert all(np.array_equal(kept[part], evaluated[which][part]) for part in kept)
    assert any(not np.array_equal(evaluated[1][part], evaluated[-1][part]) for part in evaluated[1])


class Echo(gymnasium.Env):
    """Nothing to be seen; pays for another action than the one before."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._actions = [-1]
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._actions.append(int(action))
        reward = float(self._actions[-1] != self._actions[-2]) * len(self._actions)
        return np.zeros(1, np.float32), reward, len(self._actions) == 13, False, {}


def test_an_evaluation_tells_the_network_what_it_has_done() -> None:
    """By hand, with the whole past read again at every step."""
    config = preset("memory", core_units=(8,), torso_units=8, seed=5)
    network = make_network(config, Echo.observation_space, Echo.action_space)
    rng = np.random.default_rng(7)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0.0, 1.0, variable.shape))
    env, total, ended = Echo(), 0.0, False
    observations, before = [env.reset()[0]], [NOTHING_BEFORE]
    actions = []
    while not ended:
        past = Inputs(
            np.stack(observations)[None],
            np.array([[action for action, _ in before]], np.int32),
            np.array([[reward for _, reward in before]], np.float32),
        )
        q_values, _ = network.unroll(tf.nest.map_structure(tf.convert_to_tensor, past), network.initial_state(1))
        actions.append(int(np.argmax(q_values[0, -1])))
        observation, reward, ended, _, _ = env.step(actions[-1])
        observations.append(observation)
        before.append((actions[-1], reward))
        total += reward
    assert len(set(actions)) > 1
    envs = SyncVectorEnv([Echo], autoreset_mode=AutoresetMode.DISABLED)
    result = play(envs, Actor(network, 1), ActionSpec(Echo.action_space), 2, seed=0)
    assert result.returns.tolist() == [total, total]
