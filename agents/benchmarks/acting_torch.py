"""PyTorch, eager, as a subject of the acting benchmark."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.benchmarks.acting_work import EPSILON, UNITS, prepare_acting
from agents.benchmarks.prepared import Prepared
from agents.benchmarks.recurrent_torch import TorchNetwork
from agents.benchmarks.recurrent_work import weights


class Torch:
    """See `agents.benchmarks.acting_work.Acting`."""

    def __init__(self, num_envs: int) -> None:
        torch.set_num_threads(1)  # more only get in each other's way with so little to compute
        self._network = TorchNetwork(weights(UNITS)).eval()
        self._state = (torch.zeros(1, num_envs, UNITS), torch.zeros(1, num_envs, UNITS))
        self._rng = np.random.default_rng(0)

    @torch.inference_mode()
    def q_values(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> tuple[Any, Any]:
        if first.any():
            playing = torch.from_numpy(~first)[None, :, None]
            self._state = (self._state[0] * playing, self._state[1] * playing)
        before = self._state
        q_values, self._state = self._network(torch.from_numpy(observation)[:, None], before)
        return q_values[:, 0].numpy(), [part[0].numpy() for part in before]

    def step(self, observation: NDArray[np.float32], first: NDArray[np.bool_]) -> None:
        q_values, _ = self.q_values(observation, first)
        explore = self._rng.random(len(q_values)) < EPSILON
        np.where(explore, self._rng.integers(q_values.shape[1], size=len(q_values)), q_values.argmax(axis=1))


def prepare(num_envs: int, seconds: float) -> Prepared:
    """See `prepare_acting`."""
    return prepare_acting(Torch(num_envs), num_envs, seconds)
