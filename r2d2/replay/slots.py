"""Slots of sequences, taken, entered and given back: the compiled part of `r2d2.replay.sequences`.

Arrays come one by one: an array in a tuple is counted at each look, which costs more than the look.
"""

from typing import Any, NamedTuple

from numba import njit

from r2d2.replay.geometry import begun_by, count_of, window_of
from r2d2.replay.records import (
    ENV,
    EPISODE_START,
    FIRST_STEP,
    KEY,
    NEWER,
    NO_KEY,
    NO_SLOT,
    PREFIX_LENGTH,
    SLOT_BITS,
    TRAIN_LENGTH,
    UNROLL_LENGTH,
)
from r2d2.replay.sum_tree import set_weight

BUILT_ON = {"geometry.py": "37458fe0bdf0", "records.py": "1df071088303", "sum_tree.py": "38e9454b1fad"}
"""Hashes of what is imported here: what is compiled is kept on disk for this file's text alone."""

FREE, LIVE, GIVEN, EVICTED = range(4)
"""Places in `Slots.counts`."""
OLDEST, NEWEST = range(2)
"""Rows of `Slots.ends`."""


class Slots(NamedTuple):
    """Slots of `r2d2.replay.sequences.SequenceTable`, but for their states."""

    entries: Any
    """int64[slots, 8], a cache line for each sequence: see `r2d2.replay.records`."""
    ends: Any
    """int64[2, num_envs], slots of each environment's oldest and newest sequence, or `NO_SLOT`."""
    free: Any
    """int64[slots], of which the first ``counts[FREE]`` are slots that are free; the last of them is taken first."""
    counts: Any
    """int64[4]: slots free, sequences held, keys given, sequences overwritten."""
    nodes: Any
    """Of the sum tree."""
    starts: Any
    """Of the sum tree."""


@njit(cache=True, nogil=True)
def settle(
    lengths: Any,
    entries: Any,
    ends: Any,
    free: Any,
    counts: Any,
    nodes: Any,
    starts: Any,
    open_slots: Any,
    env: int,
    oldest_held: int,
    episode_start: int,
    steps: int,
    ended: bool,
    complete: int,
    weight: float,
    keys: Any,
    c: int,
) -> tuple[int, int]:
    """Let sequences of ``env`` leave and enter the table; the keys of those that enter go to ``keys[c:]``.

    Args:
        lengths: burn_in, train_length, period, n_step.
        entries, ends, free, counts, nodes, starts: of `Slots`.
        open_slots: of `r2d2.replay.write_steps.Open`.
        env: an environment.
        oldest_held: position of its oldest row that is held.
        episode_start: position where its episode starts.
        steps: of its episode that are written.
        ended: whether that is all of it.
        complete: number of the episode's sequences that have entered.
        weight: with which sequences enter.
        keys, c: int64[n], and how many are there.

    Returns:
        How many keys are there, and the next step of the episode with which there may be something to do.
    """
    # What is overwritten leaves before anything enters.
    needed = _evict(entries, ends, free, counts, nodes, starts, env, oldest_held)
    burn_in, train_length, period, n_step = lengths
    due = complete * period + train_length + n_step - 1
    if ended:
        count = count_of(steps, train_length, period)
        for number in range(complete, begun_by(steps, burn_in, period)):
            slot = _close(open_slots, env, number)
            if number < count:
                window = window_of(number, steps, burn_in, train_length, period, n_step)
                keys[c] = _enter(entries, ends, counts, nodes, starts, env, episode_start, window, slot, weight)
                c += 1
            else:
                _give_back(free, counts, slot)
        due = 0
    elif steps - 1 == due:
        slot = _close(open_slots, env, complete)
        window = window_of(complete, steps, burn_in, train_length, period, n_step)
        keys[c] = _enter(entries, ends, counts, nodes, starts, env, episode_start, window, slot, weight)
        c, due = c + 1, due + period
    return c, min(due, steps + needed - oldest_held)


@njit(cache=True, nogil=True)
def _evict(entries: Any, ends: Any, free: Any, counts: Any, nodes: Any, starts: Any, env: int, oldest_held: int) -> int:
    """Free the slots of those sequences of ``env`` that need a row before position ``oldest_held``.

    Returns:
        The oldest position that is needed then; ``oldest_held`` if none is.
    """
    slot = ends[OLDEST, env]
    while slot != NO_SLOT:
        # The row before its first is read for the action and reward before, if its episode has one.
        needed = max(entries[slot, FIRST_STEP] - 1, entries[slot, EPISODE_START])
        if needed >= oldest_held:
            return int(needed)
        entries[slot, KEY] = NO_KEY
        set_weight(nodes, starts, slot, 0.0)
        _give_back(free, counts, slot)
        counts[LIVE] -= 1
        counts[EVICTED] += 1
        slot = entries[slot, NEWER]
        ends[OLDEST, env] = slot
    ends[NEWEST, env] = NO_SLOT
    return oldest_held


@njit(cache=True, nogil=True)
def _enter(
    entries: Any,
    ends: Any,
    counts: Any,
    nodes: Any,
    starts: Any,
    env: int,
    episode_start: int,
    window: Any,
    slot: int,
    weight: float,
) -> int:
    """Let the sequence in ``slot``, whose rows are written, be sampled; its key."""
    first, start, trained, unroll = window
    key = (counts[GIVEN] << SLOT_BITS) | slot
    entries[slot, ENV], entries[slot, EPISODE_START] = env, episode_start
    entries[slot, FIRST_STEP], entries[slot, PREFIX_LENGTH] = episode_start + first, start - first
    entries[slot, TRAIN_LENGTH], entries[slot, UNROLL_LENGTH] = trained, unroll
    entries[slot, KEY], entries[slot, NEWER] = key, NO_SLOT
    counts[GIVEN] += 1
    counts[LIVE] += 1
    newest = ends[NEWEST, env]
    if newest == NO_SLOT:
        ends[OLDEST, env] = slot
    else:
        entries[newest, NEWER] = slot
    ends[NEWEST, env] = slot
    set_weight(nodes, starts, slot, weight)
    return int(key)


@njit(cache=True, nogil=True)
def _close(open_slots: Any, env: int, number: int) -> int:
    """The slot of a sequence that was open."""
    place = number % open_slots.shape[1]
    slot = open_slots[env, place]
    open_slots[env, place] = NO_SLOT
    return int(slot)


@njit(cache=True, nogil=True)
def take(free: Any, counts: Any) -> int:
    counts[FREE] -= 1
    return int(free[counts[FREE]])


@njit(cache=True, nogil=True)
def _give_back(free: Any, counts: Any, slot: int) -> None:
    free[counts[FREE]] = slot
    counts[FREE] += 1
