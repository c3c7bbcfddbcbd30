"""A slow and obvious replay to compare the real one with: it keeps whole episodes as Python lists.

Data are made so that an index reads as a value. Step ``t`` of episode ``e`` of environment ``i`` has the
observation ``[i + 1, e + 1, t + 1]``, the recurrent state ``-[i + 1, e + 1, t + 1]``, and one number, its `stamp`,
as its action and (plus a half) its reward. No value is zero: zero is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from r2d2.replay import Batch, SequenceGeometry, SequenceReplay

MOST_STEPS = 1000  # of an episode
MOST_EPISODES = 100  # of an environment
ACTIONS = 1_000_000

TERMINATED, TRUNCATED, BOTH = (True, False), (False, True), (True, True)


def stamp(env: int, episode: int, step: int) -> int:
    """The three indices as one number: environment 2, episode 13, step 57 is 213_057."""
    assert env < 9
    assert episode < MOST_EPISODES
    assert step < MOST_STEPS - 1
    return env * MOST_EPISODES * MOST_STEPS + episode * MOST_STEPS + step


def observation_of(env: int, episode: int, step: int) -> list[int]:
    return [env + 1, episode + 1, step + 1]


def make_replay(geometry: SequenceGeometry, capacity: int, num_envs: int = 1, **options: Any) -> SequenceReplay:
    return SequenceReplay(
        spaces.Box(0, MOST_STEPS, (3,), np.int32),
        spaces.Discrete(ACTIONS),
        {"h": np.zeros(3, np.float32), "c": (np.zeros((), np.float64),)},
        geometry,
        capacity=capacity,
        num_envs=num_envs,
        **options,
    )


@dataclass
class Episode:
    """Steps ``0 .. length - 1``, whose contents are known from their indices; ``end`` is None while it is open."""

    number: int
    first_row: int
    length: int = 0
    end: tuple[bool, bool] | None = None


class Row(NamedTuple):
    """What a network reads and learns from at one step."""

    observation: list[int]
    previous_action: int
    previous_reward: float
    action: int
    reward: float
    terminated: bool
    truncated: bool


PADDING = Row([0, 0, 0], -1, 0.0, 0, 0.0, False, False)


@dataclass(frozen=True)
class Sequence_:
    """One sequence with everything that a batch says of it."""

    env: int
    episode: int
    start: int
    state: list[float]
    prefix: list[Row]
    unroll: list[Row]
    train_length: int

    @property
    def name(self) -> tuple[int, int, int]:
        """Environment, episode, first trained step."""
        return self.env, self.episode, self.start


@dataclass
class Ring:
    """All rows of one environment since the beginning; the newest ``rows_per_env`` are held."""

    rows_written: int = 0
    episodes: list[Episode] = field(default_factory=list)


class Oracle:
    """Follows what is added, and says which sequences a replay must hold, from the words of the design alone."""

    def __init__(self, geometry: SequenceGeometry, rows_per_env: int, num_envs: int) -> None:
        self.geometry = geometry
        self.rows_per_env = rows_per_env
        self.rings = [Ring() for _ in range(num_envs)]

    def add(self, env: int, end: tuple[bool, bool] | None) -> None:
        """One step of one environment; ``end`` is (terminated, truncated) of an episode's last step."""
        ring = self.rings[env]
        if not ring.episodes or ring.episodes[-1].end is not None:
            ring.episodes.append(Episode(len(ring.episodes), ring.rows_written))
        ring.episodes[-1].length += 1
        ring.rows_written += 1
        if end is not None:
            self.end(env, end)

    def end(self, env: int, end: tuple[bool, bool]) -> None:
        """The open episode ends after the steps it has; its final observation is one row more."""
        ring = self.rings[env]
        ring.episodes[-1].end = end
        ring.rows_written += 1

    def next_step(self, env: int) -> tuple[int, int]:
        """Episode and step that come next."""
        episodes = self.rings[env].episodes
        if not episodes or episodes[-1].end is not None:
            return len(episodes), 0
        return episodes[-1].number, episodes[-1].length

    def sequences(self) -> Iterator[Sequence_]:
        """Every sequence that is complete and of which all that it reads is still held."""
        for env, ring in enumerate(self.rings):
            oldest_held = ring.rows_written - self.rows_per_env
            for episode in ring.episodes:
                for start in self.starts(episode):
                    first = max(0, start - self.geometry.burn_in)
                    # Its first step's previous action and reward are in the row before.
                    oldest_read = episode.first_row + max(0, first - 1)
                    if oldest_read >= oldest_held:
                        yield self.sequence(env, episode, start)

    def starts(self, episode: Episode) -> Iterator[int]:
        """First trained steps of the complete sequences: one a period, until every step has been trained."""
        g = self.geometry
        trained: set[int] = set()
        start = 0
        while len(trained) < episode.length:
            wanted = range(start, start + g.train_length + g.n_step)
            if episode.end is None and wanted[-1] >= episode.length:
                return  # A row of it is still to come.
            yield start
            trained |= {t for t in range(start, start + g.train_length) if t < episode.length}
            start += g.train_length - g.overlap

    def sequence(self, env: int, episode: Episode, start: int) -> Sequence_:
        g = self.geometry
        prefix = [t for t in range(start - g.burn_in, start) if t >= 0]
        trained = [t for t in range(start, start + g.train_length) if t < episode.length]
        rows = [t for t in range(start, start + g.train_length + g.n_step) if t <= episode.length]
        first = min([*prefix, start])
        return Sequence_(
            env,
            episode.number,
            start,
            state=[-float(value) for value in observation_of(env, episode.number, first)],
            prefix=[self.row(env, episode, t) for t in prefix],
            unroll=[self.row(env, episode, t) for t in rows],
            train_length=len(trained),
        )

    def row(self, env: int, episode: Episode, t: int) -> Row:
        number = episode.number
        previous = (stamp(env, number, t - 1), stamp(env, number, t - 1) + 0.5) if t > 0 else (-1, 0.0)
        observation = observation_of(env, number, t)
        if t == episode.length:  # The final observation: no action was taken on it.
            return Row(observation, *previous, 0, 0.0, False, False)
        end = (False, False)
        if episode.end is not None and t == episode.length - 1:
            end = episode.end
        return Row(observation, *previous, stamp(env, number, t), stamp(env, number, t) + 0.5, *end)


class Play:
    """Adds the same steps to a replay and to the oracle."""

    def __init__(self, geometry: SequenceGeometry, rows_per_env: int, num_envs: int, **options: Any) -> None:
        self.replay = make_replay(geometry, rows_per_env * num_envs, num_envs, **options)
        self.oracle = Oracle(geometry, rows_per_env, num_envs)
        self.num_envs = num_envs

    def step(
        self,
        ends: Sequence[tuple[bool, bool] | None] | None = None,
        active: Sequence[bool] | None = None,
        priority: Any = None,
    ) -> np.ndarray:
        """One step of every active environment; ``ends`` holds (terminated, truncated) where an episode ends."""
        return add_step(self.replay, self.oracle, ends or [None] * self.num_envs, active, priority)

    def episode(self, length: int, end: tuple[bool, bool] = TERMINATED) -> np.ndarray:
        """An episode of ``length`` steps in every environment; returns the keys of its sequences."""
        keys = [self.step([end if t == length - 1 else None] * self.num_envs) for t in range(length)]
        return np.concatenate(keys)

    def end_episodes(self, mask: Sequence[bool]) -> np.ndarray:
        """Close open episodes as truncated."""
        keys = self.replay.end_episodes(np.array(mask), next_observations(self.oracle, self.num_envs))
        for env in np.flatnonzero(mask).tolist():
            if self.oracle.next_step(env)[1] > 0:
                self.oracle.end(env, TRUNCATED)
        return keys


def next_observations(oracle: Oracle, num_envs: int) -> np.ndarray:
    """int32[num_envs, 3], what each environment shows now."""
    return np.array([observation_of(env, *oracle.next_step(env)) for env in range(num_envs)], np.int32)


def add_step(
    replay: SequenceReplay,
    oracle: Oracle,
    ends: Sequence[tuple[bool, bool] | None],
    active: Sequence[bool] | None = None,
    priority: Any = None,
) -> np.ndarray:
    n = replay.num_envs
    steps = [oracle.next_step(env) for env in range(n)]
    stamps = np.array([stamp(env, *steps[env]) for env in range(n)])
    observation = next_observations(oracle, n)
    flags = np.array([end or (False, False) for end in ends])
    # A final observation is asked for where an episode ends, and must not be read elsewhere.
    ended = flags.any(axis=1)
    final = np.where(ended[:, None], observation + np.array([0, 0, 1]), 10**6)
    keys = replay.add(
        observation,
        stamps,
        stamps + 0.5,
        flags[:, 0],
        flags[:, 1],
        {"h": -observation.astype(np.float32), "c": (-observation[:, 2].astype(np.float64),)},
        final_observation=final if ended.any() else None,
        active=None if active is None else np.array(active),
        priority=priority,
    )
    for env in range(n):
        if active is None or active[env]:
            oracle.add(env, ends[env])
    return keys


def read(batch: Batch) -> list[Sequence_]:
    """The sequences of a batch, read from its valid rows; asserts on the way that the rest is exact padding."""
    found = []
    size = len(batch.keys)
    widest_prefix, widest_unroll = batch.prefix_length.max(initial=0), batch.unroll_length.max(initial=0)
    assert batch.prefix.observation.shape == (size, widest_prefix, 3)
    assert batch.unroll.observation.shape == (size, widest_unroll, 3)
    zeros = np.zeros((size, widest_prefix))
    for b in range(size):
        prefix = rows_of(batch.prefix, zeros, zeros, zeros > 0, zeros > 0, b)
        unroll = rows_of(batch.unroll, batch.action, batch.reward, batch.terminated, batch.truncated, b)
        prefix_length, unroll_length = int(batch.prefix_length[b]), int(batch.unroll_length[b])
        assert prefix[prefix_length:] == [PADDING] * (int(widest_prefix) - prefix_length)
        assert unroll[unroll_length:] == [PADDING] * (int(widest_unroll) - unroll_length)
        env, episode, step = unroll[0].observation
        state = batch.state["h"][b].tolist()
        assert batch.state["c"][0][b] == state[2]
        found.append(
            Sequence_(
                env - 1,
                episode - 1,
                step - 1,
                state,
                prefix[:prefix_length],
                unroll[:unroll_length],
                int(batch.train_length[b]),
            )
        )
    return found


def rows_of(inputs: Any, *columns_and_row: Any) -> list[Row]:
    *columns, b = columns_and_row
    arrays = [inputs.observation, inputs.previous_action, inputs.previous_reward, *columns]
    return [Row(*values) for values in zip(*(array[b].tolist() for array in arrays), strict=True)]


def without_actions(sequence: Sequence_) -> Sequence_:
    """As a batch shows it: a prefix is for reading only, it says nothing of its actions, rewards and ends."""
    prefix = [row._replace(action=0, reward=0.0, terminated=False, truncated=False) for row in sequence.prefix]
    return Sequence_(
        sequence.env,
        sequence.episode,
        sequence.start,
        sequence.state,
        prefix,
        sequence.unroll,
        sequence.train_length,
    )


def assert_same(replay: SequenceReplay, oracle: Oracle) -> None:
    """The replay holds the oracle's sequences, each once, and each is the same in every field."""
    keys = replay.keys()
    held = read(replay.get(keys)) if len(keys) else []
    expected = {s.name: without_actions(s) for s in oracle.sequences()}
    assert sorted(s.name for s in held) == sorted(expected)
    for sequence in held:
        assert sequence == expected[sequence.name]
    assert len(replay) == len(expected)
