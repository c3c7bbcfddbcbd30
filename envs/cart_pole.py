"""CartPole with the velocities hidden: they must be recovered from how positions change."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray

_VISIBLE = [0, 2]  # of CartPole's cart position, cart velocity, pole angle, pole angular velocity
_TRACK_COLUMNS = 49  # one for each 0.1 of the track from -2.4 to +2.4
_UPRIGHT_DEGREES = 0.5


class CartPoleHiddenVelocity(CartPoleEnv):
    """Gymnasium's CartPole, of which only the cart's position and the pole's angle are seen.

    - Observation, float32[2]: cart position (in the model's length unit; an episode ends beyond
      +-2.4), pole angle in radians (an episode ends beyond +-12 degrees, 0.2095).
    - Actions, rewards and dynamics are those of CartPole-v1: push left (0) or right (1), 1 a step.
      Registered with its limit of 500 steps and its threshold of 475 too.

    Source of the dynamics: Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve
    Difficult Learning Control Problems", 1983, as implemented by Gymnasium.

    Args:
        render_mode: "ansi" draws the track as a line of text; "rgb_array" and "human" are CartPole's
            own, and need pygame.

    Raises:
        ValueError: `render_mode` is none of these.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 50}  # noqa: RUF012 (as in CartPole)

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode={render_mode!r} must be None, 'human', 'rgb_array' or 'ansi'")
        super().__init__(render_mode=render_mode)
        whole = self.observation_space
        assert isinstance(whole, spaces.Box)
        self.observation_space = spaces.Box(whole.low[_VISIBLE], whole.high[_VISIBLE], dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """CartPole's `reset`, its options included, without the velocities."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[_VISIBLE], info

    def step(self, action: int | NDArray[Any]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """CartPole's `step`, without the velocities."""
        observation, reward, terminated, truncated, info = super().step(action)  # type: ignore[no-untyped-call]
        return observation[_VISIBLE], reward, terminated, truncated, info

    def render(self) -> Any:
        """The track in one line, the cart on it, its pole upright or tilted; or CartPole's own picture."""
        if self.render_mode != "ansi":
            return super().render()  # type: ignore[no-untyped-call]
        assert self.state is not None, "call reset before render"
        position, angle = float(self.state[0]), math.degrees(self.state[2])
        tilted = "/" if angle > 0 else "\\"
        pole = "|" if abs(angle) < _UPRIGHT_DEGREES else tilted
        fraction = (position + self.x_threshold) / (2 * self.x_threshold)
        column = min(max(round(fraction * (_TRACK_COLUMNS - 1)), 0), _TRACK_COLUMNS - 1)
        track = "-" * column + f"[{pole}]" + "-" * (_TRACK_COLUMNS - 1 - column)
        return f"{track} position {position:+.2f}, angle {angle:+.1f} degrees\n"
