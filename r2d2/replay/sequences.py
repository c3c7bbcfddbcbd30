"""The table of sequences that can be sampled: where their rows are, their stored states and priorities.

A sequence has a slot as long as its rows are held. Slots are used again, keys never: a key is a running
number above the slot, so a key that no longer matches its slot's is recognised as a sequence overwritten.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.geometry import Window
from r2d2.replay.sum_tree import SumTree
from r2d2.replay.trees import Tree

NO_KEY = -1
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1
COLUMNS = ("env", "episode_start", "first", "prefix_length", "train_length", "unroll_length")


class Runs(NamedTuple):
    """Where the rows of sequences are, each int64[n]; positions as in `StepStorage`."""

    env: NDArray[np.int64]
    episode_start: NDArray[np.int64]
    """Position of the episode's first step."""
    first: NDArray[np.int64]
    """Position of the sequence's first step."""
    prefix_length: NDArray[np.int64]
    train_length: NDArray[np.int64]
    unroll_length: NDArray[np.int64]


class SequenceTable:
    """Slots for sequences; grows as needed.

    Args:
        state_example: tree of arrays, the recurrent state of one row.
        num_envs: number of environments.
        slots: how many sequences to make room for at first.
        priority_exponent: sequences are drawn in proportion to ``priority ** priority_exponent``.
    """

    def __init__(self, state_example: Tree, num_envs: int, slots: int, priority_exponent: float) -> None:
        self._priority_exponent = float(priority_exponent)
        self.state_example = state_example
        self.states = [np.zeros((slots, *np.shape(s)), np.asarray(s).dtype) for s in trees.leaves(state_example)]
        self.keys = np.full(slots, NO_KEY, np.int64)
        self.columns = np.zeros((len(COLUMNS), slots), np.int64)
        self.tree = SumTree(slots)
        self.free = list(range(slots - 1, -1, -1))
        self.queues: list[deque[int]] = [deque() for _ in range(num_envs)]
        """Slots of each environment's sequences, oldest first."""
        self.oldest_needed = np.full(num_envs, np.iinfo(np.int64).max)
        """Oldest position that any sequence of the environment needs."""
        self.next_number = 0
        self.largest_priority = 0.0
        """The largest priority that was ever given, 0 before any."""
        self.evicted = 0
        """Sequences that were overwritten."""

    def __len__(self) -> int:
        return len(self.keys) - len(self.free)

    @property
    def max_priority(self) -> float:
        """What a new sequence enters with: the largest priority ever given, 1 before any above zero.

        No floor of 1 remains once priorities are known: it would tie the draws to the scale of the rewards.
        """
        return self.largest_priority or 1.0

    @property
    def nbytes(self) -> int:
        """Bytes held for sequences: stored states, where their rows are, weights."""
        return sum(a.nbytes for a in (*self.states, self.keys, self.columns, self.tree.leaves))

    def insert(
        self, sequences: Sequence[tuple[int, int, Window, list[NDArray[Any]]]], priorities: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        """Enter complete sequences and return their keys, int64[n].

        Args:
            sequences: of each its environment, the position of its episode's start, its window, and the leaves of its
                stored state.
            priorities: float64[n]; default: `max_priority`.
        """
        slots = np.array([self._enter(*sequence) for sequence in sequences], np.int64)
        if len(slots):
            if priorities is None:
                priorities = np.full(len(slots), self.max_priority)
            else:
                self.largest_priority = max(self.largest_priority, float(priorities.max()))
            self._set_weights(slots, priorities)
        return self.keys[slots]

    def _enter(self, env: int, episode_start: int, window: Window, state: list[NDArray[Any]]) -> int:
        """A slot with a new sequence in it, which has no weight yet."""
        if not self.free:
            self._grow()
        slot = self.free.pop()
        self.keys[slot] = (self.next_number << _SLOT_BITS) | slot
        self.next_number += 1
        first = episode_start + window.first
        self.columns[:, slot] = (
            env,
            episode_start,
            first,
            window.prefix_length,
            window.train_length,
            window.unroll_length,
        )
        for stored, leaf in zip(self.states, state, strict=True):
            stored[slot] = leaf
        queue = self.queues[env]
        if not queue:
            self.oldest_needed[env] = self._oldest_needed(slot)
        queue.append(slot)
        return slot

    def evict_before(self, oldest_held: NDArray[np.int64]) -> None:
        """Drop every sequence that needs a row older than its environment's ``oldest_held`` (int64[num_envs])."""
        for env in np.flatnonzero(self.oldest_needed < oldest_held).tolist():
            queue = self.queues[env]
            dropped: list[int] = []
            while queue and self._oldest_needed(queue[0]) < oldest_held[env]:
                dropped.append(queue.popleft())
            self.keys[dropped] = NO_KEY
            self.tree.set(np.array(dropped), 0.0)
            self.free.extend(dropped)
            self.evicted += len(dropped)
            self.oldest_needed[env] = self._oldest_needed(queue[0]) if queue else np.iinfo(np.int64).max

    def update_priorities(self, keys: NDArray[np.int64], priorities: NDArray[np.float64]) -> int:
        """Set the priorities of those ``keys`` that are still held; returns how many were not."""
        slots, weights = np.empty(len(keys), np.int64), np.empty(len(keys))
        alive, largest = _weigh(keys, priorities, self.keys, self._priority_exponent, slots, weights)
        if alive:
            self.largest_priority = max(self.largest_priority, largest)
            self.tree.set(slots[:alive], weights[:alive])
        return len(keys) - alive

    def slots_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots of ``keys`` that are held.

        Raises:
            KeyError: one is not.
        """
        slots = keys & _SLOT_MASK
        for key, slot in zip(keys.tolist(), slots.tolist(), strict=True):
            if key < 0 or slot >= len(self.keys) or self.keys[slot] != key:
                raise KeyError(f"key {key} is not of a sequence held: it was overwritten or never given")
        return slots

    def runs(self, slots: NDArray[np.int64]) -> Runs:
        """Where the rows of the sequences in ``slots`` are."""
        return Runs(*self.columns[:, slots])

    def live_slots(self) -> NDArray[np.int64]:
        """Slots in use, in order of their number."""
        return np.flatnonzero(self.keys != NO_KEY)

    def _set_weights(self, slots: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        self.tree.set(slots, priorities**self._priority_exponent)

    def _oldest_needed(self, slot: int) -> int:
        """Position of the oldest row that the sequence reads: the one before its first, if its episode has one."""
        first, episode_start = int(self.columns[2, slot]), int(self.columns[1, slot])
        return max(first - 1, episode_start)

    def _grow(self) -> None:
        old = len(self.keys)
        self._resize(old + max(64, old // 2))
        self.free.extend(range(len(self.keys) - 1, old - 1, -1))

    def _resize(self, slots: int) -> None:
        more = slots - len(self.keys)
        self.states = [np.concatenate([s, np.zeros((more, *s.shape[1:]), s.dtype)]) for s in self.states]
        self.keys = np.concatenate([self.keys, np.full(more, NO_KEY, np.int64)])
        self.columns = np.concatenate([self.columns, np.zeros((len(COLUMNS), more), np.int64)], axis=1)
        self.tree = self.tree.resized(slots)


@njit(cache=True, nogil=True)
def _weigh(keys: Any, priorities: Any, held: Any, exponent: float, slots: Any, weights: Any) -> tuple[int, float]:
    """Write slots and weights of those ``keys`` that are ``held``; returns how many, and their largest priority."""
    alive, largest = 0, 0.0
    for i in range(len(keys)):
        slot = keys[i] & _SLOT_MASK
        if keys[i] >= 0 and slot < len(held) and held[slot] == keys[i]:
            slots[alive], weights[alive] = slot, priorities[i] ** exponent
            alive, largest = alive + 1, max(largest, priorities[i])
    return alive, largest
