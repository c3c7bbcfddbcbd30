"""Running experiments: in which order, what they are given, and what an interrupt leaves."""

import signal

import pytest

from agents.experiments.results import Experiment, Outcome
from agents.experiments.runs import run_experiments
from envs.alphabet_windows import letter_windows


class Told:
    """An observer that writes down what it is told."""

    def __init__(self):
        self.shares = []
        self.done = []

    def progressed(self, experiment, seed, share):
        self.shares.append((experiment.name, seed, share))

    def finished(self, results, seed):
        assert list(results.outcomes)[-1] == seed
        self.done.append((results.experiment.name, seed))


def experiment(name, run=lambda setup: Outcome({}), **changes):
    return Experiment(name, name, run, **changes)


def test_each_experiment_runs_with_every_seed_and_one_that_needs_it_once_with_the_first():
    told = Told()
    runs = run_experiments([experiment("a"), experiment("b", once=True)], [3, 1], letter_windows, [told])
    assert told.done == [("a", 3), ("a", 1), ("b", 3)]
    assert [list(results.outcomes) for results in runs.results] == [[3, 1], [3]]
    assert all(set(results.seconds) == set(results.outcomes) for results in runs.results)
    assert not runs.interrupted


def test_a_run_is_given_its_seed_the_windows_and_the_epochs():
    setups = []

    def run(setup):
        setups.append(setup)
        return Outcome({})

    run_experiments([experiment("a", run)], [5, 6], letter_windows, epochs=7)
    assert [(setup.seed, setup.windows, setup.epochs) for setup in setups] == [
        (5, letter_windows, 7),
        (6, letter_windows, 7),
    ]
    run_experiments([experiment("a", run)], [5], letter_windows)
    assert setups[-1].epochs is None


def test_shares_are_of_all_the_work():
    def run(setup):
        setup.advance(0.5)
        return Outcome({})

    told = Told()
    run_experiments([experiment("a", run), experiment("b", run)], [0], letter_windows, [told])
    assert told.shares == [("a", 0, 0.0), ("a", 0, 0.25), ("b", 0, 0.5), ("b", 0, 0.75)]


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_an_interrupt_keeps_what_is_done(at):
    def run(setup):
        if setup.seed == 1:
            signal.raise_signal(signal.SIGINT)
            setup.advance(at)
            raise AssertionError("went on after Ctrl-C")
        return Outcome({})

    told = Told()
    runs = run_experiments([experiment("a", run), experiment("b", run)], [0, 1, 2], letter_windows, [told])
    assert runs.interrupted
    assert told.done == [("a", 0)]
    assert [(results.experiment.name, list(results.outcomes)) for results in runs.results] == [("a", [0])]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_is_no_interrupt():
    def run(setup):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_experiments([experiment("a", run)], [0], letter_windows)
