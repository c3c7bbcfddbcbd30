"""Laws 4, 6, 7, 8, and law 1 as far as it is the replay's: what is stored and handed out is what was played.

The oracle (`replay_oracle`) keeps whole episodes as lists and derives every sequence from the design's words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from replay_oracle import BOTH, TERMINATED, TRUNCATED, Play, assert_same, read, stamp

from r2d2.replay import SequenceGeometry, SequenceReplay

ENDS = (TERMINATED, TRUNCATED, BOTH)


@st.composite
def geometries(draw: Any) -> SequenceGeometry:
    train_length = draw(st.integers(1, 6), label="train_length")
    return SequenceGeometry(
        burn_in=draw(st.sampled_from([0, 1, 2, 3, 5, 9]), label="burn_in"),
        train_length=train_length,
        overlap=draw(st.integers(0, train_length - 1), label="overlap"),
        n_step=draw(st.integers(1, 6), label="n_step"),
    )


episode_lengths = st.lists(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11, 16, 23, 70]), min_size=1, max_size=6)
ends_of_episodes = st.lists(st.sampled_from(ENDS), min_size=1, max_size=4)


def lengths_and_ends(play: Play, lengths: list[int], ends: list[tuple[bool, bool]], env: int) -> Any:
    """The end of the step that comes next, or None: environments take the same lists, each from another place."""
    episode, step = play.oracle.next_step(env)
    at = episode + 2 * env
    return ends[at % len(ends)] if step + 1 == lengths[at % len(lengths)] else None


def names(play: Play) -> set[tuple[int, int, int]]:
    return {sequence.name for sequence in play.oracle.sequences()}


class TestAnyPlay:
    """Random geometries, episode lengths, ends, numbers of environments, active rows, and rings that overflow."""

    @settings(max_examples=200)
    @given(
        geometry=geometries(),
        spare_rows=st.sampled_from([0, 1, 2, 5, 13, 40]),
        num_envs=st.integers(1, 3),
        lengths=episode_lengths,
        ends=ends_of_episodes,
        idle=st.lists(st.integers(0, 9), max_size=4),
        stops=st.lists(st.integers(0, 9), max_size=3),
        steps=st.integers(1, 90),
    )
    @example(SequenceGeometry(0, 1, 0, 1), 0, 1, [1], [BOTH], [], [], 9)
    @example(SequenceGeometry(0, 1, 0, 1), 0, 1, [3], [TERMINATED], [], [], 3)
    @example(SequenceGeometry(9, 1, 0, 6), 0, 2, [70], [TRUNCATED], [1, 2], [3], 90)
    @example(SequenceGeometry(5, 6, 5, 6), 40, 3, [1, 70, 2], [TERMINATED], [], [], 90)
    def test_the_replay_holds_the_sequences_of_the_rows_held_and_no_others(
        self,
        geometry: SequenceGeometry,
        spare_rows: int,
        num_envs: int,
        lengths: list[int],
        ends: list[tuple[bool, bool]],
        idle: list[int],
        stops: list[int],
        steps: int,
    ) -> None:
        play = Play(geometry, geometry.rows_needed + spare_rows, num_envs)
        held = names(play)
        for time in range(steps):
            active = [(time + 3 * env) % 10 not in idle for env in range(num_envs)]
            keys = play.step([lengths_and_ends(play, lengths, ends, env) for env in range(num_envs)], active)
            if time % 10 in stops:
                keys = np.concatenate([keys, play.end_episodes([env != time % 3 for env in range(num_envs)])])
            before, held = held, names(play)
            # The keys returned are those of the sequences that this step completed.
            entered = held - before
            still_held = keys[np.isin(keys, play.replay.keys())]
            assert sorted(s.name for s in read_all(play.replay, still_held)) == sorted(entered)
            assert len(play.replay) == len(held)
            if time % 9 == 0:
                assert_same(play.replay, play.oracle)
        assert_same(play.replay, play.oracle)

    @settings(max_examples=60)
    @given(geometry=geometries(), lengths=episode_lengths, end=st.sampled_from(ENDS))
    def test_every_step_of_every_episode_is_a_trained_step_of_some_sequence(
        self, geometry: SequenceGeometry, lengths: list[int], end: tuple[bool, bool]
    ) -> None:
        play = Play(geometry, 1000, 1)
        for length in lengths:
            play.episode(length, end)
        trained = [
            (s.episode, s.start + i) for s in read(play.replay.get(play.replay.keys())) for i in range(s.train_length)
        ]
        assert set(trained) == {(episode, t) for episode, length in enumerate(lengths) for t in range(length)}
        if geometry.overlap == 0:
            assert len(trained) == sum(lengths)

    @settings(max_examples=60)
    @given(geometry=geometries(), spare_rows=st.integers(0, 30), lengths=episode_lengths, steps=st.integers(5, 80))
    def test_every_step_far_enough_from_both_ends_of_the_ring_is_trained(
        self, geometry: SequenceGeometry, spare_rows: int, lengths: list[int], steps: int
    ) -> None:
        rows = geometry.rows_needed + spare_rows
        play = Play(geometry, rows, 1)
        written: list[tuple[int, int] | None] = []  # (episode, step) of each row, None: a final observation.
        for _ in range(steps):
            step, end = play.oracle.next_step(0), lengths_and_ends(play, lengths, [TERMINATED], 0)
            written += [step, None] if end else [step]
            play.step([end])
        # A sequence that trains a step starts less than train_length before it. It reads its prefix and one row
        # before that, which may be overwritten, and is complete with the last row of its lookahead.
        overwritten = max(0, len(written) - rows)
        oldest = overwritten and overwritten + geometry.train_length + geometry.burn_in
        newest = len(written) - (geometry.unroll_rows - 1)
        safe = {row for row in written[oldest : max(oldest, newest)] if row is not None}
        held = read_all(play.replay, play.replay.keys())
        assert safe <= {(s.episode, s.start + i) for s in held for i in range(s.train_length)}

    @settings(max_examples=60)
    @given(geometry=geometries(), lengths=episode_lengths, end=st.sampled_from(ENDS), num_envs=st.integers(1, 3))
    def test_no_sequence_crosses_the_boundary_of_an_episode(
        self, geometry: SequenceGeometry, lengths: list[int], end: tuple[bool, bool], num_envs: int
    ) -> None:
        play = Play(geometry, 90, num_envs)
        for _ in range(80):
            play.step([lengths_and_ends(play, lengths, [end], env) for env in range(num_envs)])
        for sequence in read_all(play.replay, play.replay.keys()):
            rows = sequence.prefix + sequence.unroll
            first = sequence.start - len(sequence.prefix)
            assert [row.observation for row in rows] == [
                [sequence.env + 1, sequence.episode + 1, t + 1] for t in range(first, first + len(rows))
            ]
            # Nothing follows an end but the final observation.
            assert not any(row.terminated or row.truncated for row in rows[:-2])
            assert len(rows) < 2 or not rows[-2].terminated or (rows[-1].action, rows[-1].reward) == (0, 0)

    @settings(max_examples=60)
    @given(geometry=geometries(), lengths=episode_lengths)
    def test_a_state_is_that_of_the_sequence_first_step(self, geometry: SequenceGeometry, lengths: list[int]) -> None:
        play = Play(geometry, 1000, 2)
        for length in lengths:
            play.episode(length)
        batch = play.replay.get(play.replay.keys())
        for b in range(len(batch.keys)):
            inputs = batch.prefix if batch.prefix_length[b] else batch.unroll
            np.testing.assert_array_equal(batch.state["h"][b], -inputs.observation[b, 0].astype(np.float32))

    @settings(max_examples=60)
    @given(geometry=geometries(), lengths=episode_lengths)
    def test_a_sequence_that_starts_an_episode_has_no_prefix_and_the_first_state(
        self, geometry: SequenceGeometry, lengths: list[int]
    ) -> None:
        play = Play(geometry, 1000, 1)
        for length in lengths:
            play.episode(length)
        starting = [s for s in read(play.replay.get(play.replay.keys())) if s.start == 0]
        assert [s.episode for s in starting] == list(range(len(lengths)))
        for sequence in starting:
            assert sequence.prefix == []
            assert sequence.state == [-1, -(sequence.episode + 1), -1]

    @settings(max_examples=60)
    @given(geometry=geometries(), lengths=episode_lengths, rows=st.sampled_from([30, 1000]))
    def test_previous_action_and_reward_are_those_of_the_step_before_or_none_at_an_episode_start(
        self, geometry: SequenceGeometry, lengths: list[int], rows: int
    ) -> None:
        play = Play(geometry, rows, 1)
        for length in lengths:
            play.episode(length)
        for sequence in read_all(play.replay, play.replay.keys()):
            first = sequence.start - len(sequence.prefix)
            for t, row in enumerate(sequence.prefix + sequence.unroll, start=first):
                if t == 0:
                    assert (row.previous_action, row.previous_reward) == (-1, 0)
                else:
                    before = stamp(0, sequence.episode, t - 1)
                    assert (row.previous_action, row.previous_reward) == (before, before + 0.5)


def read_all(replay: SequenceReplay, keys: np.ndarray) -> list[Any]:
    return read(replay.get(keys)) if len(keys) else []


class TestOneEpisodeByEye:
    """burn_in 2, train_length 4, overlap 2, n_step 1: an episode of 7 steps, F its final observation.

    step          0  1  2  3  4  5  6  F
    sequence 0    T  T  T  T  L
    sequence 1    b  b  T  T  T  T  L
    sequence 2          b  b  T  T  T  L
    """

    def play(self) -> Any:
        replay = SequenceReplay(
            spaces.Discrete(1000),
            spaces.Discrete(100),
            np.zeros((), np.float32),
            SequenceGeometry(burn_in=2, train_length=4, overlap=2, n_step=1),
            capacity=50,
        )
        keys: list[int] = []
        for t in range(7):
            # Observations 100, 101, .. 106, then 107; actions 50, 51, ..; rewards 10, 11, ..; states 0, 1, ..
            last = t == 6
            keys += replay.add(
                [100 + t],
                [50 + t],
                [10.0 + t],
                [last],
                [False],
                np.array([t], np.float32),
                final_observation=[107] if last else None,
            ).tolist()
        return replay.get(keys)

    def test_observations(self) -> None:
        batch = self.play()
        assert batch.prefix_length.tolist() == [0, 2, 2]
        assert batch.prefix.observation.tolist() == [[0, 0], [100, 101], [102, 103]]
        assert batch.unroll_length.tolist() == [5, 5, 4]
        assert batch.unroll.observation.tolist() == [
            [100, 101, 102, 103, 104],
            [102, 103, 104, 105, 106],
            [104, 105, 106, 107, 0],
        ]

    def test_trained_steps(self) -> None:
        assert self.play().train_length.tolist() == [4, 4, 3]

    def test_states(self) -> None:
        assert self.play().state.tolist() == [0, 0, 2]

    def test_previous_actions_and_rewards(self) -> None:
        batch = self.play()
        assert batch.prefix.previous_action.tolist() == [[-1, -1], [-1, 50], [51, 52]]
        assert batch.prefix.previous_reward.tolist() == [[0, 0], [0, 10], [11, 12]]
        assert batch.unroll.previous_action.tolist() == [
            [-1, 50, 51, 52, 53],
            [51, 52, 53, 54, 55],
            [53, 54, 55, 56, -1],
        ]
        assert batch.unroll.previous_reward.tolist() == [
            [0, 10, 11, 12, 13],
            [11, 12, 13, 14, 15],
            [13, 14, 15, 16, 0],
        ]

    def test_actions_rewards_and_ends(self) -> None:
        batch = self.play()
        assert batch.action.tolist() == [[50, 51, 52, 53, 54], [52, 53, 54, 55, 56], [54, 55, 56, 0, 0]]
        assert batch.reward.tolist() == [[10, 11, 12, 13, 14], [12, 13, 14, 15, 16], [14, 15, 16, 0, 0]]
        f = False
        assert batch.terminated.tolist() == [[f, f, f, f, f], [f, f, f, f, True], [f, f, True, f, f]]
        assert not batch.truncated.any()

    def test_dtypes(self) -> None:
        batch = self.play()
        dtypes = {name: value.dtype.name for name, value in batch._asdict().items() if isinstance(value, np.ndarray)}
        assert dtypes == {
            "keys": "int64",
            "importance_weights": "float32",
            "state": "float32",
            "prefix_length": "int32",
            "unroll_length": "int32",
            "train_length": "int32",
            "action": "int32",
            "reward": "float32",
            "terminated": "bool",
            "truncated": "bool",
        }
        for inputs in (batch.prefix, batch.unroll):
            assert inputs.observation.dtype == np.int64
            assert inputs.previous_action.dtype == np.int32
            assert inputs.previous_reward.dtype == np.float32


class TestEnds:
    """What a batch says of an episode's end, and of a sequence that is complete when its episode goes on."""

    @pytest.mark.parametrize("end", ENDS)
    def test_both_flags_are_kept_as_given(self, end: tuple[bool, bool]) -> None:
        play = Play(SequenceGeometry(0, 3, 0, 1), 20, 1)
        play.episode(2, end)
        (sequence,) = read(play.replay.get(play.replay.keys()))
        assert [(row.terminated, row.truncated) for row in sequence.unroll] == [(False, False), end, (False, False)]

    def test_a_one_step_episode_is_one_trained_step_and_its_final_observation(self) -> None:
        play = Play(SequenceGeometry(4, 5, 2, 3), 20, 1)
        play.episode(1)
        (sequence,) = read(play.replay.get(play.replay.keys()))
        assert sequence.train_length == 1
        assert [row.observation for row in sequence.unroll] == [[1, 1, 1], [1, 1, 2]]

    def test_an_open_episode_gives_a_sequence_once_its_lookahead_is_there(self) -> None:
        play = Play(SequenceGeometry(2, 4, 2, 3), 40, 1)
        completed = [len(play.step()) for _ in range(12)]
        # 4 trained steps and 3 of lookahead: the 7th step completes the first, then one comes every 2 steps.
        assert completed == [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0]

    def test_closing_an_episode_by_hand_is_the_same_as_truncating_it_at_its_last_step(self) -> None:
        geometry = SequenceGeometry(2, 4, 1, 2)
        for length in range(1, 20):
            by_hand, by_flag = Play(geometry, 60, 1), Play(geometry, 60, 1)
            for _ in range(length):
                by_hand.step()
            by_hand.end_episodes([True])
            by_flag.episode(length, TRUNCATED)
            assert read(by_hand.replay.get(by_hand.replay.keys())) == read(by_flag.replay.get(by_flag.replay.keys()))

    def test_an_environment_that_ends_leaves_the_others_alone(self) -> None:
        play = Play(SequenceGeometry(1, 2, 0, 1), 40, 2)
        for t in range(6):
            play.step([TERMINATED if t % 2 else None, None])
        found = sorted(s.name for s in read(play.replay.get(play.replay.keys())))
        # Environment 0: three episodes of two steps. Environment 1: one open episode, its sequences at 0 and 2.
        assert found == [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0), (1, 0, 2)]

    def test_an_idle_environment_makes_no_step(self) -> None:
        play = Play(SequenceGeometry(1, 2, 0, 1), 40, 2)
        for _ in range(4):
            play.step(active=[True, False])
        play.step()
        assert play.replay.num_steps == 6
        assert [s.name for s in read(play.replay.get(play.replay.keys()))] == [(0, 0, 0), (0, 0, 2)]


class TestStoredOnce:
    """Law 8: a step is stored once, however many sequences share it, at the dtype of its space."""

    def replay(self, overlap: int) -> SequenceReplay:
        return SequenceReplay(
            spaces.Box(0, 255, (50, 50), np.uint8),
            spaces.Discrete(4),
            (),
            SequenceGeometry(burn_in=10, train_length=8, overlap=overlap, n_step=2),
            capacity=200,
        )

    def fill(self, replay: SequenceReplay) -> None:
        zero = np.zeros((1, 50, 50), np.uint8)
        for t in range(400):
            end = t % 100 == 99
            replay.add(zero + t % 100, [0], [0.0], [end], [False], (), final_observation=zero if end else None)

    def test_sharing_steps_costs_no_frames(self) -> None:
        apart, shared = self.replay(overlap=0), self.replay(overlap=7)
        self.fill(apart)
        self.fill(shared)
        # Eight times as many sequences, each of up to 20 frames ..
        assert len(shared) > 6 * len(apart)
        # .. in the memory of less than ten frames more.
        assert shared.nbytes < apart.nbytes + 10 * 50 * 50

    def test_memory_is_that_of_the_rows(self) -> None:
        replay = self.replay(overlap=4)
        self.fill(replay)
        assert 200 * 50 * 50 <= replay.nbytes < 1.05 * 200 * 50 * 50

    def test_the_ring_holds_as_many_rows_as_it_was_given(self) -> None:
        for overlap in (0, 3, 7):
            replay = self.replay(overlap)
            self.fill(replay)
            # Episodes of 100 steps take 101 rows. The last 200 rows are an episode of 101 and 99 of the one before:
            # 100 steps, F, and 98 steps, F.
            assert replay.num_steps == 100 + 98

    def test_a_copy_is_stored(self) -> None:
        replay = self.replay(overlap=0)
        frame = np.zeros((1, 50, 50), np.uint8)
        for t in range(10):
            frame[:] = t
            replay.add(frame, [0], [0.0], [t == 9], [False], (), final_observation=frame)
        np.testing.assert_array_equal(replay.get(replay.keys()[:1]).unroll.observation[0, :8, 0, 0], range(8))


def test_a_capacity_that_environments_cannot_share_evenly_is_rounded_down() -> None:
    play = Play(SequenceGeometry(0, 2, 0, 1), 10, 3)
    replay = SequenceReplay(spaces.Discrete(10), spaces.Discrete(2), (), play.replay.geometry, capacity=32, num_envs=3)
    assert play.replay.capacity == 30
    assert replay.capacity == 30


@settings(max_examples=60)
@given(geometry=geometries(), lengths=episode_lengths, seed=st.integers(0, 5))
def test_sampled_sequences_are_the_same_as_those_looked_up(
    geometry: SequenceGeometry, lengths: list[int], seed: int
) -> None:
    play = Play(geometry, 60, 2, seed=seed)
    for _ in range(40):
        play.step([lengths_and_ends(play, lengths, [TERMINATED], env) for env in range(2)])
    assume(play.replay.can_sample())
    batch = play.replay.sample(7)
    looked_up = play.replay.get(batch.keys)
    assert read(batch) == read(looked_up)
