"""How much faster compiled epochs are than the articles' way, side by side, and whether the weights come out the same.

The articles train a stateful model with a `fit` of one epoch and a reset of its states, over and over. That is done
here to experiment 3's stateful model, and `Epochs`, which makes the same updates, is run beside it from equal weights:
without XLA, as Keras runs it here unless told otherwise, and with XLA, as the other experiments use it.

Like with like, the weights agree bit for bit. XLA rounds otherwise, and training on one letter at a time enlarges that:
from 1e-7 after 10 epochs to 0.1 and more after 500. Keras's own `fit` with XLA drifts away from `fit` alike.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agents.experiments.epochs import Epochs, in_order
from agents.experiments.models import build_model, samples
from agents.experiments.results import Experiment, Figure, Outcome, Setup, Windows
from r2d2.keras_states import reset_states

EPOCHS, ROUND = 500, 10
SHAPE = (3, 1)
ROUNDING = 1e-6

FIT, COMPILED, COMPILED_XLA = "fit for every epoch", "compiled epochs", "compiled epochs with XLA"
TIME, FASTER = "an epoch", "how many times faster"
FIRST, WHOLE = "first round, with compilation", "all rounds"
EARLY, LATE = "weights apart after the first round", "weights apart at the end"

FAST_ENOUGH = "compiled epochs are 5 times faster or more, by the median of the rounds"
SAME = "compiled epochs end with the weights of fit, to rounding"
SAME_XLA = "with XLA, they leave the first round with the weights of fit with XLA, to rounding"

_Train = Callable[[int], None]


def run(setup: Setup) -> Outcome:
    """Train the three in turn, in rounds of 10 epochs; the first round, with compilation, is kept apart."""
    windows = setup.windows(3)
    epochs = setup.epochs or EPOCHS
    each = ROUND if epochs % ROUND == 0 else 1
    rounds = epochs // each
    models = {name: _model(windows, setup.seed, xla=name == COMPILED_XLA) for name in (FIT, COMPILED, COMPILED_XLA)}
    ways = {name: (_fit if name == FIT else _compiled)(model, windows) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    figures: dict[tuple[str, str], Any] = {}
    for number in range(1, rounds + 1):
        for name, train in ways.items():
            begin = time.perf_counter()
            train(each)
            seconds[name].append(time.perf_counter() - begin)
        if number == 1:
            figures.update(_apart(models, EARLY))
            fit_xla = _model(windows, setup.seed, xla=True)
            _fit(fit_xla, windows)(each)
            same_xla = _difference(models[COMPILED_XLA], fit_xla) <= ROUNDING
        setup.advance(number / rounds)

    figures.update(_apart(models, LATE))
    later = {name: np.array(values[1:] or values) for name, values in seconds.items()}
    for name in ways:
        figures[name, TIME] = (1000 * later[name] / each).tolist()
        figures[name, FIRST], figures[name, WHOLE] = seconds[name][0], sum(seconds[name])
        if name != FIT:
            figures[name, FASTER] = (later[FIT] / later[name]).tolist()
    checks = {
        FAST_ENOUGH: float(np.median(figures[COMPILED, FASTER])) >= 5,
        SAME: figures[COMPILED, LATE] <= ROUNDING,
        SAME_XLA: same_xla,
    }
    return Outcome(figures, checks, {"rounds": rounds, "epochs_of_a_round": each})


def _model(windows: Windows, seed: int, *, xla: bool) -> Any:
    return build_model("stateful LSTM", batch_size=1, shape=SHAPE, classes=windows.classes, seed=seed, jit_compile=xla)


def _fit(model: Any, windows: Windows) -> _Train:
    """The articles' way."""
    inputs, targets = samples(windows, SHAPE)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            reset_states(model)
            model.fit(inputs, targets, batch_size=1, epochs=1, shuffle=False, verbose=0)

    return train


def _compiled(model: Any, windows: Windows) -> _Train:
    """Ours; compiled when it trains for the first time, as `fit` is."""
    made: list[Epochs] = []

    def train(epochs: int) -> None:
        if not made:
            made.append(Epochs(model))
        made[0].run(*samples(windows, SHAPE), in_order(epochs, len(windows.labels)))

    return train


def _apart(models: dict[str, Any], measure: str) -> dict[tuple[str, str], float]:
    return {(name, measure): _difference(model, models[FIT]) for name, model in models.items() if name != FIT}


def _difference(one: Any, other: Any) -> float:
    """The largest between the weights of two models."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def _figures(name: str) -> list[Figure]:
    units = {TIME: "ms", FASTER: "", FIRST: "s", WHOLE: "s", EARLY: "", LATE: ""}
    measures = (TIME, FIRST, WHOLE) if name == FIT else tuple(units)
    return [Figure(name, measure, unit=units[measure], average="median") for measure in measures]


EXPERIMENT = Experiment(
    "speed",
    "Speed: experiment 3's stateful LSTM, a fit for every epoch or compiled epochs",
    run,
    figures=tuple(figure for name in (FIT, COMPILED, COMPILED_XLA) for figure in _figures(name)),
    checks=(FAST_ENOUGH, SAME, SAME_XLA),
    note=(
        "500 epochs from equal weights in rounds of 10, the three in turn. An epoch's time and how many times faster "
        "are of the rounds after the first; imports are left out. Weights apart are from those of fit without XLA: "
        "XLA rounds otherwise, which 500 epochs enlarge, in fit as well."
    ),
    once=True,
)
