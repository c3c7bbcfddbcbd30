"""Weights and recurrent states of a Keras model in one file: Keras saves a stateful model without its states."""

from pathlib import Path
from typing import Any

import numpy as np

from r2d2.archive import assign_all, read_archive, write_archive
from r2d2.keras_states import state_variables
from r2d2.weights import named_weights, without_number

FORMAT = "r2d2-weights-and-states-1"


def save_with_states(path: Path | str, model: Any) -> None:
    """Write all weights and all states of a built model, so that ``path`` holds the old file or the new one, whole.

    Args:
        path: a NumPy archive, whatever its name ends with.
        model: a built model with stateful layers. Its architecture, optimizer and seed generators are not written.

    Raises:
        ValueError: the model has no stateful layer, has not been built, or has a weight or state that is not finite,
            which could not be loaded. Nothing has been written then.
    """
    named = _named(model)
    for name, variable in named.items():
        if not np.isfinite(np.asarray(variable)).all():
            raise ValueError(f"{name} must be finite to be saved; it holds NaN or infinity")
    write_archive(path, FORMAT, named)


def load_with_states(path: Path | str, model: Any) -> None:
    """Give a model of the same make and batch size the weights and states that `save_with_states` wrote.

    The next call goes on as the saved model would have. Nothing that is read can run code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not such a file, or of another model or batch size; the model is unchanged then.
    """
    assign_all(path, read_archive(path, FORMAT), _named(model))


def _named(model: Any) -> dict[str, Any]:
    """Weights and state variables by position and name, without the numbers that Keras deals out anew each time."""
    states = {
        f"states/{i:03d}/{without_number(name.partition(':')[0])}/{number}": variable
        for i, (name, parts) in enumerate(state_variables(model).items())
        for number, variable in enumerate(parts)
    }
    return {f"weights/{name}": variable for name, variable in named_weights(model).items()} | states
