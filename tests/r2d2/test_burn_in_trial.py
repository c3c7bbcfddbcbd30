"""What the checks of `check_burn_in` are made of: other steps, sets of rows, padding, outputs by their last step."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from broken_networks import Sound, random_steps

from r2d2.burn_in_measure import NotApplicable
from r2d2.burn_in_subjects import subject_of
from r2d2.burn_in_trial import Trial


def trial_of(steps: Any, network: Any = None) -> Trial:
    network = Sound(np.shape(steps)[0]) if network is None else network
    return Trial(subject_of(network, steps, 0, 0), (1, 2), 1e-4, seed=0)


def numbered(batch: int, time: int) -> np.ndarray:
    """A step is named by its row and its time: 100 * row + time."""
    return np.broadcast_to((100.0 * np.arange(batch)[:, None] + np.arange(time))[..., None], (batch, time, 2))


class TestOtherSteps:
    def test_are_those_of_the_row_before_one_step_earlier(self) -> None:
        assert trial_of(numbered(3, 4)).other_steps[..., 0].tolist() == [
            [103, 200, 201, 202],
            [203, 0, 1, 2],
            [3, 100, 101, 102],
        ]

    def test_are_others_for_a_single_row_too(self) -> None:
        assert trial_of(numbered(1, 4)).other_steps[..., 0].tolist() == [[3, 0, 1, 2]]

    def test_stand_in_the_rows_asked_for_and_so_do_states_of_other_rows(self) -> None:
        trial = trial_of(numbered(3, 4))
        trial.start = {"h": np.arange(6.0).reshape(3, 2), "n": np.arange(3)}
        state, steps = trial.with_others_in(np.array([False, True, False]))
        assert steps[..., 0].tolist() == [[0, 1, 2, 3], [203, 0, 1, 2], [200, 201, 202, 203]]
        assert state["h"].tolist() == [[0, 1], [0, 1], [4, 5]]
        assert state["n"].tolist() == [0, 0, 2]

    def test_and_zeros_are_what_stands_in_padding(self) -> None:
        zeros, others = trial_of(numbered(2, 4)).padded(3)
        assert zeros[..., 0].tolist() == [[0, 1, 2, 0], [100, 101, 102, 0]]
        assert others[..., 0].tolist() == [[0, 1, 2, 102], [100, 101, 102, 2]]


@pytest.mark.parametrize("batch", range(2, 10))
def test_every_row_is_in_a_set_without_each_of_the_others(batch: int) -> None:
    sets = trial_of(random_steps(3, batch)).sets_of_rows()
    for one, other in permutations(range(batch), 2):
        assert any(rows[one] and not rows[other] for rows in sets)
    assert len(sets) == 2 * int(np.ceil(np.log2(batch)))


def test_a_single_row_is_in_none() -> None:
    with pytest.raises(NotApplicable, match="it takes two rows: check the network with a batch of 2 or more"):
        trial_of(random_steps(3, 1)).sets_of_rows()


class LastOutputs(Sound):
    """The last step's, of as many numbers as there are steps in some calls."""

    def __call__(self, steps: Any) -> Any:
        return super().__call__(steps)[:, -1]


class TestOutputs:
    @pytest.mark.parametrize("time", [2, 3])
    def test_without_a_time_axis_are_those_of_the_last_step(self, time: int) -> None:
        steps = random_steps(time)
        trial, expected = trial_of(steps, LastOutputs()), Sound()(steps).numpy()
        trial.open()
        trial.network.reset()
        (found,) = trial.run(steps)
        np.testing.assert_array_equal(found, expected[:, -1:])
        np.testing.assert_allclose(trial.played.outputs[0], expected, atol=1e-6)

    @pytest.mark.parametrize("kind", [Sound, LastOutputs])
    def test_of_the_last_step(self, kind: type[Sound]) -> None:
        steps = random_steps(3)
        trial, expected = trial_of(steps, kind()), Sound()(steps).numpy()
        trial.open()
        trial.network.reset()
        (found,) = trial.last_of(trial.network(steps))
        np.testing.assert_array_equal(np.reshape(found, expected[:, -1].shape), expected[:, -1])

    def test_of_one_number_a_step_have_a_time_axis(self) -> None:
        class Values(Sound):
            def __call__(self, steps: Any) -> Any:
                return super().__call__(steps)[..., 0]

        trial = trial_of(random_steps(3), Values())
        trial.open()
        (played,), (found,) = trial.played.outputs, trial.run_from(trial.played.states[0], trial.steps)
        assert played.shape == found.shape == (3, 3)
        np.testing.assert_allclose(found, played, atol=1e-6)

    def test_are_compared_as_far_back_as_both_reach_and_named_by_their_step(self) -> None:
        trial = trial_of(random_steps(5))
        expected, found = np.zeros((3, 4, 2)), np.zeros((3, 2, 2))
        expected[:, :2] = 9.0
        found[1, 0, 1] = 0.25
        measured = trial.outputs_differ("", [expected], [found], end=5)
        assert (measured.amount, measured.step, measured.row) == (0.25, 3, 1)


def test_what_is_restored_and_read_is_copied() -> None:
    class Borrows(Sound):
        def restore(self, state: Any) -> None:
            self.carried = state

        def step(self, inputs: Any) -> Any:
            outputs = super().step(inputs)
            self.carried = tuple(part.numpy() for part in self.carried)
            return outputs

    trial = trial_of(random_steps(3), Borrows())
    trial.open()
    kept = [part.copy() for part in trial.start]
    trial.restore(trial.start)
    read = trial.read()
    for part in trial.network.state:
        part[:] = 7.0
    for part, expected, before in zip(trial.start, kept, read, strict=True):
        np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(before, expected)
