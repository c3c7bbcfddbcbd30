"""Runs experiments, a seed at a time, and keeps what is done when somebody interrupts."""

import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agents.experiments.results import Experiment, MakeWindows, Results, Setup
from agents.interrupt import Interrupt


class Observer(Protocol):
    """Is told how far the experiments are."""

    def progressed(self, experiment: Experiment, seed: int, share: float) -> None:
        """Which part of all the work is done, 0 to 1, and what is being done."""

    def finished(self, results: Results, seed: int) -> None:
        """A seed is done; ``results`` hold it."""


class Runs(NamedTuple):
    """What was done."""

    results: list[Results]
    """Of each experiment that has finished one seed at least."""
    seconds: float
    interrupted: bool


def run_experiments(
    experiments: Sequence[Experiment],
    seeds: Sequence[int],
    windows: MakeWindows,
    observers: Sequence[Observer] = (),
    *,
    epochs: int | None = None,
) -> Runs:
    """Run each experiment with every seed (or with the first, where that is enough).

    Ctrl-C ends it between two computations; the seed under way is lost, all others are kept.

    Args:
        experiments: what to run, in this order.
        seeds: at least one, each once.
        windows: where letters come from.
        observers: to be told.
        epochs: see `Setup`.
    """
    begin = time.perf_counter()
    work = [(experiment, seed) for experiment in experiments for seed in (seeds[:1] if experiment.once else seeds)]
    all_results = {experiment.name: Results(experiment) for experiment in experiments}
    interrupted = False
    with Interrupt() as interrupt:
        try:
            for number, (experiment, seed) in enumerate(work):

                def advance(
                    share: float, number: int = number, of: tuple[Experiment, int] = (experiment, seed)
                ) -> None:
                    for observer in observers:
                        observer.progressed(*of, (number + share) / len(work))
                    interrupt.check()

                advance(0.0)
                start = time.perf_counter()
                outcome = experiment.run(Setup(seed, windows, epochs, advance))
                results = all_results[experiment.name]
                results.add(seed, outcome, time.perf_counter() - start)
                for observer in observers:
                    observer.finished(results, seed)
        except KeyboardInterrupt:
            interrupted = True
    done = [results for results in all_results.values() if results.outcomes]
    return Runs(done, time.perf_counter() - begin, interrupted)


def use_one_thread() -> None:
    """Let TensorFlow compute with one thread: the models are too small for more to pay, `fit` or not.

    To be called before TensorFlow computes anything; later it changes nothing.
    """
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow has begun, and keeps the threads it has
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
