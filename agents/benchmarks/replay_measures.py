"""How every replay is filled, checked and measured: the same for all of them."""

import contextlib
import ctypes
import gc
import itertools
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared, Task, WrongBatch, seconds_per_call
from agents.benchmarks.replay_data import EPISODE, PERIOD, PROFILES, Profile, Sequence, Steps, check, steps

ENVS = 16
"""Environments that the replay that is sampled from was filled from."""
_FILLED = 1.2
"""Steps added before measuring, over the capacity: the oldest have been overwritten."""
_BATCHES_UPDATED = 256
_SHARE_FOR_ONE_ENV = 10
"""The replay that steps of one environment are inserted into holds a tenth: it is filled from one environment too."""


class Replay(Protocol):
    """A replay of sequences."""

    prioritized: bool
    """Whether sequences are drawn in proportion to priorities, with importance weights."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""

    @property
    def num_steps(self) -> int:
        """Steps held."""

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        """Add steps, each by itself as an agent plays them, or together by whatever takes them together."""

    def sample(self) -> Any:
        """A batch, in the form in which this replay hands it out."""

    def sequences(self, batch: Any) -> list[Sequence]:
        """The batch taken apart."""

    def sampled(self) -> Any:
        """What names the sequences of the latest batch, an array."""

    def everything(self) -> Any:
        """What names all sequences that can be drawn, an array."""

    def set_priorities(self, names: Any, priorities: NDArray[np.float64]) -> None:
        """Set the priorities of sequences."""


def prepare_replay(
    make: Callable[[Profile, int, int], Replay],
    *,
    profile: str,
    capacity: int | None,
    seconds: float,
    for_learner: Callable[[Any], object] = lambda batch: batch,
    note: str = "",
) -> Prepared:
    """Fill and check a replay.

    Args:
        make: gives an empty one for a profile, a number of environments and a capacity in steps.
        profile: one of `PROFILES`.
        capacity: steps held; None for the profile's own.
        seconds: least time of a round.
        for_learner: brings a batch into the form that the learner takes.
        note: see `Prepared`.

    Raises:
        WrongBatch: it samples something else than what was put into it, or not in proportion to priorities.
    """
    size = PROFILES[profile]
    held = size.capacity if capacity is None else capacity
    replay, resident = filled_and_weighed(make, size, held)
    for _ in range(3):
        check(size, replay.sequences(replay.sample()))
    if replay.prioritized:
        check_priorities(replay)
    alone = make(size, 1, max(held // _SHARE_FOR_ONE_ENV, 2 * EPISODE))
    fill(alone, size, 1, held // _SHARE_FOR_ONE_ENV)

    tasks: dict[str, Task] = {
        "batch for the learner": lambda: 1 / seconds_per_call(lambda: for_learner(replay.sample()), seconds),
        "sample alone": lambda: 1 / seconds_per_call(replay.sample, seconds),
        "memory": lambda: {
            "memory, resident": resident / (size.ideal * replay.num_steps),
            "memory, arrays": replay.nbytes / (size.ideal * replay.num_steps),
        },
    }
    if replay.prioritized:
        tasks["priority update"] = priority_update(replay, size.batch, seconds)
    for num_envs, buffer in ((1, alone), (ENVS, replay)):
        insert = Insertion(buffer, size, num_envs, seconds)
        tasks[f"insert, {num_envs} env, steps"] = insert.one_by_one
        tasks[f"insert, {num_envs} env, chunks"] = insert.together
    return Prepared(tasks, note=note)


def filled_and_weighed(
    make: Callable[[Profile, int, int], Replay], profile: Profile, capacity: int
) -> tuple[Replay, int]:
    """A filled replay, and the bytes by which it made the process larger.

    A small one is filled before: the code that is compiled or loaded when a replay is first used is no memory of steps.
    Nor are the steps that are yet to be added.
    """
    fill(make(profile, 1, 2 * EPISODE), profile, 1, EPISODE)
    steps(profile, ENVS, 0, PERIOD)
    before = _resident_without_what_is_free()
    replay = make(profile, ENVS, capacity)
    fill(replay, profile, ENVS, capacity)
    return replay, _resident_without_what_is_free() - before


def _resident_without_what_is_free() -> int:
    """Bytes; memory that the process holds, but that is free, is given back before."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # GNU's C library only
        ctypes.CDLL(None).malloc_trim(0)
    return resident_bytes()


def fill(replay: Replay, profile: Profile, num_envs: int, capacity: int) -> None:
    """Add whole episodes until the oldest steps have been overwritten.

    The last one comes step by step: what a replay uses for that only is memory too.
    """
    episodes = max(2, -(-int(_FILLED * capacity / num_envs) // EPISODE))
    for first in range(0, episodes * EPISODE, PERIOD):
        replay.insert(steps(profile, num_envs, first, PERIOD), one_by_one=first >= (episodes - 1) * EPISODE)


def check_priorities(replay: Replay) -> None:
    """That one sequence of great priority is nearly all that is drawn; afterwards priorities lie in 0.1 .. 1.

    Raises:
        WrongBatch: it is not.
    """
    names = np.asarray(replay.everything())
    replay.set_priorities(names, np.full(len(names), 1e-7))
    replay.set_priorities(names[-1:], np.ones(1))
    replay.sample()
    share = float(np.mean(np.asarray(replay.sampled()) == names[-1]))
    if share < 0.9:
        raise WrongBatch(f"a sequence of a hundred thousand times the priority of all others is {share:.0%} of a batch")
    replay.set_priorities(names, np.random.default_rng(0).uniform(0.1, 1.0, len(names)))
    replay.sample()


def priority_update(replay: Replay, batch: int, seconds: float) -> Task:
    """Microseconds for a batch; ever the same sequences would stay in the processor's cache."""
    rng = np.random.default_rng(1)
    new = rng.uniform(0.1, 1.0, batch)
    batches = itertools.cycle(rng.choice(np.asarray(replay.everything()), size=(_BATCHES_UPDATED, batch)))
    return lambda: 1e6 * seconds_per_call(lambda: replay.set_priorities(next(batches), new), seconds)


class Insertion:
    """Playing on: chunks of one period, the last of every episode ending it."""

    def __init__(self, replay: Replay, profile: Profile, num_envs: int, seconds: float) -> None:
        self._replay = replay
        self._seconds = seconds
        self._steps = num_envs * PERIOD
        chunk = steps(profile, num_envs, 0, PERIOD)
        last = EPISODE // PERIOD - 1
        self._chunks = itertools.cycle(chunk._replace(ends=number == last) for number in range(last + 1))

    def one_by_one(self) -> float:
        """Steps per second."""
        return self._rate(one_by_one=True)

    def together(self) -> float:
        """Steps per second."""
        return self._rate(one_by_one=False)

    def _rate(self, *, one_by_one: bool) -> float:
        return self._steps / seconds_per_call(
            lambda: self._replay.insert(next(self._chunks), one_by_one=one_by_one), self._seconds
        )


def resident_bytes() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
