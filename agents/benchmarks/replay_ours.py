"""`r2d2.replay.SequenceReplay` as a subject of the replay benchmark."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.benchmarks.learner_form import tensors
from agents.benchmarks.prepared import Prepared
from agents.benchmarks.replay_data import (
    ACTIONS,
    BURN_IN,
    IMPORTANCE_EXPONENT,
    N_STEP,
    OVERLAP,
    PERIOD,
    PRIORITY_EXPONENT,
    TRAIN_LENGTH,
    Profile,
    Sequence,
    Steps,
)
from agents.benchmarks.replay_measures import prepare_replay
from r2d2.replay import Batch, SequenceGeometry, SequenceReplay, StepCollector


class Ours:
    """See `agents.benchmarks.replay_measures.Replay`."""

    prioritized = True

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        low, high = (0, 255) if profile.dtype == "uint8" else (-np.inf, np.inf)
        zeros = np.zeros(profile.units, np.float32)
        observations = spaces.Box(low, high, profile.shape, np.dtype(profile.dtype).type)
        actions, state = spaces.Discrete(ACTIONS, dtype=np.int32), (zeros, zeros)
        self._spaces = (observations, actions, state)
        self._replay = SequenceReplay(
            *self._spaces,
            SequenceGeometry(BURN_IN, TRAIN_LENGTH, OVERLAP, N_STEP),
            capacity=capacity,
            num_envs=num_envs,
            priority_exponent=PRIORITY_EXPONENT,
            importance_exponent=IMPORTANCE_EXPONENT,
        )
        self._batch_size = profile.batch
        self._playing = np.zeros(num_envs, np.bool_)
        self._ended = np.ones(num_envs, np.bool_)
        self._sampled: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        return self._replay.nbytes

    @property
    def num_steps(self) -> int:
        return self._replay.num_steps

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        if not one_by_one:
            self._insert_together(chunk)
            return
        self._insert_singly(chunk, range(len(chunk.reward)), self._replay.add)

    def sample(self) -> Batch:
        batch = self._replay.sample(self._batch_size)
        self._sampled = batch.keys.copy()  # what an agent keeps of it until priorities are known
        return batch

    def sequences(self, batch: Batch) -> list[Sequence]:
        return [_sequence(batch, place) for place in range(len(batch.keys))]

    def sampled(self) -> NDArray[np.int64]:
        return self._sampled

    def everything(self) -> NDArray[np.int64]:
        return self._replay.keys()

    def set_priorities(self, names: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        self._replay.update_priorities(names, priorities)

    def _insert_singly(self, chunk: Steps, numbers: range, add: Callable[..., Any]) -> None:
        last = len(chunk.reward) - 1
        for t in numbers:
            add(
                chunk.observation[t],
                chunk.action[t],
                chunk.reward[t],
                self._ended if chunk.ends and t == last else self._playing,
                self._playing,
                (chunk.hidden[t], chunk.cell[t]),
                final_observation=chunk.final_observation,
            )

    def _insert_together(self, chunk: Steps) -> None:
        playing, ended = _flags(*chunk.reward.shape)
        final = chunk.final_observation
        self._replay.add_many(
            chunk.observation,
            chunk.action,
            chunk.reward,
            ended if chunk.ends else playing,
            playing,
            (chunk.hidden, chunk.cell),
            final_observation=np.broadcast_to(final, chunk.observation.shape) if chunk.ends else None,
        )


class OursCollected(Ours):
    """Puts steps that come singly aside until a period of them is together, as peers do that hold whole sequences."""

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        super().__init__(profile, num_envs, capacity)
        self._collector = StepCollector(*self._spaces, steps=PERIOD, num_envs=num_envs)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self._collector.nbytes

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        if not one_by_one:
            self._insert_together(chunk)
            return
        numbers = range(len(chunk.reward))
        for first in numbers[::PERIOD]:
            self._insert_singly(chunk, numbers[first : first + PERIOD], self._collector.add)
            self._replay.add_many(**self._collector.take(copy=False))


@cache
def _flags(time: int, num_envs: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of steps within an episode, and of those with which the episodes end."""
    playing, ended = np.zeros((2, time, num_envs), np.bool_)
    ended[-1] = True
    return playing, ended


def _sequence(batch: Batch, place: int) -> Sequence:
    """Burn-in and unroll of one sequence joined; the actions of the burn-in are the previous ones of its next row."""
    before, after = int(batch.prefix_length[place]), int(batch.unroll_length[place])

    def joined(prefix: Any, unroll: Any) -> Any:
        return np.concatenate([prefix[place, :before], unroll[place, :after]])

    previous_action = joined(batch.prefix.previous_action, batch.unroll.previous_action)
    previous_reward = joined(batch.prefix.previous_reward, batch.unroll.previous_reward)
    hidden, cell = batch.state
    return Sequence(
        joined(batch.prefix.observation, batch.unroll.observation),
        np.concatenate([previous_action[1 : before + 1], batch.action[place, :after]]),
        np.concatenate([previous_reward[1 : before + 1], batch.reward[place, :after]]),
        hidden[place],
        cell[place],
    )


def prepare(profile: str, capacity: int | None, seconds: float, collected: bool = False) -> Prepared:
    """See `prepare_replay`; ``collected``: `OursCollected`."""
    singly = f"add_many, once StepCollector has {PERIOD} together" if collected else "add"
    return prepare_replay(
        OursCollected if collected else Ours,
        profile=profile,
        capacity=capacity,
        seconds=seconds,
        for_learner=tensors,
        note=f"burn-in {BURN_IN}, trained {TRAIN_LENGTH}, overlap {OVERLAP}, n-step {N_STEP}; "
        f"for the learner: tensors; inserts steps by {singly}, chunks of {PERIOD} by add_many",
    )
