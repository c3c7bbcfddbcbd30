"""Gymnasium spaces as the replay sees them: leaves of fixed shape and dtype, and actions as indices.

Observation spaces: Box (any dtype, kept), Discrete (with ``start``), MultiBinary, MultiDiscrete, and Dict and
Tuple of these. Action spaces: Discrete (with ``start``), MultiDiscrete as one joint action.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.limits import within
from r2d2.replay.rows import as_bytes, rows_of
from r2d2.replay.trees import Tree


class OutsideSpaceError(ValueError):
    """An observation is not in its space.

    Attributes:
        env: number of the environment whose observation it is.
    """

    def __init__(self, message: str, env: int) -> None:
        super().__init__(message)
        self.env = env


@dataclass(frozen=True)
class Leaf:
    """One array of an observation: its place in the tree, shape, dtype, and bounds (None: no bound)."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: NDArray[Any] | None
    high: NDArray[Any] | None

    def check(
        self, values: Any, lead: tuple[int, ...], tree_name: str, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """Bytes of ``values``, ``[*lead, *shape]``, at this leaf's dtype, uint8[all].

        ``tree_name`` is what messages call the tree that the leaf is part of. If ``rows`` are given, only these are
        looked at and returned, the axes of ``lead`` taken for one.

        Raises:
            TypeError: the dtype is of another kind.
            ValueError: wrong shape, not a number, or outside the space.
        """
        name = tree_name + self.path
        array = trees.as_array(values, name)
        if array.shape != lead + self.shape:
            raise ValueError(f"{name} has shape {array.shape}, must be {lead + self.shape}")
        if rows is not None:
            array = rows_of(array, rows, lead)
        if array.dtype != self.dtype:
            array = self._of_kind(array, name)
        flat, limits = array.ravel(), self._limits
        if limits is None or array.dtype != self.dtype or not (self._is_unlimited or within(flat, limits)):
            self._compare(array, name, lead, rows)
        return as_bytes(flat, self.dtype)

    def _of_kind(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """An array of another dtype: as it is, if its numbers may be stored at this leaf's, else at this leaf's."""
        # Whole numbers of any dtype may be inside the bounds of whole numbers.
        whole = self.dtype.kind in "iu" and array.dtype.kind in "iu"
        if not whole and not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise TypeError(f"{name} has dtype {array.dtype}, must be {self.dtype}")
        return self._rounded(array, name) if self.dtype.kind == "f" else array

    def _compare(self, array: NDArray[Any], name: str, lead: tuple[int, ...], rows: NDArray[np.int64] | None) -> None:
        """Refuse what is outside the bounds, and say where; arguments as in `check`."""
        # A comparison with NaN is false, so bounds refuse it too.
        not_numbers = np.isnan(array) if self.dtype.kind == "f" else np.zeros(array.shape, np.bool_)
        for outside, must in (
            (not_numbers, "it must not hold NaN"),
            (self.low is not None and ~(array >= self.low), f"it must be at least {self.bounds[0]}"),
            (self.high is not None and ~(array <= self.high), f"it must be at most {self.bounds[1]}"),
        ):
            if np.any(outside):
                place = tuple(np.argwhere(outside)[0].tolist())
                value = array[place]
                if rows is not None:
                    place = (*(int(part) for part in np.unravel_index(rows[place[0]], lead)), *place[1:])
                raise OutsideSpaceError(
                    f"{name} is outside its space: {must}; {name}{list(place)} is {value}", place[len(lead) - 1]
                )

    @cached_property
    def _limits(self) -> NDArray[Any] | None:
        """The one lowest and the one highest value allowed, at this leaf's dtype; None where they differ by element."""
        if self.dtype not in (np.float32, np.float64) and not (self.dtype.kind in "iu" and self.dtype.isnative):
            return None
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if any(not bound.size or (bound != bound.flat[0]).any() for bound in bounds):
            return None
        low = -np.inf if self.low is None else self.low.flat[0]
        high = np.inf if self.high is None else self.high.flat[0]
        return np.array([low, high], self.dtype)

    @cached_property
    def _is_unlimited(self) -> bool:
        """Whether the limits are those of the dtype, such as those of an image's bytes: nothing can be outside."""
        if self.dtype.kind not in "iu" or self._limits is None:
            return False
        return self._limits.tolist() == [np.iinfo(self.dtype).min, np.iinfo(self.dtype).max]

    def _rounded(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """``array`` at this leaf's dtype: it is what will be stored that must be inside the space."""
        with np.errstate(over="ignore"):
            rounded = array.astype(self.dtype)
        if (np.isinf(rounded) & ~np.isinf(array)).any():
            raise ValueError(f"{name} is outside its space: it holds a number too large for {self.dtype}")
        return rounded

    @property
    def bounds(self) -> list[str]:
        """The lowest and highest values allowed, in words."""
        return ["none" if bound is None else _brief(bound) for bound in (self.low, self.high)]


def _brief(bound: NDArray[Any]) -> str:
    if not bound.size:
        return "none"
    least, most = bound.min(), bound.max()
    return str(least) if least == most else f"{least} to {most}, by element"


def _refuse_what_the_dtype_cannot_hold(space: spaces.Discrete | spaces.MultiDiscrete, name: str) -> None:
    """Gymnasium makes spaces whose values wrap around."""
    starts = np.atleast_1d(space.start).reshape(-1).tolist()
    sizes = np.atleast_1d(space.n if isinstance(space, spaces.Discrete) else space.nvec).reshape(-1).tolist()
    limits = np.iinfo(space.dtype)
    least, most = min(starts), max(start + size - 1 for start, size in zip(starts, sizes, strict=True))
    if most > min(limits.max, np.iinfo(np.int64).max):
        raise ValueError(f"{name}={space} has values from {least} to {most}, more than its dtype or an int64 can hold")


def _leaf(space: spaces.Space[Any], path: str) -> Leaf:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        _refuse_what_the_dtype_cannot_hold(space, f"observation_space{path}")
    if isinstance(space, spaces.Box):
        low: NDArray[Any] | None = np.asarray(space.low)
        high: NDArray[Any] | None = np.asarray(space.high)
        if space.dtype.kind == "f":
            low = low if np.isfinite(space.low).any() else None
            high = high if np.isfinite(space.high).any() else None
        return Leaf(path, space.shape, np.dtype(space.dtype), low, high)
    if isinstance(space, spaces.Discrete):
        start, n = int(space.start), int(space.n)
        return Leaf(path, (), np.dtype(space.dtype), np.asarray(start), np.asarray(start + n - 1))
    if isinstance(space, spaces.MultiBinary):
        return Leaf(path, tuple(space.shape), np.dtype(space.dtype), np.asarray(0), np.asarray(1))
    if isinstance(space, spaces.MultiDiscrete):
        return Leaf(path, tuple(space.shape), np.dtype(space.dtype), space.start, space.start + space.nvec - 1)
    raise TypeError(
        f"observation_space{path} is a {type(space).__name__} space; supported are Box, Discrete, "
        "MultiBinary, MultiDiscrete, and Dict and Tuple of these"
    )


def space_tree(space: spaces.Space[Any]) -> Tree:
    """The space as a tree: a dict for Dict, a tuple for Tuple, with the basic spaces as leaves."""
    if isinstance(space, spaces.Dict):
        return {key: space_tree(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(space_tree(part) for part in space.spaces)
    return space


class ObservationSpec:
    """Checks batched observations of a space and takes them apart into leaves."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self.tree = space_tree(space)
        self.structure = trees.Structure(self.tree)
        named = trees.named_leaves(self.tree, "")
        if not named:
            raise ValueError(f"observation_space={space} holds no array")
        self.leaves = [_leaf(part, path) for path, part in named]

    def check(
        self,
        observation: Tree,
        lead: tuple[int, ...],
        name: str = "observation",
        rows: NDArray[np.int64] | None = None,
    ) -> list[NDArray[np.uint8]]:
        """Bytes of the leaves of an observation, or of its ``rows``; see `Leaf.check`."""
        parts = self.structure.leaves(observation, name)
        # There are as many of both; to say so (strict) costs 0.3 us, of the 3 us of a step that is collected.
        return [leaf.check(part, lead, name, rows) for leaf, part in zip(self.leaves, parts)]  # noqa: B905

    def finals(
        self, final_observation: Tree | None, rows: NDArray[np.int64], lead: tuple[int, ...]
    ) -> list[NDArray[np.uint8]]:
        """Bytes of the leaves of the final observations in ``rows`` (int64[k]) of those with the axes ``lead``.

        Raises:
            TypeError, ValueError: they are missing, or see `Leaf.check`.
        """
        if final_observation is None:
            envs = np.unique(rows % lead[-1]).tolist()
            when = "this step" if len(lead) == 1 else "these steps"
            raise ValueError(f"final_observation is needed: the episodes of environments {envs} end with {when}")
        return self.check(final_observation, lead, "final_observation", rows)

    def build(self, parts: list[Any]) -> Tree:
        """Leaves put together again as the space nests them."""
        return trees.build(self.tree, parts)


_INT64 = np.dtype(np.int64)
_LARGEST_INT64 = np.uint64(np.iinfo(np.int64).max)


class ActionSpec:
    """Actions of a Discrete or MultiDiscrete space as indices ``0 .. count - 1`` and back.

    The index of a MultiDiscrete action is that of the joint action, its last part varying fastest.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            _refuse_what_the_dtype_cannot_hold(space, "action_space")
        if isinstance(space, spaces.Discrete):
            self._sizes: tuple[int, ...] = (int(space.n),)
            self._start = np.asarray(int(space.start))
            self.shape: tuple[int, ...] = ()
            """Of one action."""
        elif isinstance(space, spaces.MultiDiscrete):
            self._sizes = tuple(int(n) for n in np.asarray(space.nvec).reshape(-1))
            self._start = np.asarray(space.start).astype(np.int64).reshape(-1)
            self.shape = tuple(space.shape)
        else:
            raise TypeError(
                f"action_space={space} is not supported: it must be Discrete or MultiDiscrete; "
                "discretise a continuous action with a wrapper"
            )
        self.space = space
        self.dtype = np.dtype(np.dtype(space.dtype).type)
        """Of the space's own values, in the machine's byte order."""
        self.count = math.prod(self._sizes)
        """Number of (joint) actions."""
        if self.count > np.iinfo(np.int32).max:
            raise ValueError(f"action_space={space} has {self.count} joint actions, more than an int32 can number")
        enough = self.count - 1 <= np.iinfo(self.dtype).max
        self.index_dtype = self.dtype if enough else np.dtype(np.int32)
        """Of stored indices: the space's own unless there are more joint actions than it can number."""

    def refuse_outside(self, index: NDArray[np.int64], action: Any) -> None:
        """Refuse ``action`` if one of its indices, which `to_index` gave, is that of no action."""
        if ((index < 0) | (index >= self.count)).any():
            raise ValueError(f"action {np.asarray(action).tolist()} is outside {self.space}")

    @property
    def description(self) -> list[Any]:
        """What tells one action space from another, as plain lists and numbers."""
        return [list(self.shape), list(self._sizes), self._start.tolist(), str(self.dtype)]

    def to_index(self, action: Any, lead: tuple[int, ...]) -> NDArray[np.int64]:
        """Indices ``int64[batch]`` of actions ``[*lead]`` (Discrete) or ``[*lead, *shape]`` (MultiDiscrete).

        The axes of ``lead`` become one. An action outside the space is not refused here, see `r2d2.replay.survey`: its
        index is outside ``0 .. count - 1``.

        Raises:
            TypeError: actions are not integers.
            ValueError: wrong shape.
        """
        array = trees.as_array(action, "action")
        if array.dtype.kind not in "iu":
            raise TypeError(f"action has dtype {array.dtype}, must be an integer type")
        if array.dtype.kind == "u" and array.dtype.itemsize == 8:
            array = np.minimum(array, _LARGEST_INT64)
        if array.shape != lead + self.shape:
            raise ValueError(f"action has shape {array.shape}, must be {lead + self.shape}")
        if not self.shape:
            index = array.ravel().astype(_INT64)
            return index - self._start if self._start else index
        parts = array.reshape(math.prod(lead), -1).astype(np.int64) - self._start
        inside = ((parts >= 0) & (parts < np.asarray(self._sizes))).all(axis=1)
        index = np.ravel_multi_index(tuple(parts.T), self._sizes, mode="clip").astype(np.int64)
        return np.where(inside, index, -1)

    def from_index(self, index: NDArray[Any]) -> NDArray[Any]:
        """Actions ``[batch, *shape]`` in the space's own values and dtype, of indices ``[batch]``."""
        if not self.shape:
            return (np.asarray(index) + self._start).astype(self.dtype)
        parts = np.stack(np.unravel_index(np.asarray(index), self._sizes), axis=-1) + self._start
        return parts.reshape(len(parts), *self.shape).astype(self.dtype)
