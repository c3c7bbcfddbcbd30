"""The numbers of the update, apart from the code that needs TensorFlow: a configuration can be checked without it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from r2d2.field_types import require_declared_types


@dataclass(frozen=True)
class LearnerSettings:
    """Numbers of the update; the defaults are the paper's (R2D2, table 2 of the appendix).

    Raises:
        TypeError: a number is of another type.
        ValueError: a number is out of its range, or both or neither of ``target_period`` and ``target_mixing`` given.
    """

    n_step: int = 5
    """Steps of reward in a target, at most those of the replay's geometry."""
    gamma: float = 0.997
    """Discount of one step."""
    eta: float = 0.9
    """Priority of a sequence: ``eta * max + (1 - eta) * mean`` of its absolute TD errors."""
    rescaling_epsilon: float | None = 1e-3
    """Epsilon of the value rescaling; None for no rescaling."""
    huber_delta: float | None = None
    """TD errors beyond this count linearly in the loss; None for half the square everywhere."""
    learning_rate: float = 1e-4
    """Of Adam."""
    adam_epsilon: float = 1e-3
    """Of Adam; small tasks want far less than the paper's."""
    max_gradient_norm: float = 40.0
    """Gradients are scaled down to this global norm."""
    target_period: int | None = 2500
    """Updates between copies of the online weights to the target network."""
    target_mixing: float | None = None
    """Share of the online weights mixed into the target network at every update, instead of copies."""

    def __post_init__(self) -> None:
        require_declared_types(self)
        _require(self, "n_step", lambda v: v >= 1, "at least 1")
        _require(self, "gamma", lambda v: 0 <= v <= 1, "in [0, 1]")
        _require(self, "eta", lambda v: 0 <= v <= 1, "in [0, 1]")
        _require(self, "rescaling_epsilon", lambda v: v is None or 0 <= v < math.inf, "None or at least 0")
        _require(self, "huber_delta", lambda v: v is None or 0 < v < math.inf, "None or a number greater than 0")
        for name in ("learning_rate", "adam_epsilon", "max_gradient_norm"):
            _require(self, name, lambda v: 0 < v < math.inf, "a number greater than 0")
        if (self.target_period is None) == (self.target_mixing is None):
            raise ValueError(
                f"target_period={self.target_period} and target_mixing={self.target_mixing}: "
                "exactly one must be a number, the other None"
            )
        _require(self, "target_period", lambda v: v is None or v >= 1, "None or at least 1")
        _require(self, "target_mixing", lambda v: v is None or 0 < v <= 1, "None or in (0, 1]")


def _require(settings: Any, name: str, allowed: Callable[[Any], bool], words: str) -> None:
    value = getattr(settings, name)
    if not allowed(value):
        raise ValueError(f"{name}={value} must be {words}")
