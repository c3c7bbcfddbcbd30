"""The T-maze against episodes worked out by hand."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.t_maze import DOWN, LEFT, RIGHT, UP, TMaze

TOWARDS = {1: UP, -1: DOWN}


def start(corridor_length: int, goal: int, **kwargs: Any) -> tuple[TMaze, np.ndarray]:
    """A maze just reset, with this goal: of the seeds 0, 1, 2, ... the first that draws it."""
    env = TMaze(corridor_length=corridor_length, **kwargs)
    for seed in range(100):
        observation, _ = env.reset(seed=seed)
        if observation[1] == goal:
            return env, observation
    raise AssertionError(f"none of 100 seeds draws the goal {goal}")


def play(env: TMaze, actions: list[int]) -> tuple[list[list[float]], list[float], list[bool]]:
    """Observations, rewards and `terminated` of these actions; no episode is ever truncated."""
    observations, rewards, ends = [], [], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(np.int64(action))
        assert truncated is False
        assert info == {}
        observations.append(observation.tolist())
        rewards.append(reward)
        ends.append(terminated)
    return observations, rewards, ends


@pytest.mark.parametrize("goal", [1, -1])
def test_walking_to_the_junction_and_turning_to_the_goal_returns_one(goal):
    env, first = start(3, goal)
    observations, rewards, ends = play(env, [RIGHT, RIGHT, RIGHT, TOWARDS[goal]])
    assert first.tolist() == [0, goal]
    assert first.dtype == np.float32
    assert observations == [[0, 0], [0, 0], [1, 0], [1, goal]]
    assert rewards == [0, 0, 0, 1]
    assert ends == [False, False, False, True]


@pytest.mark.parametrize("goal", [1, -1])
def test_the_other_arm_pays_nothing(goal):
    env, _ = start(3, goal)
    observations, rewards, ends = play(env, [RIGHT, RIGHT, RIGHT, TOWARDS[-goal]])
    assert observations[-1] == [1, -goal]
    assert rewards == [0, 0, 0, 0]
    assert ends == [False, False, False, True]


@pytest.mark.parametrize("guess", [UP, DOWN])
def test_the_best_policy_without_memory_returns_one_half_on_average(guess):
    returns = []
    for goal in (1, -1):
        env, _ = start(4, goal)
        returns.append(sum(play(env, [RIGHT] * 4 + [guess])[1]))
    assert sorted(returns) == [0, 1]
    assert sum(returns) / 2 == 0.5


def test_each_step_behind_the_pace_costs_one_over_n_until_the_last_step():
    # After steps 1..4 the agent is at x = 0, 1, 2, 3: always one behind, -1/4 each. The last step, which
    # reaches the junction and not the arm, has neither penalty nor reward.
    env, _ = start(4, 1)
    observations, rewards, ends = play(env, [UP, RIGHT, RIGHT, RIGHT, RIGHT])
    assert rewards == [-0.25, -0.25, -0.25, -0.25, 0]
    assert observations == [[0, 0], [0, 0], [0, 0], [0, 0], [1, 0]]
    assert ends == [False, False, False, False, True]


def test_the_penalty_begins_with_the_first_step_behind():
    # x = 1, 2, 1, 2 after steps 1..4: in time for two steps, behind for two.
    env, _ = start(4, 1)
    assert play(env, [RIGHT, RIGHT, LEFT, RIGHT, UP])[1] == [0, 0, -0.25, -0.25, 0]


def test_never_moving_is_the_worst_and_returns_minus_one():
    env, _ = start(4, 1)
    assert sum(play(env, [LEFT] * 5)[1]) == -1


def test_walls_stop_the_agent_everywhere_but_at_the_junction():
    env, _ = start(2, 1)
    # Left at the start: not a step back, so that two steps are enough to reach the junction.
    assert play(env, [LEFT, RIGHT, RIGHT])[0] == [[0, 0], [0, 0], [1, 0]]
    env, _ = start(2, 1)
    # Up at the start.
    assert play(env, [UP, RIGHT, RIGHT])[0] == [[0, 0], [0, 0], [1, 0]]
    env, _ = start(2, 1)
    # Up and down in the middle of the corridor.
    assert play(env, [RIGHT, DOWN, RIGHT])[0] == [[0, 0], [0, 0], [1, 0]]
    env, _ = start(2, 1)
    # Right at the junction: the end wall.
    assert play(env, [RIGHT, RIGHT, RIGHT])[0] == [[0, 0], [1, 0], [1, 0]]


def test_coming_back_to_the_start_does_not_show_the_goal_again():
    env, first = start(5, -1)
    assert first.tolist() == [0, -1]
    assert play(env, [RIGHT, LEFT, LEFT, UP])[0] == [[0, 0]] * 4


@pytest.mark.parametrize("actions_before", [[RIGHT, RIGHT], [RIGHT, RIGHT, RIGHT, UP]])
def test_a_new_episode_begins_at_the_start_whether_or_not_the_last_was_played_to_its_end(actions_before):
    env, _ = start(3, 1)
    play(env, actions_before)
    goal = int(env.reset()[0][1])
    observations, rewards, ends = play(env, [RIGHT, RIGHT, RIGHT, TOWARDS[goal]])
    assert observations == [[0, 0], [0, 0], [1, 0], [1, goal]]
    assert rewards == [0, 0, 0, 1]
    assert ends == [False, False, False, True]


def test_the_shortest_maze_has_two_steps():
    env, first = start(1, -1)
    assert first.tolist() == [0, -1]
    assert play(env, [RIGHT, DOWN]) == ([[1, 0], [1, -1]], [0, 1], [False, True])
    env, _ = start(1, -1)
    assert play(env, [LEFT, DOWN]) == ([[0, 0], [0, 0]], [-1, 0], [False, True])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), corridor_length=st.integers(1, 12), seed=st.integers(0, 1000))
def test_every_episode_has_n_plus_one_steps_and_shows_the_goal_only_at_its_start(data, corridor_length, seed):
    env = TMaze(corridor_length=corridor_length)
    first, _ = env.reset(seed=seed)
    actions = data.draw(st.lists(st.integers(0, 3), min_size=corridor_length + 1, max_size=corridor_length + 1))
    observations, rewards, ends = play(env, actions)
    assert first[0] == 0
    assert first[1] in (-1, 1)
    assert ends == [False] * corridor_length + [True]
    assert all(observation in ([0, 0], [1, 0]) for observation in observations[:-1])
    assert -1 - 1e-9 <= sum(rewards) <= 1


def test_both_goals_are_drawn_equally_often():
    env = TMaze(corridor_length=1)
    env.reset(seed=0)
    goals = [env.reset()[0][1] for _ in range(2000)]
    assert set(goals) == {-1.0, 1.0}
    # Standard deviation of the mean of 2000 fair signs: 1 / sqrt(2000) = 0.022; four of them.
    assert abs(np.mean(goals)) < 0.09


def test_the_goals_are_those_of_the_seed():
    def goals(seed: int) -> list[float]:
        env = TMaze()
        return [float(env.reset(seed=seed)[0][1])] + [float(env.reset()[0][1]) for _ in range(30)]

    assert goals(7) == goals(7)
    assert goals(7) != goals(8)


def test_observations_handed_out_are_not_written_to_again():
    env, first = start(2, 1)
    second, *_ = env.step(np.int64(RIGHT))
    third, *_ = env.step(np.int64(RIGHT))
    assert [first.tolist(), second.tolist(), third.tolist()] == [[0, 1], [0, 0], [1, 0]]


def test_the_corridor_has_ten_steps_unless_said_otherwise():
    env = gymnasium.make("envs:r2d2/TMaze-v0")
    assert env.unwrapped.corridor_length == 10
    assert gymnasium.make("envs:r2d2/TMaze-v0", corridor_length=3).unwrapped.corridor_length == 3


@pytest.mark.parametrize("corridor_length", [0, -1, 2.5, "10", None, True])
def test_a_corridor_that_cannot_be_built_is_refused(corridor_length):
    with pytest.raises(ValueError, match=rf"corridor_length={corridor_length!r} .*whole number, at least 1"):
        TMaze(corridor_length=corridor_length)


def test_a_corridor_length_from_numpy_is_taken():
    assert TMaze(corridor_length=np.int64(3)).corridor_length == 3


@pytest.mark.parametrize("action", [4, -1, 0.5])
def test_a_move_that_does_not_exist_is_refused_and_nothing_moves(action):
    env, _ = start(1, 1)
    with pytest.raises(ValueError, match=rf"action={action!r} must be 0 \(right\), 1 \(up\)"):
        env.step(action)
    assert play(env, [RIGHT, UP])[1] == [0, 1]


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match="render_mode='human' must be None or 'ansi'"):
        TMaze(render_mode="human")


def test_the_drawing_shows_the_agent_the_goal_and_the_step():
    env, _ = start(5, 1, render_mode="ansi")
    assert env.render() == ("     G\nA.....\n     .\nstep 0 of 6, goal up\n")
    play(env, [RIGHT, RIGHT])
    assert env.render() == ("     G\n..A...\n     .\nstep 2 of 6, goal up\n")


def test_the_drawing_shows_the_agent_in_the_arm_it_has_reached():
    env, _ = start(2, -1, render_mode="ansi")
    play(env, [RIGHT, RIGHT, DOWN])
    assert env.render() == ("  .\n...\n  A\nstep 3 of 3, goal down\n")


def test_render_without_a_mode_says_so_and_draws_nothing():
    env, _ = start(2, 1)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
