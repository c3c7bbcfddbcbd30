"""Steps as they are given to the replay, checked before anything is written."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from r2d2.replay import trees
from r2d2.replay.geometry import SequenceGeometry
from r2d2.replay.limits import rows_are_finite
from r2d2.replay.rows import rows_of
from r2d2.replay.spaces import ActionSpec, ObservationSpec
from r2d2.replay.states import StateSpec
from r2d2.replay.survey import STEP_BYTES, columns_of, survey
from r2d2.replay.trees import Tree


class Steps(NamedTuple):
    """Steps that are fit to be stored; n: as many as were given."""

    size: int
    """n"""
    block: NDArray[np.uint8]
    """Of `r2d2.replay.survey.columns_of`."""
    observations: list[NDArray[np.uint8]]
    """Bytes of their leaves at the dtypes of the space, uint8[n * size of the leaf]."""
    finals: list[NDArray[np.uint8]]
    """The same of the final observations of the e steps that end episodes; an empty list if none does."""
    kept: NDArray[np.int64]
    """int64[k], numbers of the steps whose recurrent states are kept."""
    states: list[NDArray[np.uint8]]
    """Bytes of the leaves of m recurrent states, uint8[m * size of the leaf]."""
    in_place: bool
    """Whether these have the numbers of their steps; else they are those of the steps ``kept``, one after the other."""


_ALL = np.empty(0, np.bool_)
_BOOL, _INT64, _UINT8 = np.dtype(np.bool_), np.dtype(np.int64), np.dtype(np.uint8)
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


class StepChecker:
    """Checks steps against the spaces and the recurrent state of one network.

    Args:
        observations: of one environment.
        actions: of one environment.
        state_example: tree of arrays, the recurrent state of one row.
        geometry: lengths of the sequences, which say whose states are kept.
    """

    def __init__(
        self,
        observations: ObservationSpec,
        actions: ActionSpec,
        state_example: Tree,
        geometry: SequenceGeometry,
    ) -> None:
        self._observations = observations
        self._actions = actions
        self._state_spec = StateSpec(state_example)
        self._lengths = geometry.lengths

    def check(
        self,
        lead: tuple[int, ...],
        open_step: NDArray[np.int64],
        observation: Tree,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        state: Tree,
        final_observation: Tree | None,
        active: ArrayLike | None,
    ) -> Steps:
        """Steps whose arrays have the axes ``lead``, which become one.

        Args:
            lead: ``(num_envs,)`` or ``(time, num_envs)``.
            open_step: int64[num_envs], steps of the open episodes.
            observation, ...: as in `SequenceReplay.add`.

        Raises:
            TypeError: wrong dtype.
            ValueError: wrong shape or structure, a value outside its space or not finite, a missing final observation.
        """
        index = self._actions.to_index(action, lead)
        n = len(index)
        block, kept = np.empty(n * STEP_BYTES, _UINT8), np.empty(n, _INT64)
        are_fit, any_ends, k = survey(
            self._lengths,
            open_step,
            self._actions.count,
            index,
            _reals(reward, lead, "reward"),
            flags(terminated, lead, "terminated"),
            flags(truncated, lead, "truncated"),
            _ALL if active is None else flags(active, lead, "active"),
            block,
            kept,
        )
        if not are_fit:
            self._refuse(action, block)
        kept = kept[:k]
        observations = self._observations.check(observation, lead)
        finals = self._observations.finals(final_observation, _ends(block), lead) if any_ends else []
        return Steps(n, block, observations, finals, kept, *self._states(state, kept, lead))

    def _refuse(self, action: ArrayLike, block: NDArray[np.uint8]) -> None:
        index, reward, _, _ = columns_of(block)
        self._actions.refuse_outside(index, action)
        raise ValueError(
            f"reward must be finite in float32; it is {reward.tolist()}: "
            "look at the environment, a learner would only pass it on"
        )

    def _states(
        self, state: Tree, rows: NDArray[np.int64], lead: tuple[int, ...]
    ) -> tuple[list[NDArray[np.uint8]], bool]:
        """`Steps.states` and `Steps.in_place`: those in ``rows`` (int64[k]) of the states with the axes ``lead``.

        Raises:
            TypeError, ValueError: `state` is of another network, or not finite in these rows.
        """
        arrays = self._state_spec.check(state, lead)
        leaves: list[NDArray[np.uint8]] = []
        if not len(rows):
            return leaves, True
        in_place, numbers = all(array.flags.c_contiguous for array in arrays), rows
        if not in_place:
            arrays, numbers = [rows_of(array, rows, lead) for array in arrays], np.arange(len(rows))
        for leaf, array in zip(self._state_spec.leaves, arrays, strict=True):
            flat = array.ravel()
            if not rows_are_finite(flat, leaf.size, numbers):
                raise ValueError(f"{leaf.name} must be finite; it holds NaN or infinity")
            leaves.append(flat.view(_UINT8))
        return leaves, in_place


def _ends(block: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers of the steps with which episodes end, int64[e]."""
    _, _, flags, made = columns_of(block)
    return np.flatnonzero(flags * made)


def flags(values: ArrayLike, lead: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """``values``, bool[*lead], with one axis; a copy only where it must be one.

    Raises:
        TypeError, ValueError: they are not.
    """
    array = trees.as_array(values, name)
    if array.shape != lead:
        raise ValueError(f"{name} has shape {array.shape}, must be {lead}")
    if array.dtype != _BOOL:
        raise TypeError(f"{name} has dtype {array.dtype}, must be bool")
    return _flat(array)


def float32(values: ArrayLike, lead: tuple[int, ...], name: str) -> NDArray[Any]:
    """Numbers ``[*lead]`` as float32 with one axis; a copy only where it must be one.

    Raises:
        TypeError, ValueError: they are no numbers, or of another shape.
    """
    array = trees.as_array(values, name)
    if array.shape != lead:
        raise ValueError(f"{name} has shape {array.shape}, must be {lead}")
    if array.dtype == _FLOAT32:
        return _flat(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}, must be a number type")
    with np.errstate(over="ignore"):
        return array.astype(np.float32).ravel()


def _reals(values: ArrayLike, lead: tuple[int, ...], name: str) -> NDArray[Any]:
    """As `float32`, but float64 as it is, which is what environments give: compiled code rounds it faster."""
    array = trees.as_array(values, name)
    return _flat(array) if array.dtype == _FLOAT64 and array.shape == lead else float32(array, lead, name)


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    # What is read-only or unaligned is another type to the compiler, for which it would compile anew.
    return array.ravel() if array.flags.carray else array.flatten()
