"""A factor that makes learning independent of the scale of the rewards."""

import numpy as np
from numpy.typing import NDArray


class RewardScale:
    """One over the running deviation of discounted returns, over all steps seen.

    The discounted return of a step is ``G_t = r_t + gamma G_{t-1}``, counted from its episode's start. Rewards
    that are times ``c`` make the factor one over ``c`` times, so that their product stays. The moments are
    accumulated by Chan's pairwise update (Chan, Golub and LeVeque 1983), in float64.

    Args:
        num_envs: environments whose steps are added together.
        gamma: discount of one step, in [0, 1].

    Raises:
        ValueError: ``gamma`` is out of its range.
    """

    def __init__(self, num_envs: int, gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma={gamma} must be in [0, 1]")
        self._gamma = gamma
        self._returns = np.zeros(num_envs)
        self._count = 0
        self._mean = 0.0
        self._square_sum = 0.0

    def add(self, reward: NDArray[np.floating], ended: NDArray[np.bool_], active: NDArray[np.bool_]) -> None:
        """One step of every environment.

        Args:
            reward: float[num_envs]
            ended: bool[num_envs], whether the episode ended with it.
            active: bool[num_envs], False in rows that made no step.
        """
        self._returns = np.where(active, self._gamma * self._returns + reward, self._returns)
        seen = self._returns[active]
        self._returns[ended & active] = 0.0
        if not len(seen):
            return
        total = self._count + len(seen)
        mean = float(seen.mean())
        difference = mean - self._mean
        self._square_sum += float(((seen - mean) ** 2).sum()) + difference**2 * self._count * len(seen) / total
        self._mean += difference * len(seen) / total
        self._count = total

    @property
    def factor(self) -> float:
        """What to multiply rewards by; as long as all returns were alike, one over their size, or 1 if they were 0."""
        deviation = (self._square_sum / self._count) ** 0.5 if self._count else 0.0
        # Below this, the deviation is the rounding of equal returns rather than a spread.
        size = deviation if deviation > 1e-9 * abs(self._mean) else abs(self._mean)
        return 1.0 / size if size > 0 else 1.0
