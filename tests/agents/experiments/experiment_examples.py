"""Results made up for the tests of what is printed, written and drawn."""

from agents.experiments.results import Experiment, Figure, Outcome, Results
from agents.experiments.runs import Runs

ACCURACY = Experiment(
    "one-letter",
    "Experiment 1: one letter -> the next",
    lambda setup: Outcome({}),
    figures=(
        Figure("dense", "in order", 68),
        Figure("dense", "in a loop", 4),
        Figure("LSTM", "in order", 72.5),
        Figure("LSTM, in one batch", "in order"),
    ),
    note="4 % is [one] of 25.",
)
CASES = Experiment(
    "five-cases",
    "Five cases",
    lambda setup: Outcome({}),
    checks=("3 equals 1", "4 differs"),
    table=lambda details: [["case", "row 0"], ["1: [first]", details["probability"]]],
)
TIMES = Experiment(
    "speed",
    "Speed",
    lambda setup: Outcome({}),
    figures=(Figure("fit", "an epoch", unit="ms", average="median"), Figure("fit", "apart", unit="", average="median")),
    once=True,
)


def accuracy(*each):
    """Results of `ACCURACY`, a seed for each four numbers."""
    results = Results(ACCURACY)
    for seed, values in enumerate(each):
        figures = {figure.key: value for figure, value in zip(ACCURACY.figures, values, strict=True)}
        results.add(seed, Outcome(figures), 1.25)
    return results


def all_results():
    """Of the three."""
    cases, times = Results(CASES), Results(TIMES)
    for seed, held in enumerate((True, False)):
        cases.add(seed, Outcome({}, {"3 equals 1": True, "4 differs": held}, {"probability": f"0.{seed}25"}), 2.0)
    times.add(0, Outcome({("fit", "an epoch"): [80.0, 71.0, 90.0], ("fit", "apart"): 1.25e-7}), 9.0)
    return [accuracy((68.0, 76.0, 80.0, 90.0), (60.0, 88.0, 90.0, 92.0)), cases, times]


def all_runs(interrupted=False):
    return Runs(all_results(), 12.5, interrupted)
