"""CartPole without its velocities against CartPole itself."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

import envs
from envs.cart_pole import CartPoleHiddenVelocity

gymnasium.register_envs(envs)


def test_it_is_cart_pole_with_columns_one_and_three_gone():
    hidden = gymnasium.make("r2d2/CartPoleHiddenVelocity-v0")
    whole = gymnasium.make("CartPole-v1")
    actions = np.random.default_rng(0).integers(2, size=200)
    hidden_seen, _ = hidden.reset(seed=5)
    whole_seen, _ = whole.reset(seed=5)
    np.testing.assert_array_equal(hidden_seen, whole_seen[[0, 2]])
    ends = 0
    for action in actions:
        hidden_seen, *hidden_rest = hidden.step(action)
        whole_seen, *whole_rest = whole.step(action)
        assert hidden_seen.shape == (2,)
        assert hidden_seen.dtype == np.float32
        np.testing.assert_array_equal(hidden_seen, whole_seen[[0, 2]])
        assert hidden_rest == whole_rest
        if hidden_rest[1]:
            ends += 1
            np.testing.assert_array_equal(hidden.reset()[0], whole.reset()[0][[0, 2]])
    assert ends >= 3


def test_its_limits_are_finite_and_those_of_cart_pole():
    space = CartPoleHiddenVelocity().observation_space
    np.testing.assert_allclose(space.high, [2 * 2.4, 2 * np.deg2rad(12)], rtol=1e-6)
    np.testing.assert_array_equal(space.low, -space.high)


def test_an_episode_that_stays_up_is_truncated_after_500_steps():
    env = gymnasium.make("r2d2/CartPoleHiddenVelocity-v0")
    env.reset(seed=0)
    for step in range(1, 501):
        # Push to the side to which the pole is falling and the cart drifting: a well-known linear policy.
        position, velocity, angle, angular_velocity = env.unwrapped.state
        push_right = 0.1 * position + 0.2 * velocity + angle + 0.5 * angular_velocity > 0
        _, reward, terminated, truncated, _ = env.step(int(push_right))
        assert reward == 1
        assert not terminated
        assert truncated == (step == 500)


def test_the_options_of_reset_reach_cart_pole():
    env = CartPoleHiddenVelocity()
    observation, _ = env.reset(seed=0, options={"low": 0.1, "high": 0.1 + 1e-9})
    np.testing.assert_allclose(observation, [0.1, 0.1], rtol=1e-6)


def drawn(position: float, angle_in_degrees: float) -> str:
    env = CartPoleHiddenVelocity(render_mode="ansi")
    env.reset(seed=0)
    env.state = np.array([position, 1.0, np.deg2rad(angle_in_degrees), 1.0])
    return env.render()


def test_the_drawing_has_the_cart_in_the_middle_when_it_is_there():
    assert drawn(0, 0) == "-" * 24 + "[|]" + "-" * 24 + " position +0.00, angle +0.0 degrees\n"


def test_the_drawing_moves_the_cart_one_column_for_a_tenth():
    assert drawn(0.5, 0).startswith("-" * 29 + "[|]" + "-" * 19 + " position +0.50,")
    assert drawn(-2.4, 0).startswith("[|]" + "-" * 48 + " position -2.40,")
    assert drawn(2.4, 0).startswith("-" * 48 + "[|]" + " position +2.40,")


def test_the_drawing_keeps_a_cart_beyond_the_end_on_the_track():
    assert drawn(-2.6, 0).startswith("[|]" + "-" * 48 + " position -2.60,")
    assert drawn(2.6, 0).startswith("-" * 48 + "[|]" + " position +2.60,")


@pytest.mark.parametrize(("degrees", "pole"), [(-3, "\\"), (-0.4, "|"), (0.4, "|"), (3, "/")])
def test_the_drawing_tilts_the_pole_to_the_side_it_falls(degrees, pole):
    assert drawn(0, degrees) == "-" * 24 + f"[{pole}]" + "-" * 24 + f" position +0.00, angle {degrees:+.1f} degrees\n"


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_pictures_are_left_to_cart_pole(mode, monkeypatch):
    asked = []

    def draw(env):
        asked.append(env.render_mode)
        return "CartPole's picture"

    monkeypatch.setattr(CartPoleEnv, "render", draw)
    env = CartPoleHiddenVelocity(render_mode=mode)
    env.reset(seed=0)
    env.step(1)
    # For a human the window follows by itself, after the reset and after the step.
    assert asked == (["human", "human"] if mode == "human" else [])
    assert env.render() == "CartPole's picture"


def test_the_picture_is_the_one_cart_pole_draws(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    hidden = gymnasium.make("r2d2/CartPoleHiddenVelocity-v0", render_mode="rgb_array")
    whole = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    hidden.reset(seed=3)
    whole.reset(seed=3)
    picture = hidden.render()
    assert picture.shape == (400, 600, 3)
    np.testing.assert_array_equal(picture, whole.render())
    hidden.close()
    whole.close()


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match="render_mode='text' must be None, 'human', 'rgb_array' or 'ansi'"):
        CartPoleHiddenVelocity(render_mode="text")
