"""Steps put aside as they are played, to be added together: most of what a step costs by itself is the call."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from r2d2.replay import trees
from r2d2.replay.limits import whole
from r2d2.replay.spaces import ActionSpec, Leaf, ObservationSpec
from r2d2.replay.states import StateLeaf, StateSpec
from r2d2.replay.steps import flags, float32
from r2d2.replay.trees import Tree

_Array, _BOOL = np.ndarray, np.dtype(np.bool_)


class _Field(NamedTuple):
    """One array of the steps."""

    steps: NDArray[Any]
    """``[steps, num_envs, ...]``"""
    rows: list[NDArray[Any]]
    """The same memory, an array for each step: to fill one that is there takes less than to index it."""
    shape: tuple[int, ...]
    """Of one step."""
    dtype: np.dtype[Any]
    convert: Callable[[Any], NDArray[Any]]
    """Makes of something else what is to be collected, or refuses it."""


class _Event(NamedTuple):
    """What is rare: a step with which an episode may end, or that not all environments made."""

    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    active: NDArray[np.bool_]
    rows: NDArray[np.int64]
    """Environments whose episodes end with it."""
    finals: list[NDArray[np.uint8]]
    """Bytes of the leaves of their final observations."""


class StepCollector:
    """Collects steps of every environment for `SequenceReplay.add_many`, which takes them together::

        collector = StepCollector(observation_space, action_space, state_example, steps=40, num_envs=16)
        while playing:
            collector.add(observation, action, reward, terminated, truncated, state)
            if collector.is_full:
                replay.add_many(**collector.take(copy=False))

    The replay holds then what `SequenceReplay.add` at every step would have put there, only later: what has been
    collected must be added before `end_episodes` or `get_state` of the replay is called. An actor in another process
    can send what it has collected to the one that has the replay. A collector is for one thread.

    Args:
        observation_space, action_space, state_example, num_envs: those of the replay.
        steps: of every environment, that there is room for.

    Raises:
        TypeError: a space or a part of the state is not supported, or a number is not whole.
        ValueError: a number is less than 1.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        state_example: Tree,
        *,
        steps: int,
        num_envs: int = 1,
    ) -> None:
        self._steps, n = whole(steps, "steps"), whole(num_envs, "num_envs")
        for name, number in (("steps", self._steps), ("num_envs", n)):
            if number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        self._lead = (n,)
        self._observations, self._actions = ObservationSpec(observation_space), ActionSpec(action_space)
        self._states = StateSpec(state_example)
        self._fields = [
            *map(self._observation_field, self._observations.leaves),
            self._field(self._actions.shape, self._actions.dtype, self._own_action),
            self._field((), np.dtype(np.float32), lambda values: float32(values, self._lead, "reward")),
            *map(self._state_field, self._states.leaves),
        ]
        # Plain tuples are taken apart faster.
        self._ways = [(field.rows, field.shape, field.dtype, field.convert) for field in self._fields]
        self._no_end = bytes(n)
        self._events: dict[int, _Event] = {}
        self._count = 0

    def __len__(self) -> int:
        """Steps of every environment that have been collected."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another step; `take` makes it."""
        return self._count == self._steps

    def add(
        self,
        observation: Tree,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        state: Tree,
        *,
        final_observation: Tree | None = None,
        active: ArrayLike | None = None,
    ) -> None:
        """Collect one step of every environment. Everything is copied.

        Arguments are those of `SequenceReplay.add`, without a priority. Values that have the dtypes of their spaces are
        looked at when the replay takes the steps, all of them or none: where it refuses them, their episodes cannot go
        on. Everything else is looked at here.

        Raises:
            TypeError, ValueError: see `SequenceReplay.add`. Nothing has been collected then.
            RuntimeError: there is no room.
        """
        t = self._count
        if t == self._steps:
            raise RuntimeError(f"all steps={t} have been collected: take() them first")
        parts = (
            *self._observations.structure.leaves(observation, "observation"),
            action,
            reward,
            *self._states.structure.leaves(state, "state"),
        )
        # What is half written when something is refused is written anew by the next step.
        for part, (rows, shape, dtype, convert) in zip(parts, self._ways):  # noqa: B905  as in ObservationSpec
            if type(part) is _Array and part.dtype is dtype and part.shape == shape:
                rows[t][...] = part
            else:
                rows[t][...] = convert(part)
        if not (type(terminated) is _Array and terminated.dtype is _BOOL and terminated.shape == self._lead):
            terminated = flags(terminated, self._lead, "terminated")
        if not (type(truncated) is _Array and truncated.dtype is _BOOL and truncated.shape == self._lead):
            truncated = flags(truncated, self._lead, "truncated")
        if active is not None or terminated.tobytes() != self._no_end or truncated.tobytes() != self._no_end:
            self._events[t] = self._event(terminated, truncated, active, final_observation)
        elif t in self._events:  # of a step that an interrupt has cut short
            del self._events[t]
        self._count = t + 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory that is kept for steps."""
        return sum(field.steps.nbytes for field in self._fields)

    def take(self, *, copy: bool = True) -> dict[str, Any]:
        """What has been collected, as arguments of `SequenceReplay.add_many`; the collector is empty then.

        Args:
            copy: False for arrays that the next steps overwrite. `SequenceReplay.add_many` is done with them when it
                returns; a queue may not have sent them yet.

        Returns:
            Leaves ``[T, N, ...]``, T: ``len`` of the collector.
        """
        time, observed = self._count, len(self._observations.leaves)
        arrays = [field.steps[:time].copy() if copy else field.steps[:time] for field in self._fields]
        terminated, truncated, made = np.zeros((3, time, *self._lead), np.bool_)
        made[:] = True
        events = [(t, event) for t, event in self._events.items() if t < time]
        for t, event in events:
            terminated[t], truncated[t], made[t] = event.terminated, event.truncated, event.active
        given = {
            "observation": self._observations.build(arrays[:observed]),
            "action": arrays[observed],
            "reward": arrays[observed + 1],
            "terminated": terminated,
            "truncated": truncated,
            "state": trees.build(self._states.example, arrays[observed + 2 :]),
            "final_observation": self._finals(events, time),
            "active": None if made.all() else made,
        }
        self._count, self._events = 0, {}
        return given

    def _field(self, shape: tuple[int, ...], dtype: np.dtype[Any], convert: Callable[[Any], NDArray[Any]]) -> _Field:
        shape = self._lead + shape
        steps = np.zeros((self._steps, *shape), dtype)
        return _Field(steps, [steps[t, ...] for t in range(self._steps)], shape, dtype, convert)

    def _observation_field(self, leaf: Leaf) -> _Field:
        def at_its_dtype(values: Any) -> NDArray[Any]:
            """Which might not hold every number of another."""
            return leaf.check(values, self._lead, "observation").view(leaf.dtype).reshape(self._lead + leaf.shape)

        return self._field(leaf.shape, leaf.dtype, at_its_dtype)

    def _state_field(self, leaf: StateLeaf) -> _Field:
        return self._field(leaf.shape, leaf.dtype, lambda values: leaf.check(values, self._lead))

    def _own_action(self, action: ArrayLike) -> NDArray[Any]:
        """Actions at the dtype of their space, which might not hold every number of another."""
        index = self._actions.to_index(action, self._lead)
        self._actions.refuse_outside(index, action)
        return self._actions.from_index(index)

    def _event(
        self,
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        active: ArrayLike | None,
        final_observation: Tree | None,
    ) -> _Event:
        made = np.ones(self._lead, np.bool_) if active is None else flags(active, self._lead, "active").copy()
        rows = np.flatnonzero((terminated | truncated) & made)
        finals = self._observations.finals(final_observation, rows, self._lead) if len(rows) else []
        return _Event(terminated.copy(), truncated.copy(), made, rows, finals)

    def _finals(self, events: list[tuple[int, _Event]], time: int) -> Tree | None:
        """Final observations, ``[T, N, ...]``, zero where no episode ends; None if none does."""
        if not any(len(event.rows) for _, event in events):
            return None
        arrays = []
        for number, leaf in enumerate(self._observations.leaves):
            array = np.zeros((time, *self._lead, *leaf.shape), leaf.dtype)
            for t, event in events:
                if len(event.rows):
                    array[t, event.rows] = event.finals[number].view(leaf.dtype).reshape(len(event.rows), *leaf.shape)
            arrays.append(array)
        return self._observations.build(arrays)
