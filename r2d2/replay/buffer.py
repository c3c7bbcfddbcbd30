"""The sequence replay buffer: steps go in as they are played, sequences with their stored states come out."""

import math
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from r2d2.replay import snapshot, trees
from r2d2.replay.batch import Batch, BatchGatherer, Inputs
from r2d2.replay.consistency import inconsistencies
from r2d2.replay.geometry import SequenceGeometry
from r2d2.replay.limits import whole, within
from r2d2.replay.sequences import LARGEST_WEIGHT, SequenceTable
from r2d2.replay.spaces import ActionSpec, ObservationSpec
from r2d2.replay.steps import StepChecker, flags
from r2d2.replay.storage import StepStorage
from r2d2.replay.trees import Tree
from r2d2.replay.writer import SequenceWriter

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _one_at_a_time(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A method that waits until no other thread is in one: compiled code runs without the interpreter's lock.

    It refuses to be called from within another one, as a signal's handler might do: that one's work is half done.
    """

    @wraps(method)
    def locked(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        replay: Any = arguments[0]
        with replay._lock:
            if replay._is_in_use:
                name = method.__name__.lstrip("_")
                raise RuntimeError(f"{name} was called from within another method of the same SequenceReplay")
            replay._is_in_use = True
            try:
                return method(*arguments, **named)
            finally:
                replay._is_in_use = False

    return locked


class SequenceReplay:
    """Prioritized replay of sequences with the recurrent states that the actor had at their first steps.

    Steps are held once, however many sequences share them, in a ring of rows for each environment; a sequence
    can be sampled from the step that completes it until one of its rows is overwritten. Sequences are drawn in
    proportion to ``priority ** priority_exponent`` (Schaul et al. 2016, section 3.3, stratified as in its
    appendix B.2.1) and carry the importance weights ``(N P(i)) ** -importance_exponent`` over their largest.

    Several threads may share it: one may add while another samples.

    Args:
        observation_space: of one environment; see `r2d2.replay.spaces` for what is supported.
        action_space: Discrete or MultiDiscrete, of one environment.
        state_example: tree of arrays (dict, tuple, list), the recurrent state of one row; ``()`` for none.
        geometry: lengths of the sequences.
        capacity: rows over all environments: steps, and one final observation for each episode.
        num_envs: environments whose steps are added together.
        priority_exponent: 0 draws uniformly.
        importance_exponent: 0 switches the weights off: all are 1.
        seed: of the draws.

    Raises:
        TypeError: a space is not supported, or a number is not whole.
        ValueError: a number is out of its range, or the rings would be too short for one sequence.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        state_example: Tree,
        geometry: SequenceGeometry,
        *,
        capacity: int,
        num_envs: int = 1,
        priority_exponent: float = 0.9,
        importance_exponent: float = 0.6,
        seed: int = 0,
    ) -> None:
        capacity, num_envs = whole(capacity, "capacity"), whole(num_envs, "num_envs")
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs} must be at least 1")
        rows_per_env = capacity // num_envs
        if rows_per_env < geometry.rows_needed:
            raise ValueError(
                f"capacity={capacity} must be at least {geometry.rows_needed * num_envs}: "
                f"{geometry.rows_needed} rows (one sequence) for each of num_envs={num_envs}"
            )
        for name, value in (
            ("priority_exponent", priority_exponent),
            ("importance_exponent", importance_exponent),
        ):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value} must be a finite number, at least 0")
        self._lock = threading.RLock()
        self._is_in_use = False
        self.geometry = geometry
        self.num_envs = num_envs
        self.capacity = rows_per_env * num_envs
        """Rows held at most."""
        self.priority_exponent = priority_exponent
        self.importance_exponent = importance_exponent
        self.observation_spec = ObservationSpec(observation_space)
        self.action_spec = ActionSpec(action_space)
        self.storage = StepStorage(self.observation_spec, self.action_spec, num_envs, rows_per_env)
        slots = num_envs * (1 + rows_per_env // geometry.period)
        self.table = SequenceTable(state_example, num_envs, slots, priority_exponent)
        self._priority_limits = np.array([0.0, self.table.highest_priority])
        self.writer = SequenceWriter(geometry, self.storage, self.table)
        self.dropped_updates = 0
        """Priority updates that came after their sequence had been overwritten."""
        self.rng = np.random.default_rng(seed)
        self._gatherer = BatchGatherer(self.observation_spec, state_example)
        self._checker = StepChecker(self.observation_spec, self.action_spec, state_example, geometry)

    def __len__(self) -> int:
        """Sequences that can be sampled."""
        return len(self.table)

    @property
    def num_steps(self) -> int:
        """Steps held, those of open episodes included."""
        return self.storage.num_steps()

    @property
    def nbytes(self) -> int:
        """Bytes of memory, reserved from the beginning for rows, growing for sequences."""
        return self.storage.nbytes + self.table.nbytes

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
        priority: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Add one step of every environment. N: ``num_envs``. Everything is copied.

        Args:
            observation: o_t, leaves ``[N, ...]`` as a Gymnasium vector environment gives them.
            action: a_t in the action space's own values, ``[N]`` or ``[N, parts]``.
            reward: r_t, which followed a_t, finite, ``[N]``.
            terminated, truncated: bool[N], whether the episode ended with this step.
            state: recurrent state before o_t was read, leaves ``[N, ...]``, finite where it is kept: where a sequence
                begins.
            final_observation: o_T, leaves ``[N, ...]``; needed when an episode ends, read in those rows only.
            active: bool[N], False in rows that made no step (a vector environment's autoreset step); default all.
            priority: what sequences completed by this step enter with, at least 0, scalar or ``[N]``; default the
                largest priority seen so far.

        Returns:
            Keys of the sequences completed, int64[n].

        Raises:
            TypeError: wrong dtype.
            ValueError: wrong shape or structure, a value outside its space or not finite, a missing final
                observation. Nothing has been changed then.
        """
        given = (observation, action, reward, terminated, truncated, state, final_observation, active)
        return self._add((self.num_envs,), given, priority)

    def add_many(
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
    ) -> NDArray[np.int64]:
        """Add T steps of every environment at once: what T calls of `add` do, at a fraction of their cost.

        Arguments are those of `add` with an axis of time in front: leaves ``[T, N, ...]``, ``[T, N]``.

        Returns:
            Keys of the sequences completed, int64[n], in the order of their completion; the first of them may have been
            overwritten by the last steps.

        Raises:
            TypeError, ValueError: see `add`. Nothing has been changed then.
        """
        reward = trees.as_array(reward, "reward")
        if reward.ndim != 2:
            raise ValueError(f"reward has shape {reward.shape}, must be [time, num_envs]")
        lead = (len(reward), self.num_envs)
        if lead[0] == 0:
            return np.zeros(0, np.int64)
        given = (observation, action, reward, terminated, truncated, state, final_observation, active)
        return self._add(lead, given)

    @_one_at_a_time
    def end_episodes(self, mask: ArrayLike, observation: Tree) -> NDArray[np.int64]:
        """End the open episodes of the environments in ``mask`` (bool[N]) as truncated after their last step.

        For a run that stops, or an environment that fails. ``observation`` (leaves ``[N, ...]``) is the last one
        seen, to which no step has been added; rows between episodes are left alone. Returns and raises as `add`.
        """
        ended = flags(mask, (self.num_envs,), "mask") & (self.writer.step > 0)
        if not ended.any():
            return np.zeros(0, np.int64)
        envs = np.flatnonzero(ended)
        return self.writer.end_episodes(envs, self.observation_spec.finals(observation, envs, (self.num_envs,)))

    def can_sample(self) -> bool:
        """Whether any sequence can be drawn."""
        return self.table.tree.total > 0

    @_one_at_a_time
    def sample(self, batch_size: int) -> Batch:
        """Draw ``batch_size`` sequences, with replacement.

        Raises:
            TypeError: ``batch_size`` is not whole.
            ValueError: it is less than 1.
            RuntimeError: no sequence is complete yet, or all priorities are zero.
        """
        if whole(batch_size, "batch_size") < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if not self.can_sample():
            why = "all priorities are zero" if len(self) else "no sequence is complete yet"
            raise RuntimeError(f"nothing to sample: {why}; ask can_sample() first")
        slots = self.table.tree.draw_strata(self.rng.random(batch_size))
        return self._gatherer.batch(self.storage, self.table, slots, float(self.importance_exponent))

    @_one_at_a_time
    def get(self, keys: ArrayLike) -> Batch:
        """The sequences of ``keys`` (int64[n], n at least 1) with importance weights of 1.

        Raises:
            KeyError: a sequence has been overwritten.
            ValueError: keys are not whole numbers, or there is none.
        """
        return self._gatherer.batch(self.storage, self.table, self._slots_of(keys))

    @_one_at_a_time
    def before(
        self, keys: ArrayLike, longest: int | None = None
    ) -> tuple[Inputs, NDArray[np.int32], NDArray[np.bool_]]:
        """The steps of their episodes before the first trained step of the sequences ``keys`` (int64[n]).

        Args:
            keys: of sequences held, at least one.
            longest: sequences with more steps before them are left out; default: none is.

        Returns:
            The steps ``[n, most, ...]``, right-padded; their numbers int32[n]; and bool[n], False where the episode's
            start has been overwritten or the sequence is left out (the row then holds no step).

        Raises:
            KeyError: a sequence has been overwritten.
            ValueError: keys are not whole numbers, or there is none.
        """
        runs = self.table.runs(self._slots_of(keys))
        held = runs.episode_start >= self.storage.oldest_position()[runs.env]
        length = runs.first + runs.prefix_length - runs.episode_start
        if longest is not None:
            held &= length <= longest
        length = np.where(held, length, 0)
        start = np.where(held, runs.episode_start, runs.first)
        played = np.stack(runs._replace(first=start, prefix_length=length))
        return self._gatherer.inputs(self.storage, played), length.astype(np.int32), held

    @_one_at_a_time
    def keys(self) -> NDArray[np.int64]:
        """Keys of all sequences that can be sampled, oldest first."""
        return np.sort(self.table.keys[self.table.live_slots()])

    @_one_at_a_time
    def update_priorities(self, keys: ArrayLike, priorities: ArrayLike) -> int:
        """Set priorities (finite, at least 0, ``[n]``) of the sequences ``keys`` (int64[n]).

        Updates for sequences overwritten since are dropped, counted in `dropped_updates`, and their number returned.

        Raises:
            ValueError: wrong shape, or a priority that is negative, not finite or too large to be summed. Nothing
                has been changed then.
        """
        keys, values = np.asarray(keys), np.asarray(priorities, np.float64)
        if keys.ndim != 1 or keys.dtype != np.int64:
            raise ValueError(f"keys must be int64[n] as sample() gave them, not {keys.dtype} of shape {keys.shape}")
        if values.shape != keys.shape:
            raise ValueError(f"priorities has shape {values.shape}, must be that of keys, {keys.shape}")
        self._refuse_bad_priorities(values, "priorities")
        dropped = self.table.update_priorities(keys, values)
        self.dropped_updates += dropped
        return dropped

    @_one_at_a_time
    def check_consistency(self) -> list[str]:
        """What is inconsistent in the buffer, in words; an empty list if nothing is. Slow: for tests and doubts."""
        return inconsistencies(self.storage, self.writer, self.table, self.geometry)

    @_one_at_a_time
    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything the buffer holds as plain arrays (none of object dtype), for `set_state` of one made alike."""
        return snapshot.get_state(self)

    @_one_at_a_time
    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Become the buffer that `get_state` was called on.

        Raises:
            ValueError: the state is of a buffer made otherwise, incomplete, or inconsistent. Nothing has been
                changed then.
        """
        snapshot.set_state(self, state)

    @_one_at_a_time
    def _add(
        self, lead: tuple[int, ...], given: tuple[Any, ...], priority: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Add steps whose arrays have the axes ``lead``; ``given``: arguments of `StepChecker.check`."""
        steps = self._checker.check(lead, self.writer.step, *given)
        return self.writer.write(steps, self._check_priority(priority))

    def _slots_of(self, keys: ArrayLike) -> NDArray[np.int64]:
        array = np.atleast_1d(np.asarray(keys))
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
            raise ValueError(f"keys must be one or more whole numbers, not {array.dtype} of shape {array.shape}")
        return self.table.slots_of(array.astype(np.int64))

    def _check_priority(self, values: ArrayLike | None) -> NDArray[np.float64] | None:
        if values is None:
            return None
        array = np.asarray(values, np.float64)
        if array.shape not in ((), (self.num_envs,)):
            raise ValueError(f"priority has shape {array.shape}, must be {(self.num_envs,)} or one number")
        self._refuse_bad_priorities(array, "priority")
        return np.broadcast_to(array, (self.num_envs,))

    def _refuse_bad_priorities(self, values: NDArray[np.float64], name: str) -> None:
        if within(values, self._priority_limits):
            return
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name} must be finite and at least 0; it is {values.tolist()}")
        raise ValueError(
            f"{name} is too large: to the power of priority_exponent={self.priority_exponent} it must be at "
            f"most {LARGEST_WEIGHT}; it is {values.tolist()}"
        )
