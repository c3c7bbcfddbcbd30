"""The passive T-maze: what was seen at the first step decides the last one, nothing in between does."""

from typing import Any

import numpy as np
from gymnasium import Env, logger, spaces
from numpy.typing import NDArray

RIGHT, UP, LEFT, DOWN = range(4)
_MOVES = {RIGHT: (1, 0), UP: (0, 1), LEFT: (-1, 0), DOWN: (0, -1)}


class TMaze(Env[NDArray[np.float32], np.int64]):
    """Walk a corridor to a junction and turn to the side that was shown at the start.

    With a corridor of n cells from the start to the junction, as (x, y):

                                    (n, +1)
        (0, 0) (1, 0) ... (n-1, 0)  (n,  0)
                                    (n, -1)

    - Observation, float32[2]: `[0, goal]` when the episode starts, goal being -1 or +1, either with
      probability 1/2; `[0, 0]` in the corridor, also when the agent comes back to the start;
      `[1, y]` at the junction and in its arms.
    - Actions: 0 right, 1 up, 2 left, 3 down. A move into a wall leaves the agent where it is.
    - An episode has exactly n + 1 steps and then terminates, which is just enough to reach an arm.
    - Reward after step t = 1..n: 0 when x >= t, else -1/n: the way is taught step by step, so that the
      task tests memory and not exploration. Reward of step n + 1: 1 in the goal's arm, else 0.

    The best return is 1. Without memory the best expected return is 1/2: walk to the junction, guess.
    The worst is -1.

    Source: Ni et al., "When Do Transformers Shine in RL? Decoupling Memory from Credit Assignment",
    NeurIPS 2023, the Passive T-Maze; after Bakker, "Reinforcement Learning with Long Short-Term
    Memory", NeurIPS 2001.

    Args:
        corridor_length: n, the number of steps from the start to the junction, at least 1.
        render_mode: "ansi" draws the maze as text, with the agent (A) and the goal (G).

    Raises:
        ValueError: an argument is not one of those allowed; or `step` was given no such action.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, corridor_length: int = 10, render_mode: str | None = None) -> None:
        is_whole = isinstance(corridor_length, (int, np.integer)) and not isinstance(corridor_length, bool)
        if not is_whole or corridor_length < 1:
            raise ValueError(f"corridor_length={corridor_length!r} must be a whole number, at least 1")
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode={render_mode!r} must be None or 'ansi'")
        self.corridor_length = int(corridor_length)
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, shape=(2,), dtype=np.float32)
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put the agent at the start, draw a goal and show it: the only observation that does."""
        super().reset(seed=seed)
        self._goal = 1 if self.np_random.integers(2) == 1 else -1
        self._x, self._y, self._steps = 0, 0, 0
        return np.array([0, self._goal], dtype=np.float32), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move one cell, or stay where a wall is in the way."""
        if not self.action_space.contains(action):
            raise ValueError(f"action={action!r} must be 0 (right), 1 (up), 2 (left) or 3 (down)")
        across, upwards = _MOVES[int(action)]
        if self._is_cell(self._x + across, self._y + upwards):
            self._x, self._y = self._x + across, self._y + upwards
        self._steps += 1

        at_junction = self._x == self.corridor_length
        observation = np.array([1, self._y] if at_junction else [0, 0], dtype=np.float32)
        terminated = self._steps > self.corridor_length
        if terminated:
            reward = 1.0 if self._y == self._goal else 0.0
        else:
            reward = 0.0 if self._x >= self._steps else -1.0 / self.corridor_length
        return observation, reward, terminated, False, {}

    def render(self) -> str | None:
        """The maze seen from above in three lines, and a fourth with the step and the goal."""
        if self.render_mode is None:
            logger.warn("render() shows nothing without a render_mode: make the environment with 'ansi'")
            return None
        rows = []
        for y in (1, 0, -1):
            cells = [self._drawn_cell(x, y) for x in range(self.corridor_length + 1)]
            rows.append("".join(cells).rstrip())
        side = "up" if self._goal == 1 else "down"
        rows.append(f"step {self._steps} of {self.corridor_length + 1}, goal {side}")
        return "\n".join(rows) + "\n"

    def _is_cell(self, x: int, y: int) -> bool:
        in_corridor = y == 0 and 0 <= x <= self.corridor_length
        in_arm = x == self.corridor_length and abs(y) == 1
        return in_corridor or in_arm

    def _drawn_cell(self, x: int, y: int) -> str:
        if not self._is_cell(x, y):
            return " "
        if (x, y) == (self._x, self._y):
            return "A"
        return "G" if y == self._goal else "."
