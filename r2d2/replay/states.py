"""Recurrent states as the replay is given them: trees of arrays like those of one network."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.trees import Tree


class StateLeaf(NamedTuple):
    """One array of a recurrent state, without axes of environments."""

    name: str
    """For messages."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    """How many numbers it has."""

    def check(self, values: Any, lead: tuple[int, ...]) -> NDArray[Any]:
        """``values`` as an array ``[*lead, *shape]``.

        Raises:
            TypeError, ValueError: they are of another network.
        """
        array = trees.as_array(values, self.name)
        if array.shape != lead + self.shape:
            axes = f"{'time, ' if len(lead) > 1 else ''}num_envs={lead[-1]}, and state_example's {self.shape}"
            raise ValueError(f"{self.name} has shape {array.shape}, must be {lead + self.shape}: {axes}")
        if array.dtype != self.dtype:
            raise TypeError(f"{self.name} has dtype {array.dtype}, must be {self.dtype}")
        return array


def dtype_of(leaf: Any, name: str) -> np.dtype[Any]:
    """Of a part of a state.

    Raises:
        TypeError: it is not of numbers.
    """
    dtype = np.asarray(leaf).dtype
    if dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {dtype}, must be of numbers; give () where there is no recurrent state")
    return dtype


class StateSpec:
    """Recurrent states of one network.

    Args:
        example: tree of arrays, the state of one row.

    Raises:
        TypeError: a leaf is not of numbers.
    """

    def __init__(self, example: Tree) -> None:
        self.example = example
        self.structure = trees.Structure(example)
        self.leaves = [
            StateLeaf(name, np.shape(leaf), dtype_of(leaf, name.replace("state", "state_example", 1)), np.size(leaf))
            for name, leaf in trees.named_leaves(example, "state")
        ]

    def check(self, state: Tree, lead: tuple[int, ...]) -> list[NDArray[Any]]:
        """Leaves of states with the axes ``lead``.

        Raises:
            TypeError, ValueError: they are of another network.
        """
        parts = self.structure.leaves(state, "state")
        return [leaf.check(part, lead) for leaf, part in zip(self.leaves, parts)]  # noqa: B905  as in ObservationSpec
