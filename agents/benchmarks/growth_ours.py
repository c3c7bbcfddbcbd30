"""This software as the subject of the growth benchmark, on observations of eight numbers and an LSTM of 64 units."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from agents.acting import Actor, epsilon_greedy
from agents.benchmarks.growth_work import BATCH
from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_ours import network
from agents.benchmarks.recurrent_work import ACTIONS, FEATURES
from r2d2.learner import Learner
from r2d2.replay import SequenceGeometry, SequenceReplay
from r2d2.settings import LearnerSettings

Work = Callable[[], object]
_UNITS = 64
_EPISODE = 1000
_FILLING_ENVS = 64


class _Player:
    """Adds steps of a free environment to a replay; episodes of 1000 steps."""

    def __init__(self, geometry: SequenceGeometry, capacity: int, num_envs: int, units: int = _UNITS) -> None:
        zeros = np.zeros(units, np.float32)
        self.replay = SequenceReplay(
            spaces.Box(-np.inf, np.inf, (FEATURES,)),
            spaces.Discrete(ACTIONS),
            (zeros, zeros),
            geometry,
            capacity=capacity,
            num_envs=num_envs,
        )
        rng = np.random.default_rng(0)
        self.num_envs = num_envs
        self.observation = rng.standard_normal((num_envs, FEATURES)).astype(np.float32)
        self.state: Any = (np.zeros((num_envs, units), np.float32),) * 2
        self.action = rng.integers(ACTIONS, size=num_envs)
        self.reward = np.ones(num_envs, np.float32)
        self._never, self._always = np.zeros(num_envs, np.bool_), np.ones(num_envs, np.bool_)
        self._step = 0

    def add(self) -> None:
        """One step of every environment."""
        self._step += 1
        ended = self._always if self._step % _EPISODE == 0 else self._never
        self.replay.add(
            self.observation, self.action, self.reward, self._never, ended, self.state,
            final_observation=self.observation,
        )  # fmt: skip

    def fill(self) -> "_Player":
        """Until the buffer is full."""
        for _ in range(self.replay.capacity // self.num_envs + 1):
            self.add()
        return self


def prepare(growth: str, size: int, seconds: float) -> Prepared:
    """Everything at one size, ready to be timed; ``growth``: one of `growth_work.GROWTHS`."""
    measured = {"buffer": _buffer, "environments": _environments, "sequence": _sequence, "units": _units}[growth]

    def milliseconds(work: Work) -> float:
        return 1e3 * seconds_per_call(work, seconds)

    return Prepared({curve: functools.partial(milliseconds, work) for curve, work in measured(size).items()})


def _buffer(size: int) -> dict[str, Work]:
    player = _Player(SequenceGeometry(40, 80, 40, 1), size, min(_FILLING_ENVS, size // 1000)).fill()
    replay = player.replay
    rng = np.random.default_rng(0)
    keys = replay.keys()
    replay.update_priorities(keys, rng.uniform(0.1, 1.0, len(keys)))
    new = rng.uniform(0.1, 1.0, BATCH)
    return {
        "sample": lambda: replay.sample(BATCH),
        "priorities": lambda: replay.update_priorities(rng.choice(keys, BATCH), new),
        "add a step": player.add,
    }


def _environments(size: int) -> dict[str, Work]:
    shared = network(_UNITS)
    actor, learner = Actor(shared, size), Learner(shared, LearnerSettings())
    geometry = SequenceGeometry(16, 64, 32, 5)
    player = _Player(geometry, max(50_000, 2 * geometry.rows_needed * size), size).fill()
    epsilon, rng, first = np.full(size, 0.1), np.random.default_rng(0), np.zeros(size, np.bool_)

    def act() -> None:
        q_values, player.state = actor.q_values(player.observation, first)
        player.action = epsilon_greedy(q_values, epsilon, rng)
        player.add()
        actor.took(player.action, player.reward)

    def cycle() -> None:
        act()
        batch = player.replay.sample(BATCH)
        player.replay.update_priorities(batch.keys, learner.update(batch).priorities)
        actor.refresh()

    return {"act and store": act, "cycle with an update": cycle}


def _sequence(size: int) -> dict[str, Work]:
    replay = _Player(SequenceGeometry(size // 2, size, size // 2, 5), 50_000, 8).fill().replay
    learner = Learner(network(_UNITS), LearnerSettings())
    batch = replay.sample(BATCH)
    return {"sample": lambda: replay.sample(BATCH), "update": lambda: learner.update(batch)}


def _units(size: int) -> dict[str, Work]:
    batch = _Player(SequenceGeometry(10, 20, 10, 5), 10_000, 8, units=size).fill().replay.sample(BATCH)
    learner = Learner(network(size), LearnerSettings())
    return {"update": lambda: learner.update(batch)}
