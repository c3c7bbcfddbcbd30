"""The table of sequences that can be sampled: where their rows are, their stored states and priorities.

A sequence takes a slot, and its state is kept there, from its first step on; it can be sampled from its last step on,
as long as its rows are held. Slots are used again, keys never: a key is a running number above the slot, so a key that
no longer matches its slot's is recognised as a sequence overwritten.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.memory import aligned_zeros
from r2d2.replay.records import COLUMNS, ENV, KEY, NEWER, NO_KEY, NO_SLOT, SLOT_MASK
from r2d2.replay.rows import copy_rows
from r2d2.replay.slots import EVICTED, FREE, GIVEN, LIVE, OLDEST, Slots
from r2d2.replay.states import dtype_of
from r2d2.replay.sum_tree import SumTree, add_up
from r2d2.replay.trees import Tree

BUILT_ON = {"records.py": "1df071088303", "sum_tree.py": "38e9454b1fad"}
"""Hashes of what is imported for compiled code, which is kept on disk for this file's text alone."""


LARGEST_WEIGHT = 1e290
"""So that no sum of weights can be infinite."""


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

    Raises:
        TypeError: a leaf of the state is not of numbers.
    """

    def __init__(self, state_example: Tree, num_envs: int, slots: int, priority_exponent: float) -> None:
        self._priority_exponent = float(priority_exponent)
        self.highest_priority = _highest(priority_exponent)
        """That can be given: the weight of a higher one would be too large."""
        self.state_example = state_example
        self.states = [
            np.zeros((slots, *np.shape(leaf)), dtype_of(leaf, name))
            for name, leaf in trees.named_leaves(state_example, "state_example")
        ]
        self._state_bytes = _bytes_of(self.states)
        self.tree = SumTree(slots)
        self.slots = Slots(
            entries=_no_entries(slots),
            ends=np.full((2, num_envs), NO_SLOT, np.int64),
            free=np.arange(slots - 1, -1, -1),
            counts=np.array([slots, 0, 0, 0], np.int64),
            nodes=self.tree.nodes,
            starts=self.tree.starts,
        )
        self.largest_priority = 0.0
        """The largest priority that was ever given, 0 before any."""
        self._entering = np.ones(1)

    def __len__(self) -> int:
        return int(self.slots.counts[LIVE])

    @property
    def entries(self) -> NDArray[np.int64]:
        """int64[slots, 8], see `Slots`."""
        entries: NDArray[np.int64] = self.slots.entries
        return entries

    @property
    def keys(self) -> NDArray[np.int64]:
        """int64[slots], `NO_KEY` where no complete sequence is."""
        return self.entries[:, KEY]

    @property
    def free(self) -> NDArray[np.int64]:
        """Slots that are free, the last of them taken first."""
        free: NDArray[np.int64] = self.slots.free[: self.slots.counts[FREE]]
        return free

    @property
    def next_number(self) -> int:
        """Of the next key."""
        return int(self.slots.counts[GIVEN])

    @property
    def evicted(self) -> int:
        """Sequences that were overwritten."""
        return int(self.slots.counts[EVICTED])

    @property
    def max_priority(self) -> float:
        """What a new sequence enters with: the largest priority ever given, 1 before any above zero.

        No floor of 1 remains once priorities are known: it would tie the draws to the scale of the rewards.
        """
        return self.largest_priority or 1.0

    @property
    def nbytes(self) -> int:
        """Bytes held for sequences: stored states, where their rows are, weights."""
        arrays = (self.entries, self.slots.free, self.tree.nodes)
        return sum(a.nbytes for a in (*self.states, *arrays))

    def weights_of(self, priorities: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """With which new sequences are drawn: float64[n] of ``priorities``, float64[1] of `max_priority` if None."""
        if priorities is not None:
            return priorities**self._priority_exponent
        self._entering[0] = self.max_priority**self._priority_exponent
        return self._entering

    def put_states(
        self, slots: NDArray[np.int64], states: list[NDArray[np.uint8]], numbers: NDArray[np.int64], count: int
    ) -> None:
        """Keep the first ``count`` of the states ``numbers`` (int64[n]) in the first of ``slots`` (int64[n])."""
        for (stored, nbytes), new in zip(self._state_bytes, states, strict=True):
            copy_rows(stored, slots, new, numbers, count, nbytes)

    def has_seen(self, priorities: NDArray[np.float64]) -> None:
        """Remember the largest of ``priorities`` (float64[n], n at least 1), which sequences have been given."""
        self.largest_priority = max(self.largest_priority, float(priorities.max()))

    def queue(self, env: int) -> list[int]:
        """Slots of an environment's sequences, oldest first."""
        slots: list[int] = []
        slot = int(self.slots.ends[OLDEST, env])
        while slot != NO_SLOT and len(slots) < len(self.keys):
            slots.append(slot)
            slot = int(self.entries[slot, NEWER])
        return slots

    def grow(self) -> None:
        """Make room for half as many sequences again, at least 64."""
        old = len(self.entries)
        size = old + max(64, old // 2)
        # Their own dtypes: where things are joined, foreign byte orders become native.
        states = [np.zeros((size, *s.shape[1:]), s.dtype) for s in self.states]
        for new, stored in zip(states, self.states, strict=True):
            new[:old] = stored
        tree = self.tree.resized(size)
        entries, counts = _no_entries(size), self.slots.counts.copy()
        entries[:old] = self.entries
        free = np.concatenate([self.free, np.arange(size - 1, old - 1, -1), np.zeros(old - counts[FREE], np.int64)])
        counts[FREE] += size - old
        slots = Slots(entries, self.slots.ends, free, counts, tree.nodes, tree.starts)
        # In one go: an interrupt between them would leave parts of two sizes, which compiled code does not survive.
        vars(self).update(states=states, _state_bytes=_bytes_of(states), tree=tree, slots=slots)

    def restore(self, entries: NDArray[np.int64], free: NDArray[np.int64], given: int, evicted: int) -> None:
        """Hold these sequences, in a table that holds none; states and weights are to be set apart.

        Args:
            entries: int64[slots, 7], without the column `NEWER`.
            free: slots that are free.
            given, evicted: keys given, sequences overwritten.
        """
        slots = self.slots
        slots.entries[:, :NEWER] = entries
        slots.free[: len(free)] = free
        live = self.live_slots()
        slots.counts[:] = len(free), len(live), given, evicted
        slots.entries[:, NEWER], slots.ends[:] = NO_SLOT, NO_SLOT
        for env in range(slots.ends.shape[1]):
            mine = live[entries[live, ENV] == env]
            mine = mine[np.argsort(entries[mine, KEY])]
            if len(mine):
                slots.entries[mine[:-1], NEWER] = mine[1:]
                slots.ends[:, env] = mine[0], mine[-1]

    def update_priorities(self, keys: NDArray[np.int64], priorities: NDArray[np.float64]) -> int:
        """Set the priorities of those ``keys`` that are still held; returns how many were not."""
        tree = self.tree
        alive, largest = _weigh(keys, priorities, self.entries, self._priority_exponent, tree.nodes, tree.starts)
        self.largest_priority = max(self.largest_priority, largest)
        return len(keys) - alive

    def slots_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots of ``keys`` that are held.

        Raises:
            KeyError: one is not.
        """
        slots = keys & SLOT_MASK
        for key, slot in zip(keys.tolist(), slots.tolist(), strict=True):
            if key < 0 or slot >= len(self.keys) or self.keys[slot] != key:
                raise KeyError(f"key {key} is not of a sequence held: it was overwritten or never given")
        return slots

    def runs(self, slots: NDArray[np.int64]) -> Runs:
        """Where the rows of the sequences in ``slots`` are."""
        return Runs(*self.entries[slots, : len(Runs._fields)].T)

    def live_slots(self) -> NDArray[np.int64]:
        """Slots in use, in order of their number."""
        return np.flatnonzero(self.keys != NO_KEY)


def _highest(priority_exponent: float) -> float:
    """The highest priority whose weight is not too large."""
    with np.errstate(over="ignore"):
        highest = np.float64(LARGEST_WEIGHT) ** (1 / priority_exponent) if priority_exponent else np.inf
    return float(min(highest, np.finfo(np.float64).max))


def _bytes_of(states: list[NDArray[Any]]) -> list[tuple[NDArray[np.uint8], int]]:
    """The same memory, and how many bytes of it are one state."""
    return [(stored.reshape(-1).view(np.uint8), stored.nbytes // len(stored)) for stored in states]


def _no_entries(slots: int) -> NDArray[np.int64]:
    entries = aligned_zeros((slots, COLUMNS), np.int64)
    entries[:, KEY], entries[:, NEWER] = NO_KEY, NO_SLOT
    return entries


@njit(cache=True, nogil=True)
def _weigh(keys: Any, priorities: Any, entries: Any, exponent: float, nodes: Any, starts: Any) -> tuple[int, float]:
    """Give those ``keys`` that are held their weights; returns how many, and their largest priority, 0 if none is."""
    slots = np.empty(len(keys), np.int64)
    alive, largest = 0, 0.0
    for i in range(len(keys)):
        slot = keys[i] & SLOT_MASK
        if keys[i] >= 0 and slot < len(entries) and entries[slot, KEY] == keys[i]:
            nodes[slot] = priorities[i] ** exponent
            slots[alive] = slot
            alive, largest = alive + 1, max(largest, priorities[i])
    add_up(nodes, starts, slots[:alive])
    return alive, largest
