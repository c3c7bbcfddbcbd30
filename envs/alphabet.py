"""The alphabet: one letter is shown, all that follow it have to be recalled in order."""

from string import ascii_uppercase
from typing import Any

import numpy as np
from gymnasium import Env, logger, spaces

LETTERS = len(ascii_uppercase)
NOTHING = LETTERS


class Alphabet(Env[np.int64, np.int64]):
    """Name the letters that follow the one shown at the start, one a step, with nothing to look at.

    - Observation, one of 27: the letter shown (0 is A, 25 is Z) when the episode starts, 26 for
      "nothing" from then on.
    - Actions, 26: the letter named.
    - At step t = 0, 1, ... the right letter is the one t + 1 places after the letter shown; Z is
      followed by A. A wrong letter changes nothing but the reward: the next step asks for the next letter.
    - Reward: 1 / length for a right letter, 0 for a wrong one. The episode terminates after `length` steps.

    The best return is 1. An agent that sees the observation alone and remembers nothing gets 2 / length
    at most: the first letter, and one of the others. An agent that is given its previous action as
    well can name the letter after it; it still needs memory to go on after a mistake.

    Args:
        random_start: draw the letter shown, uniformly, instead of always showing A.
        length: steps of an episode, at least 1; the default goes from A to Z.
        render_mode: "ansi" writes the letters so far as text and says which were right.

    Raises:
        ValueError: an argument is not one of those allowed; or `step` was given no such action.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, random_start: bool = False, length: int = LETTERS - 1, render_mode: str | None = None) -> None:
        if not isinstance(random_start, (bool, np.bool_)):
            raise ValueError(f"random_start={random_start!r} must be True or False")
        is_whole = isinstance(length, (int, np.integer)) and not isinstance(length, bool)
        if not is_whole or length < 1:
            raise ValueError(f"length={length!r} must be a whole number, at least 1")
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode={render_mode!r} must be None or 'ansi'")
        self.random_start = bool(random_start)
        self.length = int(length)
        self.render_mode = render_mode
        self.observation_space = spaces.Discrete(LETTERS + 1)
        self.action_space = spaces.Discrete(LETTERS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Show the letter to start from: the only observation that is not "nothing"."""
        super().reset(seed=seed)
        self._start = int(self.np_random.integers(LETTERS)) if self.random_start else 0
        self._named: list[int] = []
        return np.int64(self._start), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Name a letter."""
        if not self.action_space.contains(action):
            raise ValueError(f"action={action!r} must be a letter's number: 0 (A) to {LETTERS - 1} (Z)")
        right = int(action) == self._right_letter(len(self._named))
        self._named.append(int(action))
        reward = 1.0 / self.length if right else 0.0
        return np.int64(NOTHING), reward, len(self._named) >= self.length, False, {}

    def render(self) -> str | None:
        """The letter shown, a line for every letter named, and the count."""
        if self.render_mode is None:
            logger.warn("render() shows nothing without a render_mode: make the environment with 'ansi'")
            return None
        lines = [f"shown {ascii_uppercase[self._start]}"]
        right_count = 0
        for step, named in enumerate(self._named):
            right = self._right_letter(step)
            right_count += named == right
            verdict = "right" if named == right else f"wrong, {ascii_uppercase[right]} was next"
            lines.append(f"named {ascii_uppercase[named]}: {verdict}")
        lines.append(f"{right_count} right of {len(self._named)}, {self.length - len(self._named)} to go")
        return "\n".join(lines) + "\n"

    def _right_letter(self, step: int) -> int:
        return (self._start + step + 1) % LETTERS
