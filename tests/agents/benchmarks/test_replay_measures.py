"""Replays are filled, checked and measured all alike; one that cheats is caught before it is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from agents.benchmarks import replay_measures, replay_memory_copy, replay_numpy, replay_ours
from agents.benchmarks.learner_form import tensors
from agents.benchmarks.prepared import WrongBatch
from agents.benchmarks.replay_data import EPISODE, PERIOD, PROFILES, ROWS, Profile, check, steps
from agents.benchmarks.replay_measures import ENVS, Insertion, check_priorities, fill, prepare_replay
from agents.benchmarks.replay_numpy import NumpyRing
from agents.benchmarks.replay_ours import Ours, OursCollected
from r2d2.learner import batch_signature
from r2d2.replay import SequenceReplay, StepCollector

P1 = PROFILES["P1"]
CAPACITY = 32_000
"""Two episodes of each environment."""
every_replay = pytest.mark.parametrize("make", [Ours, OursCollected, NumpyRing])
MEASURED = {
    "batch for the learner",
    "sample alone",
    "priority update",
    "memory",
    "insert, 1 env, steps",
    "insert, 1 env, chunks",
    "insert, 16 env, steps",
    "insert, 16 env, chunks",
}


def filled(make: Any, capacity: int = CAPACITY, num_envs: int = ENVS) -> Any:
    replay = make(P1, num_envs, capacity)
    fill(replay, P1, num_envs, capacity)
    return replay


@every_replay
def test_what_is_sampled_is_what_was_stored_also_after_more_was_inserted(make: Any) -> None:
    replay = filled(make)
    for _ in range(5):
        check(P1, replay.sequences(replay.sample()))
    insertion = Insertion(replay, P1, ENVS, 0.001)
    for _ in range(EPISODE // PERIOD):
        replay.insert(next(insertion._chunks), one_by_one=True)
    firsts = set()
    for _ in range(5):
        firsts |= {float(sequence.observation[0, 0]) for sequence in replay.sequences(replay.sample())}
    assert min(firsts) < PERIOD + EPISODE  # of the new episode
    assert len(firsts) > 10


@every_replay
def test_what_is_sampled_is_right_inside_an_episode_too(make: Any) -> None:
    """The oldest episode is half overwritten then: what is left of it and what is new must not be mixed."""
    replay = filled(make)
    for first in range(3 * EPISODE, 3 * EPISODE + EPISODE // 2, PERIOD):
        replay.insert(steps(P1, ENVS, first, PERIOD), one_by_one=False)
        check(P1, replay.sequences(replay.sample()))


@every_replay
def test_steps_may_be_inserted_one_by_one_or_together(make: Any) -> None:
    batches = []
    for one_by_one in (True, False):
        replay = make(P1, 2, 4 * EPISODE)
        for first in range(0, EPISODE, PERIOD):
            replay.insert(steps(P1, 2, first, PERIOD), one_by_one=one_by_one)
        batches.append(replay.sequences(replay.sample()))
    for own, other in zip(*batches, strict=True):
        for a, b in zip(own, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("make", "singly"), [(Ours, ["add"] * PERIOD), (OursCollected, ["collected"] * PERIOD + ["add_many"])]
)
def test_how_our_steps_are_inserted(make: type[Ours], singly: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for owner, name, said in (
        (SequenceReplay, "add", "add"),
        (SequenceReplay, "add_many", "add_many"),
        (StepCollector, "add", "collected"),
    ):
        monkeypatch.setattr(owner, name, spied(said, getattr(owner, name), calls))
    replay = make(P1, 2, 4 * EPISODE)
    replay.insert(steps(P1, 2, 0, PERIOD), one_by_one=True)
    assert calls == singly
    replay.insert(steps(P1, 2, PERIOD, PERIOD), one_by_one=False)
    assert calls[len(singly) :] == ["add_many"]
    assert replay.num_steps == 2 * 2 * PERIOD


def spied(name: str, function: Any, calls: list[str]) -> Any:
    def spy(*arguments: Any, **more: Any) -> Any:
        calls.append(name)
        return function(*arguments, **more)

    return spy


def test_code_that_is_loaded_at_the_first_use_is_not_counted_as_memory_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that grows by 1000 when a replay is filled for the first time, and by a byte for each step held."""
    grown = [0]
    monkeypatch.setattr(replay_measures, "resident_bytes", lambda: grown[0])

    def fill_fully(replay: Any, profile: Profile, num_envs: int, capacity: int) -> None:
        grown[0] = max(grown[0], 1000) + (capacity if num_envs == ENVS else 0)

    monkeypatch.setattr(replay_measures, "fill", fill_fully)
    make: Any = lambda *_: None  # noqa: E731
    _, resident = replay_measures.filled_and_weighed(make, P1, CAPACITY)
    assert resident == CAPACITY


def test_our_states_are_those_of_their_steps_however_long_the_chunk() -> None:
    replay = Ours(P1, 2, 4 * EPISODE)
    for first in range(0, EPISODE, 200):
        replay.insert(steps(P1, 2, first, 200), one_by_one=True)
    check(P1, replay.sequences(replay.sample()))


@every_replay
def test_the_oldest_steps_are_overwritten(make: Any) -> None:
    replay = filled(make)
    assert replay.num_steps <= CAPACITY
    firsts = [int(s.observation[0, 0]) for s in replay.sequences(replay.sample())]
    assert min(firsts) >= 3 * EPISODE - CAPACITY // ENVS  # three episodes were played


@every_replay
def test_priorities_are_those_that_are_set(make: Any) -> None:
    replay = filled(make)
    check_priorities(replay)
    names = np.asarray(replay.everything())
    assert len(names) > 100
    replay.set_priorities(names, np.where(np.arange(len(names)) == 3, 1.0, 0.0))
    replay.sample()
    assert set(np.asarray(replay.sampled()).tolist()) == {names[3].item()}


def test_uniform_draws_that_say_they_are_prioritized_are_caught() -> None:
    class Uniform(NumpyRing):
        def set_priorities(self, names: Any, priorities: Any) -> None:
            pass

    with pytest.raises(WrongBatch, match=r"is (0|2)% of a batch"):
        check_priorities(filled(Uniform))


class ShiftedState(Ours):
    """Stores the state of the step after (a trap that public implementations fall into)."""

    def insert(self, chunk: Any, *, one_by_one: bool) -> None:
        super().insert(chunk._replace(hidden=chunk.hidden + 1), one_by_one=one_by_one)


class HalfABatch(Ours):
    def sample(self) -> Any:
        self._batch_size = P1.batch // 2
        return super().sample()


class OtherRewards(NumpyRing):
    def sequences(self, batch: Any) -> Any:
        return [sequence._replace(reward=sequence.reward[::-1]) for sequence in super().sequences(batch)]


class ShortSequences(NumpyRing):
    def sequences(self, batch: Any) -> Any:
        return [
            s._replace(observation=s.observation[:90], action=s.action[:90], reward=s.reward[:90])
            for s in super().sequences(batch)
        ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ShiftedState, "the hidden state is not that of its first step"),
        (HalfABatch, "the batch has 32 sequences, must have 64"),
        (OtherRewards, "rewards are not those of its observations"),
        (ShortSequences, "sequences have 90.0 rows on average"),
    ],
)
def test_who_measures_something_easier_is_not_measured(make: Any, message: str) -> None:
    with pytest.raises(WrongBatch, match=message):
        prepare_replay(make, profile="P1", capacity=CAPACITY, seconds=0.001)


def values(prepared: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, task in prepared.tasks.items():
        value = task()
        found |= value if isinstance(value, dict) else {name: value}
    return found


def test_ours_is_measured_in_everything() -> None:
    prepared = replay_ours.prepare("P1", CAPACITY, 0.001)
    assert set(prepared.tasks) == MEASURED
    measured = values(prepared)
    del measured["memory, resident"]  # of so few steps, in memory that the tests before may have left: anything
    assert all(value > 0 for value in measured.values())
    assert 0.9 < measured["memory, arrays"] < 1.5


def test_the_ring_is_measured_in_everything() -> None:
    prepared = replay_numpy.prepare("P1", CAPACITY, 0.001)
    assert set(prepared.tasks) == MEASURED
    measured = values(prepared)
    assert measured["memory, arrays"] == pytest.approx(1.0, abs=0.01)
    assert min(measured.values()) >= 0


def test_the_copy_is_the_limit_of_both_ways_to_sample() -> None:
    prepared = replay_memory_copy.prepare("P1", 5_000, 0.001)
    assert set(prepared.tasks) == {"batch for the learner", "sample alone"}
    assert min(values(prepared).values()) > 0


def test_a_batch_for_the_learner_is_what_the_compiled_update_is_called_with() -> None:
    from agents.benchmarks.recurrent_ours import network

    replay = filled(Ours)
    batch = replay.sample()
    wanted = tf.nest.flatten(batch_signature(network(P1.units)))
    for own, like, leaf in zip(tf.nest.flatten(tensors(batch)), wanted, tf.nest.flatten(batch), strict=True):
        assert tf.is_tensor(own)
        assert (own.dtype, len(own.shape)) == (like.dtype, len(like.shape))
        np.testing.assert_array_equal(own, leaf)


def test_rates_of_insertion_count_the_steps_of_all_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    inserted: list[tuple[int, bool]] = []

    class Counting:
        def insert(self, chunk: Any, *, one_by_one: bool) -> None:
            inserted.append((chunk.reward.size, one_by_one))

    def one_second(work: Any, seconds: float) -> float:
        work()
        return 1.0

    monkeypatch.setattr(replay_measures, "seconds_per_call", one_second)
    insertion = Insertion(Counting(), P1, 3, 0.1)  # type: ignore[arg-type]
    assert insertion.one_by_one() == 3 * PERIOD
    assert insertion.together() == 3 * PERIOD
    assert inserted == [(120, True), (120, False)]


def test_every_25th_chunk_ends_an_episode() -> None:
    """40 steps each; the two ways to insert go on with the same episode."""
    ends: list[bool] = []

    class Watching:
        def insert(self, chunk: Any, *, one_by_one: bool) -> None:
            ends.append(chunk.ends)

    insertion = Insertion(Watching(), Profile("x", (8,), "float32", 2, 100, 1), 1, 1e-9)  # type: ignore[arg-type]
    while len(ends) < 60:
        insertion.one_by_one()
        insertion.together()
    assert [place for place, end in enumerate(ends[:60]) if end] == [24, 49]


def test_sequences_have_121_rows() -> None:
    assert ROWS == 40 + 80 + 1
