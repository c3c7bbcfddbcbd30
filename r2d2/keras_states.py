"""The recurrent states of a Keras model's stateful layers: read, write, reset, copy, keep, and burn-in.

For any built Keras 3 model, or single layer, with recurrent layers made with ``stateful=True``, nested as deep as they
may be. Keras itself keeps their states in variables that are neither weights nor saved, and offers only a reset of all
rows to zero. Everything here works eagerly and inside a `tf.function`, where states are tensors instead of arrays;
compiled functions see what was written after they were traced, because the layers' own variables are assigned.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

States = dict[str, tuple[Any, ...]]
"""States by layer name, as arrays ``[batch, ...]``: of an LSTM ``(h, c)``, each ``[batch, units]``."""


def read_states(model: Any) -> States:
    """Copies of all states, as the next call of the model will find them.

    Returns:
        By layer name (a name seen before gets ``:2``, ``:3``), the parts of the state in Keras's order, those of
        stacked cells one after the other; a bidirectional layer counts as its two layers. NumPy arrays; inside a
        `tf.function` tensors.

    Raises:
        ValueError: the model has no stateful layer, or has not been built.
    """
    return {name: tuple(_value(part) for part in parts) for name, parts in state_variables(model).items()}


def write_states(model: Any, states: Mapping[str, Sequence[Any]], rows: ArrayLike | None = None) -> None:
    """Put the model into ``states``, as `read_states` gave them: the next call goes on from there.

    Args:
        model: a built model with stateful layers.
        states: of every layer, for the model's whole batch; see `take_rows` to select or repeat rows.
        rows: bool[batch], True where to write, the other rows stay as they are; default: all rows.

    Raises:
        ValueError: a layer is missing or unknown, or a state has the wrong number of parts, shape or dtype, or is not
            finite (inside a `tf.function`: `tf.errors.InvalidArgumentError`, when it runs), or ``rows`` are not
            bools of the batch. No state has been changed then.
    """
    variables = state_variables(model)
    if set(states) != set(variables):
        raise ValueError(f"states are of layers {sorted(states)}, the model's stateful layers are {sorted(variables)}")
    assignments: list[tuple[Any, Any]] = []
    for name, own in variables.items():
        parts = tuple(states[name])
        if len(parts) != len(own):
            raise ValueError(f"states[{name!r}] has {len(parts)} parts, the layer has {len(own)}")
        for number, (variable, part) in enumerate(zip(own, parts, strict=True)):
            assignments.append((variable, _checked(part, variable, f"states[{name!r}][{number}]")))
    _assign(assignments, rows)


def reset_states(model: Any, rows: ArrayLike | None = None) -> None:
    """Set states to zero. (For other values see `write_states`.)

    Args:
        model: a built model with stateful layers.
        rows: bool[batch], True where to reset; default: all rows.

    Raises:
        ValueError: ``rows`` is not bool[batch] of the batch size that the model was built for.
    """
    variables = [variable for parts in state_variables(model).values() for variable in parts]
    _assign([(variable, tf.zeros(variable.shape, variable.dtype)) for variable in variables], rows)


def take_rows(states: Mapping[str, Sequence[Any]], rows: ArrayLike) -> States:
    """The same states for a batch made of the rows named, each as often and in the order in which it is named.

    ``take_rows(states, [0] * 6)`` is row 0 in all of six rows, ``take_rows(states, [2, 5])`` two rows of many.

    Args:
        states: of any batch size.
        rows: int[new batch], numbers of rows of ``states``, at least one.

    Raises:
        ValueError: ``rows`` are not such numbers.
    """
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or not len(chosen) or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(f"rows is {chosen.dtype}{list(chosen.shape)}, must be a list of numbers of rows")
    taken: States = {}
    for name, parts in states.items():
        for number, part in enumerate(parts):
            if chosen.min() < 0 or chosen.max() >= part.shape[0]:
                raise ValueError(
                    f"rows={chosen.tolist()} must be from 0 to {part.shape[0] - 1}, "
                    f"the rows of states[{name!r}][{number}]"
                )
        taken[name] = tuple(
            tf.gather(part, chosen) if tf.is_tensor(part) else np.asarray(part)[chosen] for part in parts
        )
    return taken


def copy_states(source: Any, target: Any, rows: ArrayLike | None = None) -> None:
    """Put one model into the states of another, layer by layer in the order in which each model holds them.

    Args:
        source: a built model with stateful layers; it stays as it is.
        target: a built model whose stateful layers have states of the same number and shapes, whatever their names.
        rows: int[target's batch], which row of the source each row of the target gets; needed unless both models have
            the same batch size, in which case the default is each row its own.

    Raises:
        ValueError: the layers do not match, or ``rows`` are missing, or not rows of the source, or not as many as the
            target has. No state has been changed then.
    """
    theirs, own = state_variables(source), state_variables(target)
    if len(theirs) != len(own):
        raise ValueError(f"source has stateful layers {list(theirs)}, target {list(own)}: they must match one by one")
    for (their_name, their_parts), (name, parts) in zip(theirs.items(), own.items(), strict=True):
        shapes, wanted = ([tuple(part.shape[1:]) for part in each] for each in (their_parts, parts))
        if shapes != wanted:
            raise ValueError(
                f"source layer {their_name!r} has states of shape {shapes} per row, target layer {name!r} {wanted}"
            )
        batches = their_parts[0].shape[0], parts[0].shape[0]
        if rows is None and batches[0] != batches[1]:
            raise ValueError(
                f"source layer {their_name!r} has batch size {batches[0]}, target layer {name!r} {batches[1]}: "
                "say with rows=[...] which row of the source each row of the target gets"
            )
    states = read_states(source)
    if rows is not None:
        states = take_rows(states, rows)
    write_states(target, dict(zip(own, states.values(), strict=True)))


@contextmanager
def keep_states(model: Any) -> Iterator[None]:
    """A context that leaves the states as they were, whatever is called or raised inside: predict without moving on."""
    variables = [variable for parts in state_variables(model).values() for variable in parts]
    before = [tf.identity(variable.value) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def warm_up(model: Any, prefix: Any, lengths: ArrayLike | None = None) -> None:
    """Burn-in: run the model over ``prefix`` for the sake of its states alone.

    Works inside a `tf.GradientTape` and a `tf.function`; no gradient reaches the prefix or the states before it.

    Args:
        model: a built model with stateful layers, called with ``training=False``.
        prefix: the model's inputs, ``[batch, time, ...]``; time may be 0, which changes nothing.
        lengths: int[batch], steps of each row of a right-padded prefix, 0 to time, known when traced; a row moves on
            over its own steps only, whatever stands in the padding. Default: all steps. The prefix is run in one
            piece for every length that occurs.

    Raises:
        ValueError: ``lengths`` are not such numbers, or differ while a layer reads its steps backwards.
    """
    variables = state_variables(model)  # an error here is clearer than states that do not move
    batch, time = tf.nest.flatten(prefix)[0].shape[:2]
    if lengths is None:
        if time != 0:
            model(prefix, training=False)  # the states are assigned to variables, which no gradient passes
        return
    ends = _checked_lengths(lengths, batch, time)
    if len(set(ends.tolist())) > 1 and any(getattr(layer, "go_backwards", False) for layer in _layers(model)):
        raise ValueError(
            f"lengths={ends.tolist()} must be all the same: a layer of this model reads its steps backwards"
        )
    parts = [variable for each in variables.values() for variable in each]
    start = 0
    for end in sorted(set(ends.tolist()) - {0}):
        before = [tf.identity(variable.value) for variable in parts]
        model(tf.nest.map_structure(lambda leaf, piece=slice(start, end): leaf[:, piece], prefix), training=False)
        _assign(list(zip(parts, before, strict=True)), ends <= start)
        start = end


def state_variables(model: Any) -> dict[str, list[Any]]:
    """The state variables of every stateful layer, by layer name; a name seen before gets a number.

    Raises:
        ValueError: see `read_states`.
    """
    found: dict[str, list[Any]] = {}
    for layer in _layers(model):
        if layer.states is None:
            raise ValueError(f"layer {layer.name!r} has no states yet: call the model once, or build it")
        name, number = layer.name, 2
        while name in found:
            name, number = f"{layer.name}:{number}", number + 1
        found[name] = tf.nest.flatten(layer.states)
    if not found:
        raise ValueError(f"model {getattr(model, 'name', model)!r} has no layer with stateful=True")
    return found


def _layers(model: Any) -> list[Any]:
    return [
        layer
        for layer in model._flatten_layers()  # Keras has no public walk over nested layers
        if getattr(layer, "stateful", False)
        and hasattr(layer, "states")
        and not isinstance(layer, keras.layers.Bidirectional)  # its two layers are found by themselves
    ]


def _value(variable: Any) -> Any:
    return variable.numpy() if tf.executing_eagerly() else tf.stop_gradient(tf.identity(variable.value))


def _assign(assignments: list[tuple[Any, Any]], rows: ArrayLike | None) -> None:
    """Assign checked values, all of them once every check has passed."""
    if rows is not None:
        chosen: Any = rows if tf.is_tensor(rows) else np.asarray(rows)
        for variable, _ in assignments:
            wanted = (variable.shape[0],)
            if tf.as_dtype(chosen.dtype) != tf.bool or tuple(chosen.shape) != wanted:
                given = f"{tf.as_dtype(chosen.dtype).name}{list(chosen.shape)}"
                raise ValueError(f"rows is {given}, must be bool[{wanted[0]}]: True where to change")
        assignments = [
            (variable, tf.where(tf.reshape(chosen, [-1] + [1] * (len(variable.shape) - 1)), value, variable.value))
            for variable, value in assignments
        ]
    with tf.control_dependencies([value for _, value in assignments if tf.is_tensor(value)]):
        for variable, value in assignments:
            variable.assign(value)


def _checked(part: Any, variable: Any, name: str) -> Any:
    value: Any = part if tf.is_tensor(part) else np.asarray(part)
    shape, wanted = tuple(value.shape), tuple(variable.shape)
    if shape != wanted:
        hint = "; a stateful model keeps the batch size it was built for" if shape[1:] == wanted[1:] else ""
        raise ValueError(f"{name} has shape {shape}, must be {wanted}{hint}")
    dtype = value.dtype.name
    if dtype != str(variable.dtype):
        raise ValueError(f"{name} has dtype {dtype}, must be {variable.dtype}")
    message = f"{name} must be finite; it holds NaN or infinity"
    if tf.is_tensor(value) and not tf.executing_eagerly():
        return tf.debugging.check_numerics(value, message) if value.dtype.is_floating else value
    if not np.isfinite(np.asarray(value)).all():
        raise ValueError(message)
    return value


def _checked_lengths(lengths: ArrayLike, batch: int, time: int) -> Any:
    ends = np.asarray(lengths)
    whole = np.issubdtype(ends.dtype, np.integer) and ends.shape == (batch,)
    if not whole or ends.min() < 0 or ends.max() > time:
        raise ValueError(f"lengths={ends.tolist()} must be {batch} whole numbers from 0 to {time}")
    return ends
