"""How every actor is checked and measured: on an environment that costs nothing, an array that never changes."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_work import FEATURES

UNITS = 64
EPSILON = 0.1
_STEPS_COMPARED = 5
_RESET_AT = 3


class Acting(Protocol):
    """N environments' episodes, followed."""

    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        """Q-values [N, A] of the next observations [N, FEATURES], and the recurrent states (h, c), each [N, UNITS],
        before they were read, as NumPy arrays; rows in ``first`` (bool[N]) start an episode."""

    def step(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> None:
        """The same, and the choice of actions: all that an agent does between two steps of its environments."""


def prepare_acting(
    subject: Acting, num_envs: int, seconds: float, *, compared: bool = True, note: str = ""
) -> Prepared:
    """An actor whose first steps have been taken.

    Args:
        subject: the actor.
        num_envs: N.
        seconds: least time of a round.
        compared: whether it is to be compared with the others; one that cannot reset single rows is not.
        note: see `Prepared`.
    """
    rng = np.random.default_rng(3)
    said: dict[str, list[float]] = {}
    never = np.zeros(num_envs, np.bool_)
    if compared:
        for step in range(_STEPS_COMPARED):
            first = never if step else ~never
            if step == _RESET_AT:  # one row of all, or the only one
                first = np.arange(num_envs) == num_envs // 2
            q_values, state = subject.q_values(rng.standard_normal((num_envs, FEATURES)).astype(np.float32), first)
            said[f"Q-values of step {step}"] = np.asarray(q_values, np.float64).reshape(-1).tolist()
            said[f"states before step {step}"] = np.concatenate([part.reshape(-1) for part in state]).tolist()
    observation = rng.standard_normal((num_envs, FEATURES)).astype(np.float32)
    return Prepared(
        {"acting": lambda: num_envs / seconds_per_call(lambda: subject.step(observation, never), seconds)}, said, note
    )
