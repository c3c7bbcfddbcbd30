"""A fault that `check_burn_in` reports says where it is, how large, and why; what is allowed for is rounding alone."""

import pickle
from typing import Any

import broken_networks as broken
import numpy as np
import pytest
import tensorflow as tf
from broken_networks import Sound, random_steps, where
from refusals import faults_of, names

from r2d2.burn_in_check import check_burn_in
from r2d2.burn_in_properties import PROPERTIES

ALL = tuple(each.name for each in PROPERTIES)


class TestAFaultSaysWhere:
    def test_the_step_the_row_and_the_amount_of_a_wrong_state(self) -> None:
        network, steps = Sound(), random_steps()
        played = network(steps)[:, 3:]
        network.reset()
        network(steps[:, :3])
        network.reset(np.array([False, False, True]))
        amount = np.abs(network(steps[:, 3:]) - played).max()

        (fault,) = faults_of(broken.WrongAtOneStep(), steps).faults
        assert (fault.property, fault.step, fault.row) == ("alignment", 3, 2)
        assert fault.amount == pytest.approx(amount, rel=1e-4)
        assert f"largest difference {amount:.2g}, allowed" in fault.message
        assert fault.message.endswith(", at step 3, row 2")

    def test_the_step_of_a_wrong_state_that_shows_one_step_later(self) -> None:
        class Delays(broken.WrongAtOneStep):
            """Its output is the input before the last but one: the second part of its state is read a step later."""

            @property
            def state(self) -> Any:
                return self.carried[0], super().state[1]

            def step(self, inputs: Any) -> Any:
                self.read += 1
                hidden, cell = self.carried
                self.carried = cell, tf.concat([inputs, inputs], axis=-1)
                return hidden @ self.head

        (fault,) = faults_of(Delays(), random_steps()).faults
        assert (fault.property, fault.step, fault.row) == ("alignment", 3, 2)

    def test_a_part_of_the_state_that_no_output_shows(self) -> None:
        class Counts(Sound):
            """The mean of what all rows have read last."""

            mean: Any = tf.zeros([3, 1])

            @property
            def state(self) -> Any:
                return *self.carried, self.mean

            def restore(self, state: Any) -> None:
                super().restore(state[:2])
                self.mean = state[2]

            def reset(self, rows: Any = None) -> None:
                super().reset(rows)
                self.mean = tf.where(np.full([3, 1], True) if rows is None else rows[:, None], 0.0, self.mean)

            def step(self, inputs: Any) -> Any:
                self.mean = tf.fill([3, 1], tf.reduce_mean(inputs))
                return super().step(inputs)

        fault = faults_of(Counts(), random_steps()).faults[0]
        assert (fault.property, fault.step) == ("rows independent", 5)
        assert "other rows change a row's state" in fault.message

    def test_which_row_leaks_into_which(self) -> None:
        (fault,) = faults_of(broken.LeaksFromRowToRow(), random_steps()).faults
        assert fault.row == 2
        assert fault.message.endswith("; it depends on row 0")

    def test_the_step_of_a_prefix_that_has_a_gradient(self) -> None:
        class ToTheThirdStep(Sound):
            def warm_up(self, prefix: Any, lengths: Any = None) -> None:
                super().warm_up(prefix, lengths)
                if prefix.shape[1] == 4 and lengths is None:
                    leak = tf.reduce_sum(prefix[1, 2])
                    self.carried = self.carried[0] + leak - tf.stop_gradient(leak), self.carried[1]

        (fault,) = faults_of(ToTheThirdStep(), random_steps(), burn_in=[4]).faults
        assert (fault.property, fault.step, fault.row) == ("no gradient", 2, 1)

    def test_how_many_steps_a_prefix_had(self) -> None:
        class WrongAfterThree(Sound):
            def warm_up(self, prefix: Any, lengths: Any = None) -> None:
                super().warm_up(prefix, lengths)
                if prefix.shape[1] == 3 and lengths is None:
                    self.carried = self.carried[0] + np.float32([[0.0], [0.5], [0.0]]), self.carried[1]

        network = WrongAfterThree()
        assert check_burn_in(network, random_steps(), burn_in=[1, 2]).checked == ALL
        error = faults_of(network, random_steps(), burn_in=[1, 3])
        assert names(error) == ["pieces", "padding inert"]
        assert {(fault.step, fault.row) for fault in error.faults} == {(3, 1)}

    def test_no_step_is_blamed_for_an_earlier_output_where_only_the_last_is_known(self) -> None:
        class LastOutputs(broken.ForgetsInLongCalls):
            def __call__(self, steps: Any) -> Any:
                return super().__call__(steps)[:, -1]

        (fault,) = faults_of(LastOutputs(), random_steps()).faults
        assert fault.message.startswith("several steps in one call give other outputs than one call for each")
        assert "a later step" not in fault.message

    @pytest.mark.parametrize("size", [1, 2])
    def test_pieces_of_one_step_and_of_several_are_tried(self, size: int) -> None:
        class WrongInPieces(Sound):
            def warm_up(self, prefix: Any, lengths: Any = None) -> None:
                super().warm_up(prefix, lengths)
                if prefix.shape[1] == size and lengths is None:
                    self.carried = nudged(self.carried, 0.1)

        (fault,) = faults_of(WrongInPieces(), random_steps(), burn_in=[4]).faults
        assert (fault.property, fault.step) == ("pieces", 4)
        assert "burn-in in several pieces" in fault.message

    def test_states_tell_where_no_output_does(self) -> None:
        network = broken.OtherWeightsInBurnIn()
        network.head.assign(0 * network.head)
        error = faults_of(network, random_steps())
        assert names(error) == ["pieces"]
        assert "alignment" in error.skipped

    def test_all_faults_are_found_at_once(self) -> None:
        class Sloppy(broken.ExchangedOnRead, broken.ResetsAllRows, broken.IgnoresLengths, broken.MovesAnAverage):
            pass

        error = faults_of(Sloppy(), random_steps())
        assert names(error) == ["weights unmoved", "alignment", "partial reset", "empty prefix", "padding inert"]
        assert str(error).startswith("burn-in is not sound: 5 of 16 properties do not hold\n  weights unmoved: ")
        assert error.skipped == {"mixed lengths": "it means nothing without empty prefix, padding inert"}

    def test_an_error_of_the_network_is_the_cause_and_stops_no_other_check(self) -> None:
        error = faults_of(broken.HasNoLengths(), random_steps())
        assert isinstance(error.__cause__, TypeError)
        assert [(fault.amount, fault.step, fault.row) for fault in error.faults] == [(None, None, None)] * 2

    def test_nothing_is_said_of_a_network_that_restores_nothing_but_that(self) -> None:
        error = faults_of(broken.RestoresNothing(), random_steps())
        assert names(error) == ["restore"]
        assert set(ALL) - {"interface", "weights unmoved", "restore", "reset", "partial reset"} == set(error.skipped)

    def test_the_error_is_one_of_assertions_and_survives_pickling(self) -> None:
        error = faults_of(broken.ResetsNoRow(), random_steps())
        assert isinstance(error, AssertionError)
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.faults, copy.skipped) == (str(error), error.faults, error.skipped)


class TestTolerance:
    class RoundsOtherwise(Sound):
        """In calls of several steps, by 3e-6 of each output."""

        def __call__(self, steps: Any) -> Any:
            return super().__call__(steps) * (1.0 if steps.shape[1] == 1 else 1.000003)

    def test_the_default_lets_rounding_pass(self) -> None:
        report = check_burn_in(self.RoundsOtherwise(), random_steps())
        assert report.checked == ALL
        assert 0 < report.largest_differences["pieces"] < 1e-5

    @pytest.mark.parametrize("tolerance", [0.0, 1e-6])
    def test_less_finds_it(self, tolerance: float) -> None:
        error = faults_of(self.RoundsOtherwise(), random_steps(), tolerance=tolerance)
        assert names(error)[0] == "pieces"
        assert set(names(error)) <= {"pieces", "no gradient, compiled"}, "a compiled function may round otherwise too"
        assert error.faults[0].amount < 1e-5

    def test_more_overlooks_what_is_small(self) -> None:
        assert names(faults_of(broken.LeaksFromRowToRow(), random_steps())) == ["rows independent"]
        assert check_burn_in(broken.LeaksFromRowToRow(), random_steps(), tolerance=0.1)

    @pytest.mark.parametrize("property", ["restore", "reset", "repeatable calls", "repeatable", "empty prefix"])
    def test_what_must_be_exact_stays_exact(self, property: str) -> None:
        error = faults_of(Inexact(property), random_steps(), tolerance=0.1)
        assert names(error) == [property]
        assert 0 < error.faults[0].amount < 1e-5
        assert "allowed 0" in error.faults[0].message

    @pytest.mark.parametrize("rows", ["reset", "others"])
    def test_so_do_rows_at_a_reset(self, rows: str) -> None:
        class AlmostResets(Sound):
            def reset(self, chosen: Any = None) -> None:
                super().reset(chosen)
                if chosen is not None:
                    self.carried = where(chosen == (rows == "reset"), nudged(self.carried, 1e-6), self.carried)

        error = faults_of(AlmostResets(), random_steps(), tolerance=0.1)
        assert names(error) == ["partial reset"]
        assert ("a row that is reset" in error.faults[0].message) == (rows == "reset")

    @pytest.mark.parametrize("kind", [broken.GradientToPrefix, broken.GradientToStoredState])
    def test_so_does_a_gradient_that_must_be_none(self, kind: type[Sound]) -> None:
        network = kind()
        network.head.assign(1e-3 * network.head)
        error = faults_of(network, random_steps(), tolerance=0.1)
        assert names(error) == ["no gradient"]
        assert 0 < error.faults[0].amount < 1e-3


def nudged(state: Any, amount: float) -> Any:
    return tuple(part + amount for part in state)


class Inexact(Sound):
    """Off by a few millionths, and by other ones each time, where ``property`` is at stake."""

    def __init__(self, property: str) -> None:
        super().__init__()
        self.property, self.times = property, 0

    def off(self, state: Any, property: str) -> Any:
        self.times += 1
        return nudged(state, 1e-7 * (self.times % 32)) if property == self.property else state

    def restore(self, state: Any) -> None:
        super().restore(self.off(state, "restore"))

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        if rows is None:
            self.carried = self.off(self.carried, "reset")

    def __call__(self, steps: Any) -> Any:
        return self.off([super().__call__(steps)], "repeatable calls")[0]

    def warm_up(self, prefix: Any, lengths: Any = None) -> None:
        super().warm_up(prefix, lengths)
        if lengths is None:
            self.carried = self.off(self.carried, "repeatable" if prefix.shape[1] else "empty prefix")
