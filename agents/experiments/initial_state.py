"""An LSTM that starts from a learned function of features: no use of it, as states, and as `initial_state`.

The task: 30 positions, of which the network is given three. They lie level; then a wave sets in whose height and
frequency only the features X know::

    t            1   2   3 | 4   5   ...  30
    input        p1  p2  p3  0   0   ...
    prediction           p4  p5  p6  ...

One `keras.layers.Dense` for ``h`` (tanh) and one for ``c`` turn X into the state that an LSTM starts from. It is handed
over in two ways, and compared with an LSTM that starts from zero:

- as ``initial_state=`` of the layer, in a functional model. Rows may be shuffled, any batch size will do, and the
  function of X learns with the rest.
- as states of a ``stateful=True`` layer, set before every batch (`r2d2.StatesBeforeBatch` in `fit` and `predict`).
  Variables are assigned, and no gradient passes an assignment: the LSTM learns, the function of X cannot.

That is the one difference. So the function is learned through ``initial_state`` first; held fixed from there on, the
LSTM goes on learning in both ways, which must lead to the same losses, weights and predictions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from agents.experiments.results import Experiment, Figure, Outcome, Setup
from r2d2.keras_states import States
from r2d2.state_callbacks import StatesBeforeBatch

GIVEN, POSITIONS = 3, 30
UNITS = 16
BATCH = 64
TRAINED, TESTED = 16 * BATCH, 4 * BATCH  # trajectories
EPOCHS, FIXED_EPOCHS = 12, 3
LEARNING_RATE = 0.02
ROUNDING = 1e-5
"""Of numbers around 1 after some fifty updates of float32."""

ZERO, WRITTEN, PASSED = "states ignored (zero)", "states set before every batch", "passed as initial_state"
ERROR = "test error"
DIFFERENCE = "set or passed, largest difference"
FIRST_PREDICTIONS, LAST_PREDICTIONS = "predictions, same weights", "predictions, each trained"
LOSSES, WEIGHTS = "losses of training", "weights after training"
SAME_PREDICTIONS = "set or passed, the same predictions"
SAME_TRAINING = "set or passed, the same training"
FEATURES_HELP = "less than half the error with X"


class Trajectories(NamedTuple):
    """What the network reads and what it is to predict."""

    features: NDArray[np.float32]
    """X, float32[trajectories, 2] in -1 to 1: height and frequency of the wave."""
    inputs: NDArray[np.float32]
    """float32[trajectories, 29, 1]: p1, p2, p3, then zeros."""
    later: NDArray[np.float32]
    """float32[trajectories, 27, 1]: p4 to p30."""


def trajectories(number: int, random: np.random.Generator) -> Trajectories:
    """Draw ``number`` trajectories: a level in -0.5 to 0.5, and from the fourth position on a wave."""
    level = random.uniform(-0.5, 0.5, (number, 1))
    features = random.uniform(-1.0, 1.0, (number, 2))
    height, frequency = 0.5 * features[:, :1], 0.35 + 0.1 * features[:, 1:]
    waving = np.maximum(np.arange(1, POSITIONS + 1) - GIVEN, 0)
    positions = level + height * np.sin(frequency * waving)
    inputs = np.where(np.arange(1, POSITIONS) <= GIVEN, positions[:, :-1], 0.0)
    return Trajectories(
        features.astype(np.float32),
        inputs[..., None].astype(np.float32),
        positions[:, GIVEN:, None].astype(np.float32),
    )


def from_zero() -> Any:
    """The LSTM alone: positions to positions."""
    positions = keras.Input((POSITIONS - 1, 1))
    return keras.Model(positions, _predictions(positions))


def from_features() -> Any:
    """The LSTM behind the function of X: positions and features to positions, ``initial_state=`` in between."""
    positions, features = keras.Input((POSITIONS - 1, 1)), keras.Input((2,))
    state = [
        keras.layers.Dense(UNITS, activation="tanh", name="h")(features),
        keras.layers.Dense(UNITS, name="c")(features),
    ]
    return keras.Model([positions, features], _predictions(positions, initial_state=state))


def from_states() -> Any:
    """The LSTM with ``stateful=True``: positions to positions, from whatever states are set."""
    positions = keras.Input(batch_shape=(BATCH, POSITIONS - 1, 1))
    return keras.Model(positions, _predictions(positions, stateful=True))


def states_of(model: Any, features: NDArray[np.float32]) -> Callable[[int], States]:
    """The states that the function of X in a `from_features` model gives the rows of each batch, by its number."""
    parts = [model.get_layer(name)(features).numpy() for name in ("h", "c")]
    return lambda batch: {"memory": tuple(part[BATCH * batch : BATCH * (batch + 1)] for part in parts)}


def run(setup: Setup) -> Outcome:
    """Train and compare; the errors are root mean squares, in per cent of the positions' standard deviation."""
    keras.utils.set_random_seed(setup.seed)
    random = np.random.default_rng(setup.seed)
    train, test = trajectories(TRAINED, random), trajectories(TESTED, random)
    epochs = setup.epochs or EPOCHS
    fixed_epochs = min(epochs, FIXED_EPOCHS)
    advance = _Advance(setup, 2 * (epochs + fixed_epochs) + fixed_epochs)

    zero = from_zero()
    _compile(zero, LEARNING_RATE, epochs + fixed_epochs)
    _fit(zero, train.inputs, train.later, epochs + fixed_epochs, advance)

    passed = from_features()
    _compile(passed, LEARNING_RATE, epochs)
    _fit(passed, [train.inputs, train.features], train.later, epochs, advance)
    for name in ("h", "c"):
        passed.get_layer(name).trainable = False
    written = from_states()
    for name in ("memory", "position"):
        written.get_layer(name).set_weights(passed.get_layer(name).get_weights())
    for model in (written, passed):
        _compile(model, LEARNING_RATE / 20, fixed_epochs)

    setting = StatesBeforeBatch(states_of(passed, test.features))
    first = _Pair(_predict(written, test.inputs, setting), _predict(passed, [test.inputs, test.features]))
    training = StatesBeforeBatch(states_of(passed, train.features))
    losses = _Pair(
        _fit(written, train.inputs, train.later, fixed_epochs, advance, training),
        _fit(passed, [train.inputs, train.features], train.later, fixed_epochs, advance),
    )
    last = _Pair(_predict(written, test.inputs, setting), _predict(passed, [test.inputs, test.features]))

    differences = {
        (DIFFERENCE, FIRST_PREDICTIONS): first.difference(),
        (DIFFERENCE, LOSSES): losses.difference(),
        (DIFFERENCE, WEIGHTS): _Pair(_weights(written), _weights(passed)).difference(),
        (DIFFERENCE, LAST_PREDICTIONS): last.difference(),
    }
    errors = {
        (ZERO, ERROR): _error(_predict(zero, test.inputs), test.later),
        (WRITTEN, ERROR): _error(last.written, test.later),
        (PASSED, ERROR): _error(last.passed, test.later),
    }
    checks = {
        SAME_PREDICTIONS: differences[DIFFERENCE, FIRST_PREDICTIONS] < ROUNDING,
        SAME_TRAINING: max(differences.values()) < ROUNDING,
        FEATURES_HELP: errors[WRITTEN, ERROR] < 0.5 * errors[ZERO, ERROR],
    }
    return Outcome(errors | differences, checks, {"updates_compared": fixed_epochs * TRAINED // BATCH})


class _Pair(NamedTuple):
    """The same of both models."""

    written: NDArray[np.float32]
    passed: NDArray[np.float32]

    def difference(self) -> float:
        return float(np.abs(self.written - self.passed).max())


class _Advance(keras.callbacks.Callback):
    """Tells the progress of all trainings together."""

    def __init__(self, setup: Setup, epochs: int) -> None:
        super().__init__()
        self._setup, self._epochs, self._done = setup, epochs, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._done += 1
        self._setup.advance(self._done / self._epochs)


def _predictions(positions: Any, *, initial_state: Any = None, stateful: bool = False) -> Any:
    lstm = keras.layers.LSTM(UNITS, return_sequences=True, stateful=stateful, name="memory")
    outputs = lstm(positions, initial_state=initial_state)
    return keras.layers.Dense(1, name="position")(outputs[:, GIVEN - 1 :])


def _compile(model: Any, learning_rate: float, epochs: int) -> None:
    """For so many epochs of `_fit`, in which the learning rate falls to zero."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * TRAINED // BATCH)
    model.compile(keras.optimizers.Adam(schedule), "mse")


def _fit(model: Any, inputs: Any, later: NDArray[np.float32], epochs: int, *callbacks: Any) -> NDArray[np.float32]:
    """The mean loss of every epoch."""
    history = model.fit(
        inputs, later, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    )
    return np.asarray(history.history["loss"], np.float32)


def _predict(model: Any, inputs: Any, *callbacks: Any) -> NDArray[np.float32]:
    return model.predict(inputs, batch_size=BATCH, verbose=0, callbacks=list(callbacks))


def _weights(model: Any) -> NDArray[np.float32]:
    """Of the layers that learn while the function of X is held fixed."""
    return np.concatenate([weight.numpy().ravel() for weight in model.trainable_variables])


def _error(predictions: NDArray[np.float32], later: NDArray[np.float32]) -> float:
    return float(100 * np.sqrt(np.mean((predictions - later) ** 2)) / later.std())


EXPERIMENT = Experiment(
    name="initial-state",
    title="Initial state from features: p4 to p30 from p1, p2, p3",
    run=run,
    figures=(
        *(Figure(model, ERROR) for model in (ZERO, WRITTEN, PASSED)),
        *(Figure(DIFFERENCE, of, unit="") for of in (FIRST_PREDICTIONS, LOSSES, WEIGHTS, LAST_PREDICTIONS)),
    ),
    checks=(SAME_PREDICTIONS, SAME_TRAINING, FEATURES_HELP),
    note=(
        "Root mean square error in per cent of the positions' standard deviation: 100 is no better than the mean. "
        "No gradient passes through states that are set, so the function of the features was learned through "
        "initial_state and held fixed for the comparison."
    ),
)
