"""A buffer that is written out and read back goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_oracle import BOTH, TERMINATED, TRUNCATED, Play, add_step, assert_same, make_replay, read

from r2d2.replay import Batch, SequenceGeometry, SequenceReplay

ENDS = (TERMINATED, TRUNCATED, BOTH)
GEOMETRY = SequenceGeometry(burn_in=2, train_length=4, overlap=1, n_step=2)


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def identical(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return set(one) == set(other) and all(
        array.dtype == other[name].dtype
        and array.shape == other[name].shape
        and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )


def random_steps(play: Play, rng: np.random.Generator, steps: int, long: float = 0.15) -> None:
    for _ in range(steps):
        ends = [ENDS[rng.integers(3)] if rng.random() < long else None for _ in range(play.num_envs)]
        play.step(ends, rng.random(play.num_envs) < 0.9, rng.exponential() if rng.random() < 0.5 else None)
        if play.replay.can_sample() and rng.random() < 0.5:
            learn(play.replay, rng)


def learn(replay: SequenceReplay, rng: np.random.Generator) -> Batch:
    batch = replay.sample(5)
    replay.update_priorities(batch.keys, rng.exponential(size=5))
    return batch


def assert_same_batch(one: Batch, other: Batch) -> None:
    assert one.keys.tobytes() == other.keys.tobytes()
    assert one.importance_weights.tobytes() == other.importance_weights.tobytes()
    assert read(one) == read(other)


class TestRoundTrip:
    @settings(max_examples=40)
    @given(
        lengths=st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 4)),
        spare_rows=st.integers(0, 40),
        num_envs=st.integers(1, 3),
        steps=st.integers(0, 70),
        long=st.sampled_from([0.02, 0.15, 0.7]),
        seed=st.integers(0, 1000),
    )
    def test_further_steps_draws_and_updates_are_the_same(
        self, lengths: tuple[int, int, int], spare_rows: int, num_envs: int, steps: int, long: float, seed: int
    ) -> None:
        burn_in, train_length, n_step = lengths
        geometry = SequenceGeometry(burn_in, train_length, seed % train_length, n_step)
        play = Play(geometry, geometry.rows_needed + spare_rows, num_envs, seed=seed)
        random_steps(play, np.random.default_rng(seed), steps, long)

        state = through_a_file(play.replay.get_state())
        restored = make_replay(geometry, play.replay.capacity, num_envs, seed=seed + 1)
        restored.set_state(state)
        assert identical(restored.get_state(), state)
        assert restored.check_consistency() == []
        assert_same(restored, play.oracle)
        for name in ("num_steps", "dropped_updates", "nbytes", "capacity"):
            assert getattr(restored, name) == getattr(play.replay, name)

        # Both are given the same from here on; the oracle follows the first.
        rng, same = np.random.default_rng(seed + 2), np.random.default_rng(seed + 3)
        again = np.random.default_rng(seed + 3)
        for _ in range(30):
            ends = [ENDS[rng.integers(3)] if rng.random() < long else None for _ in range(num_envs)]
            before = [play.oracle.next_step(env) for env in range(num_envs)]
            frozen = FrozenOracle(before)
            keys = add_step(restored, frozen, ends)  # type: ignore[arg-type]
            assert keys.tolist() == play.step(ends).tolist()
            if play.replay.can_sample():
                assert_same_batch(learn(play.replay, same), learn(restored, again))
        assert identical(restored.get_state(), play.replay.get_state())
        assert_same(restored, play.oracle)

    def test_no_array_holds_objects(self) -> None:
        play = Play(GEOMETRY, 30, 2)
        random_steps(play, np.random.default_rng(0), 50)
        assert {array.dtype.kind for array in play.replay.get_state().values()} <= set("iufbU")

    def test_of_a_buffer_that_holds_nothing(self) -> None:
        play = Play(GEOMETRY, 30, 2)
        play.replay.set_state(through_a_file(play.replay.get_state()))
        random_steps(play, np.random.default_rng(0), 50)
        assert_same(play.replay, play.oracle)

    def test_of_nested_spaces_and_states(self) -> None:
        space = spaces.Dict({"a": spaces.Tuple((spaces.Discrete(5, start=1), spaces.MultiBinary(2)))})

        def make() -> SequenceReplay:
            state = [np.zeros(2, np.float32), {"x": np.zeros((), np.int64)}]
            return SequenceReplay(space, spaces.MultiDiscrete([2, 3]), state, GEOMETRY, capacity=40)

        source, target = make(), make()
        for t in range(11):
            seen = {"a": (np.array([1 + t % 5]), np.array([[t % 2, 1]]))}
            state = [np.full((1, 2), t, np.float32), {"x": np.array([t])}]
            source.add(seen, [[t % 2, t % 3]], [t / 4], [t == 6], [False], state, final_observation=seen)
        target.set_state(through_a_file(source.get_state()))
        keys = source.keys()
        one, other = source.get(keys), target.get(keys)
        assert one.state[1]["x"].tolist() == other.state[1]["x"].tolist()
        assert one.action.tolist() == other.action.tolist()
        for i in range(2):
            assert one.unroll.observation["a"][i].tolist() == other.unroll.observation["a"][i].tolist()

    def test_without_a_state(self) -> None:
        def make() -> SequenceReplay:
            return SequenceReplay(spaces.Discrete(50), spaces.Discrete(2), (), GEOMETRY, capacity=40)

        source, target = make(), make()
        for t in range(20):
            source.add([t], [0], [0.0], [t == 7], [False], (), final_observation=[49])
        target.set_state(through_a_file(source.get_state()))
        assert target.get(target.keys()).unroll.observation.tolist() == (
            source.get(source.keys()).unroll.observation.tolist()
        )


class FrozenOracle:
    """Lets `add_step` repeat a step without following it."""

    def __init__(self, steps: list[tuple[int, int]]) -> None:
        self._steps = steps

    def next_step(self, env: int) -> tuple[int, int]:
        return self._steps[env]

    def add(self, env: int, end: Any) -> None:
        pass


class TestGrownTables:
    """Short episodes give more sequences than a buffer makes room for at first."""

    def many(self) -> Play:
        play = Play(SequenceGeometry(0, 40, 0, 1), 200, 1)
        for _ in range(90):
            play.episode(1)
        return play

    def few(self) -> Play:
        play = Play(SequenceGeometry(0, 40, 0, 1), 200, 1)
        play.episode(50)
        return play

    def test_the_one_has_grown_and_the_other_not(self) -> None:
        assert self.many().replay.nbytes > self.few().replay.nbytes

    @pytest.mark.parametrize(("source", "target"), [("many", "few"), ("few", "many"), ("many", "many")])
    def test_either_takes_the_place_of_the_other(self, source: str, target: str) -> None:
        from_play, to_play = getattr(self, source)(), getattr(self, target)()
        to_play.replay.set_state(through_a_file(from_play.replay.get_state()))
        to_play.oracle = from_play.oracle
        assert to_play.replay.nbytes == from_play.replay.nbytes
        assert_same(to_play.replay, to_play.oracle)
        for _ in range(3):
            to_play.episode(3)
            to_play.episode(60)
        assert_same(to_play.replay, to_play.oracle)
        assert to_play.replay.check_consistency() == []


class TestIndependence:
    def test_a_state_does_not_change_when_its_buffer_goes_on(self) -> None:
        play = Play(GEOMETRY, 30, 2)
        rng = np.random.default_rng(1)
        random_steps(play, rng, 40)
        state = play.replay.get_state()
        copy = {name: array.copy() for name, array in state.items()}
        random_steps(play, rng, 40)
        assert identical(state, copy)

    def test_a_buffer_does_not_change_when_the_state_it_was_given_does(self) -> None:
        play = Play(GEOMETRY, 30, 2)
        random_steps(play, np.random.default_rng(1), 40)
        state = play.replay.get_state()
        play.replay.set_state(state)
        for name, array in state.items():
            if name not in ("configuration", "random"):
                array[...] = 0
        assert_same(play.replay, play.oracle)
        assert play.replay.check_consistency() == []

    def test_a_buffer_given_a_state_forgets_its_own_keys_and_counts(self) -> None:
        first, second = Play(GEOMETRY, 30, 1), Play(GEOMETRY, 30, 1)
        for _ in range(12):
            first.episode(4)
        second.episode(4)
        first.replay.update_priorities(np.array([-1]), [1.0])
        assert first.replay.dropped_updates == 1
        first.replay.set_state(second.replay.get_state())
        assert first.replay.dropped_updates == 0
        assert first.replay.keys().tolist() == second.replay.keys().tolist()
        assert first.replay.num_steps == 4

    def test_the_importance_exponent_is_no_part_of_it(self) -> None:
        """It changes no number held, so a run may be resumed with another."""
        play = Play(GEOMETRY, 30, 1, importance_exponent=0.6)
        play.episode(4, TERMINATED)
        other = make_replay(GEOMETRY, 30, importance_exponent=0.0)
        other.set_state(play.replay.get_state())
        assert_same(other, play.oracle)
