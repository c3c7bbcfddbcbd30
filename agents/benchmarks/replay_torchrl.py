"""torchrl as a subject of the replay benchmark: whole sequences as items, or slices of steps. Uniform draws: its
prioritized samplers need an extension that does not load with every PyTorch."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, RandomSampler, SliceSampler, TensorDictReplayBuffer

from agents.benchmarks.prepared import Prepared
from agents.benchmarks.replay_data import PERIOD, ROWS, Profile, Sequence, Steps
from agents.benchmarks.replay_measures import prepare_replay
from agents.benchmarks.replay_sequences import EpisodeSoFar, split

Kind = Literal["whole", "slice"]
_FIELDS = ("observation", "action", "reward", "hidden", "cell")


class _Uniform:
    """What both ways have in common; see `agents.benchmarks.replay_measures.Replay`."""

    prioritized = False

    def __init__(self, buffer: Any, batch_size: int, steps_per_item: int) -> None:
        self._buffer = buffer
        self._batch_size = batch_size
        self._steps_per_item = steps_per_item
        self._other_bytes = 0

    @property
    def nbytes(self) -> int:
        return int(self._buffer.storage._storage.bytes()) + self._other_bytes

    @property
    def num_steps(self) -> int:
        return len(self._buffer) * self._steps_per_item

    def sample(self) -> Any:
        return self._buffer.sample()

    def sampled(self) -> Any:
        raise NotImplementedError("uniform draws: nothing names a sequence")

    def everything(self) -> Any:
        raise NotImplementedError("uniform draws: nothing names a sequence")

    def set_priorities(self, names: Any, priorities: NDArray[np.float64]) -> None:
        raise NotImplementedError("uniform draws: no priorities")


class WholeSequences(_Uniform):
    """An item is a whole sequence."""

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        storage = LazyTensorStorage(capacity // PERIOD)
        buffer = TensorDictReplayBuffer(storage=storage, sampler=RandomSampler(), batch_size=profile.batch)
        super().__init__(buffer, profile.batch, PERIOD)
        self._episode = EpisodeSoFar(profile, num_envs)
        self._other_bytes = self._episode.nbytes

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        for part in split(chunk, one_by_one=one_by_one):
            for complete in self._episode.add(part):
                tensors = {name: torch.from_numpy(field) for name, field in complete.items()}
                self._buffer.extend(TensorDict(tensors, batch_size=[len(complete["hidden"])]))

    def sequences(self, batch: Any) -> list[Sequence]:
        fields = [batch[name].numpy() for name in _FIELDS]
        return [Sequence(*parts) for parts in zip(*fields, strict=True)]


class SlicesOfSteps(_Uniform):
    """An item is a step with its recurrent state. The storage is ``[time, env]``, or ``[time]`` for one environment."""

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        self._one_env = num_envs == 1
        storage = LazyTensorStorage(capacity // num_envs * num_envs, ndim=1 if self._one_env else 2)
        sampler = SliceSampler(slice_len=ROWS, end_key="ends", strict_length=True, cache_values=True)
        super().__init__(
            TensorDictReplayBuffer(storage=storage, sampler=sampler, batch_size=profile.batch * ROWS, dim_extend=0),
            profile.batch,
            1,
        )

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        for part in split(chunk, one_by_one=one_by_one):
            ends = np.zeros(part.reward.shape, np.bool_)
            ends[-1] = part.ends
            tensors = {name: torch.from_numpy(getattr(part, name)) for name in _FIELDS}
            data = TensorDict({**tensors, "ends": torch.from_numpy(ends)}, batch_size=part.reward.shape)
            self._buffer.extend(data[:, 0] if self._one_env else data)

    def sequences(self, batch: Any) -> list[Sequence]:
        rows = batch.reshape(self._batch_size, ROWS)
        observation, action, reward, hidden, cell = (rows[name].numpy() for name in _FIELDS)
        return [Sequence(*parts) for parts in zip(observation, action, reward, hidden[:, 0], cell[:, 0], strict=True)]


def prepare(kind: Kind, profile: str, capacity: int | None, seconds: float) -> Prepared:
    """See `prepare_replay`."""
    return prepare_replay(
        WholeSequences if kind == "whole" else SlicesOfSteps,
        profile=profile,
        capacity=capacity,
        seconds=seconds,
        note="uniform draws, without priorities or weights: its prioritized samplers need an extension",
    )
