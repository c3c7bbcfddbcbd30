"""What `r2d2.check_burn_in` can be run on: the verbs of a stateful network, and how a Keras model gets them."""

import copy
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from r2d2.keras_states import read_states, reset_states, state_variables, warm_up, write_states
from r2d2.network import RecurrentQNetwork
from r2d2.replay import NO_ACTION, trees
from r2d2.replay.batch import Inputs
from r2d2.stateful import StatefulNetwork

ROWS = 4
"""Rows of the batch where the check may choose: enough for a row that is first, last, or neither."""
LARGEST_SAMPLE = 1e6
"""Observations beyond this are samples of a space that is bounded by the largest numbers there are."""


@runtime_checkable
class SupportsBurnIn(Protocol):
    """A recurrent network that keeps the states of a batch. `r2d2.StatefulNetwork` is one.

    States and steps are trees (dicts, tuples, lists) of arrays. What is handed in may be NumPy arrays or TensorFlow
    tensors; what is handed out may be either, and is copied before it is used.

    An attribute ``weights``, the list of all its variables (with ``numpy()`` and ``assign()``), is optional: with
    it, `check_burn_in` sees whether burn-in moves them.
    """

    @property
    def batch_size(self) -> int:
        """Number of rows."""

    @property
    def state(self) -> Any:
        """The states that the next call starts from, leaves ``[batch, ...]``."""

    def restore(self, state: Any, /) -> None:
        """Start from ``state``, as `state` gave it."""

    def reset(self, rows: Any = None, /) -> None:
        """Put rows (bool[batch], True where to reset; default: all) into the initial state."""

    def warm_up(self, prefix: Any, lengths: Any = None, /) -> None:
        """Move the states on over steps ``[batch, time, ...]``, right-padded behind each row's length (int[batch])."""

    def __call__(self, steps: Any, /) -> Any:
        """Outputs of steps ``[batch, time, ...]``; the states move on.

        A tree of arrays ``[batch, time, ...]``; one without a time axis is taken as that of the last step.
        """


@dataclass(frozen=True)
class Subject:
    """A network with its verbs, the steps to run it on, and its weights (None: not known)."""

    network: SupportsBurnIn
    steps: Any
    weights: list[Any] | None


class StatefulKerasModel:
    """The verbs of a stateful network for a built Keras model (or layer) with ``stateful=True`` layers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.batch_size = int(next(iter(state_variables(model).values()))[0].shape[0])

    @property
    def state(self) -> Any:
        return read_states(self._model)

    def restore(self, state: Any) -> None:
        write_states(self._model, state)

    def reset(self, rows: ArrayLike | None = None) -> None:
        reset_states(self._model, rows)

    def warm_up(self, prefix: Any, lengths: ArrayLike | None = None) -> None:
        warm_up(self._model, prefix, lengths)

    def __call__(self, steps: Any) -> Any:
        return self._model(steps, training=False)


def subject_of(network: Any, steps: Any, time: int, seed: int) -> Subject:
    """What is to be checked, with ``time`` random steps of the seed where ``steps`` is None.

    Raises:
        TypeError: ``network`` is none of the kinds that can be checked.
        ValueError: a Keras model has not been built or is not stateful; steps are missing and cannot be made, or do
            not fit.
    """
    rng = np.random.default_rng(seed)
    if isinstance(network, RecurrentQNetwork):
        leaves = [] if steps is None else trees.leaves(steps)
        rows = len(leaves[0]) if leaves and np.ndim(leaves[0]) else ROWS
        network = StatefulNetwork(network, rows)
    if isinstance(network, StatefulNetwork):
        steps = _random_inputs(network, time, rng) if steps is None else steps
        if not isinstance(steps, Inputs):
            raise ValueError(f"steps is a {type(steps).__name__}, must be r2d2.Inputs, which this network reads")
        return Subject(network, _checked(steps, network.batch_size), network.network.weights)
    if isinstance(network, SupportsBurnIn):
        if steps is None:
            raise ValueError(
                "steps must be given for a network of your own: what it is called with, arrays [batch, time, ...]"
            )
        weights = getattr(network, "weights", None)
        return Subject(network, _checked(steps, network.batch_size), None if weights is None else list(weights))
    if isinstance(network, keras.Layer):
        model = StatefulKerasModel(network)
        steps = _random_arrays(network, model.batch_size, time, rng) if steps is None else steps
        return Subject(model, _checked(steps, model.batch_size), network.weights)
    verbs = ("batch_size", "state", "restore", "reset", "warm_up", "__call__")
    raise TypeError(
        f"network is a {type(network).__name__}, must be a RecurrentQNetwork, a StatefulNetwork, a Keras model with "
        f"stateful=True layers, or have the verbs of SupportsBurnIn; missing: "
        f"{', '.join(verb for verb in verbs if not hasattr(network, verb))}"
    )


def _checked(steps: Any, batch: int) -> Any:
    """Steps as NumPy arrays, all of them ``[batch, time, ...]``, that are not all alike."""
    named = trees.named_leaves(steps, "steps")
    arrays = [trees.as_array(leaf, name) for name, leaf in named]
    if not arrays:
        raise ValueError("steps must hold at least one array")
    for (name, _), array in zip(named, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} has dtype {array.dtype}, must be numbers or bools")
        if array.ndim < 2 or array.shape[:2] != (batch, *arrays[0].shape[1:2]) or array.shape[1] < 2:
            raise ValueError(
                f"{name} has shape {array.shape}, must be [batch, time, ...] with batch={batch}, the network's, "
                "and one time for all, at least 2"
            )
    for row in range(batch):
        if all((array[row] == array[row, :1]).all() for array in arrays):
            raise ValueError(f"steps of row {row} are all the same, must differ: faults would not show")
    return trees.build(steps, arrays)


def _random_arrays(model: Any, batch: int, time: int, rng: np.random.Generator) -> Any:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple):
        known = "several inputs" if isinstance(shape, list | dict) else "inputs of a shape that Keras does not know"
        raise ValueError(f"steps must be given: model {model.name!r} has {known}")
    dtype = np.dtype(model.inputs[0].dtype)
    if dtype.kind != "f":
        raise ValueError(f"steps must be given: model {model.name!r} reads {dtype}, of a range that is not known")
    if len(shape) < 2 or None in shape[2:]:
        raise ValueError(f"steps must be given: model {model.name!r} reads inputs of shape {shape}")
    return rng.normal(size=(batch, time, *shape[2:])).astype(dtype)


def _random_inputs(view: StatefulNetwork, time: int, rng: np.random.Generator) -> Inputs:
    network, shape = view.network, (view.batch_size, time)
    spec = network.observation_spec
    return Inputs(
        spec.build([_samples(space, shape, rng) for space in trees.leaves(spec.tree)]),
        rng.integers(NO_ACTION, network.num_actions, shape).astype(np.int32),
        rng.normal(size=shape).astype(np.float32),
    )


def _samples(space: spaces.Space[Any], shape: tuple[int, int], rng: np.random.Generator) -> NDArray[Any]:
    own = copy.deepcopy(space)  # sampling moves a space's random state on
    own.seed(int(rng.integers(2**31)))
    drawn = np.stack([np.asarray(own.sample()) for _ in range(shape[0] * shape[1])])
    if isinstance(own, spaces.Box) and drawn.dtype.kind == "f":
        nearer = np.clip(rng.normal(size=drawn.shape), own.low, own.high)
        drawn = np.where(np.abs(drawn) > LARGEST_SAMPLE, nearer, drawn).astype(drawn.dtype)
    return drawn.reshape(*shape, *drawn.shape[1:])
