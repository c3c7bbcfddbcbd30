"""Nested dicts, tuples and lists of arrays: the little that the replay needs of trees.

A leaf is whatever is not a dict, tuple or list. The tools of TensorFlow and optree would do as well, but the
replay must not need them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tree = Any

_SEQUENCES = (tuple, list)
_NESTED = (dict, *_SEQUENCES)
_Array = np.ndarray


def as_array(values: Any, name: str) -> NDArray[Any]:
    """``values`` as one array.

    Raises:
        ValueError: nested lists whose lengths differ.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array: {error}") from error


def leaves(tree: Tree) -> list[Any]:
    """The leaves from left to right; the values of a dict in the order of its keys' insertion."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, tuple | list):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


def named_leaves(tree: Tree, name: str) -> list[tuple[str, Any]]:
    """The leaves with their paths, for messages: ``state['h']``, ``observation[0]``."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in named_leaves(value, f"{name}[{key!r}]")]
    if isinstance(tree, tuple | list):
        return [leaf for i, value in enumerate(tree) for leaf in named_leaves(value, f"{name}[{i}]")]
    return [(name, tree)]


def build(like: Tree, new_leaves: list[Any]) -> Tree:
    """A tree of the structure of ``like`` with other leaves."""
    if not isinstance(like, _NESTED):
        return new_leaves[0]
    if type(like) is tuple and not any(isinstance(part, _NESTED) for part in like):
        return tuple(new_leaves)
    return _build(like, iter(new_leaves))


def is_of_tuples(tree: Tree) -> bool:
    """Whether no node of the tree can be changed in place."""
    if isinstance(tree, tuple):
        return all(is_of_tuples(part) for part in tree)
    return not isinstance(tree, _NESTED)


class Structure:
    """How a tree is nested, for one that is taken apart at every step.

    Args:
        like: a tree so nested.
    """

    def __init__(self, like: Tree) -> None:
        self._like = like
        is_flat = isinstance(like, _SEQUENCES) and not any(isinstance(part, _NESTED) for part in like)
        self._arrays = len(like) if is_flat else -1
        self._is_one_array = not isinstance(like, _NESTED)

    def leaves(self, tree: Tree, name: str) -> Sequence[Any]:
        """See `leaves_like`."""
        # The observations of most environments and the states of most networks, a few times as fast.
        if self._is_one_array and type(tree) is _Array:
            return (tree,)
        if type(tree) is tuple and len(tree) == self._arrays:
            for part in tree:
                if type(part) is not _Array:
                    break
            else:
                return tree
        return leaves_like(self._like, tree, name)


def _build(like: Tree, supply: Iterator[Any]) -> Tree:
    if isinstance(like, dict):
        return {key: _build(value, supply) for key, value in like.items()}
    if isinstance(like, tuple | list):
        parts = [_build(value, supply) for value in like]
        return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)
    return next(supply)


def leaves_like(like: Tree, tree: Tree, name: str) -> list[Any]:
    """The leaves of ``tree`` in the order of ``like``.

    Raises:
        ValueError: ``tree`` is not nested as ``like`` is; the message names the place.
    """
    if not isinstance(like, _NESTED):
        if isinstance(tree, dict | tuple):
            raise ValueError(f"{name} must be one array, not a {type(tree).__name__}")
        return [tree]
    if isinstance(like, dict):
        if not isinstance(tree, dict) or set(tree) != set(like):
            found = f"a dict of {sorted(tree, key=str)}" if isinstance(tree, dict) else type(tree).__name__
            raise ValueError(f"{name} must be a dict of {sorted(like, key=str)}, not {found}")
        return [leaf for key in like for leaf in leaves_like(like[key], tree[key], f"{name}[{key!r}]")]
    if not isinstance(tree, _SEQUENCES) or len(tree) != len(like):
        found = f"{len(tree)}" if isinstance(tree, _SEQUENCES) else f"a {type(tree).__name__}"
        raise ValueError(f"{name} must be a sequence of {len(like)} parts, not {found}")
    found_leaves = []
    for i, (old, new) in enumerate(zip(like, tree, strict=True)):
        if isinstance(new, np.ndarray) and not isinstance(old, _NESTED):
            found_leaves.append(new)
        else:
            found_leaves += leaves_like(old, new, f"{name}[{i}]")
    return found_leaves
