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
            finite (inside a `tf.function`: `tf.errors.InvalidArgumentError`, when it runs; with ``jit_compile=True``,
            where nothing can be raised, no error), or ``rows`` are not bools of the batch. No state has been changed
            then.
    """
    variables = state_variables(model)
    if not isinstance(states, Mapping):
        raise ValueError(f"states is a {type(states).__name__}, must hold the parts of each layer's state by its name")
    if set(states) != set(variables):
        raise ValueError(f"states are of layers {sorted(states)}, the model's stateful layers are {sorted(variables)}")
    assignments: list[tuple[Any, Any]] = []
    for name, own in variables.items():
        if not isinstance(states[name], Sequence) or isinstance(states[name], str):
            raise ValueError(f"states[{name!r}] is a {type(states[name]).__name__}, must be a tuple of arrays")
        parts = states[name]
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
    for name, given in states.items():
        parts = [part if tf.is_tensor(part) else np.asarray(part) for part in given]
        for number, part in enumerate(parts):
            if chosen.min() < 0 or chosen.max() >= part.shape[0]:
                raise ValueError(
                    f"rows={chosen.tolist()} must be from 0 to {part.shape[0] - 1}, "
                    f"the rows of states[{name!r}][{number}]"
                )
        taken[name] = tuple(tf.gather(part, chosen) if tf.is_tensor(part) else part[chosen] for part in parts)
    return taken


def copy_states(source: Any, target: Any, rows: ArrayLike | None = None) -> None:
    """Put one model into the states of another.

    Layers are matched by their names where both models have the same ones, else in the order in which each model holds
    them, nested models in their place.

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
    if set(theirs) == set(own):
        theirs = {name: theirs[name] for name in own}
    states = read_states(source)
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
        if rows is not None and np.size(rows) != batches[1]:
            raise ValueError(f"rows names {np.size(rows)} rows, target layer {name!r} has batch size {batches[1]}")
    if rows is not None:
        states = take_rows(states, rows)
    write_states(target, {name: states[their_name] for their_name, name in zip(theirs, own, strict=True)})


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

    Works inside a `tf.GradientTape` and a `tf.function`; no gradient reaches the prefix or the states before it, since
    states are assigned to variables.

    Args:
        model: a built model with stateful layers, called with ``training=False``. With ``lengths`` it must be one for
            which steps in one piece and in many are the same; `r2d2.check_burn_in` tells.
        prefix: the model's inputs, ``[batch, time, ...]``; time may be 0, which changes nothing.
        lengths: int[batch], steps of each row of a right-padded prefix, 0 to time; a row moves on over its own steps
            only, whatever stands in the padding. Default: all steps. The prefix is run in one piece for every length
            that occurs; step by step if the lengths, or time, are known only when a `tf.function` runs.

    Raises:
        ValueError: ``lengths`` are not such numbers, or differ while a layer reads its steps backwards.
    """
    variables = state_variables(model)  # an error here is clearer than states that do not move
    time = tf.nest.flatten(prefix)[0].shape[1]
    parts = [variable for each in variables.values() for variable in each]
    if lengths is None:
        _run_if_any(model, prefix, time)
        return
    symbolic = tf.is_tensor(lengths) and not tf.executing_eagerly()
    ends = _checked_lengths(lengths if symbolic else np.asarray(lengths), parts[0].shape[0], time)
    alike = not symbolic and len(set(ends.tolist())) == 1
    if not alike and any(getattr(layer, "go_backwards", False) for layer in _layers(model)):
        said = "lengths" if symbolic else f"lengths={ends.tolist()}"
        raise ValueError(f"{said} must be all the same: a layer of this model reads its steps backwards")
    if symbolic or time is None:
        _run_step_by_step(model, prefix, parts, ends)
        return
    start = 0
    for end in sorted(set(ends.tolist()) - {0}):
        before = [tf.identity(variable.value) for variable in parts]
        model(tf.nest.map_structure(lambda leaf, piece=slice(start, end): leaf[:, piece], prefix), training=False)
        _assign(list(zip(parts, before, strict=True)), ends <= start)
        start = end


def _run_if_any(model: Any, prefix: Any, time: int | None) -> None:
    """Run over a prefix, unless it is of no steps, which may be known only when a graph runs."""

    def run() -> Any:
        model(prefix, training=False)
        return tf.constant(True)

    if time is None:
        tf.cond(tf.shape(tf.nest.flatten(prefix)[0])[1] > 0, run, lambda: tf.constant(False))
    elif time > 0:
        run()


def _run_step_by_step(model: Any, prefix: Any, parts: list[Any], ends: Any) -> None:
    def step(t: Any) -> tuple[Any]:
        before = [tf.identity(variable.value) for variable in parts]
        model(tf.nest.map_structure(lambda leaf: tf.gather(leaf, [t], axis=1), prefix), training=False)
        _assign(list(zip(parts, before, strict=True)), tf.convert_to_tensor(ends <= tf.cast(t, ends.dtype)))
        return (t + 1,)

    time = tf.shape(tf.nest.flatten(prefix)[0])[1]
    tf.while_loop(lambda t: t < time, step, (tf.constant(0),))


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
        raise ValueError(
            f"model {getattr(model, 'name', model)!r} has no layer with stateful=True, which keeps its states; "
            "a network that hands them in and out is for r2d2.SupportsBurnIn"
        )
    return found


def _layers(model: Any) -> list[Any]:
    """The stateful recurrent layers in the order in which they are held, each once."""
    if not hasattr(model, "_flatten_layers"):
        raise ValueError(f"model is a {type(model).__name__}, must be a Keras model or layer")
    found: dict[int, Any] = {}

    def visit(layer: Any) -> None:
        if id(layer) in found:
            return
        found[id(layer)] = layer
        # Keras has no public walk over nested layers; its private one turns the order around from level to level.
        for inner in layer._flatten_layers(include_self=False, recursive=False):
            visit(inner)

    visit(model)
    return [
        layer
        for layer in found.values()
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
    if tf.executing_eagerly():
        for variable, value in assignments:
            variable.assign(value)
        return
    # In a graph no value is known before it runs: all are looked at before the first is assigned.
    fine = tf.reduce_all([tf.reduce_all(_is_finite(value)) for _, value in assignments])
    for variable, value in assignments:
        variable.assign(tf.where(fine, value, variable.value))


def _is_finite(value: Any) -> Any:
    tensor = tf.convert_to_tensor(value)
    return tf.math.is_finite(tensor) if tensor.dtype.is_floating else tf.ones_like(tensor, tf.bool)


def _checked(part: Any, variable: Any, name: str) -> Any:
    value: Any = part.value if isinstance(part, keras.Variable) else part
    value = value if tf.is_tensor(value) else np.asarray(value)
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


def _checked_lengths(lengths: Any, batch: int, time: int | None) -> Any:
    if tf.is_tensor(lengths):
        if not lengths.dtype.is_integer or tuple(lengths.shape) != (batch,):
            raise ValueError(f"lengths is {lengths.dtype.name}{lengths.shape}, must be {batch} whole numbers")
        return lengths
    whole = np.issubdtype(lengths.dtype, np.integer) and lengths.shape == (batch,)
    if not whole or lengths.min() < 0 or (time is not None and lengths.max() > time):
        most = "" if time is None else f" to {time}"
        raise ValueError(f"lengths={lengths.tolist()} must be {batch} whole numbers from 0{most}")
    return lengths
