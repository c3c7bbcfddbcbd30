"""The recurrent states of a Keras model's stateful layers: read, write, reset, and burn-in.

For any built Keras 3 model with layers made with ``stateful=True``, nested as deep as they may be: Keras itself keeps
their states in variables that are neither weights nor saved, and offers only a reset to zero.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

States = dict[str, tuple[NDArray[Any], ...]]
"""States by layer name; of an LSTM ``(h, c)``, each ``[batch, units]``."""


def read_states(model: Any) -> States:
    """Copies of all states, as the next call of the model will find them.

    Raises:
        ValueError: the model has no stateful layer, or has not been built.
    """
    return {name: tuple(part.numpy() for part in parts) for name, parts in _variables(model).items()}


def write_states(model: Any, states: Mapping[str, Any]) -> None:
    """Put the model into ``states``, as `read_states` gave them: the next call goes on from there.

    The values are assigned to the layers' own variables, so that a `tf.function` traced before sees them too.

    Raises:
        ValueError: a layer is missing or unknown, or a state has the wrong number of parts, shape or dtype, or is not
            finite. No state has been changed then.
    """
    variables = _variables(model)
    if set(states) != set(variables):
        raise ValueError(f"states are of layers {sorted(states)}, the model's stateful layers are {sorted(variables)}")
    assignments: list[tuple[Any, NDArray[Any]]] = []
    for name, own in variables.items():
        parts = list(states[name])
        if len(parts) != len(own):
            raise ValueError(f"states[{name!r}] has {len(parts)} parts, the layer has {len(own)}")
        for number, (variable, part) in enumerate(zip(own, parts, strict=True)):
            assignments.append((variable, _checked(part, variable, f"states[{name!r}][{number}]")))
    for variable, array in assignments:
        variable.assign(array)


def reset_states(model: Any, rows: ArrayLike | None = None) -> None:
    """Set states to zero.

    Args:
        model: a built model with stateful layers.
        rows: bool[batch], True where to reset; default: all rows.

    Raises:
        ValueError: ``rows`` is not bool[batch] of the batch size that the model was built for.
    """
    variables = [variable for parts in _variables(model).values() for variable in parts]
    for variable in variables:
        batch = variable.shape[0]
        chosen = np.ones(batch, np.bool_) if rows is None else np.asarray(rows)
        if chosen.dtype != np.bool_ or chosen.shape != (batch,):
            raise ValueError(f"rows is {chosen.dtype}{list(chosen.shape)}, must be bool[{batch}]: True where to reset")
    for variable in variables:
        values = variable.numpy()
        values[slice(None) if rows is None else np.asarray(rows)] = 0
        variable.assign(values)


def warm_up(model: Any, prefix: Any) -> None:
    """Burn-in: run the model over ``prefix`` (``[batch, time, ...]``) for the sake of its states alone.

    Works inside a `tf.GradientTape` and a `tf.function`; no gradient reaches the prefix or the states before it.
    """
    _variables(model)  # an error here is clearer than states that do not move
    model(tf.nest.map_structure(tf.stop_gradient, prefix), training=False)


def _checked(part: Any, variable: Any, name: str) -> NDArray[Any]:
    array = np.asarray(part)
    if array.shape != tuple(variable.shape):
        hint = (
            "; a stateful model keeps the batch size it was built for" if array.shape[1:] == variable.shape[1:] else ""
        )
        raise ValueError(f"{name} has shape {array.shape}, must be {tuple(variable.shape)}{hint}")
    if str(array.dtype) != str(variable.dtype):
        raise ValueError(f"{name} has dtype {array.dtype}, must be {variable.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return array


def _variables(model: Any) -> dict[str, list[Any]]:
    """State variables of every stateful layer, by layer name; a name seen before gets a number."""
    found: dict[str, list[Any]] = {}
    for layer in model._flatten_layers():  # Keras has no public walk over nested layers
        if not getattr(layer, "stateful", False) or not hasattr(layer, "states"):
            continue
        if isinstance(layer, keras.layers.Bidirectional):  # its two layers are found by themselves
            continue
        if layer.states is None:
            raise ValueError(f"layer {layer.name!r} has no states yet: call the model once, or build it")
        name, number = layer.name, 2
        while name in found:
            name, number = f"{layer.name}:{number}", number + 1
        found[name] = tf.nest.flatten(layer.states)
    if not found:
        raise ValueError(f"model {getattr(model, 'name', model)!r} has no layer with stateful=True")
    return found
