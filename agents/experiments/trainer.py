"""Models that are compiled once and trained many times, from new weights for every seed: compiling costs seconds."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.experiments.epochs import Epochs, Start
from agents.experiments.models import Kind, Shape, build_model, samples
from agents.experiments.results import Windows
from r2d2.keras_states import reset_states


class Trainer:
    """A model and its compiled epochs; the arguments are those of `build_model`."""

    def __init__(self, kind: Kind, batch_size: int, shape: Shape, classes: int) -> None:
        self._arguments: dict[str, Any] = {
            "kind": kind,
            "batch_size": batch_size,
            "shape": shape,
            "classes": classes,
        }
        self._shape = shape
        self.model = build_model(**self._arguments, seed=0)
        """The model, as the last call has left it."""
        self._epochs = Epochs(self.model)

    def begin(self, seed: int) -> None:
        """Make the model what `build_model` makes of this seed: weights, optimizer, and states of zero."""
        new = build_model(**self._arguments, seed=seed)
        new.optimizer.build(new.trainable_variables)
        self.model.set_weights(new.get_weights())
        for variable, value in zip(self.model.optimizer.variables, new.optimizer.variables, strict=True):
            variable.assign(value)
        if self._arguments["kind"] == "stateful LSTM":
            reset_states(self.model)

    def train(self, windows: Windows, order: NDArray[np.integer[Any]], start: Start = "zero") -> None:
        """Go on training; see `Epochs.run`."""
        self._epochs.run(*samples(windows, self._shape), order, start)


@cache
def shared_trainer(kind: Kind, batch_size: int, shape: Shape, classes: int) -> Trainer:
    """The one trainer of such models: whoever is given it begins anew, and has done before the next one does."""
    return Trainer(kind, batch_size, shape, classes)
