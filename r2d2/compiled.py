"""A function of trees of arrays, compiled once and called with as little ceremony as TensorFlow allows."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.replay.batch import Batch
from r2d2.replay.memory import ALIGNMENT


class CompiledFunction:
    """``function`` traced once for the tensor specifications ``signature``.

    Calling a `tf.function` with nested arrays costs more than the arithmetic of a small network: each leaf is
    matched against the signature anew. Here the tree is taken apart first and the one traced graph called with it.

    Args:
        function: of one argument for each of ``signature``; returns tensors.
        signature: trees of `tf.TensorSpec`, one an argument.
    """

    def __init__(self, function: Callable[..., Any], *signature: Any) -> None:
        self._signature = signature
        self._function = tf.function(
            lambda *leaves: function(*tf.nest.pack_sequence_as(signature, leaves)),
            input_signature=tf.nest.flatten(signature),
        )
        self._graph: Any = None

    @property
    def traces(self) -> int:
        """How often the function has been traced: 0 before the first call, then 1."""
        return int(self._function.experimental_get_tracing_count())

    def __call__(self, *arguments: Any) -> Any:
        """Call with trees of arrays or tensors nested as the signature is."""
        if self._graph is None:
            self._graph = self._function.get_concrete_function()
        tf.nest.assert_same_structure(self._signature, arguments)
        return self._graph(*[tensor for argument in arguments for tensor in as_tensors(argument)])


def as_tensors(tree: Any) -> list[Any]:
    """A tensor for each array of a tree, from left to right, without a copy where that is possible.

    While a tensor is used, its array must stay as it is. The tensors of a batch as the replay made it are made once and
    used again with its memory: they are for one call, of whose results none may share memory with what it was given.
    """
    memory = tree.memory if isinstance(tree, Batch) and not _with_gpu() else None
    tensors: list[Any] = memory.tensors if memory is not None and memory.in_tuples else []
    if tensors:
        return tensors
    leaves = tf.nest.flatten(tree)
    if memory is not None:
        tensors = memory.tensors_of(leaves)
    if not tensors:
        tensors = [_shared(leaf) if _can_share(leaf) else tf.constant(leaf) for leaf in leaves]
        if memory is not None:
            memory.keep(leaves, tensors)
    return tensors


@cache
def _with_gpu() -> bool:
    # It may keep a copy of a tensor that it has seen before.
    return bool(tf.config.list_physical_devices("GPU"))


def _can_share(leaf: Any) -> bool:
    # TensorFlow ends the process where memory is not aligned as its own is.
    aligned = isinstance(leaf, np.ndarray) and leaf.flags.carray and leaf.ctypes.data % ALIGNMENT == 0
    return aligned and leaf.size > 0


def _shared(array: NDArray[Any]) -> Any:
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
