"""What EpisodeStream accepts and refuses, and how it serves vector environments that are not Gymnasium's own.

That no step leaks, whatever the autoreset mode, is law 11: tests/laws/test_autoreset.py.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics, TransformObservation, TransformReward

from agents.episodes import EpisodeStream
from agents.make_envs import make_envs


class Rewards(gymnasium.Env[Any, int]):
    """Gives the action as reward, observes the step, and ends after `length` steps."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(-1000, 1000, (1,), np.int64)
    action_space = spaces.Discrete(100)

    def __init__(self, length: int = 3) -> None:
        self.length, self.time, self.resets = length, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.time = 0
        self.resets += 1
        return np.array([0]), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return np.array([self.time]), float(action), self.time == self.length, False, {}


def sync(mode: AutoresetMode = AutoresetMode.DISABLED, lengths: tuple[int, ...] = (3, 3)) -> SyncVectorEnv[Any, Any]:
    return SyncVectorEnv([lambda length=length: Rewards(length) for length in lengths], autoreset_mode=mode)


class Batched(VectorEnv[Any, Any, Any]):
    """Two rows that end at every second step in SAME_STEP mode, with one batch of final observations."""

    num_envs = 2
    single_action_space, action_space = spaces.Discrete(100), spaces.MultiDiscrete([100, 100])
    single_observation_space = spaces.Box(-1000, 1000, (1,), np.float32)
    observation_space = spaces.Box(-1000, 1000, (2, 1), np.float32)
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    info: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.time = 0
        return np.zeros((2, 1)), {}

    def step(self, actions: Any) -> Any:
        self.time += 1
        ended = np.full(2, self.time % 2 == 0)
        info = self.info if self.info is not None else {"final_obs": np.full((2, 1), float(self.time))}
        return np.full((2, 1), -1.0), np.ones(2, np.float32), ended, np.zeros(2, bool), info


def test_finished_episodes_have_rows_returns_and_lengths() -> None:
    with EpisodeStream(sync(lengths=(1, 3, 2)), seed=0) as stream:
        seen = [stream.step(np.array([1, 10, 40 + call])).finished for call in range(3)]
    assert [[array.tolist() for array in finished] for finished in seen] == [
        [[0], [1], [1]],
        [[0, 2], [1, 40 + 41], [1, 2]],
        [[0, 1], [1, 30], [1, 3]],
    ]
    assert [[array.dtype for array in finished] for finished in seen] == [[np.int64, np.float64, np.int64]] * 3


def test_the_inactive_call_counts_for_nothing_whatever_its_reward() -> None:
    # This wrapper gives -1 in the call that only resets, too.
    envs = TransformReward(sync(AutoresetMode.NEXT_STEP, (2,)), lambda reward: reward - 1)
    with EpisodeStream(envs, seed=0) as stream:
        results = [stream.step(np.array([5])) for _ in range(5)]
    assert [result.reward.tolist() for result in results] == [[4], [4], [0], [4], [4]]
    assert [result.active.tolist() for result in results] == [[True], [True], [False], [True], [True]]
    assert [result.finished.returns.tolist() for result in results] == [[], [8], [], [], [8]]
    assert [result.finished.lengths.tolist() for result in results] == [[], [2], [], [], [2]]


def test_arrays_have_the_stated_dtypes() -> None:
    with EpisodeStream(Batched(), seed=0) as stream:
        result = stream.step([1, 2])
    assert result.reward.dtype == np.float64
    flags = (result.terminated, result.truncated, result.active, stream.first)
    assert [flag.dtype for flag in flags] == [np.dtype(bool)] * 4


def test_rewards_and_ends_are_copies_too() -> None:
    class Reuses(Batched):
        arrays = (np.zeros(2), np.zeros(2, bool), np.zeros(2, bool))

        def step(self, actions: Any) -> Any:
            observation, reward, terminated, truncated, info = super().step(actions)
            for array, values in zip(self.arrays, (reward + self.time, terminated, truncated), strict=True):
                array[:] = values
            return observation, *self.arrays, info

    with EpisodeStream(Reuses(), seed=0) as stream:
        results = [stream.step([1, 1]) for _ in range(3)]
    assert [result.reward.tolist() for result in results] == [[2, 2], [3, 3], [4, 4]]
    assert [result.terminated.tolist() for result in results] == [[False] * 2, [True] * 2, [False] * 2]


def test_wrapped_environments_are_read_through_their_wrappers() -> None:
    envs = TransformObservation(RecordEpisodeStatistics(sync(lengths=(2, 3))), lambda observation: -observation)
    with EpisodeStream(envs, seed=0) as stream:
        seen = []
        for _ in range(3):
            finals = stream.step(np.array([1, 1])).final_observation
            seen.append((finals.tolist(), stream.observation.tolist()))
    assert seen == [([[-1], [-1]], [[-1], [-1]]), ([[-2], [-2]], [[0], [-2]]), ([[-1], [-3]], [[-1], [0]])]


def test_gymnasiums_own_fast_cart_pole_makes_whole_episodes() -> None:
    envs = gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="vector_entry_point", max_episode_steps=9)
    lengths: list[int] = []
    ended_in_last_call = 0
    with EpisodeStream(envs, seed=0) as stream:
        for call in range(50):
            assert (np.abs(stream.observation[stream.first]) <= 0.05).all()  # where every episode begins
            ends_before = len(lengths)
            result = stream.step(np.array([0, 1, call % 2, call % 2]))
            lengths += result.finished.lengths.tolist()
            assert (result.reward == result.active).all()
            assert np.count_nonzero(~result.active) == ended_in_last_call
            ended_in_last_call = len(lengths) - ends_before
    assert len(lengths) > 4
    assert max(lengths) == 9


def test_one_batch_of_final_observations_is_understood() -> None:
    with EpisodeStream(Batched(), seed=0) as stream:
        finals = [stream.step([1, 1]).final_observation.tolist() for _ in range(4)]
    assert finals == [[[-1], [-1]], [[2], [2]], [[-1], [-1]], [[4], [4]]]


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"final_obs": np.array([None, None])},
        {"final_obs": np.zeros((2, 1)), "_final_obs": np.array([True, False])},
        [],
    ],
)
def test_a_missing_final_observation_is_refused(info: Any) -> None:
    envs = Batched()
    envs.info = info
    with EpisodeStream(envs, seed=0) as stream:
        stream.step([1, 1])
        with pytest.raises(ValueError, match=r"final_obs"):
            stream.step([1, 1])


def test_a_wrapper_that_hides_the_final_observations_is_refused() -> None:
    envs = DictInfoToList(sync(AutoresetMode.SAME_STEP, (1, 1)))
    with EpisodeStream(envs, seed=0) as stream, pytest.raises(ValueError, match="which is missing"):
        stream.step(np.array([1, 1]))


def test_an_end_in_the_call_that_resets_betrays_a_wrong_mode() -> None:
    envs = sync(AutoresetMode.SAME_STEP, (3, 1))
    del envs.metadata["autoreset_mode"]
    with EpisodeStream(envs, seed=0, autoreset_mode=AutoresetMode.NEXT_STEP) as stream:
        stream.step(np.array([1, 1]))
        with pytest.raises(ValueError, match=r"rows \[1\] ended .* their autoreset mode is not NEXT_STEP"):
            stream.step(np.array([1, 1]))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("form", [lambda mode: mode, lambda mode: mode.name, lambda mode: mode.value])
def test_the_mode_may_be_given_where_the_environments_do_not_say_it(mode: AutoresetMode, form: Any) -> None:
    envs = sync(mode, (1, 3))
    del envs.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match=r"pass autoreset_mode=AutoresetMode\.NEXT_STEP, SAME_STEP or DISABLED"):
        EpisodeStream(envs, seed=0)
    with EpisodeStream(envs, seed=0, autoreset_mode=form(mode)) as stream:
        lengths = [stream.step(np.array([1, 1])).finished.lengths.tolist() for _ in range(3)]
    assert lengths == ([[1], [], [1, 3]] if mode is AutoresetMode.NEXT_STEP else [[1], [1], [1, 3]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"autoreset_mode": "Sometimes"}, "autoreset_mode='Sometimes' must be AutoresetMode.NEXT_STEP"),
        ({"autoreset_mode": "NEXT_STEP"}, "autoreset_mode='NEXT_STEP' contradicts"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0, or None"),
        ({"seed": 1.5}, "seed=1.5 must be"),
        ({"seed": True}, "seed=True must be"),
        ({"timeout_seconds": 0}, "timeout_seconds=0 must be positive and finite"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds=nan must be"),
        ({"timeout_seconds": 2.0}, "timeout_seconds=2.0 needs environments in processes of their own"),
    ],
)
def test_a_refused_stream_leaves_the_environments_alone(arguments: dict[str, Any], message: str) -> None:
    envs = sync()
    with pytest.raises(ValueError, match=r"^" + message.replace("(", r"\(")):
        EpisodeStream(envs, **{"seed": 0, **arguments})
    assert not envs.closed
    assert [env.resets for env in envs.envs] == [0, 0]


def test_a_single_environment_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a gymnasium\.vector\.VectorEnv, not Rewards: see make_envs"):
        EpisodeStream(Rewards(), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("actions", [np.array([1]), np.array([1, 2, 3]), np.array([[1, 2]]), 1])
def test_actions_of_a_wrong_shape_change_nothing(actions: Any) -> None:
    with EpisodeStream(sync(), seed=0) as stream:
        with pytest.raises(ValueError, match=r"actions have shape .* must have \(2,\): one per environment"):
            stream.step(actions)
        assert stream.step(np.array([1, 2])).reward.tolist() == [1, 2]
        assert stream.observation.tolist() == [[1], [1]]


def test_results_of_a_wrong_shape_are_refused() -> None:
    class Column(Batched):
        def step(self, actions: Any) -> Any:
            observation, reward, *rest = super().step(actions)
            return observation, reward[:, None], *rest

    with (
        EpisodeStream(Column(), seed=0) as stream,
        pytest.raises(ValueError, match=r"gave reward of shape \(2, 1\), must be \(2,\)"),
    ):
        stream.step([1, 1])


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_used_workers_begin_anew_or_are_refused(mode: AutoresetMode, shared_memory: bool) -> None:
    """Without shared memory a worker in NEXT_STEP mode would discard the first action."""
    envs = AsyncVectorEnv([lambda: Rewards(1)] * 2, shared_memory=shared_memory, autoreset_mode=mode)
    try:
        envs.reset()
        envs.step(np.array([1, 1]))
        if mode is AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": np.array([True, True])})
        if mode is AutoresetMode.NEXT_STEP and not shared_memory:
            with pytest.raises(ValueError, match="has been used before, and may discard the first action"):
                EpisodeStream(envs, seed=0)
        else:
            with EpisodeStream(envs, seed=0) as stream:
                assert stream.step(np.array([7, 8])).reward.tolist() == [7, 8]
    finally:
        envs.close()


def test_make_envs_and_the_stream_go_together() -> None:
    with EpisodeStream(make_envs("CartPole-v1", 2, env_kwargs={"max_episode_steps": 5}), seed=0) as stream:
        results = [stream.step(np.array([0, 1])) for _ in range(5)]
    assert results[-1].truncated.tolist() == [True, True]
    assert results[-1].finished.lengths.tolist() == [5, 5]
    assert all(result.active.all() for result in results)
