"""The environments as Gymnasium's users find them: by name, checked, in vectors, in other processes."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, env_render_passive_checker

import envs

ROOT = Path(__file__).parents[2]
ALL = ["r2d2/TMaze-v0", "r2d2/Alphabet-v0", "r2d2/CartPoleHiddenVelocity-v0"]


@pytest.mark.parametrize(
    ("name", "threshold", "step_limit"),
    [
        ("r2d2/TMaze-v0", 0.95, None),
        ("r2d2/Alphabet-v0", 0.9, None),
        ("r2d2/CartPoleHiddenVelocity-v0", 475, 500),
    ],
)
def test_each_has_its_threshold_and_its_step_limit(name, threshold, step_limit):
    spec = gymnasium.spec(name)
    assert spec.reward_threshold == threshold
    assert spec.max_episode_steps == step_limit
    assert not spec.nondeterministic


def test_registering_again_changes_nothing_and_warns_of_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs.register()
    assert gymnasium.registry == before


def test_registering_puts_back_an_environment_that_was_removed(monkeypatch):
    spec = gymnasium.registry["r2d2/Alphabet-v0"]
    monkeypatch.delitem(gymnasium.registry, "r2d2/Alphabet-v0")
    envs.register()
    assert gymnasium.registry["r2d2/Alphabet-v0"] == spec


@pytest.mark.parametrize("name", ALL)
def test_gymnasiums_own_checker_finds_nothing_to_warn_of(name):
    # CartPole draws its pictures with pygame, which may be missing; text needs nothing.
    draws_pictures = "rgb_array" in gymnasium.make(name).metadata["render_modes"]
    without_pygame = importlib.util.find_spec("pygame") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name).unwrapped, skip_render_check=draws_pictures and without_pygame)
        env = gymnasium.make(name, render_mode="ansi")
        env.reset(seed=0)
        assert env_render_passive_checker(env.unwrapped).endswith("\n")


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_and_actions_give_the_same_episodes(name):
    def episodes(seed):
        env = gymnasium.make(name)
        actions = np.random.default_rng(1)
        seen = [env.reset(seed=seed)[0]]
        rewards = []
        for _ in range(60):
            observation, reward, terminated, truncated, _ = env.step(actions.integers(env.action_space.n))
            seen.append(observation)
            rewards.append(reward)
            if terminated or truncated:
                seen.append(env.reset()[0])
        return np.array(seen), np.array(rewards)

    seen_once, rewards_once = episodes(4)
    seen_again, rewards_again = episodes(4)
    np.testing.assert_array_equal(seen_once, seen_again)
    np.testing.assert_array_equal(rewards_once, rewards_again)


@pytest.mark.parametrize("name", ALL)
def test_a_step_or_a_picture_before_reset_is_refused(name):
    env = gymnasium.make(name, render_mode="ansi")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()


def run_python(code: str) -> str:
    """What a new Python process, in which every warning is an error, prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", ALL)
def test_a_new_process_makes_it_by_the_modules_name_without_importing_anything(name):
    printed = run_python(
        "import gymnasium\n"
        f"env = gymnasium.make('envs:{name}')\n"
        "observation, _ = env.reset(seed=0)\n"
        "print(env.spec.id, env.observation_space.contains(observation))\n"
    )
    assert printed == f"{name} True\n"


def test_importing_the_package_registers_these_environments_and_no_other():
    printed = run_python(
        "import gymnasium\n"
        "before = set(gymnasium.registry)\n"
        "import envs\n"
        "print(sorted(set(gymnasium.registry) - before))\n"
    )
    assert printed == f"{sorted(ALL)}\n"


def test_a_new_process_makes_it_after_importing_the_package_and_loads_no_tensorflow():
    printed = run_python(
        "import sys\n"
        "import gymnasium\n"
        "import envs\n"
        "gymnasium.register_envs(envs)\n"
        "env = gymnasium.make('r2d2/TMaze-v0', corridor_length=2)\n"
        "env.reset(seed=0)\n"
        "print([env.step(0)[2] for _ in range(3)], 'tensorflow' in sys.modules)\n"
    )
    assert printed == "[False, False, True] False\n"


def test_a_vector_of_mazes_ends_together_and_draws_its_own_goals():
    vector = gymnasium.make_vec("envs:r2d2/TMaze-v0", num_envs=8, vectorization_mode="sync", corridor_length=2)
    first, _ = vector.reset(seed=0)
    assert first.shape == (8, 2)
    assert first.dtype == np.float32
    goals = first[:, 1]
    assert set(goals) == {-1, 1}
    right, up = np.zeros(8, np.int64), np.ones(8, np.int64)
    np.testing.assert_array_equal(vector.step(right)[0], np.tile([0, 0], (8, 1)))
    np.testing.assert_array_equal(vector.step(right)[0], np.tile([1, 0], (8, 1)))
    last, reward, terminated, truncated, _ = vector.step(up)
    np.testing.assert_array_equal(last, np.tile([1, 1], (8, 1)))
    np.testing.assert_array_equal(reward, goals == 1)
    assert terminated.all()
    assert not truncated.any()


def test_a_vector_of_alphabets_shows_each_its_letter():
    vector = gymnasium.make_vec("r2d2/Alphabet-v0", num_envs=3, vectorization_mode="sync", random_start=True)
    first, _ = vector.reset(seed=[0, 1, 2])
    observation, reward, terminated, truncated, _ = vector.step((first + 1) % 26)
    np.testing.assert_array_equal(observation, [26, 26, 26])
    np.testing.assert_allclose(reward, [1 / 25] * 3)
    assert not terminated.any()
    assert not truncated.any()


def test_a_vector_of_cart_poles_sees_two_columns_of_each():
    vector = gymnasium.make_vec("r2d2/CartPoleHiddenVelocity-v0", num_envs=2, vectorization_mode="sync")
    whole = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    np.testing.assert_array_equal(vector.reset(seed=6)[0], whole.reset(seed=6)[0][:, [0, 2]])
    actions = np.array([0, 1])
    np.testing.assert_array_equal(vector.step(actions)[0], whole.step(actions)[0][:, [0, 2]])
