"""Law 11, the environments' half: vector autoreset never leaks the next episode, and loses no step.

The oracle plays each environment alone, one step after the other, in the plainest way there is. What the stream
tells of each row must be the same, number by number: an observation says its row, episode and step, a reward
the action it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.episodes import EpisodeStream

TERMINATED, TRUNCATED, BOTH = (True, False), (False, True), (True, True)
KINDS = ("box", "dict", "tuple", "discrete")
ALL_MODES = tuple(AutoresetMode)


class Episode(NamedTuple):
    length: int
    end: tuple[bool, bool]  # terminated, truncated


class Scheduled(gymnasium.Env[Any, int]):
    """Episodes of given lengths and ends, in turn. Step 2 of episode 1 in row 0 observes [0, 1, 2].

    `reuses_buffer`: every observation is the same array, overwritten by the next step or reset.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, row: int, schedule: Sequence[Episode], kind: str = "box", reuses_buffer: bool = False):
        place = spaces.Box(0, 1000, (3,), np.int64)
        clock = spaces.Discrete(100_000)
        self.observation_space = {
            "box": place,
            "dict": spaces.Dict({"place": place, "inner": spaces.Dict({"clock": clock})}),
            "tuple": spaces.Tuple((place, clock)),
            "discrete": clock,
        }[kind]
        self.action_space = spaces.Discrete(100_000)
        self.row, self.schedule, self.kind, self.reuses_buffer = row, schedule, kind, reuses_buffer
        self.buffer = np.zeros(3, np.int64)
        self.episode, self.time, self.over = -1, 0, True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.time, self.over = self.episode + 1, 0, False
        return self.observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.over, "stepped after the end"
        self.time += 1
        length, end = self.schedule[self.episode % len(self.schedule)]
        terminated, truncated = end if self.time == length else (False, False)
        self.over = terminated or truncated
        return self.observe(), float(1000 * action + self.time), terminated, truncated, {"time": self.time}

    def observe(self) -> Any:
        place = self.buffer if self.reuses_buffer else np.zeros(3, np.int64)
        place[:] = self.row, self.episode, self.time
        clock = 100 * self.episode + self.time
        return {
            "box": place,
            "dict": {"place": place, "inner": {"clock": clock}},
            "tuple": (place, clock),
            "discrete": clock,
        }[self.kind]


class Step(NamedTuple):
    """One step of one row. `final` is None unless the episode ended."""

    first: bool
    observation: Any
    action: int
    reward: float
    terminated: bool
    truncated: bool
    final: Any


class Played(NamedTuple):
    steps: list[Step]
    episodes: list[tuple[float, int]]  # return and length of each finished one


def readable(tree: Any, row: int | None = None) -> Any:
    """A row of a batched tree (or a single observation) as plain Python numbers."""
    if isinstance(tree, dict):
        return {key: readable(value, row) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(readable(value, row) for value in tree)
    return np.asarray(tree if row is None else tree[row]).tolist()


def play_alone(env: gymnasium.Env[Any, int], actions: Sequence[int]) -> Played:
    played = Played([], [])
    first, rewards = True, []
    observation = readable(env.reset()[0])
    for action in actions:
        after, reward, terminated, truncated, _ = env.step(action)
        after, ended = readable(after), terminated or truncated
        final = after if ended else None
        played.steps.append(Step(first, observation, action, reward, terminated, truncated, final))
        rewards.append(reward)
        observation, first = after, ended
        if ended:
            played.episodes.append((sum(rewards), len(rewards)))
            rewards = []
            observation = readable(env.reset()[0])
    return played


def play_stream(stream: EpisodeStream, calls: int) -> tuple[list[Played], np.ndarray]:
    """Each row's played steps, and which calls were active, bool[calls, N]. No two actions are the same."""
    played = [Played([], []) for _ in range(stream.num_envs)]
    activity = []
    for call in range(calls):
        actions = np.arange(stream.num_envs) + call * stream.num_envs + 1
        observation, first = stream.observation, stream.first
        result = stream.step(actions)
        activity.append(result.active)
        for row in np.flatnonzero(result.active):
            terminated, truncated = bool(result.terminated[row]), bool(result.truncated[row])
            final = readable(result.final_observation, row) if terminated or truncated else None
            before = readable(observation, row)
            reward = float(result.reward[row])
            played[row].steps.append(
                Step(bool(first[row]), before, int(actions[row]), reward, terminated, truncated, final)
            )
        for row, total, length in zip(*result.finished, strict=True):
            played[row].episodes.append((float(total), int(length)))
        inactive = ~result.active
        assert not (result.terminated | result.truncated | (result.reward != 0))[inactive].any()
    return played, np.array(activity)


def expect_same_as_alone(
    envs: gymnasium.vector.VectorEnv[Any, Any, Any], schedules: Sequence[Sequence[Episode]], kind: str, calls: int
) -> np.ndarray:
    with EpisodeStream(envs, seed=0) as stream:
        played, activity = play_stream(stream, calls)
    for row, schedule in enumerate(schedules):
        actions = [step.action for step in played[row].steps]
        assert played[row] == play_alone(Scheduled(row, schedule, kind), actions)
    return activity


def makers(schedules: Sequence[Sequence[Episode]], kind: str, reuses_buffer: bool = False) -> list[Any]:
    return [
        lambda row=row, schedule=schedule: Scheduled(row, schedule, kind, reuses_buffer)
        for row, schedule in enumerate(schedules)
    ]


# Row 0 has nothing but episodes of one step, row 1 ends in every way, row 2 seldom ends.
SCHEDULES = (
    (Episode(1, TERMINATED), Episode(1, TRUNCATED)),
    (Episode(2, TRUNCATED), Episode(3, TERMINATED), Episode(1, BOTH)),
    (Episode(5, TERMINATED),),
)


@pytest.mark.parametrize("reuses_buffer", [False, True])
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ALL_MODES)
def test_each_row_is_what_its_environment_plays_alone(
    mode: AutoresetMode, kind: str, copy: bool, reuses_buffer: bool
) -> None:
    envs = SyncVectorEnv(makers(SCHEDULES, kind, reuses_buffer), copy=copy, autoreset_mode=mode)
    expect_same_as_alone(envs, SCHEDULES, kind, calls=14)


episodes = st.builds(Episode, st.integers(1, 4), st.sampled_from([TERMINATED, TRUNCATED, BOTH]))


@settings(max_examples=150, deadline=None)
@given(
    schedules=st.lists(st.lists(episodes, min_size=1, max_size=3), min_size=1, max_size=4),
    mode=st.sampled_from(ALL_MODES),
    kind=st.sampled_from(KINDS),
    copy=st.booleans(),
    reuses_buffer=st.booleans(),
)
def test_any_schedule_of_episodes_is_what_the_environments_play_alone(
    schedules: list[list[Episode]], mode: AutoresetMode, kind: str, copy: bool, reuses_buffer: bool
) -> None:
    envs = SyncVectorEnv(makers(schedules, kind, reuses_buffer), copy=copy, autoreset_mode=mode)
    activity = expect_same_as_alone(envs, schedules, kind, calls=12)
    if mode is not AutoresetMode.NEXT_STEP:
        assert activity.all()


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("kind", ["box", "dict"])
@pytest.mark.parametrize("mode", ALL_MODES)
def test_processes_of_their_own_play_the_same(mode: AutoresetMode, kind: str, shared_memory: bool) -> None:
    # An environment that reuses its buffer has lost the final observation in SAME_STEP mode: Gymnasium issue 1132.
    reuses_buffer = mode is not AutoresetMode.SAME_STEP
    envs = AsyncVectorEnv(
        makers(SCHEDULES, kind, reuses_buffer), shared_memory=shared_memory, copy=False, autoreset_mode=mode
    )
    expect_same_as_alone(envs, SCHEDULES, kind, calls=14)


def test_next_step_mode_makes_one_inactive_call_after_each_end() -> None:
    schedules = [[Episode(1, TERMINATED)], [Episode(3, TRUNCATED)]]
    envs = SyncVectorEnv(makers(schedules, "box"), autoreset_mode=AutoresetMode.NEXT_STEP)
    with EpisodeStream(envs, seed=0) as stream:
        assert stream.first.tolist() == [True, True]
        seen = []
        for _ in range(6):
            result = stream.step(np.array([1, 1]))
            seen.append((result.active.tolist(), stream.first.tolist(), stream.observation[:, 1:].tolist()))
    # (active, first, [episode, step] to act on next): row 0 ends every second call, row 1 in its third.
    assert seen == [
        ([True, True], [False, False], [[0, 1], [0, 1]]),
        ([False, True], [True, False], [[1, 0], [0, 2]]),
        ([True, True], [False, False], [[1, 1], [0, 3]]),
        ([False, False], [True, True], [[2, 0], [1, 0]]),
        ([True, True], [False, False], [[2, 1], [1, 1]]),
        ([False, True], [True, False], [[3, 0], [1, 2]]),
    ]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_the_other_modes_start_the_next_episode_at_once(mode: AutoresetMode) -> None:
    schedules = [[Episode(1, TERMINATED)], [Episode(3, TRUNCATED)]]
    envs = SyncVectorEnv(makers(schedules, "box"), autoreset_mode=mode)
    with EpisodeStream(envs, seed=0) as stream:
        seen = []
        for _ in range(3):
            result = stream.step(np.array([1, 1]))
            finals = result.final_observation[result.terminated | result.truncated].tolist()
            seen.append((finals, stream.first.tolist(), stream.observation[:, 1:].tolist()))
    # (final observations [row, episode, step], first, [episode, step] to act on next)
    assert seen == [
        ([[0, 0, 1]], [True, False], [[1, 0], [0, 1]]),
        ([[0, 1, 1]], [True, False], [[2, 0], [0, 2]]),
        ([[0, 2, 1], [1, 0, 3]], [True, True], [[3, 0], [1, 0]]),
    ]


@pytest.mark.parametrize("mode", ALL_MODES)
def test_what_was_handed_out_does_not_change_later(mode: AutoresetMode) -> None:
    envs = SyncVectorEnv(makers(SCHEDULES, "box", reuses_buffer=True), copy=False, autoreset_mode=mode)
    with EpisodeStream(envs, seed=0) as stream:
        handed_out = [(stream.observation, stream.first)]
        for _ in range(12):
            result = stream.step(np.array([1, 2, 3]))
            handed_out += [(stream.observation, stream.first), tuple(result[:5]), tuple(result.finished)]
            then = [[array.tolist() for array in arrays] for arrays in handed_out]
            stream.step(np.array([4, 5, 6]))
            assert [[array.tolist() for array in arrays] for arrays in handed_out] == then


def test_rows_that_did_not_end_keep_the_observation_of_their_step() -> None:
    class ForgetsOthers(SyncVectorEnv):
        """Its partial reset says nothing about the rows that are not reset."""

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            mask = (options or {}).get("reset_mask")
            observation, info = super().reset(seed=seed, options=options)
            if mask is not None:
                observation[~mask] = -1
            return observation, info

    envs = ForgetsOthers(makers(SCHEDULES, "box"), autoreset_mode=AutoresetMode.DISABLED)
    expect_same_as_alone(envs, SCHEDULES, "box", calls=14)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_same_seed_same_stream(mode: AutoresetMode) -> None:
    def play(seed: int | None) -> list[Any]:
        envs = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3, autoreset_mode=mode)
        with EpisodeStream(envs, seed=seed) as stream:
            results = [stream.observation]
            for call in range(60):  # a pole pushed to one side falls after some ten steps
                results += stream.step(np.array([0, 1, call % 2]))[:3]
                results.append(stream.observation)
        return [array.tolist() for array in results]

    once = play(7)
    assert play(7) == once
    assert play(8) != once
    assert play(None) != once


def test_only_the_first_reset_is_seeded() -> None:
    seeds: list[int | None] = []

    class Asked(Scheduled):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            seeds.append(seed)
            return super().reset(seed=seed, options=options)

    envs = SyncVectorEnv([lambda: Asked(0, [Episode(2, TERMINATED)])] * 2, autoreset_mode=AutoresetMode.DISABLED)
    with EpisodeStream(envs, seed=np.int64(40)) as stream:
        for _ in range(4):
            stream.step(np.array([1, 1]))
    assert seeds == [40, 41, None, None, None, None]
