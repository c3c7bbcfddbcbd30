"""The steps that replay benchmarks store, and the check that what is sampled is what was stored.

Every step is made from its number and its environment alone, so that an index reads as a value: a sequence with a step
missing, doubled, of another environment or with another step's reward or state is recognised.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import WrongBatch

BURN_IN, TRAIN_LENGTH, OVERLAP, N_STEP = 40, 80, 40, 1
PERIOD = TRAIN_LENGTH - OVERLAP
ROWS = BURN_IN + TRAIN_LENGTH + N_STEP
"""Rows of a sequence: burn-in, trained steps and lookahead."""
EPISODE = 1000
"""Steps of an episode: a multiple of the period."""
ACTIONS = 4
PRIORITY_EXPONENT, IMPORTANCE_EXPONENT = 0.9, 0.6


@dataclass(frozen=True)
class Profile:
    """A size of the work."""

    name: str
    shape: tuple[int, ...]
    """Of an observation."""
    dtype: str
    """Of an observation: float32, or uint8 with at least 8 values."""
    units: int
    """Width of the two arrays of a recurrent state."""
    capacity: int
    """Steps held."""
    batch: int
    """Sequences sampled together."""

    @property
    def raw_step(self) -> int:
        """Bytes of a step: observation, int32 action, float32 reward, a byte of flags."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize + 4 + 4 + 1

    @property
    def state(self) -> int:
        """Bytes of a recurrent state."""
        return 2 * 4 * self.units

    @property
    def ideal(self) -> float:
        """Bytes of a step and its share of the one state stored in a period."""
        return self.raw_step + self.state / PERIOD


PROFILES = {
    "P1": Profile("P1", (8,), "float32", 64, 100_000, 64),
    "P2": Profile("P2", (64, 64, 1), "uint8", 256, 50_000, 32),
    "P3": Profile("P3", (84, 84, 1), "uint8", 512, 200_000, 64),
}


class Steps(NamedTuple):
    """T steps of N environments in lockstep."""

    observation: NDArray[Any]
    """``[T, N, *shape]``"""
    action: NDArray[np.int32]
    """int32[T, N]"""
    reward: NDArray[np.float32]
    """float32[T, N]"""
    ends: bool
    """Whether the episode of every environment terminates with the last of these steps."""
    hidden: NDArray[np.float32]
    """float32[T, N, units], before the observation was read."""
    cell: NDArray[np.float32]
    """The same."""
    final_observation: NDArray[Any]
    """``[N, *shape]``, the observation after the last of these steps."""


class Sequence(NamedTuple):
    """One sampled sequence of L rows; the row of a final observation has action 0 and reward 0."""

    observation: NDArray[Any]
    """``[L, *shape]``"""
    action: NDArray[Any]
    """``[L]``"""
    reward: NDArray[Any]
    """``[L]``"""
    hidden: NDArray[Any]
    """``[units]``, the stored state of the first row."""
    cell: NDArray[Any]
    """The same."""


def steps(profile: Profile, num_envs: int, first: int, count: int) -> Steps:
    """Steps ``first .. first + count - 1`` of every environment; ``count`` divides the episode and ``first``."""
    number, env = np.meshgrid(np.arange(first, first + count), np.arange(num_envs), indexing="ij")
    state = np.repeat(number.astype(np.float32)[..., None], profile.units, axis=-1)
    return Steps(
        observations(profile, number, env),
        actions(number, env),
        rewards(number),
        (first + count) % EPISODE == 0,
        state,
        -state,
        observations(profile, np.full(num_envs, first + count), np.arange(num_envs)),
    )


def observations(profile: Profile, number: NDArray[Any], env: NDArray[Any]) -> NDArray[Any]:
    """Observations ``[..., *shape]`` of the steps ``number`` of the environments ``env``, both ``[...]``."""
    size = int(np.prod(profile.shape))
    if profile.dtype == "float32":
        values = np.empty((*number.shape, size), np.float32)
        values[..., 0::2], values[..., 1::2] = number[..., None], env[..., None]
    else:
        values = np.empty((*number.shape, size), np.uint8)
        values[...] = ((number + env) % 251)[..., None]
        values[..., :8] = np.stack([number, env], axis=-1).astype(np.int32).view(np.uint8)
    return values.reshape(*number.shape, *profile.shape)


def actions(number: NDArray[Any], env: NDArray[Any]) -> NDArray[np.int32]:
    """Actions of the steps."""
    return ((number + env) % ACTIONS).astype(np.int32)


def rewards(number: NDArray[Any]) -> NDArray[np.float32]:
    """Rewards of the steps."""
    return (number % 997 + 1).astype(np.float32)


def check(profile: Profile, sequences: list[Sequence]) -> None:
    """That every sequence is a run of stored steps with the state of its first one, and that they are long enough.

    Raises:
        WrongBatch: one is not; the text says which and what.
    """
    if len(sequences) != profile.batch:
        raise WrongBatch(f"the batch has {len(sequences)} sequences, must have {profile.batch}")
    mean = float(np.mean([len(sequence.reward) for sequence in sequences]))
    if not 0.9 * ROWS <= mean <= ROWS:
        raise WrongBatch(f"sequences have {mean:.1f} rows on average, must have {ROWS}, or less at an episode's start")
    for place, sequence in enumerate(sequences):
        wrong = _what_is_wrong(profile, sequence)
        if wrong:
            raise WrongBatch(f"sequence {place} of the batch: {wrong}")


def _what_is_wrong(profile: Profile, sequence: Sequence) -> str | None:
    observation = np.ascontiguousarray(sequence.observation)
    length = len(observation)
    if observation.dtype != profile.dtype or observation.shape[1:] != profile.shape:
        return f"observations are {observation.dtype}{list(observation.shape[1:])}"
    flat = observation.reshape(length, -1)
    first, env = (int(value) for value in (flat[0, :2] if profile.dtype == "float32" else flat[0, :8].view(np.int32)))
    number, env_of_rows = np.arange(first, first + length), np.full(length, env)
    if not np.array_equal(observation, observations(profile, number, env_of_rows)):
        return f"observations are not those of steps {first} to {first + length - 1} of environment {env}"
    expected_action, expected_reward = actions(number, env_of_rows), rewards(number)
    if (first + length - 1) % EPISODE == 0 and sequence.reward[-1] == 0:  # a final observation
        expected_action[-1] = expected_reward[-1] = 0
    if not np.array_equal(sequence.action, expected_action):
        return "actions are not those of its observations"
    if not np.array_equal(sequence.reward, expected_reward):
        return "rewards are not those of its observations"
    for name, state, sign in (("hidden", sequence.hidden, 1), ("cell", sequence.cell, -1)):
        if state.shape != (profile.units,) or not (state == sign * first).all():
            return f"the {name} state is not that of its first step, {first}"
    return None
