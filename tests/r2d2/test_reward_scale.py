"""The reward scale: one over the deviation of discounted returns, exactly, whatever the order and size of the steps."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.reward_scale import RewardScale

GAMMA = 0.9


def play(
    rewards: Any, ended: Any, active: Any = None, *, gamma: float = GAMMA, factor: float = 1.0
) -> tuple[RewardScale, list[float]]:
    """Add steps [time, env], and return with the scale all discounted returns by the definition."""
    rewards, ended = np.asarray(rewards, np.float64) * factor, np.asarray(ended, np.bool_)
    active = np.ones_like(ended) if active is None else np.asarray(active, np.bool_)
    scale = RewardScale(rewards.shape[1], gamma)
    returns: list[float] = []
    for env in range(rewards.shape[1]):
        following = 0.0
        for t in range(len(rewards)):
            if active[t, env]:
                following = rewards[t, env] + gamma * following
                returns.append(following)
                if ended[t, env]:
                    following = 0.0
    for t in range(len(rewards)):
        scale.add(rewards[t], ended[t], active[t])
    return scale, returns


def test_by_hand() -> None:
    """Returns 1, 2 + 0.9, and in a new episode 4: their mean is 7.9 / 3."""
    scale, returns = play([[1.0], [2.0], [4.0]], [[False], [True], [False]])
    np.testing.assert_allclose(returns, [1.0, 2.9, 4.0])
    mean = 7.9 / 3
    variance = ((1 - mean) ** 2 + (2.9 - mean) ** 2 + (4 - mean) ** 2) / 3
    assert scale.factor == pytest.approx(1 / variance**0.5, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 999),
    num_envs=st.integers(1, 4),
    steps=st.integers(2, 60),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    offset=st.sampled_from([0.0, 1.0, -1e4]),
)
def test_any_play(seed: int, num_envs: int, steps: int, gamma: float, offset: float) -> None:
    """Rows that made no step count for nothing, and an inactive row's `ended` neither."""
    rng = np.random.default_rng(seed)
    shape = (steps, num_envs)
    rewards, ended, active = rng.normal(offset, 1.0, shape), rng.random(shape) < 0.1, rng.random(shape) < 0.8
    scale, returns = play(rewards, ended, active, gamma=gamma)
    if len(returns) > 1:
        assert scale.factor == pytest.approx(1 / np.std(returns), rel=1e-6)


@pytest.mark.parametrize("factor", [1e6, 1e-6, -3.0])
def test_rewards_times_c_make_the_factor_one_over_c(factor: float) -> None:
    rng = np.random.default_rng(0)
    rewards, ended = rng.normal(1.0, 1.0, (100, 3)), rng.random((100, 3)) < 0.1
    scale, scaled = play(rewards, ended)[0], play(rewards, ended, factor=factor)[0]
    assert scaled.factor * abs(factor) == pytest.approx(scale.factor, rel=1e-9)


class TestWithoutASpread:
    """There is no deviation to divide by: the size of the returns takes its place, or nothing."""

    def test_before_any_step(self) -> None:
        assert RewardScale(3, 0.99).factor == 1.0

    def test_after_one_step(self) -> None:
        assert play([[5.0]], [[False]])[0].factor == 1 / 5
        assert play([[-4.0]], [[False]])[0].factor == 1 / 4

    @pytest.mark.parametrize(("reward", "factor"), [(0.0, 1.0), (0.1, 10.0), (-1e6, 1e-6)])
    def test_while_all_returns_are_alike(self, reward: float, factor: float) -> None:
        """Episodes of one step with the same reward; sums of 0.1 round, but that is no spread."""
        rewards = np.full((1000, 3), reward)
        assert play(rewards, np.ones((1000, 3), np.bool_))[0].factor == pytest.approx(factor, rel=1e-9)

    def test_of_rows_that_made_no_step(self) -> None:
        scale = RewardScale(2, GAMMA)
        scale.add(np.array([1.0, 100.0]), np.array([True, True]), np.array([False, False]))
        assert scale.factor == 1.0
        for reward in (3.0, 7.0):  # two returns of 3 and 7 in the first row alone: deviation 2
            scale.add(np.array([reward, 100.0]), np.array([True, True]), np.array([True, False]))
        assert scale.factor == pytest.approx(1 / 2)


def test_a_single_reward_at_the_end_is_enough() -> None:
    """Sparse rewards: 0 on the way, 1 at the end of every tenth episode of ten steps."""
    rewards = np.zeros((1000, 1))
    rewards[99::100] = 1.0
    ended = np.zeros((1000, 1), np.bool_)
    ended[9::10] = True
    scale, returns = play(rewards, ended)
    assert scale.factor == pytest.approx(1 / np.std(returns), rel=1e-9)
    assert scale.factor > 9


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_refuses_a_discount_that_is_none(gamma: float) -> None:
    with pytest.raises(ValueError, match=rf"gamma={gamma} must be in \[0, 1\]"):
        RewardScale(1, gamma)


def test_leaves_its_arguments_alone() -> None:
    reward, ended = np.array([1.0, 2.0]), np.array([True, False])
    scale = RewardScale(2, GAMMA)
    scale.add(reward, ended, np.ones(2, np.bool_))
    assert reward.tolist() == [1.0, 2.0]
    assert ended.tolist() == [True, False]
