"""Steps as they are given to the replay, checked before anything is written."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from r2d2.replay import trees
from r2d2.replay.spaces import ActionSpec, ObservationSpec
from r2d2.replay.trees import Tree


class Steps(NamedTuple):
    """Steps that are fit to be stored; n: as many as were given."""

    observations: list[NDArray[Any]]
    """Leaves ``[n, ...]`` at the dtypes of their spaces."""
    action: NDArray[np.int64]
    """int64[n], indices."""
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    active: NDArray[np.bool_] | None
    """bool[n]; None: all are."""
    states: list[NDArray[Any]]
    """Leaves ``[n, ...]``."""
    finals: list[NDArray[Any]]
    """Final observations, leaves ``[k, ...]``, one for each step that ended; an empty list if none did."""


class StepChecker:
    """Checks steps against the spaces and the recurrent state of one network.

    Args:
        observations: of one environment.
        actions: of one environment.
        state_example: tree of arrays, the recurrent state of one row.
    """

    def __init__(self, observations: ObservationSpec, actions: ActionSpec, state_example: Tree) -> None:
        self._observations = observations
        self._actions = actions
        self._state_example = state_example
        self._state_leaves = [np.asarray(leaf) for leaf in trees.leaves(state_example)]
        self._state_names = [name for name, _ in trees.named_leaves(state_example, "state")]

    def check(
        self,
        n: int,
        observation: Tree,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        state: Tree,
        final_observation: Tree | None,
        active: ArrayLike | None,
    ) -> Steps:
        """``n`` steps, arguments as in `SequenceReplay.add`.

        Raises:
            TypeError: wrong dtype.
            ValueError: wrong shape or structure, a value outside its space or not finite, a missing final observation.
        """
        index = self._actions.to_index(action, n)
        rewards = _finite(reward, n, "reward")
        by_task, cut_off = flags(terminated, n, "terminated"), flags(truncated, n, "truncated")
        playing = None if active is None else flags(active, n, "active")
        observations = self._observations.check(observation, n)
        states = self._states(state, n)
        ends = _ends(by_task, cut_off, playing)
        finals = self.finals(final_observation, ends, n) if len(ends) else []
        return Steps(observations, index, rewards, by_task, cut_off, playing, states, finals)

    def finals(self, final_observation: Tree | None, rows: NDArray[np.int64], n: int) -> list[NDArray[Any]]:
        """Leaves ``[k, ...]`` of the final observations in ``rows`` (int64[k]) of ``n``."""
        if final_observation is None:
            raise ValueError(
                f"final_observation is needed: the episodes of environments {rows.tolist()} end with this step"
            )
        parts = trees.leaves_like(self._observations.tree, final_observation, "final_observation")
        parts = [_rows(part, rows, n) for part in parts]
        return self._observations.check(self._observations.build(parts), len(rows), "final_observation")

    def _states(self, state: Tree, n: int) -> list[NDArray[Any]]:
        parts = trees.leaves_like(self._state_example, state, "state")
        arrays = []
        for name, like, part in zip(self._state_names, self._state_leaves, parts, strict=True):
            array = trees.as_array(part, name)
            if array.shape != (n, *like.shape):
                raise ValueError(f"{name} has shape {array.shape}, must be {(n, *like.shape)}")
            if array.dtype != like.dtype:
                raise TypeError(f"{name} has dtype {array.dtype}, must be {like.dtype}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite; it holds NaN or infinity")
            arrays.append(array)
        return arrays


def side_by_side(tree: Tree, name: str, time: int, num_envs: int) -> Tree:
    """The tree with its leaves ``[time, num_envs, ...]`` as ``[time * num_envs, ...]``.

    Raises:
        ValueError: a leaf has other leading axes.
    """
    if isinstance(tree, np.ndarray) and tree.shape[:2] == (time, num_envs):
        return tree.reshape(time * num_envs, *tree.shape[2:])
    merged = []
    for leaf_name, leaf in trees.named_leaves(tree, name):
        array = trees.as_array(leaf, leaf_name)
        if array.shape[:2] != (time, num_envs):
            raise ValueError(f"{leaf_name} has shape {array.shape}, its first axes must be {(time, num_envs)}")
        merged.append(array.reshape(time * num_envs, *array.shape[2:]))
    return trees.build(tree, merged)


def flags(values: ArrayLike, n: int, name: str) -> NDArray[np.bool_]:
    """``values`` as bool[n].

    Raises:
        TypeError, ValueError: they are not.
    """
    array = trees.as_array(values, name)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, must be {(n,)}")
    if array.dtype != np.bool_:
        raise TypeError(f"{name} has dtype {array.dtype}, must be bool")
    return array.copy()  # one kind of array for compiled code: its own, contiguous, to be written


def _ends(
    terminated: NDArray[np.bool_], truncated: NDArray[np.bool_], active: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Numbers of the active steps that end their episode."""
    ended = terminated | truncated
    return np.flatnonzero(ended if active is None else ended & active)


def _rows(values: Any, rows: NDArray[np.int64], n: int) -> NDArray[Any]:
    array = trees.as_array(values, "final_observation")
    if array.shape[:1] != (n,):
        raise ValueError(f"final_observation has shape {array.shape}, its first axis must be num_envs={n}")
    return array[rows]


def _finite(values: ArrayLike, n: int, name: str) -> NDArray[Any]:
    array = trees.as_array(values, name)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, must be {(n,)}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}, must be a number type")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite in float32; it is {array.tolist()}: "
            "look at the environment, a learner would only pass it on"
        )
    return array
