"""A stateful Keras model for another batch size: on the same variables, or on variables of its own that start equal.

Keras ties a model with ``stateful=True`` layers to one batch size for ever, while an actor and a learner need two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # Keras has no public name for this class

from r2d2.keras_states import state_variables

# Layers known to be no more than their parts: the sublayers that a new layer takes over instead of its own.
_PARTS = {
    keras.layers.RNN: ("cell",),
    keras.layers.Bidirectional: ("forward_layer", "backward_layer"),
    keras.layers.Wrapper: ("layer",),
}


def rebatch_sharing_weights(model: Any, batch_size: int) -> Any:
    """The same model for another batch size, on the same variables.

    Training either trains both, whatever was compiled before; each has recurrent states of its own. The new model uses
    the given model's stateless layers and recurrent cells themselves, so a layer frozen in one is frozen in both, and
    draws of dropout come from one stream. (Keras notes on a layer where it is used: the given model keeps the new one
    in memory.) The given model stays as it is. The new one is not compiled and has no optimizer.

    Args:
        model: a built Keras model with stateful layers: Sequential or functional, nested as deep as it may be; or a
            single layer.
        batch_size: rows of the new model's states, at least 1; the present number is fine.

    Returns:
        A model of the same class and names whose ``weights`` are the given model's, and whose states are zero.

    Raises:
        ValueError: ``batch_size`` is not such a number; or the model has no stateful layer, is not built, is of a class
            of its own or holds stateful layers inside one, or cannot be built for this batch size.
        RuntimeError: the new model would not have had the given model's variables.
    """
    new = _rebatched(model, batch_size, sharing=True)
    if [id(weight) for weight in new.weights] != [id(weight) for weight in model.weights]:
        raise RuntimeError(
            f"not all weights of model {model.name!r} can be shared: a layer of its own class keeps some besides those "
            "of its sublayers; use rebatch_copying_weights, or build the model twice on the same layers"
        )
    return new


def rebatch_copying_weights(model: Any, batch_size: int) -> Any:
    """The same model for another batch size, on variables of its own that start with equal values.

    Layers are built anew from their configs, except those without variables that no config describes (Lambda, lookup
    tables). The given model stays as it is. The new one is not compiled and has no optimizer.

    Args:
        model: a built Keras model with stateful layers, or a single layer; a class of your own must have a
            ``get_config()`` that returns its arguments, and must not fix the batch size itself.
        batch_size: rows of the new model's states, at least 1; the present number is fine.

    Returns:
        A model of the same class and names with equal weights, and states that are zero.

    Raises:
        ValueError: ``batch_size`` is not such a number; or the model has no stateful layer, is not built, cannot be
            built from its config, or cannot be built for this batch size.
        RuntimeError: the new model would not have had equal weights.
    """
    new = _rebatched(model, batch_size, sharing=False)
    values, wanted = new.get_weights(), model.get_weights()
    equal = [value.tobytes() for value in values] == [value.tobytes() for value in wanted]
    if not equal or {id(weight) for weight in new.weights} & {id(weight) for weight in model.weights}:
        raise RuntimeError(
            f"the weights of model {model.name!r} cannot be copied: built from its config it has {len(values)}, not "
            f"all of its own and equal to the {len(wanted)} given; build it a second time and use set_weights"
        )
    return new


def _rebatched(model: Any, batch_size: int, sharing: bool) -> Any:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be a whole number, at least 1")
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(f"model is a {type(model).__name__}, must be a built Keras model or layer")
    rows = {part.shape[0] for parts in state_variables(model).values() for part in parts}
    if len(rows) > 1:
        raise ValueError(f"model {model.name!r} has layers of several batch sizes, {sorted(rows)}; it must be one")
    new = _Rebatching(rows.pop(), int(batch_size), sharing)(model)
    for name, parts in state_variables(new).items():
        if parts[0].shape[0] != batch_size:
            raise ValueError(
                f"layer {name!r} keeps batch size {parts[0].shape[0]} in a model for batch_size={batch_size}: a class "
                "fixes it by itself; build it a second time with this batch size, then set_weights and copy_states"
            )
    new.built = True  # Keras itself notes this for some classes only when they are called
    return new


class _Rebatching:
    """Maps every layer of a model to what takes its place in the new one; a layer that occurs twice stays one layer."""

    def __init__(self, old_batch: int, new_batch: int, sharing: bool) -> None:
        self._old_batch, self._new_batch, self._sharing = old_batch, new_batch, sharing
        self._done: dict[int, Any] = {}

    def __call__(self, layer: Any) -> Any:
        if id(layer) not in self._done:
            self._done[id(layer)] = self._make(layer)
        return self._done[id(layer)]

    def _make(self, layer: Any) -> Any:
        if self._sharing and not _is_stateful(layer):
            return layer
        if _is_plain(layer, keras.Sequential):
            return self._sequential(layer)
        if _is_plain(layer, Functional):
            return self._functional(layer)
        parts = self._parts(layer)
        if self._sharing and not parts:
            raise ValueError(
                f"{layer.name!r} is a {type(layer).__name__}, a class of its own with stateful layers inside: "
                "use rebatch_copying_weights, or build it twice on the same layers"
            )
        if isinstance(layer, keras.layers.Lambda) or hasattr(layer, "save_assets"):
            return layer  # a function or a table, which is in no config; there are no variables to copy
        new = _from_config(layer)
        for name in parts:
            new._tracker.untrack(getattr(new, name))  # or Keras counts the replaced sublayer as one more
            setattr(new, name, self(getattr(layer, name)))
        if isinstance(layer, keras.layers.Layer):
            self._build(layer, new)
        return new

    def _parts(self, layer: Any) -> tuple[str, ...]:
        if not self._sharing and isinstance(layer, keras.layers.RNN) and "cell" not in layer.get_config():
            return ()  # LSTM and its kind make their own cell, and may be in no need of a config for it
        return next((names for kind, names in _PARTS.items() if isinstance(layer, kind)), ())

    def _sequential(self, model: Any) -> Any:
        layers = [self(layer) for layer in model.layers]
        first = [self._input(tensor) for tensor in getattr(model, "inputs", ())]  # none if a structure is read
        with _explained(f"model {model.name!r} cannot be built for batch_size={self._new_batch}"):
            return type(model)([*first, *layers], name=model.name, trainable=model.trainable)

    def _functional(self, model: Any) -> Any:
        for operation in model.operations:
            self(operation)  # an error in a layer is clearer than one in the graph
        plain = keras.Model(model.input, model.output)  # the same graph; a compiled model's clone is compiled
        inputs = keras.tree.map_structure(self._input, model.input)
        with _explained(f"model {model.name!r} cannot be built for batch_size={self._new_batch}"):
            graph = keras.models.clone_model(plain, input_tensors=inputs, clone_function=self)
            return type(model)(graph.input, graph.output, name=model.name, trainable=model.trainable)

    def _input(self, tensor: Any) -> Any:
        layer = tensor._keras_history.operation
        config = {**layer.get_config(), "batch_shape": self._shape(layer.batch_shape)}
        return type(layer).from_config(config).output

    def _shape(self, shape: Any) -> Any:
        return (self._new_batch, *shape[1:]) if shape and shape[0] == self._old_batch else shape

    def _build(self, old: Any, new: Any) -> None:
        """Build layer by layer: Keras cannot make state variables in the symbolic call that builds a class's parts."""
        _take_names(old, new)
        shapes = old.get_build_config()
        if shapes and not new.built and type(old).build is not keras.layers.Layer.build:
            with _explained(f"layer {old.name!r} cannot be built for batch_size={self._new_batch}"):
                new.build_from_config(keras.tree.map_shape_structure(self._shape, shapes))
        inner, theirs = _sublayers(new), _sublayers(old)
        if [type(layer) for layer in inner] != [type(layer) for layer in theirs]:
            raise RuntimeError(
                f"layer {old.name!r} has sublayers {theirs}, built from its config {inner}: its class is not "
                "described by its get_config()"
            )
        for old_part, new_part in zip(theirs, inner, strict=True):
            self._build(old_part, new_part)
        if not self._sharing:
            values: dict[str, Any] = {}
            old.save_own_variables(values)
            new.load_own_variables(values)


def _is_stateful(layer: Any) -> bool:
    inner = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else ()
    return any(getattr(part, "stateful", False) for part in inner)


def _is_plain(model: Any, kind: Any) -> bool:
    """Whether a model's class is made from the graph alone; it may well have a train_step or a call of its own."""
    return isinstance(model, kind) and type(model).__init__ is kind.__init__


def _from_config(layer: Any) -> Any:
    kind = type(layer)
    if isinstance(layer, keras.Model) and kind.get_config in (keras.Model.get_config, Functional.get_config):
        # Of a class that inherits its __init__, some Pythons (3.11.2) give the signature of Keras' __new__.
        _, *parameters = signature(kind.__init__).parameters.values()
        named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
        arguments = sorted(named - {"name", "trainable", "dtype"})
        if arguments:  # Keras 3 would give the defaults of these, whatever was passed
            raise ValueError(
                f"{layer.name!r} is a {kind.__name__}, a class without a get_config() of its own: give it one that "
                f"returns its arguments {arguments}, or build it a second time and use set_weights"
            )
        if not parameters:  # Keras would pass it a name, which it does not take
            return kind()
    own_classes = {type(part).__name__: type(part) for part in getattr(layer, "_flatten_layers", list)()}
    with (
        _explained(f"layer {layer.name!r} ({kind.__name__}) cannot be built from its config"),
        keras.saving.custom_object_scope(own_classes),
    ):
        new = kind.from_config(_without_shapes(layer.get_config()))
    if hasattr(layer, "use_cudnn"):
        new.use_cudnn = layer.use_cudnn  # the one argument that is in no config
    return new


def _without_shapes(config: Any) -> Any:
    """A config without the shapes from which nested layers would be built at once, for the old batch size."""
    if isinstance(config, dict):
        return {key: _without_shapes(value) for key, value in config.items() if key != "build_config"}
    return [_without_shapes(item) for item in config] if isinstance(config, list) else config


def _take_names(old: Any, new: Any) -> None:
    """Name a layer and its sublayers as the old ones, or states and files of one model would not fit the other."""
    new.name, new._parent_path = old.name, old._parent_path
    for old_part, new_part in zip(_sublayers(old), _sublayers(new), strict=False):  # build() may make more
        _take_names(old_part, new_part)


def _sublayers(layer: Any) -> list[Any]:
    if isinstance(layer, keras.Sequential):
        return layer.layers  # without the input layer that it has once it is built
    return layer._flatten_layers(include_self=False, recursive=False)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what}: {error}") from error
