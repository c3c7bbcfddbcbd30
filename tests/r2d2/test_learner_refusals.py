"""A learner refuses batches that are not for it, and is as it was then."""

import numpy as np
import pytest
from gymnasium import spaces
from random_sequences import random_batch, random_network

from r2d2.learner import Learner
from r2d2.replay import Batch, SequenceGeometry, SequenceReplay
from r2d2.settings import LearnerSettings

N_STEP, LOOKAHEAD = 3, 2


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(random_network(), LearnerSettings(n_step=N_STEP))


def assert_refused(learner: Learner, batch: Batch, said: str) -> None:
    weights, updates = learner.network.get_weights(), learner.updates
    with pytest.raises(ValueError, match=said):
        learner.update(batch)
    assert learner.updates == updates
    for found, expected in zip(learner.network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("units", [3, 300])
def test_states_of_another_network(learner: Learner, units: int) -> None:
    batch = random_batch(learner.network, 0, [2, 0], [7, 7], train_length=4, n_step=N_STEP)
    batch = batch._replace(state=tuple(np.zeros((2, units), np.float32) for _ in batch.state))
    assert_refused(learner, batch, rf"\({units},\).*must be .*\(6,\).*another network")


@pytest.mark.parametrize("going_on", [0, 1, 2])
def test_sequences_of_an_episode_that_goes_on_with_less_lookahead_than_steps_of_reward(
    learner: Learner, going_on: int
) -> None:
    lengths = [3, 4, 5]
    lengths[going_on] = 4 + LOOKAHEAD  # the others end their episodes
    batch = random_batch(learner.network, 0, [0, 1, 2], lengths, train_length=4, n_step=LOOKAHEAD)
    assert_refused(
        learner, batch, rf"n_step={N_STEP} of the learner .* row {going_on} .* lookahead is {LOOKAHEAD}, and neither"
    )


@pytest.mark.parametrize("lookahead", [N_STEP, N_STEP + 2])
@pytest.mark.parametrize("ends", [False, True])
def test_no_others(learner: Learner, lookahead: int, ends: bool) -> None:
    lengths = [2, 3, 4, 5] if ends else [4 + lookahead] * 4
    updates = learner.updates
    learner.update(random_batch(learner.network, 0, [0] * 4, lengths, train_length=4, n_step=lookahead))
    assert learner.updates == updates + 1


def test_rows_that_train_nothing_need_no_lookahead(learner: Learner) -> None:
    batch = random_batch(learner.network, 0, [0, 1], [7, 7], train_length=4, n_step=N_STEP)
    nothing = np.array([4, 0], np.int32)
    update = learner.update(batch._replace(train_length=nothing, unroll_length=np.array([7, 1], np.int32)))
    assert update.priorities[0] > 0
    assert update.priorities[1] == 0


@pytest.mark.parametrize("episode", [1, 2, 5, 9, 30])
def test_batches_of_a_replay_are_refused_if_its_lookahead_is_shorter_and_an_episode_goes_on(
    learner: Learner, episode: int
) -> None:
    network = learner.network
    for n_step in (N_STEP - 1, N_STEP, N_STEP + 1):
        geometry = SequenceGeometry(2, 4, 2, n_step)
        replay = SequenceReplay(
            spaces.Box(-np.inf, np.inf, (3,)), spaces.Discrete(4), network.state_example, geometry, capacity=200
        )
        state = tuple(np.zeros((1, *np.shape(part)), np.float32) for part in network.state_example)
        for t in range(60):
            ends = np.array([t % episode == episode - 1])
            zeros = np.zeros((1, 3), np.float32)
            replay.add(zeros, [0], [0.0], ends & (t % 2 > 0), ends & (t % 2 == 0), state, final_observation=zeros)
        batch = replay.get(replay.keys())
        if n_step < N_STEP and episode > geometry.train_length + n_step - 1:
            assert_refused(learner, batch, f"lookahead is {n_step}, and neither")
        else:
            learner.update(batch)
