"""cpprb as a subject of the replay benchmark: one row a whole sequence, the way to store sequences in it."""

from typing import Any

import cpprb
import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared
from agents.benchmarks.replay_data import IMPORTANCE_EXPONENT, PERIOD, PRIORITY_EXPONENT, ROWS, Profile, Sequence, Steps
from agents.benchmarks.replay_measures import prepare_replay
from agents.benchmarks.replay_sequences import EpisodeSoFar, split


class Cpprb:
    """See `agents.benchmarks.replay_measures.Replay`."""

    prioritized = True

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        self._batch_size = profile.batch
        fields: dict[str, tuple[tuple[int, ...], str]] = {
            "observation": (profile.shape, profile.dtype),
            "action": ((), "int32"),
            "reward": ((), "float32"),
            "flags": ((), "uint8"),
        }
        described: dict[str, dict[str, Any]] = {
            name: {"shape": (ROWS, *shape), "dtype": np.dtype(dtype)} for name, (shape, dtype) in fields.items()
        }
        for name in ("hidden", "cell"):
            described[name] = {"shape": (profile.units,), "dtype": np.dtype("float32")}
        self._size = capacity // PERIOD
        # Its default eps would hide priorities below 1e-4 from the check.
        self._buffer = cpprb.PrioritizedReplayBuffer(self._size, described, alpha=PRIORITY_EXPONENT, eps=1e-8)
        self._episode = EpisodeSoFar(profile, num_envs)
        row = sum(int(np.prod(part["shape"])) * part["dtype"].itemsize for part in described.values())
        self.nbytes = row * self._size + self._episode.nbytes
        self._sampled: NDArray[np.uint64] = np.zeros(0, np.uint64)

    @property
    def num_steps(self) -> int:
        return int(self._buffer.get_stored_size()) * PERIOD

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        for part in split(chunk, one_by_one=one_by_one):
            for complete in self._episode.add(part):
                self._buffer.add(**complete)

    def sample(self) -> dict[str, NDArray[Any]]:
        batch: dict[str, NDArray[Any]] = self._buffer.sample(self._batch_size, beta=IMPORTANCE_EXPONENT)
        self._sampled = batch["indexes"]
        return batch

    def sequences(self, batch: dict[str, NDArray[Any]]) -> list[Sequence]:
        # Scalars come with an axis of one.
        fields = [batch[name].reshape(self._batch_size, ROWS) for name in ("action", "reward")]
        return [
            Sequence(observation, action, reward, hidden, cell)
            for observation, action, reward, hidden, cell in zip(
                batch["observation"], *fields, batch["hidden"], batch["cell"], strict=True
            )
        ]

    def sampled(self) -> NDArray[np.uint64]:
        return self._sampled

    def everything(self) -> NDArray[np.uint64]:
        return np.arange(self._buffer.get_stored_size(), dtype=np.uint64)

    def set_priorities(self, names: NDArray[np.uint64], priorities: NDArray[np.float64]) -> None:
        self._buffer.update_priorities(names, priorities)


def prepare(profile: str, capacity: int | None, seconds: float) -> Prepared:
    """See `prepare_replay`."""
    return prepare_replay(
        Cpprb,
        profile=profile,
        capacity=capacity,
        seconds=seconds,
        note="one row a whole sequence, so that a step is held three times; inserts a sequence when it is complete, "
        f"cut from steps that come singly or in chunks of {PERIOD}",
    )
